"""Gives back what stayed borrowed beyond the end of its run, as soon as that can be done.

It is the target's then, and no more its run's. A run that is open on the target comes first.
"""

from __future__ import annotations

from logcaster_guard import messages
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.events import HoldDeferred, HoldSettled, NoticeQueued
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Pending, Unclear
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock
from logcaster_guard.steps.step_services import Handlers


class DeferredCompensations:
    """Does for closed runs what the executor does at the end of one. The journal is the only memory."""

    def __init__(self, *, state: JournalState, handlers: Handlers, clock: Clock, interval: float) -> None:
        self._state = state
        self._handlers = handlers
        self._clock = clock
        self._interval = interval
        self._lines = RecurringLog(clock)

    async def run(self) -> None:
        """Look at each, over and over."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.monotonic() + self._interval)

    async def look(self) -> None:
        """Once: what can be given back is, and what is seen to be back is settled."""
        for target, event in self._state.deferred():
            if self._state.open_run_on(target) is not None:
                continue
            try:
                await self._look_at(target, event)
            except ClusterError as error:
                self._not_yet(target, event, error.reason)
            except JournalUnavailable as error:
                self._lines.error("journal.unavailable", about=target, target=target, detail=str(error))

    async def _look_at(self, target: str, event: HoldDeferred) -> None:
        run, owed = self._state.run(event.run), event.hold
        if run.closed is None:
            return
        compensator = self._handlers.compensators[owed.kind]
        match await compensator.observe_compensation(owed, run):
            case Before():
                await compensator.compensate(owed, run)
            case Done(detail):
                await self._settle(target, event, detail, theirs=False)
            case ExternalChange(detail):
                await self._settle(target, event, detail, theirs=True)
            case Unclear(detail) | Failed(_, detail):
                self._not_yet(target, event, detail)
            case Pending():
                pass

    async def _settle(self, target: str, event: HoldDeferred, detail: Reason, *, theirs: bool) -> None:
        run, at = self._state.run(event.run), self._clock.now()
        remedy = self._handlers.compensations[event.hold.kind].remedy(run.opened.plan, event.hold)
        settled = HoldSettled(at, run.id, event.hold.id, detail, theirs)
        notice = NoticeQueued(at, messages.settled(run, event.hold, settled, remedy))
        await self._state.tell(target_stream(target), settled, notice)

    def _not_yet(self, target: str, event: HoldDeferred, reason: Reason) -> None:
        about, detail = f"{target} {event.hold.id}", english().text(reason)
        self._lines.warning("hold.not_settled", about=about, target=target, object=event.hold.object, detail=detail)
