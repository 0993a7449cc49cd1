"""Reads the signals of one target from their sources into its cache, in slots that a slow source cannot pile up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.events import SignalSeen
from logcaster_guard.domain.problems import Overload, ProblemKind, SlowPolls
from logcaster_guard.domain.signals import Reading, Signal, SourceError, SourceName, Target, Value
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.problem_tracker import LASTS
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.source_health import SourceHealth
from logcaster_guard.engine.triggers import Triggers
from logcaster_guard.engine.watched_workload import WatchedWorkload
from logcaster_guard.messages.texts import english

_LONGEST_WAIT = 600.0
_POLLS = "polls"

LONGEST_BACKOFF = 60.0
"""The longest pause, in seconds, between polls of a failing source; a longer polling interval wins."""

_MOST_INTERVALS = 4.0
_LEAST_GROWTH = 1.5


def backoff(interval: float, failures: int, chance: float) -> float:
    """Seconds to wait after the `failures`-th poll in a row (from 1) that failed; `chance` is random in [0, 1).

    The bound doubles from `interval` to four times that or `LONGEST_BACKOFF`, whichever is less, but at least to one
    and a half intervals. The wait lies in the bound's upper half, and is never shorter than the interval.
    """
    longest = min(_MOST_INTERVALS * interval, max(LONGEST_BACKOFF, _LEAST_GROWTH * interval))
    bound = min(interval * 2.0 ** min(failures, 30), longest)
    least = max(interval, bound / 2)
    return least + (bound - least) * chance


class Reader:
    """Reads the signals that the target's rules need into their cache: whoever reloads the rules may do so meanwhile.

    `jitter` gives a random number in [0, 1).
    """

    def __init__(
        self,
        context: TargetContext,
        services: Services,
        *,
        triggers: Triggers,
        health: SourceHealth,
        watched: WatchedWorkload,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._target = context.target
        self._live_workload = context.live_workload
        self._watched = watched
        self._last = context.live_workload.known
        self._counters = context.counters
        self._signals = triggers.signals
        self._cache = triggers.cache
        self._sources = services.sources
        self._sampler = services.sampler
        self._interval = services.policy.polling.interval
        self._clock = services.clock
        self._state = services.state
        self._problems = services.problems
        self._health = health
        self._jitter = jitter
        self._failing: set[SourceName] = set()
        self._failures: dict[SourceName, int] = {}
        self._missed: dict[SourceName, int] = {}
        self._busy_until: dict[SourceName, float] = {}
        self._missed_last: dict[SourceName, float] = {}
        self._lines = RecurringLog(services.clock, target=context.target.key)

    @property
    def missed(self) -> Mapping[SourceName, int]:
        """Poll slots that a slow source let pass."""
        return dict(self._missed)

    def of(self, source: SourceName) -> Sequence[Signal]:
        """The signals that are read from this source now."""
        return [s for s in self._signals.values() if s.source is source]

    async def poll(self, source: SourceName, signals: Sequence[Signal]) -> float:
        """Read these with all other targets that are due; returns the longest wait (seconds) that the source asked for.

        While a run is open on the target its readings judge that run, so that nothing of the cluster is shared.
        """
        if not signals:
            self._note_answer(source, answered=True)
            return 0.0
        watching = self._state.open_run_on(self._target.key) is None
        target = await self._live(shared=watching)
        if target is None:
            return 0.0
        return await self._take(source, await self._sampler.read(source, target, signals, shared=watching))

    async def _read_now(self, source: SourceName, signals: Sequence[Signal]) -> None:
        target = await self._live(shared=False)
        if target is not None:
            await self._take(source, await read_now(self._sources[source], target, signals))

    async def _take(self, source: SourceName, readings: Mapping[str, Reading]) -> float:
        """Into the cache, with all that follows from it; returns the wait that was asked for."""
        self._note_answer(source, answered=not all(isinstance(r, SourceError) for r in readings.values()))
        self._cache.put(readings)
        self._counters.read(source, readings, self._clock.now())
        self._health.note(source, self._target, readings)
        await self._note_first_values([n for n, r in readings.items() if isinstance(r, Value)])
        waits = [r.retry_after for r in readings.values() if isinstance(r, SourceError) and r.retry_after]
        wait = min(max(waits, default=0.0), _LONGEST_WAIT)
        self._busy_until[source] = self._clock.monotonic() + wait
        return wait

    async def _live(self, *, shared: bool) -> Target | None:
        """The target with its live workload; the one that was known last while nobody tells."""
        try:
            self._last = await (self._watched.live() if shared else self._live_workload.look())
        except ClusterError as error:
            self._lines.warning("workload.unread", detail=str(error))
        return self._last

    async def read_all(self, names: Iterable[str]) -> None:
        """Read these signals afresh, all sources at once but those that have asked to be left alone for now."""
        by_source: dict[SourceName, list[Signal]] = {}
        for name in sorted(names):
            by_source.setdefault(self._signals[name].source, []).append(self._signals[name])
        now = self._clock.monotonic()
        free = {s: signals for s, signals in by_source.items() if self._busy_until.get(s, now) <= now}
        await asyncio.gather(*(self._read_now(source, signals) for source, signals in free.items()))

    def free_at(self, sources: Iterable[SourceName]) -> float:
        """From which second on all of these may be read: until then one of them has asked to be left alone."""
        return max((self._busy_until.get(source, 0.0) for source in sources), default=0.0)

    def next_slot(self, source: SourceName, slot: float, retry_after: float) -> float:
        """The next slot that is not past: one that a slow read let pass is counted, never made up for.

        A source whose last read gave nothing but errors is polled less and less often, until it answers.
        """
        interval, now = self._interval, self._clock.monotonic()
        following = self._sampler.slot_after(slot)
        if now > following:
            missed = int((now - following) // interval) + 1
            self._missed[source] = self._missed.get(source, 0) + missed
            following += missed * interval
            self._note_missed(source)
        elif now - self._missed_last.get(source, now) > LASTS:
            self._problems.clear(_POLLS, self._target, source)
        if source in self._failing:
            failures = self._failures[source] = self._failures.get(source, 0) + 1
            following = max(following, now + backoff(interval, failures, self._jitter()))
        while following < now + retry_after:
            following += interval
        return following

    def _note_missed(self, source: SourceName) -> None:
        self._missed_last[source] = self._clock.monotonic()
        cause = SlowPolls(self._interval)
        detail = english().text(cause)
        self._lines.warning("poll.missed", about=source, detail=detail, source=str(source), total=self._missed[source])
        self._problems.note(ProblemKind.POLLS, _POLLS, self._target, source, what=Overload(), cause=cause)

    def _note_answer(self, source: SourceName, *, answered: bool) -> None:
        if answered:
            self._failing.discard(source)
            self._failures.pop(source, None)
        else:
            self._failing.add(source)

    async def _note_first_values(self, names: Iterable[str]) -> None:
        seen = self._state.ledger(self._target.key).signals_seen
        new = [SignalSeen(self._clock.now(), name) for name in names if name not in seen]
        if not new or not self._state.available:
            return
        try:
            await self._state.tell(target_stream(self._target.key), *new)
        except JournalUnavailable as error:
            self._lines.error("journal.unavailable", detail=str(error))
