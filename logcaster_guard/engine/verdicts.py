"""What all rules of a target together say of it now: whether it is quiet, whether it has recovered."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from logcaster_guard.domain import manual
from logcaster_guard.domain.conditions import Judgement, NoDataPolicy, Verdict, judge
from logcaster_guard.domain.measurements import RuleGone, RuleSaw, RulesSaw
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import Gap, NoData, Signal
from logcaster_guard.engine.reading_cache import ReadingCache
from logcaster_guard.engine.reading_cache import seen as told
from logcaster_guard.steps.step_services import Assessment


def sees(rule: Rule, judgement: Judgement, seen: frozenset[str]) -> bool:
    """Whether the rule, judged by its own policy for missing data, sees the target.

    A rule that never had a value of each of its signals (`seen`) does not see: a misspelt signal is missing for ever.
    The exception is a rule for which missing data is a breach.
    """
    if judgement.verdict is Verdict.UNKNOWN:
        return False
    return rule.no_data is NoDataPolicy.BREACH or rule.signals <= seen


def quiet(
    rules: Collection[Rule], cache: ReadingCache, *, seen: frozenset[str], now: float, since: float
) -> Mapping[str, bool | None]:
    """Whether each rule is quiet now, by name; None where it has seen nothing since monotonic second `since`."""
    found: dict[str, bool | None] = {}
    for rule in rules:
        readings = {
            name: reading if reading.at >= since else NoData(reading.at, Gap.STALE)
            for name, reading in cache.readings(rule.signals, now).items()
        }
        judgement = judge(rule.condition, readings, rule.no_data)
        found[rule.name] = judgement.verdict is Verdict.NOT_MET if sees(rule, judgement, seen) else None
    return found


def assess(
    rules: Mapping[str, Rule],
    signals: Mapping[str, Signal],
    cache: ReadingCache,
    *,
    fired: str,
    since: float,
    now: float,
) -> Assessment:
    """What the rules say on values that reach back no further than `since` (monotonic seconds).

    Rules that only tell people are ignored, except the one that fired. After a rollback that no rule has asked for, any
    rule that is quiet on values is enough. The rules' policies for missing data are left aside: neither recovery nor
    failure is taken for granted.
    """
    breached = list[RuleSaw]()
    verdict_of_fired = Verdict.UNKNOWN
    evidence: Message = RuleGone(fired)
    for rule in rules.values():
        if (rule.action is Action.ALERT_ONLY or rule.dry_run) and rule.name != fired:
            continue
        readings = cache.since([signals[n] for n in sorted(rule.signals)], now, since)
        verdict = judge(rule.condition, readings).verdict
        found = tuple(told(signals[n], r) for n, r in readings.items())
        if verdict is Verdict.MET:
            breached.append(RuleSaw(rule.name, found))
        if rule.name == fired or (fired == manual.RULE and verdict is Verdict.NOT_MET):
            verdict_of_fired, evidence = verdict, RuleSaw("", found)
    return Assessment(Verdict.MET, RulesSaw(tuple(breached))) if breached else Assessment(verdict_of_fired, evidence)
