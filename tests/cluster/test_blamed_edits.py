"""An edit in place of a ConfigMap or Secret is a rollout: a guard as operators start it, users, pods that read it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from logcaster_guard.sandbox.release import TRAFFIC_PORT, Behaviour, Releases
from logcaster_guard.sandbox.traffic import Traffic
from logcaster_guard.sandbox.world import World
from tests.canary import ONE, encoded
from tests.cluster.case import CONFIG, SECRET
from tests.cluster.daemon import GuardProcess
from tests.cluster.harness import Cluster
from tests.cluster.many_services import RATE, SETTINGS, WITHIN
from tests.cluster.roles import CONFIG_ROLE, OF_TARGETS, SECRETS_ROLE
from tests.cluster.test_apply_contract import config_map, secret
from tests.cluster.test_guard import PACE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

Json = dict[str, Any]
NAME = objects.DEPLOYMENT
WELL: Mapping[str, str] = {"ERROR_RATE": "0"}
RULES = {
    "rollback_triggers": [
        {"name": "high_error_rate", "condition": "error_rate > 5%", "duration": "6s", "action": "immediate_rollback"},
        {"name": "crash_loop", "condition": "restart_count > 3", "duration": "4s", "action": "immediate_rollback"},
    ]
}
PENDING = f"no pod has read ConfigMap {{}}/{CONFIG} as it is now: the edit is blamed for nothing"
REFERS = {
    "ConfigMap": {"configMapRef": {"name": CONFIG}},
    "Secret": {"secretRef": {"name": SECRET}},
}


@dataclass
class Service:
    """Three pods that have read the ConfigMap or Secret, which has earned good with what it held."""

    cluster: Cluster
    world: World
    guard: GuardProcess
    kind: str

    @property
    def path(self) -> str:
        plural, name = ("secrets", SECRET) if self.kind == "Secret" else ("configmaps", CONFIG)
        return f"/api/v1/namespaces/{self.cluster.namespace}/{plural}/{name}"

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.kind} {self.cluster.namespace}/{self.path.rpartition('/')[2]}"

    async def edit(self, **data: str) -> None:
        await self.cluster.admin.patch(self.path, {"data": as_held(self.kind, data)}, MERGE_PATCH)
        await self.guard.until("configuration.edited", within=WITHIN)

    async def held(self) -> Json:
        return dict((await self.cluster.admin.get(self.path))["data"])

    async def replace_one(self) -> None:
        """One pod is gone, and the one in its place reads what there is."""
        pods = await self.cluster.admin.list(f"/api/v1/namespaces/{self.cluster.namespace}/pods")
        name = min(str(pod["metadata"]["name"]) for pod in pods)
        await self.cluster.admin.delete(f"/api/v1/namespaces/{self.cluster.namespace}/pods/{name}")
        await self.guard.until("revision.live", count=2, within=WITHIN)

    def evidence(self, line: Json) -> str:
        return str(line["evidence"]["attribution"])

    def releases(self) -> list[tuple[str, str]]:
        """Template and configuration of each rollout, in order."""
        return [(line["template"], line.get("configuration", "")) for line in self.guard.told("revision.live")]


def as_held(kind: str, data: Mapping[str, str]) -> Json:
    return {key: encoded(value) for key, value in data.items()} if kind == "Secret" else dict(data)


@contextlib.asynccontextmanager
async def serving(cluster: Cluster, folder: Path, kind: str = "ConfigMap") -> AsyncIterator[Service]:
    """The guard is there before the first pod, so that it knows what each has read."""
    world = World(
        cluster.node(), namespace=cluster.namespace, releases=Releases(default=Behaviour()), pace=PACE, period=0.25
    )  # fmt: skip
    await cluster.grant("guard", [*OF_TARGETS, *CONFIG_ROLE, *SECRETS_ROLE])
    async with contextlib.AsyncExitStack() as stack:
        await world.start(traffic=False)
        stack.push_async_callback(world.stop)
        await _install(cluster, kind)
        guard = GuardProcess(*_files(cluster, folder, world.network.url))
        await guard.start()
        stack.push_async_callback(guard.stop)
        await guard.until("revision.live", within=WITHIN)
        deployment = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{NAME}"
        await cluster.admin.patch(deployment, {"spec": {"replicas": 3}}, MERGE_PATCH)
        await world.rolled_out(WITHIN)
        users = Traffic(f"http://{objects.SERVICE}:{TRAFFIC_PORT}/", lambda: world.network.url, rate=3 * RATE)
        await users.start()
        stack.push_async_callback(users.stop)
        await guard.until("revision.configured", within=WITHIN)
        await guard.until("revision.good", within=2 * WITHIN)
        yield Service(cluster, world, guard, kind)


async def _install(cluster: Cluster, kind: str) -> None:
    base = f"/api/v1/namespaces/{cluster.namespace}"
    for made in (config_map(dict(WELL), CONFIG), secret(SECRET, data=as_held("Secret", {**WELL, "password": ONE}))):
        await cluster.admin.create(f"{base}/{made['kind'].lower()}s", made)
    await cluster.admin.create(f"{base}/services", objects.service())
    body = objects.deployment(objects.image("1.0"), replicas=0)
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [REFERS[kind]]
    await cluster.admin.create(f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments", body)


def _files(cluster: Cluster, folder: Path, network: str) -> tuple[Path, Path]:
    target = {"name": "logcaster", "namespace": cluster.namespace, "deployment": NAME, "service": objects.SERVICE}
    settings = {
        **SETTINGS,
        "targets": [target],
        "sources": {
            "prometheus": {"url": None},
            "scrape": {"proxy": network, "min_requests": 20},
            "kubernetes": {"kubeconfig": str(cluster.kubeconfig("guard"))},
        },
        "config": {"secrets": "restore"},
        "journal": {"path": str(folder / "journal.db"), "blobs": str(folder / "blobs")},
    }
    files = folder / "guard.yaml", folder / "rollback-rules.yaml"
    for file, content in zip(files, (settings, RULES), strict=True):
        file.write_text(yaml.safe_dump(content))
    return files


@pytest.mark.parametrize("kind", REFERS)
async def test_an_edit_in_place_is_found_guilty_by_the_pods_that_have_read_it_and_put_back(
    cluster: Cluster, tmp_path: Path, kind: str
) -> None:
    async with serving(cluster, tmp_path, kind) as service:
        before = await service.held()
        await service.edit(ERROR_RATE="0.6")
        await service.replace_one()
        (old, _), (new, configuration) = service.releases()
        assert old == new, "no template was changed"
        assert configuration
        opened = await service.guard.until("run.opened", within=WITHIN)
        assert opened["evidence"]["cause"] == "rollout"
        assert f"Edits of {service.name}: 1 pods have read them, 2 have not." in service.evidence(opened)
        assert "of the pods that have not read it: stands out" in service.evidence(opened)
        await service.guard.until("run.closed", outcome="recovered", within=2 * WITHIN)
        assert await service.held() == before
        restored = await service.guard.until("revision.live", by_guard=opened["run"], within=WITHIN)
        assert restored["configuration"] == service.guard.told("revision.configured")[0]["configuration"]
        assert not service.guard.told("trigger.refused")


async def test_an_edit_that_no_pod_has_read_is_not_blamed(cluster: Cluster, tmp_path: Path) -> None:
    async with serving(cluster, tmp_path) as service:
        await service.edit(ERROR_RATE="0.6")
        service.world.releases.dependency_failure = 0.4
        refused = await service.guard.until("trigger.refused", within=WITHIN)
        assert refused["evidence"]["pending"] == PENDING.format(cluster.namespace)
        assert len(service.releases()) == 1
        assert not service.guard.told("run.opened")
        assert await service.held() == {"ERROR_RATE": "0.6"}


async def test_what_pods_suffer_alike_that_have_read_an_edit_and_that_have_not_is_not_blamed_on_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with serving(cluster, tmp_path) as service:
        await service.edit(GREETING="hello")
        await service.replace_one()
        service.world.releases.dependency_failure = 0.4
        refused = await service.guard.until("trigger.refused", within=WITHIN)
        assert "shared_cause" in refused["guardrails"]
        assert "of the pods that have not read it: alike" in service.evidence(refused)
        assert not service.guard.told("run.opened")
        assert await service.held() == {**WELL, "GREETING": "hello"}


async def test_a_container_that_crashes_for_an_edit_has_read_it(cluster: Cluster, tmp_path: Path) -> None:
    async with serving(cluster, tmp_path) as service:
        await service.edit(CRASH_EVERY="0")
        await service.replace_one()
        opened = await service.guard.until("run.opened", within=WITHIN)
        assert opened["rule"] == "crash_loop"
        assert "of the pods that have not read it: stands out" in service.evidence(opened)
        await service.guard.until("run.closed", outcome="recovered", within=2 * WITHIN)
        assert await service.held() == WELL
