"""The controllers' timers, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.apiserver.clock import stamp
from tests.fakes.clock import FakeClock
from tests.sandbox.conftest import until

Json = dict[str, Any]
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SETS = "/apis/apps/v1/namespaces/default/replicasets"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


class World:
    """One Deployment `web` on a server whose clock stands still."""

    def __init__(self, clock: FakeClock, http: httpx.AsyncClient) -> None:
        self.clock = clock
        self.http = http

    async def items(self, path: str) -> list[Json]:
        found: list[Json] = (await self.http.get(path)).json()["items"]
        return found

    async def create(self, **spec: Any) -> None:
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "web:1"}]}}
        body = {"selector": {"matchLabels": labels}, "template": template, **spec}
        response = await self.http.post(DEPLOYMENTS, json={"metadata": {"name": "web"}, "spec": body})
        assert response.status_code == 201, response.text

    async def ready(self, name: str) -> None:
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(self.clock.now())}
        body = {"status": {"phase": "Running", "conditions": [condition]}}
        response = await self.http.patch(f"{PODS}/{name}/status", json=body, headers=MERGE)
        assert response.status_code == 200, response.text

    async def status(self) -> Json:
        found: Json = (await self.http.get(f"{DEPLOYMENTS}/web")).json()["status"]
        return found

    async def reason(self, kind: str = "Progressing") -> str:
        conditions = (await self.status()).get("conditions") or []
        return next((str(c["reason"]) for c in conditions if c["type"] == kind), "")

    async def until_pods(self, count: int) -> list[Json]:
        async def enough() -> bool:
            return len(await self.items(PODS)) == count

        await until(enough)
        return await self.items(PODS)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    async with ApiServer(clock=clock) as server, httpx.AsyncClient(base_url=server.url) as http:
        yield World(clock, http)


async def test_a_rollout_that_stands_still_is_given_up_at_its_deadline(world: World) -> None:
    await world.create(replicas=2, progressDeadlineSeconds=600)
    pods = await world.until_pods(2)
    await world.clock.advance(599)
    assert await world.reason() == "ReplicaSetUpdated"
    await world.ready(pods[0]["metadata"]["name"])

    async def one_available() -> bool:
        return bool((await world.status()).get("availableReplicas") == 1)

    await until(one_available)
    await world.clock.advance(599)
    assert await world.reason() == "ReplicaSetUpdated"
    await world.clock.advance(2)
    assert await world.reason() == "ProgressDeadlineExceeded"
    await world.ready(pods[1]["metadata"]["name"])

    async def done() -> bool:
        return await world.reason() == "NewReplicaSetAvailable"

    await until(done)


async def test_a_finished_rollout_is_not_given_up_later(world: World) -> None:
    await world.create(replicas=1, progressDeadlineSeconds=10)
    (pod,) = await world.until_pods(1)
    await world.ready(pod["metadata"]["name"])

    async def done() -> bool:
        return await world.reason() == "NewReplicaSetAvailable"

    await until(done)
    await world.clock.advance(3600)
    assert await world.reason() == "NewReplicaSetAvailable"


async def test_a_pod_is_available_after_its_minimum_ready_seconds(world: World) -> None:
    await world.create(replicas=1, minReadySeconds=30)
    (pod,) = await world.until_pods(1)
    await world.ready(pod["metadata"]["name"])

    async def counted() -> bool:
        return bool((await world.status()).get("readyReplicas") == 1)

    await until(counted)
    await world.clock.advance(29)
    assert "availableReplicas" not in await world.status()
    await world.clock.advance(1)
    assert (await world.status())["availableReplicas"] == 1


async def test_pauses_stop_the_deadline_and_resuming_starts_it_anew(world: World) -> None:
    await world.create(replicas=1, progressDeadlineSeconds=60)
    await world.until_pods(1)
    await world.clock.advance(50)
    await world.http.patch(f"{DEPLOYMENTS}/web", json={"spec": {"paused": True}}, headers=MERGE)

    async def paused() -> bool:
        return await world.reason() == "DeploymentPaused"

    await until(paused)
    await world.clock.advance(600)
    assert await world.reason() == "DeploymentPaused"
    await world.http.patch(f"{DEPLOYMENTS}/web", json={"spec": {"paused": None}}, headers=MERGE)

    async def resumed() -> bool:
        return await world.reason() == "DeploymentResumed"

    await until(resumed)
    await world.clock.advance(59)
    assert await world.reason() == "DeploymentResumed"
    await world.clock.advance(2)
    assert await world.reason() == "ProgressDeadlineExceeded"


async def test_the_youngest_of_ready_pods_goes_first(world: World) -> None:
    await world.create(replicas=3)
    pods = await world.until_pods(3)
    for pod in pods:
        await world.ready(pod["metadata"]["name"])
        await world.clock.advance(60)
    await world.http.patch(f"{DEPLOYMENTS}/web/scale", json={"spec": {"replicas": 1}}, headers=MERGE)
    (left,) = await world.until_pods(1)
    assert left["metadata"]["name"] == pods[0]["metadata"]["name"]


async def test_events_are_forgotten_after_an_hour(world: World) -> None:
    events = "/api/v1/namespaces/default/events"
    body = {"metadata": {"generateName": "a."}, "involvedObject": {"name": "a"}, "reason": "Old"}
    await world.http.post(events, json=body)
    await world.clock.advance(3601)
    for _ in range(300):
        await world.http.post(events, json={**body, "reason": "New"})
    reasons = [e["reason"] for e in await world.items(events)]
    assert "Old" not in reasons
    assert len(reasons) == 300


async def test_old_replicasets_are_kept_up_to_the_history_limit(world: World) -> None:
    await world.create(replicas=0, revisionHistoryLimit=1)
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    for number in range(2, 5):
        containers = [{"name": "app", "image": f"web:{number}"}]
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        await world.http.patch(f"{DEPLOYMENTS}/web", json=body, headers=strategic)
        await world.clock.advance(1)

    async def two_left() -> bool:
        images = {s["spec"]["template"]["spec"]["containers"][0]["image"] for s in await world.items(SETS)}
        return images == {"web:3", "web:4"}

    await until(two_left)
