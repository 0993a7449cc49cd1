"""The leader goes on and reaches all but its lease: at every point of a rollback its renewals hang, or are refused."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import structlog

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import runs
from logcaster_guard.domain.authority import Role
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Journal, Json
from tests.cluster.api_faults import Fault
from tests.cluster.case import Case
from tests.cluster.crashes import Cell, Point, cells
from tests.cluster.ending import Facts, Undisturbed, ending
from tests.cluster.harness import AuditRecord, Cluster
from tests.cluster.matrix import Share, share, strategies_whole
from tests.cluster.partitions import (
    LEASES,
    WITHIN,
    Contender,
    Gate,
    Severed,
    effects_of,
    guarded,
    over,
    record,
)
from tests.cluster.proxy import MisbehavingProxy
from tests.cluster.roles import OF_TARGETS
from tests.cluster.scene import Scene
from tests.real.control_plane import write_kubeconfig
from tests.real.waiting import until

AT_ONCE = 8
"""They wait most of the time."""
ANSWERS_WITHIN = 2.0
WAYS = (Fault.LOST, Fault.AWAY, Fault.CUT)
"""What becomes of every request for the lease."""
CASES = (Case(Action.IMMEDIATE), Case(Action.GRADUAL))
SANDBOX, REAL = 40, 8
"""Cells played of a case, unless all are asked for."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def rights() -> Sequence[Json]:
    return [*OF_TARGETS, LEASES]


@dataclass(frozen=True)
class Row:
    """What became of a cell: `facts` once nothing was left to be done, or why there are none."""

    cell: Cell
    way: Fault
    namespace: str = ""
    facts: Facts | None = None
    unentitled: Sequence[str] = ()
    fault: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class World:
    """What every cell of a case is played in; `leases` is the API as it is reached through the proxy."""

    cluster: Cluster
    api: ClusterPort
    rights: Sequence[Json]
    case: Case
    proxy: MisbehavingProxy
    leases: ClusterPort
    alone: bool

    async def played(self, cell: Cell, way: Fault) -> Row:
        """The first guard's renewals fail as the cell says; another one, or else itself later, ends the run."""
        began, row = time.monotonic(), Row(cell, way)
        try:
            async with guarded(self.cluster, self.api, self.rights, self.case, None) as (scene, first, second):
                row = replace(row, namespace=scene.cluster.namespace)
                row = await self._contended(row, scene, first, second)
        except Exception as error:  # noqa: BLE001 - one cell's failure must not hide how the others end
            row = replace(row, fault=f"{type(error).__name__}: {error}")
        return replace(row, seconds=time.monotonic() - began)

    async def _contended(self, row: Row, scene: Scene, theirs: Journal, journal: Journal) -> Row:
        place = f"/namespaces/{row.namespace}/leases"
        gate = Severed(row.cell, sever=lambda: self.proxy.sever(place, row.way))
        first = Contender(scene, theirs, "first", gate, leases=self.leases)
        gate.acts = lambda: first.keeper.role is Role.HOLDING
        guards = [first]
        try:
            await until(first.acts, WITHIN)
            if not self.alone:
                guards.append(Contender(scene, journal, "second", Gate()))
            await until(lambda: _stopped(gate), WITHIN)
            await until(lambda: _stands_by(first), WITHIN)
            if self.alone:
                self.proxy.mend(place)
            await until(guards[-1].acts, WITHIN)
            await over(scene, journal)
            self.proxy.mend(place)
            gate.let_go()
            if not self.alone:
                await first.looks_on()
            await guards[-1].guard.sweep()
            await scene.alone()
            await over(scene, journal)
            fault = "" if await guards[-1].acts() else "it holds the lease no longer"
        finally:
            for guard in reversed(guards):
                await guard.stop()
        return replace(row, facts=await scene.facts_of(journal), unentitled=gate.unentitled, fault=fault)


async def _stopped(gate: Severed) -> bool:
    return gate.stopped.is_set()


async def _stands_by(guard: Contender) -> bool:
    return guard.keeper.role is Role.STANDBY


@pytest.mark.parametrize("alone", [False, True], ids=["and another takes over", "and nobody else is there"])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_leader_that_cannot_renew_its_lease_writes_nothing_once_its_time_is_over(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    alone: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    async with MisbehavingProxy.before(cluster, ANSWERS_WITHIN) as proxy:
        kubeconfig = write_kubeconfig(cluster.folder / "proxied", proxy.url, None, cluster.token("guard"))
        leases = await connect(kubeconfig=kubeconfig, context=None, timeout=ANSWERS_WITHIN)
        try:
            world = World(cluster, api, rights, case, proxy, leases, alone)
            with structlog.testing.capture_logs() as log:
                points, known = await record(cluster, api, rights, case, None)
                every = cut_off(points)
                part = part_of(every, cluster, case)
                slots = asyncio.Semaphore(AT_ONCE)

                async def play(cell: Cell, way: Fault) -> Row:
                    async with slots:
                        return await world.played(cell, way)

                rows = await asyncio.gather(*(play(*one) for one in part.played))
        finally:
            await leases.aclose()
    audit = await cluster.read_audit()
    ends = [(row, *judged(row, audit, known, case)) for row in rows]
    table = "\n".join(f"{r.seconds:5.1f} s  {r.way} from {r.cell} on: {end} {'; '.join(f)}" for r, end, f in ends)
    sys.stdout.write(f"{len(points)} points, {part.words}: {dict(Counter(e for _, e, _ in ends))}\n{table}\n")
    assert not [e for e in log if e["event"] in {"run.crashed", "watch.crashed"}]
    assert not [end for end in ends if end[2]], table


def part_of(every: Sequence[tuple[Cell, Fault]], cluster: Cluster, case: Case) -> Share[tuple[Cell, Fault]]:
    """The share that is played here; where strategies are played whole, every point, if not before and after it."""
    if cluster.kind == "sandbox" and strategies_whole() and case != CASES[0]:
        return Share([one for n, one in enumerate(every) if n % 4 in {0, 3}], "each point once")
    return share(every, SANDBOX if cluster.kind == "sandbox" else REAL, row=2 * len(WAYS))


def cut_off(points: Sequence[Point]) -> list[tuple[Cell, Fault]]:
    """Every point, before its effect and before its answer, each with another way of being cut off."""
    return [(cell, WAYS[n % len(WAYS)]) for n, cell in enumerate(cells(points))]


def judged(row: Row, audit: Sequence[AuditRecord], known: Undisturbed, case: Case) -> tuple[str, list[str]]:
    """How it ended, and everything that is wrong with that: whoever ended the run, each effect was had once."""
    if row.facts is None:
        return "never ended", [row.fault]
    writes, marks = effects_of(audit, row.namespace)
    # An annotation that changes is a generation of the Deployment, and no change of its spec.
    marked = sum(marks["deployments", name] for name in row.facts.sizes)
    facts = replace(row.facts, changes=row.facts.changes - marked)
    end, faults = ending(facts, writes, None, known, case=case)
    faults += [] if end == "rolled back once" else [f"{end} where rolled back once was due"]
    faults += [f"sent without authority: {what}" for what in row.unentitled]
    return end, [*faults, *([row.fault] if row.fault else [])]
