"""Ten services in one namespace, their users, and a guard as operators start it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import STRATEGIC_PATCH
from logcaster_guard.sandbox.release import TRAFFIC_PORT, Behaviour, Releases
from logcaster_guard.sandbox.traffic import Traffic
from logcaster_guard.sandbox.world import World
from tests.cluster.daemon import GuardProcess
from tests.cluster.harness import Cluster
from tests.cluster.test_guard import PACE, images, role

Json = dict[str, Any]
NAMES = tuple(f"service-{n}" for n in range(10))
GOOD, NEW, BAD = "1.0", "2.0", "2.0-bad"
WITHIN = 60.0
RATE = 10.0
"""Requests a second of each service."""
RULES = {
    "rollback_triggers": [
        {"name": "high_error_rate", "condition": "error_rate > 5%", "duration": "6s", "action": "immediate_rollback"}
    ]
}
SETTINGS: Mapping[str, Any] = {
    "polling": {"interval": "2s"},
    "signals": {"error_rate": {"lookback": "10s"}, "request_rate": {"lookback": "10s"}},
    "ledger": {"good_after": "6s"},
    "verify": {"stable_for": "4s", "timeout": "60s"},
    "rollout": {"timeout": "60s"},
    # Neither cooldown nor budget may be what keeps a guard from rolling back.
    "limits": {"cooldown": "1s", "per_target_per_day": 100, "per_cluster_per_hour": 100},
    "attribution": {"before": "20s", "least_history": "4s", "together": "60s", "min_requests": 30},
    "log": {"format": "json"},
    "web": {"listen": None},
}


@dataclass
class ManyServices:
    """The services are rolled out whole on `GOOD`, which the guard knows to be good."""

    cluster: Cluster
    world: World
    guard: GuardProcess
    users: Mapping[str, Traffic]

    async def roll(self, versions: Mapping[str, str], **spec: Any) -> None:
        """Roll out these versions at about the same time; `spec` is changed with the template."""
        base = f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments"
        for name, version in versions.items():
            body = objects.new_image(objects.image(version))
            body["spec"] |= spec
            await self.world.client.patch(f"{base}/{name}", body, STRATEGIC_PATCH)

    async def versions(self) -> Mapping[str, str]:
        """What each Deployment asks for."""
        return {n: images(await self.world.deployment(n)).rpartition(":")[2] for n in self.users}

    def key(self, name: str) -> str:
        return f"{self.cluster.namespace}/{name}"

    def opened(self) -> list[str]:
        """The targets of every run, in order."""
        return [line["target"].partition("/")[2] for line in self.guard.told("run.opened")]

    async def refused(self, *names: str) -> list[Json]:
        """The first refusal of each of these targets."""
        return [await self.guard.until("trigger.refused", target=self.key(n), within=WITHIN) for n in names]

    def notices(self, name: str) -> int:
        """How often people were told that nothing is rolled back."""
        return len(self.guard.told("notice.queued", target=self.key(name), about="trigger.refused"))


@contextlib.asynccontextmanager
async def street(
    cluster: Cluster, folder: Path, *, names: tuple[str, ...] = NAMES, replicas: int = 2, rate: float = RATE
) -> AsyncIterator[ManyServices]:
    """Everything up to ten good releases, read by the source `scrape`."""
    releases = Releases({objects.image(BAD): Behaviour(error_rate=0.6)})
    world = World(
        cluster.node(),
        namespace=cluster.namespace,
        releases=releases,
        pace=PACE,
        period=0.25,
    )
    await cluster.grant("guard", role())
    async with contextlib.AsyncExitStack() as stack:
        await world.start(traffic=False)
        stack.push_async_callback(world.stop)
        await _install(world, cluster.namespace, names, replicas)
        users = {}
        for name in names:
            users[name] = Traffic(f"http://{name}:{TRAFFIC_PORT}/", lambda: world.network.url, rate=rate)
            await users[name].start()
            stack.push_async_callback(users[name].stop)
        for traffic in users.values():
            await traffic.until(lambda t: t.window(3).total > 10 and not t.window(3).failed, WITHIN)
        guard = GuardProcess(*_files(cluster, folder, world.network.url, names))
        await guard.start()
        stack.push_async_callback(guard.stop)
        for name in names:
            await guard.until("revision.good", target=f"{cluster.namespace}/{name}", within=2 * WITHIN)
        yield ManyServices(cluster, world, guard, users)


async def _install(world: World, namespace: str, names: tuple[str, ...], replicas: int) -> None:
    for name in names:
        labels = {"app": name}
        body = objects.deployment(objects.image(GOOD), replicas=replicas, name=name, labels=labels)
        service = objects.service(name=name, selector=labels)
        await world.client.create(f"/api/v1/namespaces/{namespace}/services", service)
        await world.client.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    await asyncio.gather(*(world.rolled_out(WITHIN, name=name) for name in names))


def _files(cluster: Cluster, folder: Path, network: str, names: tuple[str, ...]) -> tuple[Path, Path]:
    targets = [{"name": n, "namespace": cluster.namespace, "deployment": n, "service": n} for n in names]
    settings = {
        **SETTINGS,
        "targets": targets,
        "sources": {
            "prometheus": {"url": None},
            "scrape": {"proxy": network, "min_requests": 20},
            "kubernetes": {"kubeconfig": str(cluster.kubeconfig("guard"))},
        },
        "journal": {"path": str(folder / "journal.db"), "blobs": str(folder / "blobs")},
    }
    files = folder / "guard.yaml", folder / "rollback-rules.yaml"
    for file, content in zip(files, (settings, RULES), strict=True):
        file.write_text(yaml.safe_dump(content))
    return files
