"""Rule files: `rollback_triggers`, as the plan writes them, turned into the domain's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, Strict, ValidationInfo, WithJsonSchema, model_validator

from logcaster_guard.config.grammar import SHOWN_CONDITION, parse_condition
from logcaster_guard.config.schema import node_at, validate
from logcaster_guard.config.yaml import Leaf, Node
from logcaster_guard.domain.conditions import Condition, NoDataPolicy
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import Unit
from logcaster_guard.domain.variables import LONGEST_LIST, MOST_NAMES, is_list_of_names
from logcaster_guard.fields.durations import show_duration
from logcaster_guard.fields.faults import ConfigFault, Refused, described, quoted, unknown_target
from logcaster_guard.fields.section import Duration, Name, Rate, Section, Sized
from logcaster_guard.messages.texts import phrase

RULES_KEY = "rollback_triggers"
"""The top-level key that makes a file a rule file."""

MAX_RULES = 100
"""Rules of one file; a directory may hold several."""


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What rules are checked against.

    `units` are the signals' (None: known, not checked), `targets` the targets' names (None: not known), and `shortest`
    the shortest duration in seconds (None: the polling interval is not known).
    """

    units: Mapping[str, Unit | None]
    targets: frozenset[str] | None = None
    shortest: float | None = None


def _context(info: ValidationInfo) -> RuleContext:
    if not isinstance(info.context, RuleContext):
        raise TypeError("rules are validated with a RuleContext")
    return info.context


@dataclass(frozen=True, slots=True)
class Parsed:
    """A condition as written, and its tree."""

    text: str
    tree: Condition


def _parsed(value: object, info: ValidationInfo) -> Parsed:
    if not isinstance(value, str):
        raise Refused(described(value), phrase("allowed.condition"))
    return Parsed(value, parse_condition(value, _context(info).units))


def _check_duration(seconds: float, info: ValidationInfo) -> float:
    shortest = _context(info).shortest
    if shortest is not None and seconds < shortest:
        found = phrase("found.shorter_than_two_polls", duration=show_duration(seconds))
        raise Refused(found, phrase("allowed.two_polls", least=show_duration(shortest)))
    return seconds


def _check_targets(names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    known = _context(info).targets
    for index, name in enumerate(names):
        if known is not None and name not in known:
            raise unknown_target(name, known, (index,))
    return names


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not is_list_of_names(names):
        raise Refused(phrase("found.no_variable_names"), phrase("allowed.variable_names", most=LONGEST_LIST))
    return names


class EnvSection(Section):
    """Which environment variables a rule restores."""

    only: Annotated[tuple[str, ...], Sized(1, MOST_NAMES, "names"), AfterValidator(_check_names)] = Field(
        description="their names, in whatever containers they are"
    )


class RuleSection(Section):
    """One trigger rule."""

    name: Name = Field(description="unique over all rule files")
    condition: Annotated[Parsed, PlainValidator(_parsed), WithJsonSchema(SHOWN_CONDITION)] = Field(
        description="what must be true of the signals; see [Conditions](#conditions)"
    )
    duration: Annotated[Duration, AfterValidator(_check_duration)] = Field(
        description="how long the condition must hold; at least two polls"
    )
    action: Annotated[Action, Strict(False)] = Field(
        description=" or ".join([", ".join(f"`{action}`" for action in list(Action)[:-1]), f"`{list(Action)[-1]}`"])
    )
    targets: Annotated[tuple[str, ...], Sized(1, 100, "targets"), AfterValidator(_check_targets)] | None = Field(
        default=None, description="the targets that the rule is for; `null` for all"
    )
    rollout_window: Duration | None = Field(
        default=None,
        description=(
            "how soon after a rollout the trouble must begin for the rollout to be its cause. "
            "Left out: the setting `rollout_window`. Written as `null`: the cause is not asked "
            "for"
        ),
    )
    no_data: Annotated[NoDataPolicy, Strict(False)] = Field(
        default=NoDataPolicy.HOLD,
        description=(
            "what a comparison without data counts as: `hold` stops the clock, `ok` is not met, "
            "`breach` is met. A source that fails is never counted"
        ),
    )
    grace: Duration | None = Field(
        default=None, description="with `alert_then_rollback`: how long people may veto it; `null`: `alert.grace`"
    )
    require_approval: bool | None = Field(
        default=None,
        description=("with `alert_then_rollback`: whether it waits for an approval; `null`: `alert.require_approval`"),
    )
    env: EnvSection | None = Field(
        default=None,
        description="with `env_rollback`: which environment variables are restored; `null`: all",
    )
    dry_run: bool = Field(default=False, description="whether this rule only tells what it would do")
    min_request_rate: Rate | None = Field(
        default=None,
        description=(
            "requests per second; with fewer, or an unknown number, nothing is rolled back. "
            "`null`: `limits.min_request_rate`"
        ),
    )

    @model_validator(mode="after")
    def _keys_of_one_action(self) -> RuleSection:
        for key, action in _OF_ONE_ACTION.items():
            if getattr(self, key) is not None and self.action is not action:
                found = phrase("found.key_with", key=key, action=str(self.action))
                allowed = phrase("allowed.key_only_with", key=key, action=str(action))
                raise Refused(found, allowed, key=(key,), at_key=True)
        return self


_OF_ONE_ACTION = {"grace": Action.ALERT_THEN, "require_approval": Action.ALERT_THEN, "env": Action.ENV}


class RulesFile(Section):
    """The keys of a rule file."""

    rollback_triggers: Annotated[tuple[RuleSection, ...], Sized(1, MAX_RULES, "rules")] = Field(
        description="the rules, 1 to 100 a file"
    )


@dataclass(frozen=True, slots=True)
class RawRules:
    """A validated rule file, before the settings' defaults are filled in."""

    rules: tuple[RuleSection, ...]
    lines: tuple[int, ...]
    file: str

    def build(self, rollout_window: float | None) -> tuple[Rule, ...]:
        """The domain's rules; `rollout_window` (seconds) is for the rules that name none."""
        return tuple(self._rule(r, line, rollout_window) for r, line in zip(self.rules, self.lines, strict=True))

    def _rule(self, section: RuleSection, line: int, rollout_window: float | None) -> Rule:
        own_window = "rollout_window" in section.model_fields_set
        return Rule(
            name=section.name,
            text=section.condition.text,
            condition=section.condition.tree,
            duration=section.duration,
            action=section.action,
            targets=None if section.targets is None else frozenset(section.targets),
            rollout_window=section.rollout_window if own_window else rollout_window,
            no_data=section.no_data,
            where=f"{self.file}:{line}",
            grace=section.grace,
            require_approval=section.require_approval,
            dry_run=section.dry_run,
            min_request_rate=section.min_request_rate,
            variables=() if section.env is None else section.env.only,
        )


def read_rules(root: Node, file: str, context: RuleContext) -> RawRules | list[ConfigFault]:
    """The rules in a loaded file, or every fault in them."""
    found = validate(RulesFile, root, file, context)
    if isinstance(found, list):
        return found
    count = len(found.rollback_triggers)
    lines = tuple(node_at(root, (RULES_KEY, index))[0].at.line for index in range(count))
    return RawRules(found.rollback_triggers, lines, file)


def rule_count(root: Node) -> int:
    """How many rules stand in a loaded file, sound or not; 0 if they are more than a file may have."""
    rules, _ = node_at(root, (RULES_KEY,))
    count = len(getattr(rules, "items", ()))
    return count if count <= MAX_RULES else 0


def repeated_names(files: Sequence[tuple[str, Node]]) -> list[ConfigFault]:
    """A fault for each rule name that stands more than once in these rule files, at each place but the first."""
    first: dict[str, str] = {}
    faults = []
    for file, root in files:
        for index in range(rule_count(root)):
            leaf, entry = node_at(root, (RULES_KEY, index, "name"))
            if entry is None or not isinstance(leaf, Leaf) or not isinstance(leaf.value, str):
                continue
            place = f"{file}:{leaf.at.line}"
            if leaf.value in first:
                found = phrase("found.rule_again", name=quoted(leaf.value))
                allowed = phrase("allowed.rule_once", place=first[leaf.value])
                faults.append(ConfigFault(file, leaf.at.line, leaf.at.column, found, allowed))
            first.setdefault(leaf.value, place)
    return faults
