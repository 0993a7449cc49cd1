"""Gathers what a breach of one target can be put down to; `domain.attribution` judges it."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import dropwhile

import structlog

from logcaster_guard.domain import attribution
from logcaster_guard.domain.attribution import (
    Attribution,
    Cause,
    Level,
    Past,
    Witness,
    Yardstick,
)
from logcaster_guard.domain.conditions import Verdict, judge
from logcaster_guard.domain.evidence import evidence
from logcaster_guard.domain.ledger import Rollout
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Reading, Series, Signal, Value
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.condition_history import judged, whole
from logcaster_guard.engine.configuration_changes import edits_read
from logcaster_guard.engine.pod_comparison import PodComparison
from logcaster_guard.engine.reader import Reader
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.triggers import Trigger, Triggers
from logcaster_guard.messages.texts import english

_ERRORS, _CLIENT = "error_rate", "4"


class Attributor:
    """One target's. `all_targets` are those of all of the guard's targets, by the target's key.

    Sources that fail, and whatever cannot be read, leave the question open; nothing is raised.
    """

    def __init__(
        self,
        context: TargetContext,
        services: Services,
        *,
        triggers: Triggers,
        reader: Reader,
        revisions: RevisionWatch,
        all_targets: Mapping[str, Attributor],
    ) -> None:
        self._target = context.target
        self._live_workload = context.live_workload
        self._clock = services.clock
        self._state = services.state
        self._policy = services.policy
        self._signals = services.signals
        self._sources = services.sources
        self._triggers = triggers
        self._reader = reader
        self._revisions = revisions
        self._pods = PodComparison(context, services, revisions)
        self._configuration = context.configuration
        self._all_targets = all_targets
        self._pasts: dict[str, tuple[tuple[object, ...], Past, Mapping[str, float]]] = {}
        self._befores: dict[frozenset[str], tuple[float, Mapping[str, float]]] = {}
        self._looking_back = asyncio.Lock()
        self._refreshing = asyncio.Lock()
        self._said: dict[str, tuple[datetime, str]] = {}
        self._waiting: dict[str, tuple[datetime, float]] = {}
        self._log = structlog.get_logger().bind(target=context.target.key)

    @property
    def _witness(self) -> Witness:
        """This target, as long as nothing else is known of it."""
        return Witness(self._target.key, self._target.namespace)

    @property
    def _others(self) -> Sequence[Attributor]:
        return [other for key, other in self._all_targets.items() if key != self._target.key]

    async def weigh(self, rule: Rule, *, onset: datetime, workload: Workload | None) -> Attribution | None:
        """What the breach since `onset` comes from; None where no rollout can be meant, or the rule does not ask."""
        ledger = self._state.ledger(self._target.key)
        rollout = ledger.rollout_of(onset)
        if rule.rollout_window is None or workload is None or rollout is None or rollout.by_guard is not None:
            return None
        if ledger.replaced_before(onset) is not None:
            return None
        rolled, began = self._revisions.rolled(rollout), self._triggers.of(rule.name).state.onset
        if rolled is None or began is None or rollout.earliest is None or onset < rollout.earliest:
            return None
        await self._refresh(rule.signals, began)
        # As of one moment: what is looked up meanwhile may take longer than a reading counts.
        readings = self._readings(rule.signals)
        past, before = await self._past(rule, rollout, rolled)
        measures = _met(rule, readings)
        levels = _levels({y.signal for y in measures}, readings, before)
        me = replace(self._witness, breaching=True, onset=began, rolled=rolled, levels=levels)
        edits = edits_read(self._configuration, ledger, rollout)
        asked = [o.witness(rule.signals, began, measures, alone_for=self._alone_for(rule)) for o in self._others]
        beside, others = await asyncio.gather(
            self._pods.compare(measures, me, workload, ledger.suspected(onset), edits), asyncio.gather(*asked)
        )
        judged = partial(
            attribution.attributed,
            me,
            past=past,
            beside=beside,
            measures=measures,
            policy=self._policy.attribution,
            edits=edits,
            indistinct=self._policy.config.attribution,
        )
        found = self._after_waiting(rule, onset, others, judged)
        if rollout.key != ledger.present:
            found = replace(found, began_with=ledger.records[rollout.key].name)
        self._say(rule, onset, found)
        return found

    async def request_rate(self, rule: Rule) -> Reading | None:
        """A fresh reading of the traffic, where the rule or the settings ask for some; else None."""
        signal = self._signals.get("request_rate")
        source = None if signal is None else self._sources.get(signal.source)
        target = self._live_workload.known
        if self._policy.min_request_rate(rule) is None or signal is None or source is None or target is None:
            return None
        return (await read_now(source, target, [signal]))[signal.name]

    def pending(self) -> Sequence[str]:
        """The objects of the configuration that no pod has read as they are now."""
        return sorted({str(edit.object) for edit in self._configuration.pending()})

    async def client_errors(self, rule: Rule) -> float | None:
        """The share of requests that fail with 4xx, where the rule reads the error rate and its source can tell."""
        signal, target = self._signals.get(_ERRORS), self._live_workload.known
        source = None if signal is None else self._sources.get(signal.source)
        if _ERRORS not in rule.signals or signal is None or source is None or target is None:
            return None
        if signal.by_pod is None or _CLIENT not in signal.by_pod.failed:
            return None
        asked = replace(signal, by_pod=replace(signal.by_pod, failed=frozenset({_CLIENT})))
        reading = (await read_now(source, target, [asked]))[asked.name]
        return reading.number if isinstance(reading, Value) else None

    def _alone_for(self, rule: Rule) -> float:
        """Seconds for which a breach must be the only one left of several, as long as any breach has to last.

        What fails many at once lets go of them one after the other, and readings show it for a while longer.
        """
        return rule.duration + max(self._signals[n].lookback for n in rule.signals)

    def _after_waiting(
        self, rule: Rule, onset: datetime, others: Sequence[Witness], judged: Callable[[Sequence[Witness]], Attribution]
    ) -> Attribution:
        """What is judged of `others`; those that have recovered hold a breach's rollback back for a while only.

        The while begins when first nothing else does, and is not begun again by those that breach and recover again.
        """
        found = judged(others)
        if found.cause is Cause.ROLLOUT or not any(w.recovered for w in others):
            return found
        without = judged([replace(w, breaching=w.breaching and not w.recovered) for w in others])
        if without.cause is not Cause.ROLLOUT:
            return found
        now, waiting = self._clock.monotonic(), self._waiting.get(rule.name)
        if waiting is None or waiting[0] != onset:
            waiting = self._waiting[rule.name] = (onset, now)
        return without if now - waiting[1] >= self._alone_for(rule) else found

    async def witness(
        self, signals: frozenset[str], since: float, measures: Sequence[Yardstick], *, alone_for: float
    ) -> Witness:
        """How this target fares on these signals, now that a breach of another began at monotonic second `since`.

        A breach that was over less than `alone_for` seconds ago still counts, as it was at its worst by `measures`.
        """
        triggers = [t for t in self._triggers.all() if t.rule.signals & signals]
        names = frozenset().union(*(t.rule.signals for t in triggers))
        await self._refresh(names, since)
        now, readings = self._clock.monotonic(), self._readings(names)
        met = [
            t for t in triggers if judge(t.rule.condition, readings).verdict is Verdict.MET and self._triggers.has(t)
        ]
        found = self._witness
        if not met:
            return await self._recovered(found, triggers, measures, now - alone_for)
        onset, instant = min((now if t.state.onset is None else t.state.onset, self._triggers.onset(t)) for t in met)
        rolled = self._rolled_before(instant)
        began = rolled if rolled is not None and rolled <= onset else onset
        before = await self._levels_before(signals & names, began)
        levels = _levels(signals & names, readings, before)
        undone = self._being_undone(readings)
        return replace(found, breaching=True, onset=onset, rolled=rolled, levels=levels, undone=undone)

    async def _recovered(
        self, found: Witness, triggers: Sequence[Trigger], measures: Sequence[Yardstick], since: float
    ) -> Witness:
        """As a witness whose breach has been over since then.

        Its levels are the worst that it showed: on their way down they would make whoever recovers a poll later stand
        out. A breach that somebody's rollout ended is another matter.
        """
        ended_by = self._revisions.rolled(self._state.ledger(self._target.key).rollout)
        over = [t.last for t in triggers if t.last is not None and t.last.ended > since]
        recent = [breach for breach in over if ended_by is None or ended_by <= breach.onset]
        if not recent:
            return found
        first, ended = min(recent, key=lambda breach: breach.onset), max(breach.ended for breach in recent)
        rolled = self._rolled_before(first.began)
        began = rolled if rolled is not None and rolled <= first.onset else first.onset
        before = await self._levels_before(frozenset(y.signal for y in measures), began)
        levels = {}
        for yardstick in measures:
            shown = [value.number for value in self._triggers.cache.values(yardstick.signal, first.onset, ended)]
            if shown:
                worst = max(shown) if yardstick.rising else min(shown)
                levels[yardstick.signal] = Level(worst, before.get(yardstick.signal))
        return replace(found, breaching=True, onset=first.onset, rolled=rolled, levels=levels, recovered=True)

    def _rolled_before(self, onset: datetime) -> float | None:
        """When somebody rolled out what a breach since `onset` can be put down to; None where the guard did."""
        rollout = self._state.ledger(self._target.key).rollout_of(onset)
        return None if rollout is not None and rollout.by_guard is not None else self._revisions.rolled(rollout)

    def _being_undone(self, readings: Mapping[str, Reading]) -> bool:
        """Whether these readings still show a bad release that a rollback is leaving, or has just left."""
        ledger, run = self._state.ledger(self._target.key), self._state.open_run_on(self._target.key)
        if run is not None and run.touched and ledger.record_of(run.opened.plan.origin) == ledger.live:
            return True
        left = ledger.records.get((ledger.rollout and ledger.rollout.previous) or "")
        since = min(r.at - self._signals[name].lookback for name, r in readings.items())
        return left is not None and left.bad_since is not None and since < self._revisions.served_alone_since

    async def _refresh(self, names: frozenset[str], since: float) -> None:
        """Read anew what was not read since then, or a poll ago.

        A guard that has just begun knows nothing of the others, and a target that was last read before its own errors
        began would look healthy. One read serves all who ask at the same time.
        """
        async with self._refreshing:
            cache, oldest = self._triggers.cache, max(since, self._clock.monotonic() - self._policy.polling.interval)
            old = [n for n in names if (reading := cache.latest(n)) is None or reading.at < oldest]
            if old:
                await self._reader.read_all(old)

    def _readings(self, names: frozenset[str]) -> Mapping[str, Reading]:
        return self._triggers.cache.readings(sorted(names), self._clock.monotonic())

    # Before the rollout

    async def _past(self, rule: Rule, rollout: Rollout, rolled: float) -> tuple[Past, Mapping[str, float]]:
        """What the rule said before the rollout, and the level of each of its signals then; looked for once."""
        previous = self._state.ledger(self._target.key).records.get(rollout.previous or "")
        key = (rolled, rollout.key, rule)
        known = self._pasts.get(rule.name)
        if known is not None and known[0] == key:
            return known[1], known[2]
        start, end, stood = rolled - self._policy.attribution.before, rolled, float("-inf")
        if rollout.previous_since is not None and rollout.earliest is not None:
            stood = end - (rollout.earliest - rollout.previous_since).total_seconds()
            start = max(start, stood)
        series = await self._series(rule.signals, start, end)
        met = seen = 0.0
        if end > start and len(series) == len(rule.signals):
            step = whole(end - start, max(self._policy.polling.interval, 0.05))
            # The last instant is the rollout's own.
            samples = judged(rule, series, start, end, step)[:-1]
            if start == stood:
                # Its pods came one by one: a breach that was on then, and ended, is of what was live before.
                samples = list(dropwhile(lambda s: s.verdict is not Verdict.NOT_MET, samples))
            # A breach that reaches back to what was live before that release is not known to be its own.
            reach = max(self._signals[n].lookback for n in rule.signals)
            met = step * sum(s.verdict is Verdict.MET and s.at - reach >= stood for s in samples)
            seen = met + step * sum(s.verdict is Verdict.NOT_MET for s in samples)
        by_ledger = previous is not None and previous.bad_since is None and previous.earned_by(rule)
        past = attribution.judged_past(seen, met, by_ledger=by_ledger, policy=self._policy.attribution)
        levels = _medians(series)
        if seen:
            self._pasts[rule.name] = (key, past, levels)
        return past, levels

    async def _levels_before(self, names: frozenset[str], end: float) -> Mapping[str, float]:
        """The levels up to `end`; looked for once, however many others ask: they all do in a common outage."""
        async with self._looking_back:
            known = self._befores.get(names)
            if known is None or known[0] != end:
                found = _medians(await self._series(names, end - self._policy.attribution.before, end))
                known = self._befores[names] = (end, found)
        return known[1]

    async def _series(self, names: frozenset[str], start: float, end: float) -> Mapping[str, Series]:
        """The past of each signal, as its source keeps it or as it was read; those without any are left out."""
        if end <= start:
            return {}
        found = await asyncio.gather(*(self._one_series(self._signals[n], start, end) for n in names))
        return {n: s for n, s in zip(names, found, strict=True) if s.points}

    async def _one_series(self, signal: Signal, start: float, end: float) -> Series:
        step, target = whole(end - start, max(self._policy.polling.interval, 0.05)), self._live_workload.known
        source = self._sources.get(signal.source)
        if source is not None and target is not None:
            history = await source.history(target, signal, start, end, step)
            if isinstance(history, Series) and any(at < end for at, _ in history.points):
                return Series(tuple(p for p in history.points if p[0] < end), history.step)
        values = self._triggers.cache.values(signal.name, start, end)
        return Series(tuple((v.at, v.number) for v in values if v.at < end), step)

    def _say(self, rule: Rule, onset: datetime, found: Attribution) -> None:
        if self._said.get(rule.name) == (onset, found.cause):
            return
        self._said[rule.name] = (onset, found.cause)
        units = {name: signal.unit for name, signal in self._signals.items()}
        self._log.info(
            "cause.weighed", rule=rule.name, cause=str(found.cause), evidence=english().text(evidence(found, units))
        )  # fmt: skip


def _met(rule: Rule, readings: Mapping[str, Reading]) -> Sequence[Yardstick]:
    """The rule's yardsticks that are passed."""
    passed = []
    for yardstick in attribution.yardsticks(rule.condition):
        reading = readings.get(yardstick.signal)
        if isinstance(reading, Value):
            excess = reading.number - yardstick.threshold
            passed += [yardstick] if (excess >= 0 if yardstick.rising else excess <= 0) else []
    return passed


def _levels(
    names: frozenset[str] | set[str], readings: Mapping[str, Reading], before: Mapping[str, float]
) -> Mapping[str, Level]:
    return {n: Level(r.number, before.get(n)) for n in names if isinstance(r := readings[n], Value)}


def _medians(series: Mapping[str, Series]) -> Mapping[str, float]:
    """The typical level of each signal: one outlier moves it little."""
    return {name: statistics.median(number for _, number in s.points) for name, s in series.items()}
