from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.prometheus import pods_job
from logcaster_guard.sandbox.release import Behaviour, Releases
from logcaster_guard.sandbox.world import World
from tests.cluster.daemon import Daemon
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS
from tests.conftest import StartPrometheus
from tests.real.prometheus import Prometheus

Json = dict[str, Any]
PACE = Pace(start_delay=0.1, drain=0.6, crash_backoff=0.2, crash_backoff_most=0.2)
UNVALIDATED = "--validate=false"  # the embedded API server has no schema to validate by
BAD = ("2.0", "3.0")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def role() -> Sequence[Json]:
    return OF_TARGETS


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    releases = Releases({objects.image(v): Behaviour(error_rate=0.3) for v in BAD})
    world = World(
        cluster.node(),
        namespace=cluster.namespace,
        releases=releases,
        rate=40,
        pace=PACE,
        period=0.1,
    )
    await cluster.grant("guard", role())
    await world.start(traffic=False)
    yield world
    await world.stop()


@pytest.fixture
async def prometheus(world: World, start_prometheus: StartPrometheus) -> Prometheus:
    return await start_prometheus([pods_job(world.network.url)])


@pytest.fixture
async def daemon(
    cluster: Cluster, world: World, prometheus: Prometheus, tmp_path: Path
) -> AsyncIterator[Daemon]:  # fmt: skip
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=prometheus.url)
    yield daemon
    await daemon.stop()


async def kubectl(cluster: Cluster, *arguments: str, stdin: Json | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "--kubeconfig",
        str(cluster.kubeconfig("admin")),
        "--namespace",
        cluster.namespace,
        "--cache-dir",
        str(cluster.folder / "kube-cache"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate(None if stdin is None else json.dumps(stdin).encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


def manifest(cluster: Cluster, version: str) -> Json:
    """The service at a version, as its operators keep it; each version has an environment variable of its own."""
    body = objects.deployment(objects.image(version))
    body["metadata"] = {"name": body["metadata"]["name"], "namespace": cluster.namespace}
    mark = f"ONLY_{version.replace('.', '_')}"
    body["spec"]["template"]["spec"]["containers"][0]["env"] += [{"name": mark, "value": "yes"}]
    return body


def environment(deployment: Json) -> set[str]:
    names = {e["name"] for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    return {n for n in names if n.startswith("ONLY_")}


def images(deployment: Json) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def apply_flags(way: str) -> list[str]:
    """Of `kubectl apply`: client-side or server-side."""
    return [UNVALIDATED, *(["--server-side"] if way == "server-side" else [])]


async def template_writes(cluster: Cluster) -> int:
    return sum(
        1 for r in await cluster.audit() if r.user == "guard" and r.resource == "deployments" and r.code in {200, 201}
    )


async def install(cluster: Cluster, world: World, daemon: Daemon, *flags: str) -> None:
    await world.client.create(f"/api/v1/namespaces/{cluster.namespace}/services", objects.service())
    await kubectl(cluster, "apply", *(flags or [UNVALIDATED]), "-f", "-", stdin=manifest(cluster, "1.0"))
    await world.rolled_out(30)
    await world.traffic.start()
    await world.traffic.until(lambda t: t.window(2).total > 40 and not t.window(2).failed, 20)
    await daemon.start()
    await daemon.until("revision.good")


@pytest.mark.parametrize("way", ["client-side", "server-side"])
async def test_bad_releases_go_back_to_the_good_one_and_leave_nothing_for_the_next(
    cluster: Cluster, world: World, daemon: Daemon, way: str
) -> None:
    flags = apply_flags(way)
    await install(cluster, world, daemon, *flags)

    for count, version in enumerate(BAD, start=1):
        await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, version))
        await daemon.until("run.closed", count=count, outcome="recovered")
        deployment = await world.deployment()
        assert images(deployment) == objects.image("1.0")
        assert environment(deployment) == {"ONLY_1_0"}
        await world.traffic.until(lambda t: t.window(2).error_share == 0, 15)

    assert await template_writes(cluster) == len(BAD)
    await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "4.0"))
    deployment = await world.rolled_out(30)
    assert images(deployment) == objects.image("4.0")
    assert environment(deployment) == {"ONLY_4_0"}
    await daemon.until("revision.good", count=2)
    assert await template_writes(cluster) == len(BAD)
    reasons = {e["reason"] for e in await world.client.list(f"/api/v1/namespaces/{cluster.namespace}/events")}
    assert {"RunOpened", "RunClosed"} <= reasons
    assert await daemon.stop() == 0


async def test_losing_prometheus_is_no_evidence_against_a_release(
    cluster: Cluster, world: World, daemon: Daemon, prometheus: Prometheus
) -> None:
    await install(cluster, world, daemon)
    await world.deploy("1.1")
    await world.rolled_out(30)
    await daemon.until("revision.live", count=2)
    before = await template_writes(cluster)
    await prometheus.stop()
    await daemon.until("source.failing", what="source prometheus")
    # More than the longest rule's duration, in polls of the guard rather than in time.
    seen = len(daemon.told("revision.live"))
    await asyncio.wait_for(_polls(world, 12), 60)
    assert len(daemon.told("source.failing")) == 1
    assert not daemon.told("trigger.fired")
    assert not daemon.told("run.opened")
    assert await template_writes(cluster) == before == 0
    assert len(daemon.told("revision.live")) == seen
    await prometheus.restart()
    await daemon.until("source.recovered", what="source prometheus")
    assert images(await world.deployment()) == objects.image("1.1")


async def _polls(world: World, seconds: int) -> None:
    already = world.traffic.total
    await world.traffic.until(lambda t: t.total >= already + seconds * 30, seconds * 4)


async def test_a_freeze_holds_through_an_undo_that_wipes_it(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:  # fmt: skip
    await install(cluster, world, daemon)
    await world.deploy("1.1")
    await world.rolled_out(30)
    await daemon.until("revision.good", count=2)
    await kubectl(cluster, "annotate", "deployment/logcaster-prod", "guard.logcaster.io/freeze=wrong window")
    await daemon.until("target.frozen", by="annotation")
    await kubectl(cluster, "annotate", "deployment/logcaster-prod", "guard.logcaster.io/freeze-")
    await daemon.until("target.thawed")

    await kubectl(cluster, "annotate", "deployment/logcaster-prod", "guard.logcaster.io/freeze=database move")
    await daemon.until("target.frozen", count=2, by="annotation")
    await kubectl(cluster, "rollout", "undo", "deployment/logcaster-prod")
    await daemon.until("freeze.kept")
    annotations = (await world.deployment())["metadata"]["annotations"]
    assert "guard.logcaster.io/freeze" not in annotations

    await world.deploy("2.0")
    refusal = await daemon.until("trigger.refused")
    assert refusal["guardrails"] == ["frozen"]
    assert await template_writes(cluster) == 0
    assert images(await world.deployment()) == objects.image("2.0")

    await kubectl(cluster, "annotate", "deployment/logcaster-prod", "guard.logcaster.io/freeze=false: move is over")
    await daemon.until("target.thawed", count=2)
    await daemon.until("run.closed", outcome="recovered")
    assert images(await world.deployment()) == objects.image("1.0")
