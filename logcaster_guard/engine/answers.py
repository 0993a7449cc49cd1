"""What people write on a workload, for its run and of releases: each annotation is taken in once, or denied once.

Only the workload's own annotations are read. A ReplicaSet keeps copies of them for ever, and an undo puts such copies
back; what counted or was denied before is known by its digest and passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from logcaster_guard.domain import answers, inbox, marks, narration
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import AnswerDenied, NoticeQueued, RunAnswered
from logcaster_guard.domain.inbox import Answer, Denied
from logcaster_guard.domain.runs import POLL, Run
from logcaster_guard.domain.steps import AskPeople
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.looking import live_of, workload_of
from logcaster_guard.engine.chronicle import Chronicle, target_stream
from logcaster_guard.engine.marks import Look, Marks
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.ports import Clock, Cluster


class Carrier(Protocol):
    """Carries out runs."""

    def start(self, stream: str, run: str) -> None:
        """Begin or go on, in the background."""

    def carries(self, run: str) -> bool:
        """Whether it is at work on the run."""


class Answers:
    """Listens for every target; a veto holds for `veto_for` seconds at least."""

    def __init__(
        self, cluster: Cluster, chronicle: Chronicle, clock: Clock, marks: Marks, *, veto_for: float
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._chronicle = chronicle
        self._clock = clock
        self._marks = marks
        self._veto_for = timedelta(seconds=veto_for)
        self._lines = RecurringLog(clock)
        self._listened: dict[str, float] = {}
        self._taking = asyncio.Lock()

    def follow(self, target: str, look: Look) -> None:
        """`look` notes down what is rolled out on the target; it is called before a mark is taken in."""
        self._marks.follow(target, look)

    async def listen(self, run: Run) -> bool:
        """Look at the workloads of an open run; whether an answer counts from now on. Raises `JournalUnavailable`.

        Looked at no oftener than once a second, but before each decision while people are asked; only then a
        `ClusterError` is raised, as nobody may be taken to have said nothing who could not be heard.
        """
        if run.ending is not None:
            self._listened.pop(run.id, None)
            return False
        now = self._clock.monotonic()
        asked = isinstance(run.present, AskPeople)
        if not asked and now - self._listened.get(run.id, float("-inf")) < POLL:
            return False
        try:
            found = await asyncio.gather(live_of(self._cluster, run), workload_of(self._cluster, run))
        except ClusterError:
            if asked:
                raise
            return False
        self._listened[run.id] = now
        return await self._heard(run, [w for w in found if w is not None], asked=asked)

    async def _heard(self, run: Run, workloads: Sequence[Workload], *, asked: bool) -> bool:
        try:
            counted = [await self._take(run.opened.target, run.id, w) for w in workloads]
        except ClusterError:
            if asked:
                raise
            return False
        return any(counted)

    async def look(self, target: str, workload: Workload, carrier: Carrier) -> None:
        """Take in what nobody listens for: where no run is open, or one that is ending or has stopped on a defect."""
        run = self._chronicle.open_run_on(target)
        if run is not None and run.ending is None and carrier.carries(run.id):
            return
        name = None if run is None else run.id
        counted = await self._take(target, name, workload)
        counted = await self._take_beside(target, run, workload) or counted
        stream = None if run is None else self._chronicle.open_runs_stream(run.id)
        if counted and run is not None and stream is not None:
            carrier.start(stream, run.id)

    async def _take_beside(self, target: str, run: Run | None, workload: Workload) -> bool:
        """Take in what was said on the other environment of this run, or of the last one while that may count.

        The Service may have left it, or come back from it, just after somebody had written there.
        """
        closed, plays = self._chronicle.last_closed(target), run
        if plays is None and closed is not None and self._clock.now() < closed.at + marks.VALID_FOR:
            plays = self._chronicle.run(closed.run)
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
            counted = [
                await self._taken(target, run, workload, annotation, answer)
                for annotation, answer in inbox.ANSWERS.items()
            ]
            await self._marks.take(target, workload)
        return any(counted)

    async def _taken(self, target: str, name: str | None, workload: Workload, annotation: str, answer: Answer) -> bool:
        value = workload.annotations.get(annotation)
        digest = "" if value is None else inbox.digest(workload.uid, annotation, value)
        if value is None or self._chronicle.knows_answer(digest):
            return False
        run = None if name is None else self._chronicle.run(name)
        at = self._clock.now()
        found = answers.judged(run, answer, value, at)
        stream = None if name is None else self._chronicle.open_runs_stream(name)
        if isinstance(found, Denied) or name is None or stream is None:
            reason = found.reason if isinstance(found, Denied) else "the rollback is over"
            notice = narration.answer_denied(target, workload, annotation, reason, id=digest, at=at)
            denied = AnswerDenied(at, annotation, digest, reason, name)
            await self._chronicle.tell(target_stream(target), denied, NoticeQueued(at, notice))
            return False
        until = max(found.expiry, at + self._veto_for) if answer is Answer.VETO else None
        await self._chronicle.tell(stream, RunAnswered(at, name, answer, digest, found.words, until))
        return True
