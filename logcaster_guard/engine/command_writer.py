"""Writes operator commands on the workload that they are about: the only writer, of the command line and of the API.

The annotation is the only inbox all the same: what is written here is taken in, or denied, as anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from logcaster_guard import messages
from logcaster_guard.domain import manual
from logcaster_guard.domain.errors import Conflict
from logcaster_guard.domain.inbox import commands, reading
from logcaster_guard.domain.inbox.annotations import Denied, digest
from logcaster_guard.domain.inbox.commands import (
    MARK_VALID_FOR,
    ROLLBACK_VALID_FOR,
    AnswerRun,
    Command,
    Mark,
    MarkRelease,
    RollBack,
    RunCommand,
    Wish,
)
from logcaster_guard.domain.inbox.freezes import FreezeCommand, SetFreeze
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.ports import Clock, Cluster, Kind

_ATTEMPTS = 5
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Place:
    """The object that an annotation goes on."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and the digest by which the guard tells what became of it."""

    place: Place
    annotation: str
    value: str
    digest: str


async def write(cluster: Cluster, place: Place, command: Command, clock: Clock) -> Written | Denied:
    """Set the command's annotation on the object as it is at that moment; nothing else is changed.

    Raises the `ClusterError` it met, `Conflict` where the object changes all the time.
    """
    annotation = commands.annotation_of(command)
    for attempt in range(_ATTEMPTS):
        workload = Workload(await cluster.get(place.kind, place.namespace, place.name))
        value = commands.value_on(workload.annotations, command, clock.now())
        if isinstance(value, Denied):
            return value
        # Bound to the look: the value was decided beside the annotations that were seen.
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": workload.resource_version}
        annotations = {**workload.annotations, annotation: value}
        written = {"op": "add", "path": "/metadata/annotations", "value": annotations}
        try:
            await cluster.json_patch(place.kind, place.namespace, place.name, [version, written])
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return Written(place, annotation, value, digest(workload.uid, annotation, value))
    raise AssertionError("unreachable: the last attempt raises")


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says: of which target, on which object, for which reason, and who they are, as others are told."""

    target: str
    place: Place
    words: str
    who: str

    @property
    def signature(self) -> str:
        """Who it was, in a form that an annotation can hold."""
        return "by " + "".join(c if c.isprintable() else "?" for c in self.who)[:_LONGEST_NAME]

    @property
    def reason(self) -> str:
        """The reason as others are told it."""
        return f"{self.signature}: {self.words}"


class Watched(Protocol):
    """A target and its workload as it was seen last."""

    @property
    def target(self) -> Target:
        """The target."""

    @property
    def workload(self) -> Workload | None:
        """The workload as it was looked at last."""


class CommandWriter:
    """Writes commands for people who came through CLI or API, with the guard's own rights.

    A command that would not count is not written. Whatever writes raises the `ClusterError` it met.
    """

    def __init__(
        self,
        cluster: Cluster,
        state: JournalState,
        clock: Clock,
        watches: Mapping[str, Watched],
        policy: LedgerPolicy,
    ) -> None:
        self._cluster = cluster
        self._state = state
        self._clock = clock
        self._watches = watches
        self._policy = policy

    def place(self, target: str) -> Place:
        """The object that annotations about the target go on now: what the Service was last seen to lead to."""
        watch, run = self._watches[target], self._state.open_run_on(target)
        name = watch.target.deployment if watch.workload is None else watch.workload.name
        plan = None if run is None else run.opened.plan
        if plan is not None and name not in {plan.live, plan.deployment}:
            name = plan.live or plan.deployment
        return Place(Kind(watch.target.kind), watch.target.namespace, name)

    async def answer(self, said: Said, command: RunCommand, approval_token: str) -> Written | Denied:
        """Answer the open run that has this approval token."""
        run, now = self._state.open_run_on(said.target), self._clock.now()
        question = None if run is None else messages.asked(run.opened)
        expiry = commands.expiry_of_answer(command, None if question is None else question.expiry, now)
        answer = AnswerRun(command, approval_token, expiry, said.reason)
        found = reading.answer(command, commands.value_of(answer), run, now)
        return found if isinstance(found, Denied) else await self._write(said, answer)

    async def freeze(self, said: Said, command: FreezeCommand) -> Written | Denied:
        """Freeze the target, or lift a freeze."""
        freeze = self._state.ledger(said.target).freeze
        # The name comes last: what a freeze begins with is what it means.
        reason = f"{said.words} ({said.signature})"
        return await self._write(said, SetFreeze(command, reason, None if freeze is None else freeze.by))

    async def mark(self, said: Said, mark: Mark, revision: str) -> Written | Denied:
        """Mark the release that this number or hash is of."""
        now, ledger = self._clock.now(), self._state.ledger(said.target)
        record = manual.named(ledger, self._policy, revision)
        if isinstance(record, Message):
            return Denied(record)
        marking = MarkRelease(record.release.key, now + MARK_VALID_FOR, mark, said.reason)
        found = reading.mark(commands.value_of(marking), ledger, self._state.open_run_on(said.target), now)
        return found if isinstance(found, Denied) else await self._write(said, marking)

    async def roll_back(self, said: Said, wish: Wish, approval_token: str) -> Written | Denied:
        """Ask for the rollback whose plan was shown under this approval token."""
        now = self._clock.now()
        request = RollBack(approval_token, now + ROLLBACK_VALID_FOR, wish, said.reason)
        found = reading.rollback(commands.value_of(request), now)
        return found if isinstance(found, Denied) else await self._write(said, request)

    async def _write(self, said: Said, command: Command) -> Written | Denied:
        return await write(self._cluster, said.place, command, self._clock)
