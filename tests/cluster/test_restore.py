"""The one write of a rollback, over the ways in which people change a Deployment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import releases
from logcaster_guard.domain.conditions import Comparator, Compare, Number, SignalRef
from logcaster_guard.domain.errors import Conflict
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.observations import Before, Done
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import LAST_APPLIED, Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import immediate
from logcaster_guard.rollbacks.way_back import Request, WayBack
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.release import Behaviour, Releases
from logcaster_guard.sandbox.world import World
from logcaster_guard.steps.await_rollout import AwaitRollout, AwaitRolloutHandler
from logcaster_guard.steps.restore_template import TemplateHandler, TemplateWrite
from tests.cluster.harness import Cluster
from tests.cluster.test_guard import PACE, apply_flags, environment, images, kubectl, manifest, role
from tests.fakes.blobs import MemoryBlobs
from tests.real.waiting import until

Json = dict[str, Any]
RULE = Rule("r", "", Compare(Comparator.GT, SignalRef("error_rate"), Number(0.05)), 1.0, Action.IMMEDIATE)
NAME = "deployment/logcaster-prod"


@dataclass
class Bench:
    """A Deployment whose good release is saved, and what restores it."""

    cluster: Cluster
    client: KubernetesCluster
    blobs: MemoryBlobs
    good: str = ""
    good_images: tuple[str, ...] = ()
    blob: str = ""

    async def workload(self) -> Workload:
        return Workload(await self.client.get(Kind.DEPLOYMENT, self.cluster.namespace, "logcaster-prod"))

    async def save(self) -> None:
        workload = await self.workload()
        self.good, self.good_images = workload.hash, workload.images
        self.blob = await self.blobs.put(releases.of_workload(workload).to_bytes())

    async def facts(self, *only: str) -> immediate.Facts:
        """What a way back to the saved release rests on now; of its variables those that are named, all if none is."""
        workload = await self.workload()
        record = Record(self.good, "1", self.blob, self.good_images, 0, 0)
        target = Target("logcaster", self.cluster.namespace, "logcaster-prod")
        request = Request(target, workload, [record], replace(RULE, variables=only), Policy())
        release = Release.from_bytes(await self.blobs.get(self.blob))
        return immediate.Facts(request, release, service=None, autoscalers=[])

    async def restore(self, way: WayBack = immediate.WAY, *only: str) -> Run:
        plan = way.plan(await self.facts(*only))
        assert isinstance(plan, Plan)
        at = datetime.now(UTC)
        run = Run(RunOpened(at, "run", self.cluster.namespace, RULE.name, "test", plan), started=at)
        handler = TemplateHandler(self.client, KeptManifests(self.blobs, None))
        step = next(s for s in plan.steps if isinstance(s, TemplateWrite))
        for _ in range(20):
            # The controllers write the status meanwhile: each conflict is looked at again, as the executor does.
            assert isinstance(await handler.observe(step, run), Before)
            with contextlib.suppress(Conflict):
                await handler.apply(step, run)
                break
        assert isinstance(await handler.observe(step, run), Done)
        return run


@pytest.fixture
async def bench(cluster: Cluster) -> AsyncIterator[Bench]:
    await cluster.grant("guard", role())
    client = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10)
    yield Bench(cluster, client, MemoryBlobs())
    await client.aclose()


@pytest.mark.parametrize("way", ["client-side", "server-side"])
@pytest.mark.parametrize("besides", [[], ["rollout", "restart", NAME], ["set", "env", NAME, "EXTRA=1"]])
async def test_the_good_release_is_back_whoever_else_wrote(
    cluster: Cluster, bench: Bench, way: str, besides: list[str]
) -> None:
    flags = apply_flags(way)
    await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "1.0"))
    await bench.save()
    await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "2.0"))
    if besides:
        await kubectl(cluster, *besides)
    await bench.restore()
    restored = (await bench.workload()).raw
    assert images(restored) == objects.image("1.0")
    assert environment(restored) == {"ONLY_1_0"}
    if way == "client-side":
        applied = json.loads(restored["metadata"]["annotations"][LAST_APPLIED])
        assert images(applied) == objects.image("1.0")
    if besides[:1] != ["set"]:
        await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "4.0"))
        assert environment((await bench.workload()).raw) == {"ONLY_4_0"}


async def test_a_stalled_bad_rollout_does_not_count_against_the_good_one(cluster: Cluster, bench: Bench) -> None:
    releases_ = Releases({objects.image("2.0"): Behaviour(ready=False)})
    world = World(
        cluster.node(), namespace=cluster.namespace, releases=releases_,
        pace=PACE, period=0.1,
    )  # fmt: skip
    await world.start(traffic=False)
    body = objects.deployment(objects.image("1.0"))
    body["spec"] |= {"strategy": {"type": "Recreate"}, "progressDeadlineSeconds": 4}
    await cluster.admin.create(f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments", body)
    await world.rolled_out(30)
    await bench.save()
    await world.deploy("2.0")

    async def given_up() -> bool:
        return (await bench.workload()).progress_deadline_exceeded

    await until(given_up, 30)
    run = await bench.restore()
    handler = AwaitRolloutHandler(bench.client, SystemClock())

    async def done() -> bool:
        observed = await handler.observe(AwaitRollout(30), run)
        assert isinstance(observed, Before | Done), observed
        return isinstance(observed, Done)

    await until(done, 30)
    await world.stop()
