"""Guards as processes that share a lease: the leader is stopped, or told to end, in the middle of a rollback."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, Case
from tests.cluster.daemon import Daemon
from tests.cluster.harness import AuditRecord, Cluster
from tests.cluster.partitions import LEASES, NAME, free_lease
from tests.cluster.roles import OF_TARGETS
from tests.cluster.scene import Scene
from tests.real.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def rights() -> Sequence[Json]:
    return [*OF_TARGETS, LEASES]


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
