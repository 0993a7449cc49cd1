"""The guard as a container of the pods that it guards: it outlives the rollback that ends its pod."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.sidecar import CONTAINER
from logcaster_guard.domain.workload import template_hash
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json, Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, GOOD, Case
from tests.cluster.crashes import Cell, Moment, Point
from tests.cluster.daemon import Daemon
from tests.cluster.ending import Undisturbed, ending, writes_of
from tests.cluster.harness import Cluster
from tests.cluster.roles import rules_in
from tests.cluster.scene import Scene
from tests.real.waiting import until

CASE = Case(Action.IMMEDIATE, in_cluster=True, sidecar=True)
DECIDED = Cell(Point("patch Deployment", 1), Moment.BEFORE)
WRITTEN = Cell(Point("patch Deployment", 1), Moment.AFTER)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def rights() -> Sequence[Json]:
    """What is shipped for a guard in the pods whose rules ask for gradual_rollback too."""
    return rules_in("overlays/sidecar/rbac.yaml", "components/gradual/rbac.yaml")


def images(deployment: Json) -> dict[str, str]:
    containers: Sequence[Json] = deployment["spec"]["template"]["spec"]["containers"]
    return {c["name"]: c["image"] for c in containers}


@pytest.mark.parametrize("cell", [None, DECIDED, WRITTEN], ids=str)
async def test_a_rollback_leaves_the_guard_as_it_is_whichever_guard_ends_it(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], cell: Cell | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    async with Scene.set_up(cluster, api, rights, None, case=CASE) as scene:
        bad = await scene.production()
        tape = await scene.life(cell)
        assert tape.dead.is_set() is (cell is not None)
        if cell is not None:
            await scene.life(None)
        facts, production = await scene.facts(), await scene.production()
    writes = writes_of(await cluster.read_audit(), scene.cluster.namespace)
    once = Undisturbed(writes, 1)
    assert ending(facts, writes, None, once, case=CASE) == ("rolled back once", [])
    assert writes["deployments"] == 1
    assert images(production) == {objects.CONTAINER: objects.image(GOOD), CONTAINER: "logcaster/logcaster-guard:0.2"}
    before, after = (d["spec"]["template"]["spec"] for d in (bad, production))
    assert after["volumes"] == before["volumes"]
    assert [c for c in after["containers"] if c["name"] == CONTAINER] == [
        c for c in before["containers"] if c["name"] == CONTAINER
    ]


async def test_another_version_of_the_guard_is_no_release(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=CASE) as scene:
        before = await scene.production()
        await scene.add_guard("0.3")
        await scene.world.rolled_out(30)
        await scene.life(None)
        facts, after = await scene.facts(), await scene.production()
    assert images(before)[CONTAINER] != images(after)[CONTAINER] == "logcaster/logcaster-guard:0.3"
    seen = {r.template for r in facts.ledger.records.values()}
    assert template_hash(before["spec"]["template"]) in seen
    # The good release and the bad one, whatever guard was in them.
    assert len(seen) == 2
    assert facts.image == objects.image(GOOD)


async def pod_of(scene: Scene, api: ClusterPort, version: str) -> str:
    """One of production's pods that run this version."""

    async def look() -> list[str]:
        items = await api.list(Kind.POD, scene.cluster.namespace)
        running = [i for i in items if objects.image(version) in {c["image"] for c in i["spec"]["containers"]}]
        return sorted(str(i["metadata"]["name"]) for i in running if "deletionTimestamp" not in i["metadata"])

    return (await until(look))[0]


def told_where_it_is(daemon: Daemon, scene: Scene, pod: str) -> None:
    daemon.environment = {"POD_NAME": pod, "POD_NAMESPACE": scene.cluster.namespace}


async def test_the_next_guard_takes_the_lease_and_ends_the_rollback(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    pace = Pace(start_delay=0.1, drain=0.6)
    async with Scene.set_up(cluster, api, rights, None, case=CASE, pace=pace) as scene:
        await scene.world.network.start()
        scene.world.releases.register(objects.image(BAD), Behaviour(error_rate=0.3))
        await scene.world.traffic.start()
        scene.folder.mkdir()
        daemon = Daemon(scene.cluster, scene.folder, network=scene.world.network.url, prometheus=None)
        daemon.keep_in_cluster()
        text = "mode: sidecar\nauthority: {lease: logcaster-guard, duration: 6s, renew_every: 1s}\n"
        daemon.settings.write_text(
            daemon.settings.read_text().replace("kubernetes: {", "kubernetes: {timeout: 3s, ") + text
        )
        try:
            told_where_it_is(daemon, scene, await pod_of(scene, api, BAD))
            await daemon.start()
            opened = await daemon.until("run.opened")
            await daemon.until("step.done", step=opened["steps"].index("restore_template"))
            assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
            assert not daemon.told("run.closed")
            told_where_it_is(daemon, scene, await pod_of(scene, api, GOOD))
            await daemon.start()
            await daemon.until("run.resumed", run=opened["run"])
            await daemon.until("run.closed", outcome=runs.RECOVERED)
            assert await daemon.stop() == 0
        finally:
            await daemon.stop()
        production = await scene.production()
    assert images(production) == {objects.CONTAINER: objects.image(GOOD), CONTAINER: "logcaster/logcaster-guard:0.2"}
    assert not daemon.told("permission.missing")


@pytest.mark.parametrize(
    ("mode", "inside", "words"),
    [
        ("standalone", True, "is a target and the guard's own workload: run the guard in one of its own"),
        ("sidecar", False, "mode sidecar: set POD_NAME and POD_NAMESPACE"),
    ],
)
async def test_a_guard_in_the_wrong_place_is_not_started(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], mode: str, words: str, *, inside: bool
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=CASE) as scene:
        scene.folder.mkdir()
        daemon = Daemon(scene.cluster, scene.folder, network="http://127.0.0.1:9", prometheus=None)
        daemon.keep_in_cluster()
        lease = "authority: {lease: guard, duration: 60s}\n"
        daemon.settings.write_text(f"{daemon.settings.read_text()}mode: {mode}\n{lease}")
        daemon.environment = {"POD_NAME": "", "POD_NAMESPACE": ""}
        if inside:
            told_where_it_is(daemon, scene, await pod_of(scene, api, BAD))
        try:
            await daemon.start()
            assert await daemon.ended() == 2
        finally:
            await daemon.stop()
    said: list[Any] = [line.get("text", "") for line in daemon.lines]
    assert any(words in text for text in said), said
