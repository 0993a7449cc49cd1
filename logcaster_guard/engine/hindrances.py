"""Tells people of what keeps a run from going on: once for each step, when it has lasted."""

from __future__ import annotations

from logcaster_guard import messages
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.observations import Observation, Unclear
from logcaster_guard.domain.runs import Compensate, Decision, Perform, Run
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.step_clock import StepClock
from logcaster_guard.ports import Clock

_HELD_UP = 600.0
"""Seconds after which people are told that a run cannot give back what it has borrowed."""
_OUT_OF_REACH = 60.0
"""The shorter limit where the API server refuses or does not answer: waiting alone will not change that."""


class Hindrances:
    """What keeps each run from going on, and since when, by this process's own clock."""

    def __init__(self, state: JournalState, clock: Clock, step_clock: StepClock) -> None:
        self._state = state
        self._clock = clock
        self._step_clock = step_clock
        self._hindered: dict[str, tuple[float, Reason]] = {}

    def note(self, run: Run, decision: Decision, seen: ClusterError | Observation | None) -> None:
        """Keep what the API server answered to the last look or write of the run."""
        if isinstance(seen, ClusterError | Unclear):
            since, _ = self._hindered.get(run.id, (self._clock.monotonic(), ""))
            self._hindered[run.id] = (since, seen.detail if isinstance(seen, Unclear) else seen.reason)
        elif not isinstance(decision, Perform | Compensate):
            # Whether a write is taken is not known before it is tried.
            self._hindered.pop(run.id, None)

    async def tell(self, stream: str, run: Run) -> None:
        """Tell people, once in a step, that a run stands still because the API server does not answer or take it."""
        since, reason = self._hindered.get(run.id, (self._clock.monotonic(), ""))
        if run.ending is None and run.present is not None and self._clock.monotonic() - since >= _OUT_OF_REACH:
            await self._tell_once(stream, messages.hindered(run, self._clock.now(), reason))

    async def tell_held_up(self, stream: str, run: Run, reason: Reason, *, barred: bool) -> None:
        """Tell people, once, that something borrowed has not come back for long; `barred`: the API server is why."""
        if run.owed is None or run.ending is None:
            return
        if self._step_clock.elapsed(run) >= (_OUT_OF_REACH if barred else _HELD_UP):
            await self._tell_once(stream, messages.held_up(run, run.owed, self._clock.now(), reason))

    async def _tell_once(self, stream: str, notice: Notice) -> None:
        if not self._state.knows_notice(notice.id):
            await self._state.tell(stream, NoticeQueued(notice.at, notice))

    def forget(self, run: str) -> None:
        """The run has closed."""
        self._hindered.pop(run, None)
