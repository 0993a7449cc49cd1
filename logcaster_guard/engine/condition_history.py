"""Range data of a rule's condition: what it was at instants at which nobody looked."""

from __future__ import annotations

import asyncio
import bisect
import math
from collections.abc import Mapping, Sequence

from logcaster_guard.domain import triggers
from logcaster_guard.domain.conditions import Judgement, Verdict, judge
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Gap, NoData, Reading, Series, Signal, SourceName, Value
from logcaster_guard.domain.triggers import Change, Sample, TriggerState
from logcaster_guard.engine.live_workload import LiveWorkload
from logcaster_guard.ports import Source


class ConditionHistory:
    """Asks the sources for the past of one target and evaluates conditions over it."""

    def __init__(
        self,
        live_workload: LiveWorkload,
        signals: Mapping[str, Signal],
        sources: Mapping[SourceName, Source],
        interval: float,
    ) -> None:
        self._live_workload = live_workload
        self._signals = signals
        self._sources = sources
        self._interval = interval

    async def advance(
        self,
        rule: Rule,
        before: TriggerState,
        judgement: Judgement,
        *,
        now: float,
        staleness: float,
        fresh: bool,
        credit_from: float,
    ) -> tuple[TriggerState, Sequence[Change]]:
        """The state after an evaluation at `now`, with what range data says of the time that nobody looked at.

        `fresh`: each reading was taken for this evaluation. Nothing before `credit_from` is credited.
        """
        changes: list[Change] = []
        state = before
        if judgement.verdict is Verdict.MET:
            since = state.unproven_since(now, staleness)
            if since is not None:
                state = await self.backfill(rule, state, since, now)
                if state.onset != before.onset:
                    changes.append(Change.PENDING)
        state, change = triggers.advance(state, rule, judgement, now=now, staleness=staleness, fresh=fresh)
        if change is Change.PENDING:
            changes.append(change)
            state = await self.refine(rule, state, now, hole=staleness, credit_from=credit_from)
            state, change = triggers.advance(state, rule, judgement, now=now, staleness=staleness, fresh=fresh)
        return state, [*changes, change] if change is not None else changes

    async def samples(self, rule: Rule, start: float, end: float, step: float) -> Sequence[Sample]:
        """The condition at each `step` from `start` to `end`, both included; empty if a source keeps no past or fails.

        `end - start` is a whole number of steps.
        """
        signals, target = [self._signals[name] for name in sorted(rule.signals)], self._live_workload.known
        if target is None:
            return []
        found = await asyncio.gather(*(self._sources[s.source].history(target, s, start, end, step) for s in signals))
        series = {s.name: h for s, h in zip(signals, found, strict=True) if isinstance(h, Series)}
        if len(series) < len(signals):
            return []
        return judged(rule, series, start, end, step)

    async def backfill(self, rule: Rule, state: TriggerState, since: float, now: float) -> TriggerState:
        """The state with the unproven stretch from `since` to `now` credited as far as range data shows it."""
        if now - since < _SHORTEST:
            return state
        step = whole(now - since, max(min(self._interval, (now - since) / 4), 0.1))
        return triggers.backfill(state, await self.samples(rule, since, now, step), step=step)

    async def refine(
        self, rule: Rule, state: TriggerState, now: float, *, hole: float, credit_from: float
    ) -> TriggerState:
        """The state of a breach first read at `now`, its onset moved back to where range data shows that it began.

        Fine samples over the rule's duration prove its credit; where they are met throughout, coarser ones over the
        rollout window look for the onset before that. A hole of at most `hole` seconds does not move the onset;
        nothing before `credit_from` is credited.
        """
        begin = now - rule.duration
        known_quiet = state.quiet_at if state.quiet_at is not None else float("-inf")
        start = max(begin, known_quiet)
        if now - start < _SHORTEST:
            return state
        step = whole(now - start, max(0.05, min(self._interval / 4, (now - start) / 40)))
        samples = await self.samples(rule, start, now, step)
        refined = triggers.refine(state, samples, step=step, now=now, hole=hole, credit_from=credit_from)
        if refined.onset is None or refined.onset > start + step * 1.5 or known_quiet >= begin:
            return refined
        reach = max(known_quiet, now - min(rule.rollout_window or rule.duration, 86_400.0))
        if refined.onset - reach < step:
            return refined
        coarse = whole(refined.onset - reach, step)
        samples = await self.samples(rule, reach, refined.onset, coarse)
        return triggers.earlier_onset(refined, samples, step=coarse, hole=hole)


def judged(rule: Rule, series: Mapping[str, Series], start: float, end: float, step: float) -> Sequence[Sample]:
    """The condition over its signals' past, at each `step` from `start` to `end`, both included."""
    count = round((end - start) / step) + 1
    instants = [end - step * i for i in reversed(range(count))]
    return [Sample(at, judge(rule.condition, _readings(series, at, step)).verdict) for at in instants]


_MOST_STEPS = 1_000
_SHORTEST = 0.05
"""Seconds; there is nothing to be learnt of less."""


def whole(span: float, step: float) -> float:
    """The largest step of at most `step` seconds, but not over `_MOST_STEPS` of them, that divides `span` evenly."""
    return span / max(1, min(_MOST_STEPS, math.ceil(span / step - 1e-9)))


def _readings(series: Mapping[str, Series], at: float, step: float) -> Mapping[str, Reading]:
    return {name: _nearest(found, at, step) for name, found in series.items()}


def _nearest(series: Series, at: float, step: float) -> Reading:
    index = bisect.bisect_left(series.points, (at - step / 2 - 1e-9, float("-inf")))
    if index < len(series.points):
        instant, number = series.points[index]
        if abs(instant - at) <= step / 2 + 1e-9:
            return Value(instant, number)
    return NoData(at, Gap.EMPTY)
