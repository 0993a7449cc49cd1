"""Records what a guard makes durable or changes in the cluster, and lets one die at any point of such a record.

A point is one journal append or one mutating request. A dead guard performs nothing any more: each call of its ports
raises, and its tasks are torn down. What it had sent is done all the same; it never learns of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import Event, NoticeQueued, NoticeSettled, StepDone, StepIntended, StepStarted
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.ports import Blobs, Cluster, Entry, Journal, JournalSize, Json, Kind

T = TypeVar("T")
Effect = Callable[[], Coroutine[Any, Any, T]]
BEGIN = "append to target: TriggerFired"


class Crash(BaseException):
    """The process is gone. No handler of the product may catch it."""


class Moment(StrEnum):
    """When a guard dies, as seen from a point.

    `LATE`: it had sent the request, which lies somewhere on the way until the next guard is done.
    """

    BEFORE = "before"
    AFTER = "after, unlearned"
    LATE = "before, late arrival of"


@dataclass(frozen=True, slots=True)
class Point:
    """What was appended or asked for, and the how-manyeth of its like it was."""

    what: str
    nth: int

    def __str__(self) -> str:
        return self.what if self.nth == 1 else f"{self.what} ({self.nth})"


@dataclass(frozen=True, slots=True)
class Cell:
    """One crash."""

    point: Point
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.point}"


def cells(points: Sequence[Point]) -> list[Cell]:
    """Every crash that the record knows: before each point, and after its effect but before the guard learns of it."""
    return [Cell(point, moment) for point in points for moment in (Moment.BEFORE, Moment.AFTER)]


def late_cells(points: Sequence[Point]) -> list[Cell]:
    """Every request that may arrive late."""
    return [Cell(point, Moment.LATE) for point in points if not point.what.startswith("append")]


@dataclass
class Tape:
    """The points of one guard's life from its first fired trigger on, and where that life ends (`None`: nowhere).

    A call that was refused had no effect and is no point; `refused` tells how many requests were. `unsent` is what the
    guard died before.
    """

    end: Cell | None = None
    points: list[Point] = field(default_factory=list)
    refused: int = 0
    unsent: Effect[Any] | None = None
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    _sent: set[asyncio.Future[Any]] = field(default_factory=set)
    _counts: Counter[str] = field(default_factory=Counter)
    _running: bool = False

    def check(self) -> None:
        """Raise `Crash` if the guard is dead."""
        if self.dead.is_set():
            raise Crash

    async def through(self, what: str, effect: Effect[T]) -> T:
        """Let the effect happen, unless the guard dies before it; its answer, unless the guard dies after it."""
        self.check()
        counted = self.counts(what)
        if counted:
            await self.before(self._due(what))
            self._die_at(what, Moment.BEFORE, Moment.LATE, unsent=effect)
        sent = asyncio.ensure_future(effect())
        self._sent.add(sent)
        try:
            answer = await asyncio.shield(sent)
        except ClusterError:
            self.refused += 1
            raise
        self.check()
        if counted:
            self._die_at(what, Moment.AFTER)
            self.note(what)
        return answer

    def counts(self, what: str) -> bool:
        """Whether the record has begun, as it does with the first fired trigger."""
        self._running = self._running or what == BEGIN
        return self._running

    def note(self, what: str) -> None:
        """An effect that was had is a point of the record."""
        self.points.append(self._due(what))
        self._counts[what] += 1

    async def before(self, point: Point) -> None:
        """What happens just before the guard's call at a point is sent."""

    def looked(self, kind: Kind, name: str) -> None:
        """A guard asks for an object."""

    async def landed(self) -> None:
        """Wait until everything that was sent has been answered, whoever is left to hear it."""
        await asyncio.gather(*self._sent, return_exceptions=True)

    def _die_at(self, what: str, *moments: Moment, unsent: Effect[Any] | None = None) -> None:
        if self.end in [Cell(self._due(what), moment) for moment in moments]:
            self.unsent = unsent
            self.dead.set()
            raise Crash

    def _due(self, what: str) -> Point:
        return Point(what, self._counts[what] + 1)


class MortalJournal:
    """A `Journal` that dies with its guard."""

    def __init__(self, journal: Journal, tape: Tape) -> None:
        self._journal = journal
        self._tape = tape

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        what = f"append to {stream.partition('/')[0]}: {' + '.join(map(_words, events))}"
        return await self._tape.through(what, lambda: self._journal.append(stream, events, expected_seq))

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        self._tape.check()
        return await self._journal.read(stream, after)

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        self._tape.check()
        return await self._journal.read_all(prefix)

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        self._tape.check()
        await self._journal.compact(superfluous)

    async def size(self) -> JournalSize:
        return await self._journal.size()

    async def aclose(self) -> None:
        await self._journal.aclose()


class MortalBlobs:
    """`Blobs` that die with their guard."""

    def __init__(self, blobs: Blobs, tape: Tape) -> None:
        self._blobs = blobs
        self._tape = tape

    async def put(self, content: bytes) -> str:
        self._tape.check()
        return await self._blobs.put(content)

    async def get(self, digest: str) -> bytes:
        self._tape.check()
        return await self._blobs.get(digest)

    async def digests(self) -> Sequence[str]:
        self._tape.check()
        return await self._blobs.digests()

    async def keep_only(self, digests: Collection[str], *, older_than: float) -> int:
        self._tape.check()
        return await self._blobs.keep_only(digests, older_than=older_than)


class MortalCluster:
    """A `Cluster` that dies with its guard. It is shared with the next one, so closing it is its maker's."""

    def __init__(self, cluster: Cluster, tape: Tape) -> None:
        self._cluster = cluster
        self._tape = tape

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        self._tape.check()
        self._tape.looked(kind, name)
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        self._tape.check()
        return await self._cluster.list(kind, namespace, selector)

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        return await self._tape.through(
            f"patch {kind}", lambda: self._cluster.json_patch(kind, namespace, name, operations, manager=manager)
        )

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        return await self._tape.through(
            f"apply {kind}",
            lambda: self._cluster.apply(kind, namespace, name, body, manager=manager, force=force),
        )

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        what = f"create {kind} {body.get('reason', '')}".rstrip()
        return await self._tape.through(what, lambda: self._cluster.create(kind, namespace, body))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        await self._tape.through(
            f"delete {kind}",
            lambda: self._cluster.delete(kind, namespace, name, uid=uid, resource_version=resource_version),
        )

    def ahead(self) -> float:
        return self._cluster.ahead()

    async def aclose(self) -> None:
        pass


def _words(event: Event) -> str:
    name = type(event).__name__
    match event:
        case StepStarted(step=step) | StepDone(step=step):
            return f"{name} {step}"
        case StepIntended(step=step, attempt=attempt):
            return f"{name} {step}, attempt {attempt}"
        case NoticeQueued(notice=notice):
            return f"{name} {notice.event}"
        case NoticeSettled(notice=notice):
            return f"{name} {notice.rpartition('/')[2]}"
        case _:
            return name
