"""Says on a workload what a person asks for who came by another way than Kubernetes, with the guard's own rights.

The annotation is the only inbox all the same: what is written here is taken in, or denied, as anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.domain import answers, inbox, manual, marks, narration
from logcaster_guard.domain.inbox import Answer, Denied, Freezing, Frozen, Mark
from logcaster_guard.domain.manual import Request, Wish
from logcaster_guard.domain.marks import Marking
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.annotating import Place, Written, annotate
from logcaster_guard.engine.chronicle import Chronicle
from logcaster_guard.engine.watch import TargetWatch
from logcaster_guard.ports import Clock, Cluster, Kind

_VALID = timedelta(minutes=10)
"""For how long an answer stands to which no question names an end."""
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says: of which target, on which object, for which reason, and who they are, as others are told."""

    target: str
    place: Place
    reason: str
    who: str

    @property
    def signature(self) -> str:
        """Who it was, in a form that an annotation can hold."""
        return "by " + "".join(c if c.isprintable() else "?" for c in self.who)[:_LONGEST_NAME]


class People:
    """What can be said of each target; whatever writes raises the `ClusterError` it met."""

    def __init__(
        self,
        cluster: Cluster,
        chronicle: Chronicle,
        clock: Clock,
        watches: Mapping[str, TargetWatch],
        policy: LedgerPolicy,
    ) -> None:
        self._cluster = cluster
        self._chronicle = chronicle
        self._clock = clock
        self._watches = watches
        self._policy = policy

    def place(self, target: str) -> Place:
        """The object that annotations about the target go on now: what the Service was last seen to lead to."""
        watch, run = self._watches[target], self._chronicle.open_run_on(target)
        name = watch.target.deployment if watch.workload is None else watch.workload.name
        plan = None if run is None else run.opened.plan
        if plan is not None and name not in {plan.live, plan.deployment}:
            name = plan.live or plan.deployment
        return Place(Kind(watch.target.kind), watch.target.namespace, name)

    async def answer(self, said: Said, answer: Answer, ticket: str) -> Written | Denied:
        """Answer the open run that has this ticket."""
        run, now = self._chronicle.open_run_on(said.target), self._clock.now()
        value = inbox.written(ticket, _expiry(run, answer, now), f"{said.signature}: {said.reason}")
        found = answers.judged(run, answer, value, now)
        if isinstance(found, Denied):
            return found
        annotation = next(name for name, kind in inbox.ANSWERS.items() if kind is answer)
        return await annotate(self._cluster, said.place, annotation, lambda _: value)

    async def freezing(self, said: Said, word: Freezing) -> Written | Denied:
        """Freeze the target, or lift a freeze."""
        freeze = self._chronicle.ledger(said.target).freeze
        by = None if freeze is None else freeze.by
        # The name comes last: what a freeze begins with is what it means.
        reason = f"{said.reason} ({said.signature})"

        def compose(workload: Workload) -> str | Denied:
            frozen = Frozen(inbox.freeze_of(workload.annotations), by)
            return inbox.freezing(word, frozen, reason, self._clock.now())

        return await annotate(self._cluster, said.place, inbox.FREEZE, compose)

    async def mark(self, said: Said, mark: Mark, revision: str) -> Written | Denied:
        """Mark the release that this number or hash is of."""
        now, ledger = self._clock.now(), self._chronicle.ledger(said.target)
        record = manual.named(ledger, self._policy, revision)
        if isinstance(record, str):
            return Denied(record.removesuffix("."))
        value = marks.written(Marking(record.template, mark, f"{said.signature}: {said.reason}"), now + marks.VALID_FOR)
        found = marks.judged(ledger, self._chronicle.open_run_on(said.target), value, now)
        if isinstance(found, Denied):
            return found
        return await annotate(self._cluster, said.place, inbox.MARK, lambda _: value)

    async def rollback(self, said: Said, wish: Wish, ticket: str) -> Written | Denied:
        """Ask for the rollback whose plan was shown under this ticket."""
        now = self._clock.now()
        request = Request(wish, ticket, f"{said.signature}: {said.reason}")
        value = manual.written(request, now + manual.VALID_FOR)
        found = manual.read(value, now)
        if isinstance(found, Denied):
            return found
        return await annotate(self._cluster, said.place, inbox.ROLLBACK, lambda _: value)


def _expiry(run: Run | None, answer: Answer, now: datetime) -> datetime:
    asked = None if run is None or answer is Answer.ABANDON else narration.asked(run.opened)
    return now + _VALID if asked is None else min(asked.expiry, now + inbox.LONGEST_ANSWER)
