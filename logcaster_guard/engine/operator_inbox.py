"""Takes in what people wrote on the workloads: each operator command counts once, or is denied once and told.

Only the workload's own annotations are read. A ReplicaSet keeps copies of them for ever, and an undo puts such copies
back; what counted or was denied before is known by its digest and passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from logcaster_guard import messages
from logcaster_guard.domain import ledger_events
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import (
    AnswerDenied,
    NoticeQueued,
    RevisionMarked,
    RunAnswered,
    TargetFrozen,
    TargetThawed,
)
from logcaster_guard.domain.field_owners import annotated_by
from logcaster_guard.domain.guard_reasons import AnnotationSetTo
from logcaster_guard.domain.inbox import freezes, reading
from logcaster_guard.domain.inbox.annotations import FREEZE, MARK, ROLLBACK, Denied, Written, unprocessed
from logcaster_guard.domain.inbox.commands import MARK_VALID_FOR, RUN_COMMANDS, RollBack, RunCommand
from logcaster_guard.domain.inbox.denials import RunIsOver
from logcaster_guard.domain.inbox.freezes import BY_ANNOTATION, FreezeChange, Seen
from logcaster_guard.domain.ledger import Freeze
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.runs import POLL, Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock, Cluster
from logcaster_guard.steps.observe import live_of, workload_of


class ReleaseWatch(Protocol):
    """Knows which release is rolled out on a target."""

    async def look(self) -> object:
        """Note down what is rolled out now."""


class Carrier(Protocol):
    """Carries out runs."""

    def start(self, stream: str, run: str) -> None:
        """Begin or go on, in the background."""

    def carries(self, run: str) -> bool:
        """Whether it is at work on the run."""


@dataclass(frozen=True, slots=True)
class Requested:
    """Somebody asks for a rollback by this message; `said` is what they ask, or why it is no request."""

    message: Written
    said: RollBack | Denied


class OperatorInbox:
    """The inbox of every target. Whatever takes something in raises `JournalUnavailable`."""

    def __init__(self, cluster: Cluster, state: JournalState, clock: Clock, policy: Policy) -> None:
        self._cluster = cluster
        self._state = state
        self._clock = clock
        self._policy = policy
        self._lines = RecurringLog(clock)
        self._log = structlog.get_logger()
        self._listened: dict[str, float] = {}
        self._taking = asyncio.Lock()
        self._releases: dict[str, ReleaseWatch] = {}
        self._freezes: dict[str, Seen] = {}
        self._overwritten: set[str] = set()

    def follow(self, target: str, releases: ReleaseWatch) -> None:
        """Ask `releases` for the target's live release before a mark is taken in: else the release would seem newer."""
        self._releases[target] = releases

    async def listen(self, run: Run) -> bool:
        """Look at the workloads of an open run; whether a command for it counts from now on.

        At most once a second; while people are asked, before each decision. Only then a `ClusterError` is raised: who
        could not be heard must not count as silent.
        """
        if run.ending is not None:
            self._listened.pop(run.id, None)
            return False
        now = self._clock.monotonic()
        asked = run.asks is not None
        if not asked and now - self._listened.get(run.id, float("-inf")) < POLL:
            return False
        try:
            found = await asyncio.gather(live_of(self._cluster, run), workload_of(self._cluster, run))
            self._listened[run.id] = now
            return any([await self._take(run.opened.target, run.id, w) for w in found if w is not None])
        except ClusterError:
            if asked:
                raise
            return False

    async def look(self, target: str, workload: Workload, carrier: Carrier) -> None:
        """Take in what nobody listens for: where no run is open, or one that is ending or has stopped on a defect."""
        run = self._state.open_run_on(target)
        if run is not None and run.ending is None and carrier.carries(run.id):
            return
        name = None if run is None else run.id
        counted = await self._take(target, name, workload)
        counted = await self._take_beside(target, run, workload) or counted
        stream = None if run is None else self._state.open_runs_stream(run.id)
        if counted and run is not None and stream is not None:
            carrier.start(stream, run.id)

    async def _take_beside(self, target: str, run: Run | None, workload: Workload) -> bool:
        """Take in what was said on the other environment of this run, or of the last one while that may count.

        The Service may have left it, or come back from it, just after somebody had written there.
        """
        closed, plays = self._state.last_closed(target), run
        if plays is None and closed is not None and self._clock.now() < closed.at + MARK_VALID_FOR:
            plays = self._state.run(closed.run)
        if plays is None or not plays.opened.plan.live:
            return False
        try:
            found = await asyncio.gather(live_of(self._cluster, plays), workload_of(self._cluster, plays))
            others = [w for w in found if w is not None and w.name != workload.name]
            return any([await self._take(target, None if run is None else run.id, w) for w in others])
        except ClusterError as error:
            self._lines.warning("workload.unread", about=target, target=target, detail=str(error))
            return False

    async def _take(self, target: str, run: str | None, workload: Workload) -> bool:
        async with self._taking:
            counted = [await self._take_answer(target, run, workload, command) for command in RUN_COMMANDS]
            await self._take_mark(target, workload)
        return any(counted)

    async def _take_answer(self, target: str, name: str | None, workload: Workload, command: RunCommand) -> bool:
        message = unprocessed(workload, command.annotation, self._state.knows_answer)
        if message is None:
            return False
        run = None if name is None else self._state.run(name)
        at = self._clock.now()
        found = reading.answer(command, message.value, run, at)
        stream = None if name is None else self._state.open_runs_stream(name)
        if isinstance(found, Denied) or name is None or stream is None:
            reason = found.reason if isinstance(found, Denied) else RunIsOver()
            await self._deny(target, workload, message, reason, name)
            return False
        veto_for = timedelta(seconds=self._policy.alert.veto_for)
        until = max(found.expiry, at + veto_for) if command is RunCommand.VETO else None
        await self._state.tell(stream, RunAnswered(at, name, command, message.digest, found.reason, until))
        return True

    async def _take_mark(self, target: str, workload: Workload) -> None:
        message = unprocessed(workload, MARK, self._state.knows_answer)
        if message is None:
            return
        if (releases := self._releases.get(target)) is not None:
            await releases.look()
        # No run is opened meanwhile to what is called bad here.
        async with self._state.counting():
            if not self._state.knows_answer(message.digest):
                await self._mark(target, workload, message)

    async def _mark(self, target: str, workload: Workload, message: Written) -> None:
        at, ledger, run = self._clock.now(), self._state.ledger(target), self._state.open_run_on(target)
        found = reading.mark(message.value, ledger, run, at)
        if isinstance(found, Denied):
            await self._deny(target, workload, message, found.reason, None if run is None else run.id)
            return
        release = ReleaseId.of_key(found.template)
        marked = RevisionMarked(
            at, release.template, found.mark, message.digest, found.reason, configuration=release.configuration
        )
        record = ledger_events.extend(ledger, [marked]).record_of(release)
        if record is not None:
            status = record.status(self._policy.ledger)
            notice = messages.marked(target, workload, record, marked, release_status=status)
            await self._state.tell(target_stream(target), marked, NoticeQueued(at, notice))

    async def _deny(self, target: str, workload: Workload, message: Written, reason: Reason, run: str | None) -> None:
        at = self._clock.now()
        notice = messages.answer_denied(target, workload, message.annotation, reason, id=message.digest, at=at)
        denied = AnswerDenied(at, message.annotation, message.digest, reason, run)
        await self._state.tell(target_stream(target), denied, NoticeQueued(at, notice))

    def requested(self, workload: Workload) -> Requested | None:
        """The rollback that the workload's annotation asks for, if that is new; it is for the asker to carry it out."""
        message = unprocessed(workload, ROLLBACK, self._state.knows_answer)
        return None if message is None else Requested(message, reading.rollback(message.value, self._clock.now()))

    async def refuse(self, target: Target, workload: Workload, message: Written, reasons: Sequence[Reason]) -> None:
        """Tell why a rollback that somebody asked for is not carried out: once, and for good."""
        self._log.warning(
            "request.refused", reasons=[english().text(r) for r in reasons], request=message.digest, target=target.key
        )
        at = self._clock.now()
        notice_id = f"request.refused/{target.key}/{message.digest}"
        notice = messages.request_refused(target, workload, reasons, id=notice_id, at=at)
        denied = AnswerDenied(at, message.annotation, message.digest, " ".join(english().text(r) for r in reasons))
        await self._state.tell(target_stream(target.key), denied, NoticeQueued(at, notice))

    async def take_freeze(self, target: Target, workload: Workload) -> None:
        """Take in that somebody froze the target, or lifted that."""
        key, at = target.key, self._clock.now()
        freeze, before = self._state.ledger(key).freeze, self._freezes.get(key)
        by_annotation = freeze is not None and freeze.by == BY_ANNOTATION
        seen = Seen(freezes.text_on(workload.annotations), workload.spec_digest)
        if before is None and freeze is not None and by_annotation:
            before = Seen(freeze.reason if isinstance(freeze.reason, str) else None, freeze.spec)
        change = freezes.change(before, seen, frozen_by_annotation=by_annotation)
        if change is FreezeChange.FREEZE and _is_news(freeze, before, seen):
            who = annotated_by(workload.raw, FREEZE)
            frozen = TargetFrozen(at, BY_ANNOTATION, str(seen.text), seen.spec, who)
            notice = messages.frozen(target, workload, frozen)
            await self._state.tell(target_stream(key), frozen, NoticeQueued(at, notice))
        elif change is FreezeChange.LIFT and freeze is not None:
            thawed = TargetThawed(at, BY_ANNOTATION, AnnotationSetTo(str(seen.text)))
            notice = messages.thawed(target, workload, thawed)
            await self._state.tell(target_stream(key), thawed, NoticeQueued(at, notice))
        self._note_overwritten(key, by_undo=change is FreezeChange.OVERWRITTEN and freeze is not None)
        self._freezes[key] = seen

    def _note_overwritten(self, target: str, *, by_undo: bool) -> None:
        """Log once that a freeze holds although its annotation is gone."""
        if by_undo and target not in self._overwritten:
            self._log.warning(
                "freeze.kept",
                detail="the freeze annotation changed together with the spec, as by an undo: the freeze still holds",
                target=target,
            )
        (self._overwritten.add if by_undo else self._overwritten.discard)(target)


def _is_news(freeze: Freeze | None, before: Seen | None, seen: Seen) -> bool:
    """A person's freeze is kept beside the guard's own: a rollback that a person asks for ignores only the latter."""
    changed = before is not None and before.text != seen.text
    return freeze is None or (changed and freeze.reason != seen.text)
