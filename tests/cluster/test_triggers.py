"""Every trigger of config/ as it ships, fired by its real cause and read through a real Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.prometheus import cluster_jobs, containers_job, kube_state_job, pods_job
from logcaster_guard.sandbox.release import MIB, Behaviour
from logcaster_guard.sandbox.world import World
from tests.cluster import shipped
from tests.cluster.daemon import GuardProcess
from tests.cluster.harness import Cluster
from tests.cluster.test_guard import PACE, role
from tests.conftest import StartPrometheus

Json = dict[str, Any]
LEAKING = Behaviour(memory=222 * MIB, memory_growth=2 * MIB)
SCRAPES = 5
LONGEST = 150.0
"""Seconds that a gradual rollback of five steps may take where every core is busy."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Case:
    """A rule of config/, the cause that must fire it, its signal, and what Prometheus scrapes."""

    rule: str
    cause: Behaviour
    signal: str
    jobs: Callable[[str], Sequence[Json]] = cluster_jobs


def by_cadvisor(network: str) -> Sequence[Json]:
    return [pods_job(network), containers_job(network)]


def by_process(network: str) -> Sequence[Json]:
    return [pods_job(network), kube_state_job(network)]


CASES = {
    "errors": Case("high_error_rate", Behaviour(error_rate=0.3), "error_rate"),
    "unhealthy": Case("health_check_failure", Behaviour(healthy=False), "health_check_fails"),
    "slow": Case("response_time_degradation", Behaviour(latency=3.0), "p95_latency"),
    "leak-by-cadvisor": Case("memory_leak", LEAKING, "memory_usage", by_cadvisor),
    "leak-by-process": Case("memory_leak", LEAKING, "memory_usage", by_process),
    "crashes": Case("crash_loop", Behaviour(crash_every=1.0), "restart_count"),
    "slow-in-a-row": Case("slow_response", Behaviour(latency=0.4), "slow_responses"),
}


def action(rule: str) -> str:
    rules = yaml.safe_load(shipped.rules())["rollback_triggers"]
    return str(next(r["action"] for r in rules if r["name"] == rule))


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    await cluster.grant("guard", role())
    world = World(
        cluster.node(),
        namespace=cluster.namespace,
        rate=80,
        pace=PACE,
        period=0.1,
    )
    await world.start()
    yield world
    await world.stop()


def test_every_shipped_rule_has_a_case() -> None:
    assert {c.rule for c in CASES.values()} == {
        r["name"] for r in yaml.safe_load(shipped.rules())["rollback_triggers"]
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_the_cause_fires_the_rule_as_shipped(
    cluster: Cluster, world: World, start_prometheus: StartPrometheus, tmp_path: Path, case: Case
) -> None:
    await world.install("1.0")
    await world.rolled_out(30)
    prometheus = await start_prometheus(case.jobs(world.network.url))
    # Where a signal is seen only after the release has earned good, nothing is known of it before the rollout.
    await prometheus.until_value("min(count_over_time(up[10s]))", above=SCRAPES)
    files = tmp_path / "rollback-rules.yaml", tmp_path / "guard.yaml"
    files[0].write_text(shipped.rules())
    files[1].write_text(
        shipped.settings(
            namespace=cluster.namespace,
            prometheus=prometheus.url,
            network=world.network.url,
            kubeconfig=cluster.kubeconfig("guard"),
            folder=tmp_path,
        )
    )
    guard = GuardProcess(*files)
    try:
        await guard.start()
        await guard.until("revision.good")
        assert not guard.told("trigger.pending")
        world.releases.register(objects.image("2.0"), case.cause)
        await world.deploy("2.0")

        fired = await guard.until("trigger.fired", rule=case.rule)
        assert case.signal in fired["evidence"]
        opened = await guard.until("run.opened")
        assert f"{opened['strategy']}_rollback" == action(opened["rule"])
        await guard.until("run.closed", within=LONGEST, outcome="recovered")
        deployment = await world.deployment()
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == objects.image("1.0")
        assert deployment["spec"]["replicas"] == 3
    finally:
        code = await guard.stop()
    assert code == 0
