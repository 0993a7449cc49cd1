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
from logcaster_guard.fields.faults import listed


def warnings_of(settings: Settings, rules: Sequence[Rule], *, given: bool) -> tuple[str, ...]:
    """Sentences, in the order of the rules; `given` says whether there is a settings file."""
    if not rules:
        return ("there are no rules: nothing is watched for",)
    of_rules = (sentence for rule in rules for sentence in _of_rule(settings, rule, given=given))
    return (
        *_of_journal(settings),
        *_of_web(settings),
        *_of_metrics(settings),
        *pods.missed(settings),
        *of_rules,
    )


def _of_metrics(settings: Settings) -> Iterator[str]:
    metrics = settings.metrics
    if in_milliseconds(metrics.duration) and "duration_unit" not in metrics.model_fields_set:
        yield (
            f"metrics.duration: {metrics.duration} looks like milliseconds and is read as seconds; say "
            "metrics.duration_unit: milliseconds (or seconds)"
        )


def _of_web(settings: Settings) -> Iterator[str]:
    if settings.web.auth is not None and not settings.web.is_local:
        yield (
            f"web.auth: tokens come in clear to {settings.web.listen}; put a proxy with TLS before it, or listen on "
            "127.0.0.1 and use kubectl port-forward"
        )


def _of_journal(settings: Settings) -> Iterator[str]:
    if settings.journal.backend != "kubernetes":
        return
    namespace = settings.journal.namespace
    if namespace in {t.namespace for t in settings.targets}:
        yield (
            f"journal.namespace is {namespace}, which holds a target: the guard's account may then read every Secret "
            "there; give the journal a namespace of its own"
        )
    if settings.authority.lease is None:
        yield (
            "journal.backend kubernetes without authority.lease: no volume keeps a second guard from starting beside "
            "this one, as it does while its own Deployment is rolled out, and both would act; name a lease"
        )


def _of_rule(settings: Settings, rule: Rule, *, given: bool) -> Iterator[str]:
    shortest = 2 * settings.policy.polling.interval
    if not given and rule.duration < shortest:
        yield (
            f"rule {rule.name}: the duration {show_duration(rule.duration)} is shorter than two polls of the default "
            f"interval ({show_duration(shortest)}); check it together with its settings"
        )
    yield from pods.unjudged(rule, settings)
    if out_of_reach(rule.condition, {name: 1.0 for name, unit in settings.units.items() if unit is Unit.RATIO}):
        yield f"rule {rule.name}: a share never exceeds 100%, so part of the condition can never be met"
    for target in settings.targets:
        if rule.applies_to(target):
            yield from _unfit(rule, target, settings)
            yield from _unread(rule, target)


def _unfit(rule: Rule, target: Target, settings: Settings) -> Iterator[str]:
    if rule.action is Action.BLUE_GREEN and not target.environments:
        otherwise = settings.policy.blue_green.otherwise
        yield f"rule {rule.name}: target {target.name} has no environments, so {otherwise} takes its place"
    if rule.action is Action.GRADUAL and target.environments:
        otherwise = settings.policy.gradual.otherwise
        yield f"rule {rule.name}: target {target.name} has environments, so {otherwise} takes its place"


def _unread(rule: Rule, target: Target) -> Iterator[str]:
    needs = {
        "health_url": {"health_check_fails"} if target.health_url is None else set(),
        "traffic_url": {"response_time", "slow_responses"} if target.traffic_url is None else set(),
    }
    for key, signals in needs.items():
        missing = sorted(signals & rule.signals)
        if missing:
            yield f"rule {rule.name}: target {target.name} has no {key}, so {listed(missing)} is never known there"
