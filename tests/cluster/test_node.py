from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import Client
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.prometheus import pods_job
from logcaster_guard.sandbox.release import Behaviour, Releases
from logcaster_guard.sandbox.world import World
from tests.cluster.harness import Cluster, Json
from tests.conftest import StartPrometheus
from tests.real.waiting import until

PATIENCE = 30.0
PACE = Pace(start_delay=0.1, drain=0.6, crash_backoff=0.2, crash_backoff_most=0.2)


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    releases = Releases(
        {
            objects.image("2.0-failing"): Behaviour(error_rate=0.5),
            objects.image("2.0-crashing"): Behaviour(crash_every=0.3),
            objects.image("2.0-unready"): Behaviour(ready=False),
            objects.image("2.0-absent"): Behaviour(pullable=False),
        }
    )
    world = World(
        Client(cluster.url, cluster.node_token, cluster.ca_file),
        namespace=cluster.namespace,
        releases=releases,
        rate=30,
        pace=PACE,
        period=0.1,
    )
    await world.start(traffic=False)
    yield world
    await world.stop()


async def pods(cluster: Cluster) -> list[Json]:
    return await cluster.admin.list(f"/api/v1/namespaces/{cluster.namespace}/pods", "app=logcaster")


async def routed(world: World, count: int) -> frozenset[str]:
    async def look() -> frozenset[str]:
        addresses = world.network.ready_addresses(objects.SERVICE)
        return addresses if len(addresses) == count else frozenset()

    return await until(look)


async def serving(world: World) -> None:
    await world.install("1.0")
    await world.rolled_out(PATIENCE)
    await routed(world, 3)
    await world.traffic.start()


async def test_a_deployment_becomes_available_and_its_pods_are_the_services_endpoints(
    cluster: Cluster, world: World
) -> None:
    await world.install("1.0")
    deployment = await world.rolled_out(PATIENCE)
    assert deployment["status"]["readyReplicas"] == 3
    addresses = await routed(world, 3)
    assert addresses == {p["status"]["podIP"] for p in await pods(cluster)}
    assert all(p["spec"]["nodeName"] == world.node.name for p in await pods(cluster))


async def test_users_are_served_and_counted(world: World) -> None:
    await serving(world)
    await world.traffic.until(lambda t: t.total >= 60, PATIENCE)
    seen = world.traffic.window(60)
    assert seen.total == world.traffic.total
    assert seen.error_share == 0


async def test_a_healthy_rollout_is_not_seen_by_users(world: World) -> None:
    await serving(world)
    await world.deploy("1.1")
    await world.rolled_out(PATIENCE)
    reached = world.traffic.total + 30
    await world.traffic.until(lambda t: t.total >= reached, PATIENCE)
    assert world.traffic.failed == 0, world.traffic.window(60).failures


async def test_users_see_the_errors_of_a_bad_release_and_the_recovery(world: World) -> None:
    await serving(world)
    await world.deploy("2.0-failing")
    await world.rolled_out(PATIENCE)
    before = world.traffic.failed
    await world.traffic.until(lambda t: t.failed >= before + 20, PATIENCE)
    assert set(world.traffic.window(60).failures) == {"500"}
    await world.deploy("1.0")
    await world.rolled_out(PATIENCE)
    # The old pods drain: what they still fail is over once they have gone.

    async def gone() -> bool:
        return len(world.node.lives) == 3

    await until(gone)
    failed, reached = world.traffic.failed, world.traffic.total + 30
    await world.traffic.until(lambda t: t.total >= reached, PATIENCE)
    assert world.traffic.failed == failed


async def test_a_failing_dependency_hurts_every_release(world: World) -> None:
    await serving(world)
    world.releases.dependency_failure = 0.5
    await world.traffic.until(lambda t: t.failed >= 10, PATIENCE)
    world.releases.dependency_failure = 0.0
    failed, reached = world.traffic.failed, world.traffic.total + 30
    await world.traffic.until(lambda t: t.total >= reached, PATIENCE)
    assert world.traffic.failed - failed <= 3, "requests under way at the switch may still fail"


async def test_scaling_down_drains_and_frees_the_address(cluster: Cluster, world: World) -> None:
    await serving(world)
    await world.scale(1)
    left = await routed(world, 1)

    async def gone() -> bool:
        return len(await pods(cluster)) == 1

    await until(gone)
    assert {p["status"]["podIP"] for p in await pods(cluster)} == left
    assert world.traffic.failed == 0, world.traffic.window(60).failures


async def test_a_crash_loop_raises_the_restart_count(cluster: Cluster, world: World) -> None:
    await world.install("2.0-crashing", replicas=1)

    async def restarted_twice() -> bool:
        statuses = [s for p in await pods(cluster) for s in p["status"].get("containerStatuses") or []]
        return any(s["restartCount"] >= 2 and "terminated" in s["lastState"] for s in statuses)

    await until(restarted_twice)


@pytest.mark.parametrize(
    ("version", "phase", "reason"),
    [("2.0-unready", "Running", None), ("2.0-absent", "Pending", "ImagePullBackOff")],
)
async def test_a_release_that_never_gets_ready_takes_no_traffic(
    cluster: Cluster, world: World, version: str, phase: str, reason: str | None
) -> None:
    await serving(world)
    await world.deploy(version)

    async def settled() -> list[Json]:
        new = [p for p in await pods(cluster) if p["spec"]["containers"][0]["image"] == objects.image(version)]
        statuses = [s for p in new for s in p["status"].get("containerStatuses") or []]
        waiting = [(s["state"].get("waiting") or {}).get("reason") for s in statuses]
        as_told = waiting == [reason] * len(new) and all(p["status"]["phase"] == phase for p in new)
        return new if as_told else []

    new = await until(settled)
    addresses = {p["status"]["podIP"] for p in new}
    assert not addresses & world.network.ready_addresses(objects.SERVICE)
    assert world.traffic.failed == 0, world.traffic.window(60).failures


async def test_the_audit_names_who_did_what(cluster: Cluster, world: World) -> None:
    await world.install("1.0", replicas=1)
    await world.rolled_out(PATIENCE)
    records = await cluster.audit()
    created = [r for r in records if (r.verb, r.resource) == ("create", "deployments")]
    assert [(r.user.rpartition(":")[2], r.name, r.code) for r in created] == [("node", objects.DEPLOYMENT, 201)]
    assert any((r.verb, r.resource, r.subresource) == ("create", "pods", "binding") for r in records)


async def test_a_real_prometheus_scrapes_the_pods_through_the_network(
    world: World, start_prometheus: StartPrometheus
) -> None:
    await serving(world)
    prometheus = await start_prometheus([pods_job(world.network.url)])
    rate = await prometheus.until_value('sum(rate(http_requests_total{version="1.0"}[10s]))', above=0)
    assert rate < 60
    assert await prometheus.value("count(process_resident_memory_bytes)") == 3
