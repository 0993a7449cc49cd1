"""Warnings about queries that miss a target's pods, or cannot tell one workload's from another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from logcaster_guard.config.settings import Settings
from logcaster_guard.domain import ownership
from logcaster_guard.domain.promql import TemplateFault, names_workload, patterns_of_pods, render
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import SourceName, Target
from logcaster_guard.fields.faults import quoted
from logcaster_guard.messages.texts import Phrase, phrase

_SIMPLE = re.compile(r"[a-z0-9$_.*+?\[\]\\-]{1,200}", re.ASCII)
_MOST_REPEATS = 4
"""What Python's backtracking matches in no time: no groups, few repeats."""
_JUDGING = ("error_rate", "request_rate")
"""The signals by which a good release is judged beside a bad one."""


def unjudged(rule: Rule, settings: Settings) -> Iterator[Phrase]:
    """Why a way back that judges the good release by its own pods cannot be gone."""
    ways = {Action.GRADUAL: settings.policy.gradual.otherwise, Action.BLUE_GREEN: settings.policy.blue_green.otherwise}
    if rule.action not in ways:
        return
    for name in _JUDGING:
        signal = settings.signals[name]
        if signal.source is not SourceName.PROMETHEUS or names_workload(signal.query or ""):
            continue
        key, unlabelled = f"signals.{name}.query", signal.by_pod is not None
        if unlabelled:
            key = "metrics.selector"
        otherwise = str(ways[rule.action])
        yield phrase("warn.unjudged", rule=rule.name, key=key, unlabelled=unlabelled, otherwise=otherwise)
        return


def missed(settings: Settings) -> Iterator[Phrase]:
    """Queries that look for pods by names which a target's pods do not have; one target stands for all."""
    looked = {
        (f"signals.{name}.query" if signal.by_pod is None else "metrics.selector", pattern): None
        for name, signal in settings.signals.items()
        for pattern in patterns_of_pods(signal.query or "")
    }
    for place, pattern in looked:
        found = next(((t, pod) for t in settings.targets if (pod := _missed(pattern, t)) is not None), None)
        if found is not None:
            target, pod = found
            yield phrase("warn.pods_missed", key=place, pattern=quoted(pattern), target=target.name, pod=pod)


def _missed(pattern: str, target: Target) -> str | None:
    """The name of a pod of the target that the pattern does not match; None if it matches, or nobody can tell."""
    if not _SIMPLE.fullmatch(pattern) or sum(map(pattern.count, "*+?")) > _MOST_REPEATS:
        return None
    for workload in target.environments.values() or [target.deployment]:
        pod = ownership.example(target.kind, workload)
        try:
            rendered = render(f"x{{pod=~`{pattern}`}}", replace(target, deployment=workload), 1.0)
            found = re.fullmatch(rendered.removeprefix("x{pod=~`").removesuffix("`}"), pod)
        except (TemplateFault, re.error):
            return None
        if not found:
            return pod
    return None
