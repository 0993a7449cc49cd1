"""What a configuration allows and may still surprise its operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logcaster_guard.config import pods
from logcaster_guard.config.queries import in_milliseconds
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.conditions import out_of_reach
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import Target, Unit
from logcaster_guard.fields.durations import show_duration
from logcaster_guard.messages.texts import Phrase, phrase


def warnings_of(settings: Settings, rules: Sequence[Rule], *, given: bool) -> tuple[Phrase, ...]:
    """Sentences, in the order of the rules; `given` says whether there is a settings file."""
    if not rules:
        return (phrase("warn.no_rules"),)
    of_rules = (sentence for rule in rules for sentence in _of_rule(settings, rule, given=given))
    return (
        *_of_journal(settings),
        *_of_web(settings),
        *_of_metrics(settings),
        *pods.missed(settings),
        *of_rules,
    )


def _of_metrics(settings: Settings) -> Iterator[Phrase]:
    metrics = settings.metrics
    if in_milliseconds(metrics.duration) and "duration_unit" not in metrics.model_fields_set:
        yield phrase("warn.milliseconds", metric=metrics.duration)


def _of_web(settings: Settings) -> Iterator[Phrase]:
    if settings.web.auth is not None and not settings.web.is_local:
        yield phrase("warn.tokens_in_clear", listen=settings.web.listen)


def _of_journal(settings: Settings) -> Iterator[Phrase]:
    if settings.journal.backend != "kubernetes":
        return
    namespace = settings.journal.namespace
    if namespace in {t.namespace for t in settings.targets}:
        yield phrase("warn.journal_beside_target", namespace=namespace)
    if settings.authority.lease is None:
        yield phrase("warn.journal_without_lease")


def _of_rule(settings: Settings, rule: Rule, *, given: bool) -> Iterator[Phrase]:
    shortest = 2 * settings.policy.polling.interval
    if not given and rule.duration < shortest:
        found, least = show_duration(rule.duration), show_duration(shortest)
        yield phrase("warn.short_duration", rule=rule.name, duration=found, least=least)
    yield from pods.unjudged(rule, settings)
    if out_of_reach(rule.condition, {name: 1.0 for name, unit in settings.units.items() if unit is Unit.RATIO}):
        yield phrase("warn.above_whole", rule=rule.name)
    for target in settings.targets:
        if rule.applies_to(target):
            yield from _unfit(rule, target, settings)
            yield from _unread(rule, target)


def _unfit(rule: Rule, target: Target, settings: Settings) -> Iterator[Phrase]:
    if rule.action is Action.BLUE_GREEN and not target.environments:
        otherwise = str(settings.policy.blue_green.otherwise)
        yield phrase("warn.no_environments", rule=rule.name, target=target.name, otherwise=otherwise)
    if rule.action is Action.GRADUAL and target.environments:
        otherwise = str(settings.policy.gradual.otherwise)
        yield phrase("warn.has_environments", rule=rule.name, target=target.name, otherwise=otherwise)


def _unread(rule: Rule, target: Target) -> Iterator[Phrase]:
    needs = {
        "health_url": {"health_check_fails"} if target.health_url is None else set(),
        "traffic_url": {"response_time", "slow_responses"} if target.traffic_url is None else set(),
    }
    for key, signals in needs.items():
        missing = sorted(signals & rule.signals)
        if missing:
            yield phrase("warn.never_known", rule=rule.name, target=target.name, key=key, signals=missing)
