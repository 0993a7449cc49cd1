"""The leader is stopped at every point of a rollback for longer than its lease, and let go when the other is done."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import structlog

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import runs
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.runs import ABANDONED, Run
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, Case
from tests.cluster.crashes import Cell, Moment, cells
from tests.cluster.daemon import Daemon
from tests.cluster.ending import Facts, Undisturbed, ending
from tests.cluster.harness import AuditRecord, Cluster
from tests.cluster.matrix import share, strategies_whole
from tests.cluster.partitions import (
    LEASES,
    NAME,
    WITHIN,
    Contender,
    Gate,
    effects_of,
    free_lease,
    guarded,
    over,
    record,
)
from tests.cluster.roles import OF_TARGETS
from tests.cluster.scene import Scene
from tests.real.waiting import until

AT_ONCE = 8
EVERY = 7
"""One cell in so many is played; of the first case all, and where the strategies are to be played whole of each."""

PLAYS = 3
PASSED_BY = "the first guard lost the lease on the way to the point"
MATRIX = (
    (Case(Action.IMMEDIATE), None),
    (Case(Action.IMMEDIATE), 2),
    (Case(Action.IMMEDIATE, in_cluster=True), None),
    (Case(Action.ALERT_THEN), None),
    (Case(Action.GRADUAL), None),
    (Case(Action.GRADUAL, beside=0.5), None),
    (Case(Action.BLUE_GREEN), None),
    (Case(Action.BLUE_GREEN, missing=True), 2),
)
OPENING = "append to run: RunOpened + NoticeQueued run.opened"
HELPER = "create Deployment"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def rights() -> Sequence[Json]:
    return [*OF_TARGETS, LEASES]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[ClusterPort]:
    made = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10)
    yield made
    await made.aclose()


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `facts` once both guards were ended, or why there are none."""

    cell: Cell
    namespace: str
    facts: Facts | None
    fault: str
    seconds: float


@pytest.mark.parametrize(("case", "minimum"), MATRIX, ids=str)
async def test_a_leader_may_be_cut_off_at_every_point_of_a_rollback(  # noqa: PLR0917 - fixtures
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    with structlog.testing.capture_logs() as log:
        points, known = await record(cluster, api, rights, case, minimum)
        every_cell = cells(points)
        whole = (case, minimum) == MATRIX[0] or (cluster.kind == "sandbox" and strategies_whole())
        part = share(
            every_cell, None if whole else math.ceil(len(every_cell) / EVERY), row=len(every_cell) // len(points)
        )
        slots = asyncio.Semaphore(AT_ONCE)

        async def play(cell: Cell) -> Outcome:
            async with slots:
                return await played(cluster, api, rights, case, minimum, cell=cell)

        outcomes = await asyncio.gather(*map(play, part.played))
    audit = await cluster.read_audit()
    rows = []
    for o in outcomes:
        writes, marks = effects_of(audit, o.namespace)
        rows.append((o, marks.total(), *judged(o, writes, marks, minimum, known, case=case)))
    table = "\n".join(f"{o.seconds:5.1f} s  {o.cell}: {end}, {n} marks {'; '.join(f)}" for o, n, end, f in rows)
    ends = Counter(end for *_, end, _ in rows)
    sys.stdout.write(f"{len(points)} points, {part.words}: {dict(ends)}\n{table}\n")
    assert not [e for e in log if e["event"] in {"run.crashed", "watch.crashed"}]
    assert not [row for row in rows if row[3]], table


async def played(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None, *, cell: Cell
) -> Outcome:
    """The first guard is stopped as the cell says, the second takes over and ends the run, the first is let go."""
    for _ in range(PLAYS):
        found = await played_once(cluster, api, rights, case, minimum, cell=cell)
        if found.fault != PASSED_BY:
            break
    return found


async def played_once(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case, minimum: int | None, *, cell: Cell
) -> Outcome:
    """As `played`; not at all where the machine was so busy that the first lost the lease on the way to the point."""
    began = time.monotonic()
    namespace, facts, fault = "", None, ""
    try:
        async with guarded(cluster, api, rights, case, minimum) as (scene, theirs, journal):
            namespace = scene.cluster.namespace
            first = Contender(scene, theirs, "first", Gate(cell))
            await until(first.acts, WITHIN)
            second = Contender(scene, journal, "second", Gate())
            try:
                if await until(partial(met, first, second), WITHIN) == PASSED_BY:
                    return Outcome(cell, namespace, None, PASSED_BY, time.monotonic() - began)
                await until(second.acts, WITHIN)
                await over(scene, journal)
                first.gate.let_go()
                await first.looks_on()
                await second.guard.sweep()
                await scene.alone()
                await over(scene, journal)
                if not await second.acts():
                    fault = "the second holds the lease no longer"
            finally:
                await second.stop()
                await first.stop()
            facts = await scene.facts_of(journal)
    except Exception as error:  # noqa: BLE001 - one cell's failure must not hide how the others end
        fault = f"{type(error).__name__}: {error}"
    return Outcome(cell, namespace, facts, fault, time.monotonic() - began)


async def met(first: Contender, second: Contender) -> str:
    """What became of the first on its way to the point; empty while it is on its way."""
    if first.gate.stopped.is_set():
        return "stopped"
    return PASSED_BY if await second.acts() else ""


def judged(
    outcome: Outcome,
    writes: Counter[str],
    marks: Counter[tuple[str, str]],
    minimum: int | None,
    known: Undisturbed,
    *,
    case: Case,
) -> tuple[str, list[str]]:
    if outcome.facts is None:
        return "never ended", [outcome.fault]
    # An annotation that changes is a generation of the Deployment, and no change of its spec.
    marked = sum(marks["deployments", name] for name in outcome.facts.sizes)
    facts = replace(outcome.facts, changes=outcome.facts.changes - marked)
    late = [r for r in facts.runs if is_void(r)]
    if late:
        # It was told, and changed nothing.
        reasons = facts.reasons - Counter({"RunOpened": len(late), "RunClosed": len(late)})
        facts = replace(facts, runs=[r for r in facts.runs if not is_void(r)], reasons=reasons)
        writes = writes - Counter(events=2 * len(late))
    before = outcome.cell.moment is Moment.BEFORE
    # What arrives after the end of the run is deleted again: two writes more.
    cleared = before and outcome.cell.point.what == HELPER
    end, faults = ending(facts, writes, minimum, known, case=case, shared=cleared)
    if bool(late) != (before and outcome.cell.point.what == OPENING):
        faults.append(f"{len(late)} void runs")
    void = f", {len(late)} opened late and closed" if late else ""
    return end + void, [*faults, *([outcome.fault] if outcome.fault else [])]


def is_void(run: Run) -> bool:
    """Whether it was opened when its guard held the lease no longer."""
    closed = run.closed
    return closed is not None and closed.outcome == ABANDONED and not run.touched and "held the lease" in closed.reason


@contextlib.asynccontextmanager
async def daemons(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], *, in_cluster: bool
) -> AsyncIterator[tuple[Scene, Daemon, Daemon]]:
    """Two processes over a scene whose users meet the bad release; the first has the lease."""
    case, pace = Case(Action.IMMEDIATE, in_cluster=in_cluster), Pace(start_delay=0.1, drain=0.6)
    async with Scene.set_up(cluster, api, rights, None, case=case, pace=pace) as scene:
        scene.world.releases.register(objects.image(BAD), Behaviour(error_rate=0.3))
        await free_lease(scene)
        await scene.world.network.start()
        await scene.world.traffic.start()
        scene.folder.mkdir(exist_ok=True)
        first, second = (
            Daemon(scene.cluster, scene.folder, network=scene.world.network.url, prometheus=None) for _ in range(2)
        )
        second.take_turns(NAME)
        if in_cluster:
            second.keep_in_cluster()
        try:
            await first.start()
            await first.until("authority.taken")
            await second.start()
            await second.until("authority.standby")
            yield scene, first, second
        finally:
            await first.stop()
            await second.stop()


async def frozen(daemon: Daemon, file: Path) -> None:
    """Stop it, but not within a transaction: that would keep the file, which both share here, locked for the other."""

    async def stopped() -> bool:
        await daemon.freeze()
        if locked(file):
            daemon.signal(signal.SIGCONT)
            return False
        return True

    await until(stopped)


def locked(file: Path) -> bool:
    """Whether somebody is writing this journal; one that is kept elsewhere is no file."""
    if not file.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as journal:
            journal.execute("BEGIN IMMEDIATE")
            journal.rollback()
    except sqlite3.OperationalError:
        return True
    return False


def template_writes(records: Sequence[AuditRecord], namespace: str) -> int:
    """How often a template was written by a guard, and taken."""
    mine = [r for r in records if (r.namespace, r.user, r.resource) == (namespace, "guard", "deployments")]
    return sum(200 <= r.code < 300 and "/spec/template" in str(r.body) for r in mine)


@pytest.mark.parametrize(
    ("moment", "in_cluster"),
    [("run.opened", False), ("step.intended", False), ("step.intended", True), ("step.done", True)],
)
async def test_a_leader_that_is_stopped_for_real_changes_nothing_when_it_wakes(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], moment: str, in_cluster: bool
) -> None:
    async with daemons(cluster, api, rights, in_cluster=in_cluster) as (scene, first, second):
        opened = await first.until("run.opened")
        if moment != "run.opened":
            await first.until(moment, step=opened["steps"].index("restore_template"))
        await frozen(first, scene.folder / "journal.db")
        await second.until("authority.taken")
        await second.until("run.resumed", run=opened["run"])
        await second.until("run.closed", outcome=runs.RECOVERED)
        first.signal(signal.SIGCONT)
        await first.until("authority.lost")
        await first.until("authority.standby", holder=second.told("authority.taken")[0]["identity"])
        assert not first.told("run.closed")
        # The next hand-over is in order, and finds nothing to do.
        assert await second.stop() == 0
        assert second.told("authority.released")
        await first.until("authority.taken", count=2)
        assert await first.stop() == 0
        facts = await scene.facts()
    assert [r.closed.outcome for r in facts.runs if r.closed] == [runs.RECOVERED]
    assert facts.reasons["RunClosed"] == 1
    assert template_writes(await cluster.read_audit(), scene.cluster.namespace) == 1


async def test_a_leader_that_is_told_to_end_in_mid_run_hands_over_at_once(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    async with daemons(cluster, api, rights, in_cluster=True) as (scene, first, second):
        opened = await first.until("run.opened")
        await first.until("step.intended", step=opened["steps"].index("restore_template"))
        assert await first.stop() == 0
        assert first.told("authority.released")
        taken = await second.until("authority.taken")
        # It was given back: nobody had to be waited for.
        assert taken["before"] == ""
        await second.until("run.closed", run=opened["run"], outcome=runs.RECOVERED)
        assert await second.stop() == 0
    assert template_writes(await cluster.read_audit(), scene.cluster.namespace) == 1
