"""Carries out runs: observe, ask the domain what comes next, commit, act; the domain decides everything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import structlog

from logcaster_guard import messages
from logcaster_guard.domain import runs
from logcaster_guard.domain.compensations import Remedy
from logcaster_guard.domain.errors import ClusterError, Conflict, JournalUnavailable, Rejected
from logcaster_guard.domain.events import (
    Event,
    HoldDeferred,
    HoldReleased,
    NoticeQueued,
    OwnerSuspended,
    PeopleReminded,
    RunClosed,
    RunOpened,
    StepDone,
)
from logcaster_guard.domain.guard_reasons import OpenedWithoutLease
from logcaster_guard.domain.observations import Failed, Observation, Unclear
from logcaster_guard.domain.reasons import ChangeRefused
from logcaster_guard.domain.runs import FAILED, Close, Commit, Compensate, Perform, Run, WaitUntil
from logcaster_guard.domain.steps import Compensation, Purpose
from logcaster_guard.engine.hindrances import Hindrances
from logcaster_guard.engine.hub import Hub, RunEnded
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.step_clock import StepClock
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock
from logcaster_guard.steps.step_services import Handlers

_JOURNAL_RETRY = 5.0
_LONGEST_PAUSE = 60.0
_CONFLICTS_AT_ONCE = 5
_GRACE = 10.0
_VOID = OpenedWithoutLease()
_SUCCESSION = 300.0
"""Seconds for which the API server may be away before a run that failed closes without a run after it."""


class Listener(Protocol):
    """Hears what people say to runs."""

    async def listen(self, run: Run) -> bool:
        """Whether something that they said counts from now on; raises `ClusterError`."""


class Follower(Protocol):
    """Knows what follows from the end of a run on its target."""

    async def fall_back(self, run: Run, closed: RunClosed, rungs: int) -> RunOpened | None:
        """The run after it, if there is one; `rungs` runs before fell back already. Raises `ClusterError`."""


class Executor:
    """One task per open run; publishes `RunEnded` when one has closed and none follows.

    `listener` is asked before each decision of a run.
    """

    def __init__(
        self,
        state: JournalState,
        clock: Clock,
        handlers: Handlers,
        *,
        hub: Hub,
        listener: Listener | None = None,
    ) -> None:
        self._state = state
        self._clock = clock
        self._handlers = handlers
        self._hub = hub
        self._listener = listener
        self._followers: dict[str, Follower] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._step_clock = StepClock(clock)
        self._hindrances = Hindrances(state, clock, self._step_clock)
        self._void: set[str] = set()
        self._grace = _GRACE
        self._log = structlog.get_logger()
        self._lines = RecurringLog(clock)

    def follow(self, target: str, follower: Follower) -> None:
        """Ask `follower` whenever a run on the target is about to close.

        Closing it and opening the one that follows is one append.
        """
        self._followers[target] = follower

    def resume(self) -> None:
        """Take up every run that the journal tells to be open."""
        open_runs = self._state.open_runs()
        for stream, run in open_runs.items():
            if run in runs.superfluous(r for r in open_runs.values() if r.opened.target == run.opened.target):
                self._void.add(run.id)
            self._log.info("run.resumed", run=run.id, target=run.opened.target, step=run.step)
            self.start(stream, run.id)

    async def catch_up(self) -> None:
        """Take in what a guard that no longer holds the lease has appended late. Raises `JournalUnavailable`.

        A run that it opened so has changed nothing, and is closed: it was decided on a past that is over. One that
        follows from another run has taken over its compensations, and is carried on.
        """
        for stream, run in (await self._state.newcomers()).items():
            if run.opened.parent is None:
                self._void.add(run.id)
            self.start(stream, run.id)

    def start(self, stream: str, run: str) -> None:
        """Carry the run out in the background."""
        if run not in self._tasks:
            self._tasks[run] = asyncio.create_task(self._guarded(stream, run), name=f"run {run}")

    def carries(self, run: str) -> bool:
        """Whether the run is carried out: one that stopped on a defect is not."""
        return run in self._tasks

    def busy(self, target: str) -> bool:
        """Whether a run on the target is open."""
        return self._state.open_run_on(target) is not None

    async def take_over(self, run: Run, plan: Callable[[], Awaitable[RunOpened | None]]) -> bool:
        """Open the run that `plan` makes in place of `run`, whose compensations it takes over; False if there is none.

        `run` stands still meanwhile, and goes on if it is not taken over.
        """
        stream = self._state.open_runs_stream(run.id)
        if stream is None:
            return False
        task = self._tasks.get(run.id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            async with self._state.counting():
                return await self._taken_over(stream, run, plan)
        finally:
            if self._state.run(run.id).closed is None:
                self.start(stream, run.id)

    async def _taken_over(self, stream: str, run: Run, plan: Callable[[], Awaitable[RunOpened | None]]) -> bool:
        opened = None if self._state.run(run.id).restoring else await plan()
        if opened is None or self._state.run(run.id).said is not None:
            return False
        closed = RunClosed(opened.at, run.id, runs.ESCALATED, opened.reason, freeze=False)
        present = self._state.run(run.id)
        opened = replace(opened, holds=tuple(present.compensations.values()))
        notice = NoticeQueued(opened.at, messages.opened(opened))
        if not await self._state.decide(stream, closed, opened, notice, of=present):
            return False
        self.start(stream, opened.run)
        return True

    async def join(self) -> None:
        """Wait until every run that was started here has ended; a run's defect is raised."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values())

    async def stop(self, *, at_once: bool = False) -> None:
        """Let go of the runs; an effect under way may end, waiting is cut short. The journal knows the rest.

        `at_once`: an effect under way is let go of as well; nobody learns here whether it was taken.
        """
        self._grace = 0.0 if at_once else _GRACE
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, stream: str, run: str) -> None:
        opened = self._state.run(run).opened
        target = opened.target
        with structlog.contextvars.bound_contextvars(run=run, target=target, rule=opened.rule):
            try:
                await self._carry_out(stream, run)
            except Exception as error:  # noqa: BLE001 - the edge of a task: a defect must not pass in silence
                await self._crashed(stream, run, error)
            else:
                if run not in self._void:
                    self._hub.publish(RunEnded(target))
            finally:
                self._tasks.pop(run, None)
                # One that stood still, and was not taken over, has lasted all the while.
                if self._state.run(run).closed is not None:
                    self._step_clock.forget(run)
                    self._hindrances.forget(run)

    async def _crashed(self, stream: str, run: str, error: Exception) -> None:
        self._log.error("run.crashed", exc_info=error)
        at = self._clock.now()
        notice = messages.crashed(run, error, at)
        with contextlib.suppress(JournalUnavailable):
            await self._state.tell(stream, NoticeQueued(at, notice))

    async def _carry_out(self, stream: str, run_id: str) -> None:
        failure: ClusterError | None = None
        conflicts = 0
        while True:
            run = self._state.run(run_id)
            if run.closed is not None:
                return
            try:
                try:
                    if self._listener is not None and await self._listener.listen(run):
                        continue
                    observation = _rejected(failure) or await self._observe(run)
                except ClusterError as error:
                    observation = Unclear(error.reason, error.retry_after)
                conflicts = conflicts + 1 if isinstance(failure, Conflict) else 0
                pause = _pause(failure, conflicts)
                decision = self._voided(run) or self._next(run, observation)
                self._hindrances.note(run, decision, failure or observation)
                await self._hindrances.tell(stream, run)
                refused, failure = failure, None
                if pause and refused is not None and isinstance(decision, Perform | Compensate):
                    await self._hindrances.tell_held_up(stream, run, refused.reason, barred=True)
                    await self._clock.sleep_until(self._clock.monotonic() + pause)
                    continue
                if isinstance(decision, WaitUntil):
                    barred = isinstance(observation, Unclear | Failed)
                    await self._hindrances.tell_held_up(stream, run, decision.reason, barred=barred)
                failure = await self._carry(stream, run, decision)
            except JournalUnavailable as error:
                self._lines.error(
                    "journal.unavailable", detail=str(error), effect="nothing is changed without a journal"
                )
                await self._clock.sleep_until(self._clock.monotonic() + _JOURNAL_RETRY)

    def _next(self, run: Run, observation: Observation | None) -> runs.Decision:
        destination = self._state.ledger(run.opened.target).record_of(run.opened.plan.good)
        objection = "" if destination is None else destination.objection
        stood_in_for = run.owed is not None and self._handlers.compensations[run.owed.kind].stood_in_for(run)
        now, elapsed = self._clock.now(), self._step_clock.elapsed(run)
        return runs.next(run, observation, now, elapsed, objection=objection, stood_in_for=stood_in_for)

    def _remedy(self, run: Run, owed: Compensation) -> Remedy:
        return self._handlers.compensations[owed.kind].remedy(run.opened.plan, owed)

    def _voided(self, run: Run) -> Close | None:
        if run.id not in self._void:
            return None
        return Close(RunClosed(self._clock.now(), run.id, runs.ABANDONED, _VOID, freeze=False))

    async def _carry(self, stream: str, run: Run, decision: runs.Decision) -> ClusterError | None:
        match decision:
            case Commit(events):
                await self._state.decide(stream, *events, *self._notices(run, events), of=run)
            case Perform(intent, step):
                if await self._state.decide(stream, intent, of=run):
                    intended = self._state.run(run.id)
                    return await self._effect(self._handlers.steps[step.kind].apply(step, intended), step.kind)
            case Compensate(owed):
                effect = self._handlers.compensators[owed.kind].compensate(owed, run)
                return await self._effect(effect, f"release {owed.kind}")
            case WaitUntil(seconds, reason):
                self._log.debug("run.waiting", reason=english().text(reason), seconds=seconds)
                await self._clock.sleep_until(self._clock.monotonic() + seconds)
            case Close(closed):
                await self._close(stream, run, closed)
        return None

    async def _close(self, stream: str, run: Run, closed: RunClosed) -> None:
        try:
            async with self._state.counting():
                await self._followed(stream, run, closed, await self._after(run, closed))
        except ClusterError as error:
            if self._step_clock.elapsed(run) >= _SUCCESSION:
                await self._followed(stream, run, closed, None)
                return
            self._lines.warning("step.unclear", about=f"close {run.id}", step="close", detail=str(error))
            await self._clock.sleep_until(self._clock.monotonic() + min(error.retry_after or 1.0, _LONGEST_PAUSE))

    async def _after(self, run: Run, closed: RunClosed) -> RunOpened | None:
        follower = self._followers.get(run.opened.target)
        return None if follower is None else await follower.fall_back(run, closed, self._rungs(run))

    def _rungs(self, run: Run) -> int:
        """How many runs of this line were fallbacks already."""
        count, parent = 0, run.opened.parent
        while parent is not None:
            before = self._state.run(parent)
            count += before.closed is not None and before.closed.outcome != runs.ESCALATED
            parent = before.opened.parent
        return count

    async def _followed(self, stream: str, run: Run, closed: RunClosed, opened: RunOpened | None) -> None:
        """Close the run, and open the one that follows from it if there is one, in the same append."""
        if opened is None:
            await self._state.decide(stream, closed, *self._notices(run, (closed,)), of=run)
            return
        closed = replace(closed, freeze=False)
        notices = (*self._notices(run, (closed,)), NoticeQueued(opened.at, messages.opened(opened)))
        if await self._state.decide(stream, closed, opened, *notices, of=run):
            self.start(stream, opened.run)

    async def _effect(self, effect: Any, what: str) -> ClusterError | None:  # noqa: ANN401 - a coroutine
        task = asyncio.create_task(effect, name=f"effect {what}")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=self._grace)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        except ClusterError as error:
            self._lines.warning("step.write_failed", about=what, step=what, detail=str(error), status=error.status)
            return error
        return None

    async def _observe(self, run: Run) -> Observation | None:
        if run.ending is not None:
            owed = run.owed
            if owed is None:
                return None
            return await self._handlers.compensators[owed.kind].observe_compensation(owed, run)
        step = run.present
        if step is None or run.started is None:
            return None
        observation = await self._handlers.steps[step.kind].observe(step, run)
        if isinstance(observation, Unclear):
            self._lines.warning(
                "step.unclear", about=f"{step.kind} {run.id}", step=step.kind, detail=english().text(observation.detail)
            )
        return observation

    def _notices(self, run: Run, events: tuple[Event, ...]) -> tuple[NoticeQueued, ...]:
        found = []
        for event in events:
            if isinstance(event, RunClosed):
                found.append(NoticeQueued(event.at, messages.ended(run, event)))
            if isinstance(event, HoldReleased) and (event.kept_out or event.theirs):
                tell = messages.not_given_back if event.kept_out else messages.left_as_theirs
                remedy = self._remedy(run, run.compensations[event.hold])
                found.append(NoticeQueued(event.at, tell(run, event, remedy)))
            if isinstance(event, HoldDeferred):
                found.append(NoticeQueued(event.at, messages.deferred(run, event, self._remedy(run, event.hold))))
            if isinstance(event, OwnerSuspended):
                found.append(
                    NoticeQueued(event.at, messages.owner_suspended(run, event, self._remedy(run, event.hold)))
                )
            if isinstance(event, PeopleReminded):
                found.append(NoticeQueued(event.at, messages.reminded(run, event)))
            settled = isinstance(event, StepDone) and run.opened.plan.steps[event.step].purpose is Purpose.SETTLING
            if isinstance(event, StepDone) and settled and run.verifies:
                found.append(NoticeQueued(event.at, messages.restored(run, event.at, event.detail)))
        return tuple(found)


def _rejected(failure: ClusterError | None) -> Observation | None:
    # Expired credentials come back; whatever else is refused stays so.
    if isinstance(failure, Rejected) and failure.status != 401:
        return Failed(FAILED, ChangeRefused(failure.reason))
    return None


def _pause(failure: ClusterError | None, conflicts: int) -> float:
    """Seconds before the next try: none after a conflict, unless they do not end."""
    if failure is None or (isinstance(failure, Conflict) and conflicts <= _CONFLICTS_AT_ONCE):
        return 0.0
    return min(failure.retry_after or 1.0, _LONGEST_PAUSE)
