"""Two guards over one cluster and one journal, of which the first is stopped at a point, and let go much later.

A stopped guard is one whose process gets no time, or whose calls reach nobody: each of its calls stands still, and so
do its timers, while its clock goes on. The point is below the guard's own look at its authority, so that what it was
about to send is really sent when it is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from logcaster_guard.adapters.kubernetes.lease import KubernetesLease
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.leadership import Record, Role, Terms
from logcaster_guard.engine.epoch_marker import EPOCH
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.ports import Clock, Journal, Json, Lease
from logcaster_guard.ports import Cluster as ClusterPort
from tests.cluster.case import Case, ImageSource
from tests.cluster.crashes import Cell, Effect, Moment, Point, Tape
from tests.cluster.ending import Undisturbed, ending, writes_of
from tests.cluster.harness import AuditRecord, Cluster
from tests.cluster.scene import Scene
from tests.real.waiting import until

T = TypeVar("T")
TERMS = Terms(duration=4.0, renew_every=0.4, timeout=0.8)
NAME = "logcaster-guard"
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]}
WITHIN = 60.0
RECORDINGS = 3


@dataclass
class Gate(Tape):
    """A tape of a guard that is stopped where a dead one would have ended, and goes on once it is `let_go`."""

    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def let_go(self) -> None:
        self.open.set()

    async def through(self, what: str, effect: Effect[T]) -> T:
        """Let the effect happen, unless the guard is stopped before it; let it be known, unless it is after it."""
        await self.open.wait()
        counted = self.counts(what)
        if counted:
            await self._stop_at(what, Moment.BEFORE)
        try:
            # What a process had begun to send when it was stopped goes out, whatever it learns first when it wakes.
            answer = await self._sent_on(effect)
        except ClusterError:
            self.refused += 1
            raise
        if counted:
            await self._stop_at(what, Moment.AFTER)
            self.note(what)
        await self.open.wait()
        return answer

    async def _sent_on(self, effect: Effect[T]) -> T:
        sent = asyncio.ensure_future(effect())
        self._sent.add(sent)
        return await asyncio.shield(sent)

    async def _stop_at(self, what: str, moment: Moment) -> None:
        if not self.stopped.is_set() and self.end == Cell(self._due(what), moment):
            self.stopped.set()
            self.open.clear()
        await self.open.wait()


@dataclass
class Severed(Gate):
    """A gate behind which a guard goes on, and only renews its lease no longer: `sever` is called at the point.

    The guard's call there gets no answer for as long as that lasts, so that it is at this very point that its time on
    the lease is over. `unentitled` are the writes that it began without authority, as `acts` tells of it.
    """

    sever: Callable[[], None] = lambda: None
    acts: Callable[[], bool] = lambda: True
    unentitled: list[str] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def let_go(self) -> None:
        self.answered.set()

    async def through(self, what: str, effect: Effect[T]) -> T:
        # An Event is of a name that only the first can take; whether one may be sent is asked before its object is.
        if not self.acts() and not what.startswith("create Event"):
            self.unentitled.append(what)
        return await super().through(what, effect)

    async def _stop_at(self, what: str, moment: Moment) -> None:
        if not self.stopped.is_set() and self.end == Cell(self._due(what), moment):
            self.sever()
            self.stopped.set()
            await self.answered.wait()


class GateClock:
    """A clock that goes on while the guard is stopped, and wakes nobody."""

    def __init__(self, clock: Clock, gate: Gate) -> None:
        self._clock = clock
        self._gate = gate

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep_until(self, at: float) -> None:
        await self._clock.sleep_until(at)
        await self._gate.open.wait()


class GateLease:
    """The lease as a guard sees it that may be stopped."""

    def __init__(self, lease: Lease, gate: Gate) -> None:
        self._lease = lease
        self._gate = gate
        self.name = lease.name

    async def read(self) -> Record | None:
        await self._gate.open.wait()
        found = await self._lease.read()
        await self._gate.open.wait()
        return found

    async def write(self, record: Record) -> Record:
        await self._gate.open.wait()
        written = await self._lease.write(record)
        await self._gate.open.wait()
        return written


class Contender:
    """A guard that takes turns, from its start to its end. `leases` is the API as it is reached for the lease."""

    def __init__(
        self, scene: Scene, journal: Journal, name: str, gate: Gate, *, leases: ClusterPort | None = None
    ) -> None:  # fmt: skip
        self.gate = gate
        clock = GateClock(scene.clock, gate)
        lease = GateLease(KubernetesLease(leases or scene.api, scene.cluster.namespace, NAME), gate)
        self.elector = LeaderElector(lease, clock, TERMS, name)
        self.source = ImageSource(scene.world, scene.clock, scene.case)
        self.guard: Guard = scene.guard(journal, self.source, self.gate, clock=clock, authority=self.elector)
        self._task = asyncio.create_task(self.guard.run())

    async def acts(self) -> bool:
        """Whether it holds the lease and has read the journal; raises what has ended it."""
        if self._task.done():
            await self._task
        return not self.guard.read_model.standby and self.guard.read_model.journal_read

    async def looks_on(self) -> None:
        """Return once it stands by, knows who acts, and has read its source as often as it may need to act wrongly."""

        async def stands_by() -> bool:
            if self._task.done():
                await self._task
            return self.elector.role is Role.STANDBY and self.elector.holder not in {"", self.elector.identity}

        await until(stands_by, WITHIN)
        enough = self.source.reads + 3

        async def has_read() -> bool:
            return self.source.reads >= enough

        await until(has_read, WITHIN)

    async def stop(self) -> None:
        """As SIGTERM."""
        self.gate.let_go()
        self._task.cancel()
        done, _ = await asyncio.wait([self._task], timeout=30)
        if not done:
            raise AssertionError("the guard does not end")
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error


async def free_lease(scene: Scene) -> None:
    """A lease that was given back, so that the first guard need not wait for one that might hold it."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{scene.cluster.namespace}/leases"
    body: dict[str, Any] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
    await scene.cluster.admin.create(path, {**body, "spec": {"acquireTime": "2026-01-01T00:00:00.000000Z"}})


@contextlib.asynccontextmanager
async def guarded(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None
) -> AsyncIterator[tuple[Scene, Journal, Journal]]:
    """A scene with a free lease, and the one journal of its guards as each of them has it open."""
    async with Scene.set_up(cluster, api, rights, minimum, case=case) as scene:
        await free_lease(scene)
        async with scene.stores.journal(shared=True) as first, scene.stores.journal(shared=True) as second:
            yield scene, first, second


async def over(scene: Scene, journal: Journal) -> None:
    """Return once nothing is left to be done or told."""

    async def is_over() -> bool:
        return scene.over(await journal.read_all())

    await until(is_over, WITHIN)


async def record(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None
) -> tuple[Sequence[Point], Undisturbed]:
    """The points of a rollback by a leader that nothing disturbs, and what it did."""
    for _ in range(RECORDINGS):
        async with guarded(cluster, api, rights, case, minimum) as (scene, journal, _):
            first = Contender(scene, journal, "first", Gate())
            try:
                await until(first.acts, WITHIN)
                await over(scene, journal)
            finally:
                await first.stop()
            facts = await scene.facts_of(journal)
        if not first.gate.refused:
            writes, marks = effects_of(await cluster.last_audit(scene.cluster.namespace), scene.cluster.namespace)
            known = Undisturbed(writes, facts.changes)
            end = "given back, frozen, told" if case.beside else "rolled back once"
            assert ending(facts, writes, minimum, known, case=case) == (end, [])
            assert not marks
            return first.gate.points, known
    raise AssertionError("in each recording some request was refused")


def effects_of(records: Sequence[AuditRecord], namespace: str) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """The guards' successful writes that are no marks and no renewals, by resource; and the marks, by their object."""
    marks = [r for r in records if r.namespace == namespace and r.code < 300 and is_mark(r)]
    others = [r for r in records if not is_mark(r) and r.resource != "leases"]
    return writes_of(others, namespace), Counter((r.resource, r.name) for r in marks)


def is_mark(record: AuditRecord) -> bool:
    """Whether it writes an epoch and nothing else."""
    operations = record.body if isinstance(record.body, list) else []
    # Who owns the annotation is told by managedFields, which are written too.
    return [o.get("path") for o in operations[1:]] == ["/metadata/annotations"] and EPOCH in operations[1]["value"]
