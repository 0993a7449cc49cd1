from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.client import ApiFailure, Client, Json
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.node import Node
from logcaster_guard.sandbox.release import TRAFFIC_PORT, Behaviour, Releases
from tests.real.waiting import until
from tests.sandbox_world.stub import StubApi

PODS = "/api/v1/namespaces/prod/pods"
PACE = Pace(start_delay=0.0, drain=0.0, crash_backoff=0.01)


def pod(name: str, **spec: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "prod", "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": "c", "image": objects.image("1.0")}], **spec},
    }


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


async def test_pods_of_other_nodes_are_left_alone(api: StubApi, client: Client) -> None:
    api.objects[PODS] = [pod("theirs", nodeName="elsewhere")]
    node = Node(client, "prod", Releases(), pace=PACE)
    await node.look()
    assert node.lives == []
    assert not [path for _, path, _ in api.seen if path.startswith(f"{PODS}/")]


async def test_a_pod_that_went_away_since_the_list_is_no_failure(api: StubApi, client: Client) -> None:
    api.objects[PODS] = [pod("gone")]
    node = Node(client, "prod", Releases(), pace=PACE)
    await node.look()
    assert [path for method, path, _ in api.seen if (method, path) == ("POST", f"{PODS}/gone/binding")]


async def test_a_failing_write_is_told_and_tried_again(api: StubApi, client: Client) -> None:
    api.objects[PODS] = [pod("one")]
    node = Node(client, "prod", Releases(), pace=PACE)

    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"items": api.objects[PODS]})
        return web.json_response({"message": "broken"}, status=404 if "nodes" in request.path else 500)

    api.answer_instead = broken
    for _ in range(2):
        with pytest.raises(ApiFailure, match="broken"):
            await node.look()
    bindings = [path for method, path, _ in api.seen if (method, path) == ("POST", f"{PODS}/one/binding")]
    assert len(bindings) == 2


async def test_a_force_deleted_pod_stops_serving(api: StubApi, client: Client) -> None:
    node = Node(client, "prod", Releases(), pace=PACE)
    api.objects[PODS] = [pod("one", nodeName=node.name)]
    await node.look()
    life = node.lives[0]
    assert life.answer("GET", TRAFFIC_PORT, "/", time.monotonic()) is not None
    assert node.at(life.ip) is life
    api.objects[PODS] = []
    await node.look()
    assert life.answer("GET", TRAFFIC_PORT, "/", time.monotonic()) is None
    assert node.at(life.ip) is None


async def test_no_two_pods_share_an_address(api: StubApi, client: Client) -> None:
    node = Node(client, "prod", Releases(), pace=PACE)
    api.objects[PODS] = [pod(f"p{i}", nodeName=node.name) for i in range(300)]
    await node.look()
    first = {life.ip for life in node.lives}
    assert len(first) == 300
    api.objects[PODS] = [pod(f"q{i}", nodeName=node.name) for i in range(300)]
    await node.look()
    assert not first & {life.ip for life in node.lives}


async def test_a_node_that_was_restarted_takes_its_pods_over(server: ApiServer) -> None:
    client = Client(server.url, "token")
    await client.create("/api/v1/namespaces", {"metadata": {"name": "prod"}})
    releases = Releases({objects.image("1.0"): Behaviour(crash_every=0.02)})
    body = objects.deployment(objects.image("1.0"), replicas=1)
    await client.create("/apis/apps/v1/namespaces/prod/deployments", body)
    first = Node(client, "prod", releases, pace=PACE, period=0.02)
    await first.start()

    async def restarted() -> list[Json]:
        pods = await client.list(PODS)
        return [p for p in pods for c in p["status"].get("containerStatuses") or [] if c["restartCount"] >= 2]

    before = (await until(restarted))[0]["status"]
    await first.stop()
    releases.register(objects.image("1.0"), Behaviour())
    second = Node(client, "prod", releases, pace=PACE, period=0.02)
    await second.start()

    async def running() -> bool:
        return bool(second.lives) and second.lives[0].process is not None

    await until(running)
    assert second.lives[0].ip == before["podIP"]
    assert second.lives[0].restarts >= before["containerStatuses"][0]["restartCount"]
    await second.stop()
    await client.aclose()


async def test_an_outage_of_the_api_delays_the_node_and_leaves_its_pods_running(server: ApiServer) -> None:
    client = Client(server.url, "token")
    await client.create("/api/v1/namespaces", {"metadata": {"name": "prod"}})
    node = Node(client, "prod", Releases(), pace=PACE, period=0.02)
    deployments = "/apis/apps/v1/namespaces/prod/deployments"
    await client.create(deployments, objects.deployment(objects.image("1.0"), replicas=1))
    await node.start()

    async def available(count: int) -> bool:
        deployment = await client.get(f"{deployments}/{objects.DEPLOYMENT}")
        return bool(deployment["status"].get("availableReplicas", 0) == count)

    await until(lambda: available(1))
    refused = asyncio.Event()

    async def outage(request: web.Request) -> web.StreamResponse | None:
        if request.path != PODS:
            return None
        refused.set()
        return web.json_response({"message": "away"}, status=503)

    server.interceptor = outage
    await asyncio.wait_for(refused.wait(), 20)
    assert node.lives[0].process is not None
    server.interceptor = None
    await client.patch(f"{deployments}/{objects.DEPLOYMENT}", {"spec": {"replicas": 2}})
    await until(lambda: available(2))
    await node.stop()
    await client.aclose()
