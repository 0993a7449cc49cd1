"""A sandbox node gives its pods ConfigMaps and Secrets, on the embedded server and on a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.configuration import Seen, Source, data_digest
from logcaster_guard.sandbox.lifecycle import Pace, State
from logcaster_guard.sandbox.release import Behaviour
from logcaster_guard.sandbox.world import World
from tests.cluster.harness import Cluster
from tests.real.waiting import until

Json = dict[str, Any]
PATIENCE = 30.0
PROPAGATION = 1.0
PACE = Pace(start_delay=0.1, drain=0.3, crash_backoff=0.2, crash_backoff_most=0.2, propagation=PROPAGATION)
SOURCE = Source("ConfigMap", "web-config")
ENVIRONMENT = [{"name": "ERROR_RATE", "valueFrom": {"configMapKeyRef": {"name": "web-config", "key": "rate"}}}]


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    world = World(cluster.node(), namespace=cluster.namespace, rate=50, pace=PACE, period=0.05)
    await world.start(traffic=False)
    yield world
    await world.stop()


class Service:
    """The service of one pod, and its ConfigMap."""

    def __init__(self, cluster: Cluster, world: World) -> None:
        self.cluster, self.world = cluster, world
        self.path = f"/api/v1/namespaces/{cluster.namespace}"

    async def install(self, container: Json, **pod: Any) -> None:
        await self.cluster.admin.create(f"{self.path}/services", objects.service())
        body = objects.deployment(objects.image("1.0"), replicas=1)
        spec = body["spec"]["template"]["spec"]
        spec["containers"][0] |= container
        spec |= pod
        await self.cluster.admin.create(f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments", body)

    async def configure(self, **data: str) -> Seen:
        """Make the ConfigMap, or change it; what a pod sees of it then."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web-config"}, "data": data}
        query = "?fieldManager=ci&force=true"
        path = f"{self.path}/configmaps/web-config{query}"
        item = await self.cluster.admin.patch(path, body, "application/apply-patch+yaml")
        return Seen(SOURCE, item["metadata"]["resourceVersion"], data_digest(item))

    async def waiting(self, reason: str) -> Json:
        """The state of the container once it waits for that reason."""

        async def found() -> Json:
            for pod in await self.cluster.admin.list(f"{self.path}/pods"):
                for status in (pod.get("status") or {}).get("containerStatuses") or []:
                    state: Json = status["state"]
                    if (state.get("waiting") or {}).get("reason") == reason:
                        return state
            return {}

        return await until(found, PATIENCE)

    async def replace_pods(self) -> None:
        """As a restart does, at once."""
        for pod in await self.cluster.admin.list(f"{self.path}/pods"):
            if "deletionTimestamp" not in pod["metadata"]:
                await self.cluster.admin.delete(f"{self.path}/pods/{pod['metadata']['name']}")

    def reads(self) -> list[tuple[int, tuple[Seen, ...], tuple[Seen, ...]]]:
        """What the service's container has read at its starts."""
        reads = self.world.node.configuration.reads
        return [(r.number, r.seen, r.mounted) for r in reads if r.container == objects.CONTAINER]

    def shown(self) -> tuple[Seen, ...]:
        """What the pod's volumes hold."""
        (life,) = self.world.node.lives
        assert life.config is not None
        return tuple(s for held in life.config.volumes().values() for s in held)


@pytest.fixture
def service(cluster: Cluster, world: World) -> Service:
    return Service(cluster, world)


async def test_a_container_waits_for_its_variables_and_reads_them_when_it_starts(service: Service) -> None:
    await service.install({"env": ENVIRONMENT})
    state = await service.waiting("CreateContainerConfigError")
    assert state["waiting"]["message"] == 'configmap "web-config" not found'
    await service.configure(other="1")
    told = f"couldn't find key rate in ConfigMap {service.cluster.namespace}/web-config"

    async def key_is_missing() -> bool:
        (life,) = service.world.node.lives
        return life.missing is not None and life.missing.message == told

    await until(key_is_missing, PATIENCE)
    first = await service.configure(rate="0")
    await service.world.rolled_out(PATIENCE)
    assert service.reads() == [(1, (first,), ())]


async def test_a_volume_that_cannot_be_mounted_keeps_the_pod_in_creation(service: Service) -> None:
    volumes = [{"name": "files", "configMap": {"name": "web-config"}}]
    await service.install({"volumeMounts": [{"name": "files", "mountPath": "/etc/app"}]}, volumes=volumes)

    async def told() -> list[Json]:
        events = await service.cluster.admin.list(f"{service.path}/events")
        return [e for e in events if e["reason"] == "FailedMount"]

    (event,) = await until(told, PATIENCE)
    assert event["message"] == 'MountVolume.SetUp failed for volume "files" : configmap "web-config" not found'
    assert (await service.waiting("ContainerCreating"))["waiting"] == {"reason": "ContainerCreating"}
    first = await service.configure(a="1")
    await service.world.rolled_out(PATIENCE)
    assert service.reads() == [(1, (), (first,))]


async def test_volumes_follow_an_edit_and_variables_a_restart(service: Service) -> None:
    first = await service.configure(rate="0", file="1")
    await service.install(
        {
            "env": ENVIRONMENT,
            "volumeMounts": [
                {"name": "files", "mountPath": "/etc/app"},
                {"name": "files", "mountPath": "/etc/single", "subPath": "file"},
            ],
        },
        volumes=[{"name": "files", "configMap": {"name": "web-config"}}],
    )
    await service.world.rolled_out(PATIENCE)
    assert service.reads() == [(1, (first, first), (first,))]
    second = await service.configure(rate="0", file="2")
    assert service.shown() == (first,)

    async def followed() -> bool:
        return service.shown() == (second,)

    await until(followed, PATIENCE)
    assert len(service.reads()) == 1
    service.world.releases.register(objects.image("1.0"), Behaviour(crash_every=0.1))

    async def restarted() -> bool:
        return len(service.reads()) > 1

    await until(restarted, PATIENCE)
    assert service.reads()[1] == (2, (second, second), (second,))


async def test_a_good_image_fails_with_a_bad_config_map(service: Service) -> None:
    await service.configure(rate="0")
    await service.install({"env": ENVIRONMENT})
    await service.world.rolled_out(PATIENCE)
    await service.world.traffic.start()
    await service.world.traffic.until(lambda t: t.total >= 20, PATIENCE)
    # An edit that no pod has read hurts nobody.
    await service.configure(rate="1")
    reached = service.world.traffic.total + 20
    await service.world.traffic.until(lambda t: t.total >= reached, PATIENCE)
    failed = service.world.traffic.window(60).failures.get("500", 0)
    assert failed == 0
    await service.replace_pods()
    await service.world.traffic.until(lambda t: t.window(60).failures.get("500", 0) >= 10, PATIENCE)
    await service.configure(rate="broken")
    await service.replace_pods()

    async def crashed() -> bool:
        return any(life.state is State.CRASHED and life.restarts for life in service.world.node.lives)

    await until(crashed, PATIENCE)
