from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import structlog

from logcaster_guard.domain import runs
from logcaster_guard.domain.errors import Conflict, NotFound
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, Case
from tests.cluster.crashes import Cell, Moment, Point, Tape, cells, late_cells
from tests.cluster.daemon import Daemon
from tests.cluster.ending import Facts, Undisturbed, ending, writes_of
from tests.cluster.harness import Cluster
from tests.cluster.matrix import MATRIX, ONCE, actions_with_a_strategy, record, shared, unless_crash
from tests.cluster.scene import Scene

AT_ONCE = 6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `facts` once its last guard was done, or why there are none."""

    cell: Cell | None
    namespace: str
    facts: Facts | None
    fault: str
    seconds: float


def test_the_matrix_is_of_every_strategy() -> None:
    assert actions_with_a_strategy() == {case.action for case in MATRIX}


@pytest.mark.parametrize("minimum", [None, 2], ids=["plain", "autoscaled"])
@pytest.mark.parametrize("case", MATRIX, ids=str)
async def test_a_guard_may_die_at_every_point_of_a_rollback(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    asyncio.get_running_loop().set_exception_handler(unless_crash)
    with structlog.testing.capture_logs() as log:
        points, known = await record(cluster, api, rights, case, minimum)
        crashes = [*cells(points), *late_cells(points)]
        assert len(cells(points)) == 2 * len(points)
        slots = asyncio.Semaphore(AT_ONCE)

        async def play(cell: Cell) -> Outcome:
            async with slots:
                return await played(cluster, api, rights, case, minimum, cell=cell)

        outcomes = await asyncio.gather(*map(play, crashes))
    audit = await cluster.read_audit()
    rows = []
    for o in outcomes:
        either = shared(case, minimum) or cleared_away(o.cell)
        rows.append((o, *judged(o, writes_of(audit, o.namespace), minimum, known, case=case, shared=either)))
    table = "\n".join(f"{o.seconds:5.1f} s  {o.cell}: {end} {'; '.join(faults)}" for o, end, faults in rows)
    ends = Counter(end for _, end, _ in rows)
    sys.stdout.write(f"{len(points)} points, {len(rows)} crashes: {dict(ends)}\n{table}\n")
    assert len(rows) == len(crashes)
    assert not [e for e in log if e["event"] == "run.crashed"]
    assert not [row for row in rows if row[2]], table


async def played(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None, *, cell: Cell
) -> Outcome:
    """A guard dies as the cell says, and another one takes over."""
    began = time.monotonic()
    namespace, facts, fault = "", None, ""
    try:
        async with Scene.set_up(cluster, api, rights, minimum, case=case) as scene:
            namespace = scene.cluster.namespace
            tape = await scene.life(cell)
            if not tape.dead.is_set() and not shared(case, minimum):
                fault = "the point was not reached"
            await scene.life(None)
            if cell.moment is Moment.LATE and tape.dead.is_set() and await arrives(tape):
                # What may still be created is cleared away by whoever guards then.
                if cell.point.what != "create Deployment":
                    fault = "a request of the dead guard took effect"
                await scene.swept()
            facts = await scene.facts()
    except Exception as error:  # noqa: BLE001 - one cell's failure must not hide how the others end
        fault = f"{type(error).__name__}: {error}"
    return Outcome(cell, namespace, facts, fault, time.monotonic() - began)


def cleared_away(cell: Cell | None) -> bool:
    """Whether something was created too late, and deleted: two writes more."""
    return cell is not None and cell == Cell(Point("create Deployment", 1), Moment.LATE)


async def arrives(tape: Tape) -> bool:
    """Whether what the dead guard had sent is taken now."""
    assert tape.unsent is not None
    try:
        await tape.unsent()
    except (Conflict, NotFound):
        return False
    return True


def judged(
    outcome: Outcome, writes: Counter[str], minimum: int | None, known: Undisturbed, *, case: Case, shared: bool
) -> tuple[str, list[str]]:  # fmt: skip
    if outcome.facts is None:
        return "never ended", [outcome.fault]
    end, faults = ending(outcome.facts, writes, minimum, known, case=case, shared=shared)
    return end, [*faults, *([outcome.fault] if outcome.fault else [])]


@pytest.mark.parametrize("moment", ["run.opened", "step.intended", "step.done"])
async def test_killed_for_real(cluster: Cluster, api: ClusterPort, rights: Sequence[Json], moment: str) -> None:
    minimum = 2
    async with Scene.set_up(cluster, api, rights, minimum, pace=Pace(start_delay=0.1, drain=0.6)) as scene:
        scene.world.releases.register(objects.image(BAD), Behaviour(error_rate=0.3))
        await scene.world.network.start()
        await scene.world.traffic.start()
        daemon = Daemon(scene.cluster, scene.folder, network=scene.world.network.url, prometheus=None)
        try:
            await daemon.start()
            opened = await daemon.until("run.opened")
            if moment != "run.opened":
                await daemon.until(moment, step=opened["steps"].index("restore_template"))
            assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
            assert not daemon.told("run.closed")
            await daemon.start()
            await daemon.until("run.resumed", run=opened["run"])
            await daemon.until("run.closed", outcome=runs.RECOVERED)
            await daemon.until("notice.delivered", about="run.closed")
            assert await daemon.stop() == 0
        finally:
            await daemon.stop()
        await scene.world.traffic.until(lambda t: t.window(2).error_share == 0, 15)
        facts = await scene.facts()
    writes = writes_of(await cluster.read_audit(), scene.cluster.namespace)
    assert ending(facts, writes, minimum, ONCE[True], cut_off=True) == ("rolled back once", [])
