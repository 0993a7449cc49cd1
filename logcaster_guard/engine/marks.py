"""What people say of releases: each annotation is taken in once, or denied once, and told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from logcaster_guard.domain import inbox, marks, narration
from logcaster_guard.domain import ledger as ledgers
from logcaster_guard.domain.events import AnswerDenied, NoticeQueued, RevisionMarked
from logcaster_guard.domain.inbox import Denied
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.chronicle import Chronicle, target_stream
from logcaster_guard.ports import Clock

Look = Callable[[], Awaitable[object]]


class Marks:
    """Takes in the marks of every target."""

    def __init__(self, chronicle: Chronicle, clock: Clock, policy: LedgerPolicy) -> None:
        self._chronicle = chronicle
        self._clock = clock
        self._policy = policy
        self._looks: dict[str, Look] = {}

    def follow(self, target: str, look: Look) -> None:
        """`look` notes down what is rolled out, which comes before what people say of it: else it would seem newer."""
        self._looks[target] = look

    async def take(self, target: str, workload: Workload) -> None:
        """Take in what the workload's annotation says, or deny it. Raises `ClusterError` and `JournalUnavailable`."""
        value = workload.annotations.get(inbox.MARK)
        digest = "" if value is None else inbox.digest(workload.uid, inbox.MARK, value)
        if value is None or self._chronicle.knows_answer(digest):
            return
        if (look := self._looks.get(target)) is not None:
            await look()
        # No run is opened meanwhile to what is called bad here.
        async with self._chronicle.counting():
            if not self._chronicle.knows_answer(digest):
                await self._taken(target, workload, value, digest)

    async def _taken(self, target: str, workload: Workload, value: str, digest: str) -> None:
        at, stream = self._clock.now(), target_stream(target)
        ledger, run = self._chronicle.ledger(target), self._chronicle.open_run_on(target)
        found = marks.judged(ledger, run, value, at)
        if isinstance(found, Denied):
            notice = narration.answer_denied(target, workload, inbox.MARK, found.reason, id=digest, at=at)
            denied = AnswerDenied(at, inbox.MARK, digest, found.reason, None if run is None else run.id)
            await self._chronicle.tell(stream, denied, NoticeQueued(at, notice))
            return
        marked = RevisionMarked(at, found.template, found.mark, digest, found.words)
        record = ledgers.extend(ledger, [marked]).records[found.template]
        notice = narration.marked(target, workload, record, marked, standing=record.standing(self._policy))
        await self._chronicle.tell(stream, marked, NoticeQueued(at, notice))
