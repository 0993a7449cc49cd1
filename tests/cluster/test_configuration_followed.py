"""What pods have read of ConfigMaps as the guard knows it, beside what the node gave them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.watches import KubernetesWatches
from logcaster_guard.domain.configuration import pod_starts
from logcaster_guard.domain.configuration.edits import EditReaders
from logcaster_guard.domain.configuration.release_configuration import InTransition, Known
from logcaster_guard.domain.rules import ConfigPolicy, Policy, Polling
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.read_configuration import ReadConfiguration
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from logcaster_guard.sandbox.world import World
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS, rules_in
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.journal import MemoryJournal
from tests.fakes.services import view_of
from tests.real.waiting import until

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
NAME, PATIENCE = "app", 40.0
PACE = Pace(start_delay=0.1, drain=0.1, crash_backoff=0.5, crash_backoff_most=0.5, propagation=0.5)
POLICY = Policy(polling=Polling(0.2, 30.0), config=ConfigPolicy(propagation=2.0, volatile=100))
ENVIRONMENT = {"envFrom": [{"configMapRef": {"name": NAME}}]}
FOLLOWING = next(rule for rule in rules_in("components/config/rbac.yaml") if "watch" in rule["verbs"])
IMAGE = objects.image("1.0")


class Followed:
    """A guard that follows, beside a node that runs the pods."""

    def __init__(self, cluster: Cluster, world: World, guard: Guard) -> None:
        self.cluster, self.world, self.guard = cluster, world, guard
        self.path = f"/api/v1/namespaces/{cluster.namespace}"

    @property
    def known(self) -> ReadConfiguration:
        found = next(iter(self.guard.watches.values())).configuration
        assert found is not None
        return found

    async def configure(self, **data: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": data}
        path = f"{self.path}/configmaps/{NAME}?fieldManager=ci&force=true"
        await self.cluster.admin.patch(path, body, "application/apply-patch+yaml")

    async def install(self, container: Json, **pod: Any) -> None:
        """A Deployment that has no pods before the guard has looked at what they refer to."""
        body = objects.deployment(IMAGE, replicas=0)
        body["spec"]["template"]["spec"]["containers"][0] |= container
        body["spec"]["template"]["spec"] |= pod
        await self.cluster.admin.create(f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments", body)

    async def is_seen(self) -> None:
        async def seen() -> bool:
            return bool(self.known.template) and self.known.latest is not None

        await until(seen, PATIENCE)

    async def is_latest(self) -> Known:
        """The pods' configuration, once it is known to be the latest."""

        async def latest() -> Known | None:
            state, found = self.known.state, self.known.latest
            return found if found is not None and state == found else None

        found = await until(latest, PATIENCE)
        assert found is not None
        return found

    async def readers(self, *, of: int = -1) -> EditReaders:
        async def read() -> EditReaders | None:
            edits = self.known.edits()
            found = edits[of][1] if edits else None
            return found if found is not None and found.read else None

        found = await until(read, PATIENCE)
        assert found is not None
        return found

    def read_by_node(self) -> dict[str, str]:
        """The resourceVersion that each pod's container read at its last start."""
        reads = self.world.node.configuration.reads
        return {r.pod: r.seen[0].version for r in reads if r.container == objects.CONTAINER and r.seen}

    async def kill(self, pod: str) -> None:
        await self.cluster.admin.delete(f"{self.path}/pods/{pod}")


@pytest.fixture
async def followed(cluster: Cluster, api: ClusterPort, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    # The node of the sandbox tells at once what it has done.
    monkeypatch.setattr(pod_starts, "STATUS_LAG", 1.0)
    await cluster.grant("guard", [*OF_TARGETS, {**FOLLOWING, "resourceNames": [NAME]}])
    assert isinstance(api, KubernetesCluster)
    clock = SystemClock()
    target = Target("web", cluster.namespace, objects.DEPLOYMENT)
    ports = GuardPorts(
        cluster=api,
        view=view_of(api, clock, shared_for=0.05),
        sources={},
        journal=MemoryJournal(),
        blobs=MemoryBlobs(),
        channels=[],
        clock=clock,
        watches=KubernetesWatches(api, clock),
        listings=api,
    )
    guard = Guard(Configuration([target], {}, [], POLICY), ports)
    world = World(cluster.node(), namespace=cluster.namespace, rate=50, pace=PACE, period=0.05)
    await world.start(traffic=False)
    task = asyncio.create_task(guard.run())
    yield Followed(cluster, world, guard)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await world.stop()


async def test_an_edit_is_read_by_new_pods_and_by_containers_that_start_again(followed: Followed) -> None:
    await followed.configure(k="1")
    await followed.install(ENVIRONMENT)
    await followed.is_seen()
    await followed.world.scale(2)
    await followed.world.rolled_out(PATIENCE)
    first = await followed.is_latest()
    old = set(followed.read_by_node())
    await followed.configure(k="2")

    async def pending() -> bool:
        return bool(followed.known.pending())

    await until(pending, PATIENCE)
    assert followed.known.state == first
    await followed.kill(min(old))
    readers = await followed.readers()
    assert set(readers.new) == followed.read_by_node().keys() - old
    assert readers.first is not None
    # The container of the pod that is left crashes, and has read the edit as soon as it is started again.
    followed.world.releases.register(IMAGE, Behaviour(crash_every=1.5))

    async def all_read() -> bool:
        return followed.known.surely_read_latest and len(followed.known.edits()[-1][1].new) == 2

    await until(all_read, PATIENCE)
    assert not followed.known.pending()


async def test_volumes_follow_and_an_object_may_go_and_come_back(followed: Followed) -> None:
    volume = {"name": "files", "configMap": {"name": NAME, "optional": True}}
    await followed.install({"volumeMounts": [{"name": "files", "mountPath": "/etc/app"}]}, volumes=[volume])
    await followed.is_seen()
    await followed.world.scale(1)
    await followed.world.rolled_out(PATIENCE)
    absent = await followed.is_latest()
    assert set(followed.known.contents(absent.contents).values()) == {""}
    states = [absent.digest]
    for change in ({"k": "1"}, {"k": "2"}, None, {"k": "1"}):
        if change is None:
            await followed.cluster.admin.delete(f"{followed.path}/configmaps/{NAME}")
        else:
            await followed.configure(**change)

        async def moving(before: str = states[-1]) -> bool:
            found = followed.known.latest
            return found is not None and found.digest != before and isinstance(followed.known.state, InTransition)

        await until(moving, PATIENCE)
        states.append((await followed.is_latest()).digest)
    assert states[0] == states[3]
    assert states[1] == states[4]
    assert len({*states}) == 3


async def test_pods_that_come_in_the_moment_of_an_edit_are_told_apart_as_the_node_saw_them(followed: Followed) -> None:
    await followed.configure(k="1")
    await followed.install(ENVIRONMENT)
    await followed.is_seen()
    await followed.world.scale(1)
    await followed.world.rolled_out(PATIENCE)
    await followed.is_latest()
    await followed.world.scale(4)
    await followed.configure(k="2")
    await followed.world.scale(6)
    await followed.world.rolled_out(PATIENCE)

    async def all_listed() -> bool:
        return len([pod for pod in followed.known.pods if pod.starts]) == 6

    await until(all_listed, PATIENCE)
    readers = await followed.readers()
    version = followed.known.edits()[-1][0].version.resource_version
    by_node = followed.read_by_node()
    assert all(by_node[pod] == version for pod in readers.new)
    assert all(by_node[pod] != version for pod in readers.old)
    # A pod that was there already, and whose container was started about when the edit came, may be unclear.
    assert {*readers.old, *readers.new, *readers.unclear} == by_node.keys()
    assert readers.new


@pytest.mark.parametrize("cluster", ["real"], indirect=True)
async def test_without_the_right_it_is_named_and_with_it_it_is_followed(followed: Followed) -> None:
    volume = {"name": "files", "configMap": {"name": "other", "optional": True}}
    await followed.install({"volumeMounts": [{"name": "files", "mountPath": "/etc/app"}]}, volumes=[volume])

    async def left_out() -> list[str]:
        return [str(found.object) for found in followed.known.left_out() if found.followed]

    namespace = followed.cluster.namespace
    assert await until(left_out, PATIENCE) == [f"ConfigMap {namespace}/other"]
    rules = [*OF_TARGETS, {**FOLLOWING, "resourceNames": ["other"]}]
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/guard"
    await followed.cluster.admin.patch(role, {"rules": rules}, MERGE_PATCH)

    async def readable() -> bool:
        return not followed.known.left_out() and followed.known.latest is not None

    await until(readable, 90.0)
