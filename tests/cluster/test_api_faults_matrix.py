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
from logcaster_guard.engine import executor
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json, Kind
from tests.cluster import refusals
from tests.cluster.api_faults import (
    ACCIDENTS,
    LASTING,
    WRITES,
    Call,
    Failing,
    Failures,
    Fault,
    FaultyCluster,
    Wire,
    applies,
)
from tests.cluster.case import PACE, POLICY, Case
from tests.cluster.ending import Facts, Undisturbed, ending, writes_of
from tests.cluster.environments import BLUE, IDLE
from tests.cluster.harness import AuditRecord, Cluster
from tests.cluster.matrix import (
    MATRIX,
    REAL,
    SANDBOX,
    Share,
    actions_with_a_strategy,
    part_of,
    record,
    share,
    shared,
    strategies_whole,
)
from tests.cluster.proxy import MisbehavingProxy
from tests.cluster.refusals import Hurried, Refusals, RefusedScene
from tests.cluster.scene import Scene
from tests.cluster.serving import least, sampled
from tests.real.control_plane import write_kubeconfig

AT_ONCE = 8
AWAY_AT_ONCE = 16
"""They wait most of the time."""
ON_THE_WIRE = 8
"""Cells played of one case one after the other, on the sandbox and unless all are asked for."""
REFUSED = 8
"""Cells played of a case where a call is refused for good; the reads of one step end it much alike."""
DEADLINE = 5.0
PATIENT = replace(POLICY, polling=replace(POLICY.polling, staleness=3600.0))
"""No reading is stale only because the clock was put forward."""
UNHURRIED = replace(PACE, start_delay=0.4)
"""Pods that take long enough to become Ready for whoever does not wait for them to be found out."""
SHORT, LONG = 1.5, 8.0
"""Seconds for which the API server is away."""
ANSWERS_WITHIN = 2.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Row:
    """What became of a cell."""

    cell: Failing
    namespace: str
    facts: Facts | None
    fault: str
    tape: Failures
    seconds: float = 0.0


@dataclass(frozen=True)
class World:
    """What every cell of a case is played in.

    `wire` is what fails instead of the guard's own calls, `through` the API as it is reached over it.
    """

    cluster: Cluster
    api: ClusterPort
    rights: Sequence[Json]
    case: Case
    minimum: int | None
    wire: Wire | None = None
    through: ClusterPort | None = None

    async def recorded(self) -> tuple[Sequence[Call], Undisturbed]:
        """The calls of a rollback in which nothing fails, and what it does."""
        _, known = await record(self.cluster, self.api, self.rights, self.case, self.minimum)
        failures = Failures()
        async with Scene.set_up(self.cluster, self.api, self.rights, self.minimum, case=self.case) as scene:
            scene.failing = FaultyCluster(self.through or self.api, failures)
            await scene.life(None, tape=failures)
        return failures.calls, known

    async def played(self, cell: Failing) -> Row:
        """A guard one of whose calls fails."""
        began = time.monotonic()
        lasts = cell.fault in LASTING
        tape = (Refusals if lasts else Failures)(cell=cell, wire=self.wire)
        row = Row(cell, "", None, "", tape)
        try:
            kind = RefusedScene if lasts else Scene
            pace = UNHURRIED if cell.outage else PACE
            make = kind.set_up(self.cluster, self.api, self.rights, self.minimum, case=self.case, pace=pace)
            async with make as scene:
                scene.failing = FaultyCluster(self.through or self.api, tape)
                if lasts:
                    scene.clock, scene.policy = Hurried(), PATIENT
                row = replace(row, namespace=scene.cluster.namespace)
                facts, fault = await lived(scene, tape)
                row = replace(row, facts=facts, fault=fault)
            if not tape.struck and not shared(self.case, self.minimum):
                row = replace(row, fault="the call was not made")
        except Exception as error:  # noqa: BLE001 - one cell's failure must not hide how the others end
            row = replace(row, fault=f"{type(error).__name__}: {error}")
        return replace(row, seconds=time.monotonic() - began)

    async def all_played(self, cells: Sequence[Failing], at_once: int = AT_ONCE) -> Sequence[Row]:
        slots = asyncio.Semaphore(at_once)

        async def play(cell: Failing) -> Row:
            async with slots:
                return await self.played(cell)

        return await asyncio.gather(*map(play, cells))


async def lived(scene: Scene, tape: Failures) -> tuple[Facts, str]:
    """What a guard's life comes to, and whether too few served at any time of it, which counts where a fault lasts."""
    if tape.cell is None or not (tape.cell.outage or tape.cell.fault in LASTING):
        await scene.life(None, tape=tape)
        return await scene.facts(), ""
    floor = await least(scene)
    async with sampled(scene) as sample:
        await scene.life(None, tape=tape)
    short = f"{sample.lowest} pods served where {floor} were due: {', '.join(sample.then)}"
    return await scene.facts(), short if sample.lowest < floor or not sample.taken else ""


def test_the_matrix_is_of_every_strategy() -> None:
    assert actions_with_a_strategy() == {case.action for case in MATRIX}


@pytest.mark.parametrize("minimum", [None, 2], ids=["plain", "autoscaled"])
@pytest.mark.parametrize("case", MATRIX, ids=str)
async def test_any_call_may_fail_once(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    world = World(cluster, api, rights, case, minimum)
    with structlog.testing.capture_logs() as log:
        calls, known = await world.recorded()
        cells = [Failing(call, fault) for call in calls for fault in ACCIDENTS if applies(call, fault)]
        part = part_of(cells, cluster, case, minimum, row=len(ACCIDENTS))
        rows = await world.all_played(part.played)
    assert len(rows) == len(part.played)
    await _judged(world, rows, known, f"{len(calls)} calls, {part.words}", log)


@pytest.mark.parametrize("minimum", [None, 2], ids=["plain", "autoscaled"])
@pytest.mark.parametrize("case", MATRIX, ids=str)
async def test_any_call_may_be_refused_for_good(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    world = World(cluster, api, rights, case, minimum)
    with structlog.testing.capture_logs() as log:
        calls, known = await world.recorded()
        cells = [Failing(call, fault) for call in calls for fault in sorted(LASTING) if applies(call, fault)]
        part = refused_part(cells, cluster, case)
        rows = await world.all_played(part.played)
    assert len(rows) == len(part.played)
    await _judged(world, rows, known, f"{len(calls)} calls, {part.words}", log)


def refused_part(cells: Sequence[Failing], cluster: Cluster, case: Case) -> Share[Failing]:
    """The share that is played here: where strategies are played whole, every write, and of the reads a few."""
    if cluster.kind != "sandbox" or case != Case(case.action) or not strategies_whole():
        return share(cells, REFUSED if cluster.kind == "sandbox" else REAL, row=len(LASTING))
    writes = [c for c in cells if c.call.verb in WRITES]
    reads = share([c for c in cells if c.call.verb not in WRITES], REFUSED, row=1)
    return Share([*writes, *reads.played], f"all {len(writes)} writes, of the reads {reads.words}")


@pytest.mark.parametrize("seconds", [SHORT, LONG])
@pytest.mark.parametrize("minimum", [None, 2], ids=["plain", "autoscaled"])
@pytest.mark.parametrize("case", [c for c in MATRIX if not c.beside], ids=str)
async def test_the_api_server_may_be_away_from_any_write_on(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    monkeypatch.setattr(runs, "WRITE_TIMEOUT", DEADLINE)
    monkeypatch.setattr(executor, "_JOURNAL_RETRY", SHORT / 3)
    world = World(cluster, api, rights, case, minimum)
    with structlog.testing.capture_logs() as log:
        calls, known = await world.recorded()
        writes = [c for c in calls if c.phase and c.verb in WRITES and c.kind is not Kind.EVENT]
        cells = [Failing(call, Fault.AWAY, outage=seconds) for call in writes]
        most = SANDBOX if case.in_cluster else None
        part = share(cells, most if cluster.kind == "sandbox" else REAL, row=1)
        rows = await world.all_played(part.played, AWAY_AT_ONCE)
    assert len(rows) == len(part.played)
    await _judged(world, rows, known, f"{len(writes)} writes, {part.words}", log)


@pytest.mark.parametrize("case", [c for c in MATRIX if not c.beside], ids=str)
async def test_any_call_may_fail_on_the_wire(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    async with MisbehavingProxy.before(cluster, ANSWERS_WITHIN) as proxy:
        kubeconfig = write_kubeconfig(cluster.folder / "proxied", proxy.url, None, cluster.token("guard"))
        through = await connect(kubeconfig=kubeconfig, context=None, timeout=ANSWERS_WITHIN)
        try:
            world = World(cluster, api, rights, case, None, wire=proxy, through=through)
            with structlog.testing.capture_logs() as log:
                calls, known = await world.recorded()
                cells = [Failing(call, fault) for call in calls for fault in ACCIDENTS if applies(call, fault)]
                part = share(cells, ON_THE_WIRE if cluster.kind == "sandbox" else REAL, row=len(ACCIDENTS))
                # Requests of several guards cannot be told apart on the wire.
                rows = [await world.played(cell) for cell in part.played]
        finally:
            await through.aclose()
    assert proxy.struck == len([r for r in rows if not r.fault])
    await _judged(world, rows, known, f"on the wire: {len(calls)} calls, {part.words}", log)


async def _judged(world: World, rows: Sequence[Row], known: Undisturbed, words: str, log: Sequence[object]) -> None:
    audit = await world.cluster.read_audit()
    lines, ends, wrong = [], Counter[str](), []
    for row in rows:
        end, faults = judged(world, row, audit, known)
        ends[end] += 1
        lines.append(f"{row.seconds:5.1f} s  {row.cell}: {end} {'; '.join(faults)}")
        wrong += [lines[-1]] if faults else []
    sys.stdout.write(f"{world.case}, {world.minimum}: {words}: {dict(ends)}\n" + "\n".join(lines) + "\n")
    assert not [e for e in log if isinstance(e, dict) and e["event"] in {"run.crashed", "watch.crashed"}]
    assert not wrong, "\n".join(wrong)


def judged(world: World, row: Row, audit: Sequence[AuditRecord], known: Undisturbed) -> tuple[str, list[str]]:
    """How it ended, and everything that is wrong with that."""
    if row.facts is None:
        return "never ended", [row.fault]
    case, minimum, facts = world.case, world.minimum, row.facts
    if isinstance(row.tape, Refusals):
        end, faults = refusals.judged(facts, row.tape, writes_of(audit, row.namespace), known, case, minimum)
        return end, [*faults, row.fault] if row.fault else faults
    ending_already = any(word in row.cell.call.phase for word in ("RunEnding", "HoldReleased"))
    gives_up = row.tape.struck and row.cell.outage > DEADLINE and not ending_already
    if case.in_cluster:
        # Without its journal a run stands still, and so does its time, but for a change that it meant to make.
        gives_up = gives_up and "StepIntended" in row.cell.call.phase
    left = replace(case, beside=1.0) if gives_up and case.missing else case
    either = shared(case, minimum)
    writes = writes_of(audit, row.namespace)
    end, faults = ending(facts, writes, minimum, known, case=left, shared=either)
    faults += [row.fault] if row.fault else []
    if gives_up:
        outcomes = {r.closed.outcome for r in facts.runs if r.closed is not None}
        faults += [] if outcomes == {runs.FAILED} else [f"the run ended {outcomes}"]
        faults += [] if row.tape.attempts > 2 else [f"{row.tape.attempts} attempts"]
        idle = facts.sizes.get(BLUE, minimum or IDLE)
        faults += [] if idle == (minimum or IDLE) else [f"{idle} pods idle"]
        return "given up, given back, frozen, told" if not faults else end, faults
    due = "given back, frozen, told" if case.beside else "rolled back once"
    return end, faults if end == due else [*faults, f"{end} where {due} was due"]
