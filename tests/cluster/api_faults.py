"""Calls of the Kubernetes API that fail, once or for a while, in the middle of a rollback.

A call is told by who makes it, in which phase of the run, and what it asks for: a read that is repeated until something
is so is one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from structlog.contextvars import get_contextvars

from logcaster_guard.domain.errors import ClusterError, Conflict, Rejected, Unavailable
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.ports import Cluster, Json, Kind
from tests.cluster.crashes import BEGIN, Effect, Point, Tape

T = TypeVar("T")
SLOW = 0.4
ASKED_TO_WAIT = 0.6
WRITES = frozenset({"patch", "apply", "create", "delete"})


class Fault(StrEnum):
    """What becomes of a call."""

    CONFLICT = "409"
    THROTTLED = "429 with Retry-After"
    BROKEN = "500"
    AWAY = "503"
    LOST = "timed out before it took effect"
    UNANSWERED = "timed out after it took effect"
    CUT = "connection cut in the answer"
    EXPIRED = "401"
    SLOW = "slow"
    FORBIDDEN = "403 from here on"
    REFUSED = "422 whenever it is tried"


LASTING = frozenset({Fault.FORBIDDEN, Fault.REFUSED})
"""They are no accident: somebody has edited the guard's Role, or a policy does not let this very write pass."""
ACCIDENTS = tuple(f for f in Fault if f not in LASTING)
WORDS = {
    Fault.FORBIDDEN: "is forbidden: User guard cannot do this",
    Fault.REFUSED: "admission webhook denied the request",
}
ERRORS: dict[Fault, Callable[[], ClusterError]] = {
    Fault.CONFLICT: lambda: Conflict("the object has been modified", status=409),
    Fault.THROTTLED: lambda: Unavailable("too many requests", status=429, retry_after=ASKED_TO_WAIT),
    Fault.BROKEN: lambda: Unavailable("internal error", status=500),
    Fault.AWAY: lambda: Unavailable("the server is currently unable to handle the request", status=503),
    Fault.LOST: lambda: Unavailable("did not answer within 10 s"),
    Fault.UNANSWERED: lambda: Unavailable("did not answer within 10 s"),
    Fault.CUT: lambda: Unavailable("the connection broke before the answer was whole"),
    Fault.EXPIRED: lambda: Rejected("Unauthorized", status=401),
    Fault.FORBIDDEN: lambda: Rejected(WORDS[Fault.FORBIDDEN], status=403),
    Fault.REFUSED: lambda: Rejected(WORDS[Fault.REFUSED], status=422),
}


@dataclass(frozen=True, slots=True)
class Call:
    """`phase` is the run's last append before it."""

    phase: str
    verb: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} after {self.phase}"


@dataclass(frozen=True, slots=True)
class Failing:
    """One cell. The call fails once; everything fails from it on for `outage` seconds if that is given."""

    call: Call
    fault: Fault
    outage: float = 0.0

    def __str__(self) -> str:
        return f"{self.call}: {self.fault}" if not self.outage else f"away for {self.outage:g} s from {self.call} on"


def applies(call: Call, fault: Fault) -> bool:
    """Whether an API server may answer so.

    An Event whose name is taken is there; a write that is slow and one that is read are not told apart here.
    """
    if fault is Fault.REFUSED:
        return call.verb in WRITES
    return not (fault is Fault.CONFLICT and (call.kind is Kind.EVENT or call.verb in {"get", "list"}))


class Wire(Protocol):
    """What can make the next request of its like fail."""

    def arm(self, verb: str, kind: Kind, fault: Fault) -> None: ...


@dataclass
class Failures(Tape):
    """The calls of a guard's life from its first fired trigger on, and the one that fails.

    `attempts` counts the run's own calls while everything fails. With `wire`, it is between the guard's adapter and the
    API server that a call fails.
    """

    cell: Failing | None = None
    wire: Wire | None = None
    calls: list[Call] = field(default_factory=list)
    phase: str = ""
    struck: bool = False
    attempts: int = 0
    over: float = 0.0

    async def before(self, point: Point) -> None:
        _, _, what = point.what.partition("append to ")
        if what and "NoticeSettled" not in what and (what.startswith("run") or point.what == BEGIN):
            self.phase = str(point)

    async def asked(self, verb: str, kind: Kind, effect: Effect[T], content: object = None) -> T:
        """Let the call happen, or not. `content` is what it writes, and where."""
        if not self.phase:
            return await effect()
        # Whoever sees a new release first asks for its revision.
        mine = ("run" in get_contextvars() or self.phase == BEGIN) and kind is not Kind.REPLICA_SET
        call = Call(self.phase if mine else "", verb, kind)
        if call not in self.calls:
            self.calls.append(call)
        return await effect() if self.cell is None else await self.fails(self.cell, call, effect, content)

    async def fails(self, cell: Failing, call: Call, effect: Effect[T], content: object) -> T:  # noqa: ARG002
        """What becomes of the call where `cell` is played."""
        if cell.outage:
            return await self._away(cell, call, effect)
        if call != cell.call or self.struck:
            return await effect()
        self.struck = True
        if self.wire is not None:
            self.wire.arm(call.verb, call.kind, cell.fault)
            return await effect()
        return await self._fails(cell.fault, effect)

    async def _fails(self, fault: Fault, effect: Effect[T]) -> T:
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW / 2)
            answer = await effect()
            await asyncio.sleep(SLOW / 2)
            return answer
        if fault in {Fault.UNANSWERED, Fault.CUT}:
            await effect()
        if fault in {Fault.UNANSWERED, Fault.LOST}:
            await asyncio.sleep(SLOW)
        raise error_of(fault)

    async def _away(self, cell: Failing, call: Call, effect: Effect[T]) -> T:
        now = asyncio.get_running_loop().time()
        if not self.struck and call == cell.call:
            self.struck, self.over = True, now + cell.outage
        if not self.struck or now >= self.over:
            return await effect()
        self.attempts += "run" in get_contextvars()
        raise error_of(cell.fault)


def error_of(fault: Fault) -> ClusterError:
    """As the adapter raises it."""
    return ERRORS[fault]()


class FaultyCluster:
    """A `Cluster` some of whose calls fail."""

    def __init__(self, cluster: Cluster, failures: Failures) -> None:
        self._cluster = cluster
        self._failures = failures

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        return await self._failures.asked("get", kind, lambda: self._cluster.get(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        return await self._failures.asked("list", kind, lambda: self._cluster.list(kind, namespace, selector))

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        return await self._failures.asked(
            "patch",
            kind,
            lambda: self._cluster.json_patch(kind, namespace, name, operations, manager=manager),
            (name, [o for o in operations if o["path"] != "/metadata/resourceVersion"]),
        )

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        return await self._failures.asked(
            "apply",
            kind,
            lambda: self._cluster.apply(kind, namespace, name, body, manager=manager, force=force),
            (name, body),
        )

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        return await self._failures.asked(
            "create", kind, lambda: self._cluster.create(kind, namespace, body), (body.get("metadata"), body)
        )

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        await self._failures.asked(
            "delete",
            kind,
            lambda: self._cluster.delete(kind, namespace, name, uid=uid, resource_version=resource_version),
            (name, uid),
        )

    def ahead(self) -> float:
        return self._cluster.ahead()

    async def aclose(self) -> None:
        pass
