"""Counts what a poll asks of the API server and of Prometheus: `python -m bench.requests [--targets 1 10 100]`.

A guard watches as many Deployments of one namespace, each with a rule on the error rate from Prometheus and one on
unready pods, and pods that read a ConfigMap, over a cluster in memory. It does so once as it is, and once with nothing
shared, where each asks for itself. Printed are requests and queries of one poll of all targets, and the CPU for each
target and poll, of which the cluster in memory takes a good part. Where Prometheus has values, one query more for each
tells how old the samples are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import structlog

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.adapters.kubernetes.rosters import Pods, Rosters
from logcaster_guard.adapters.kubernetes.signals import KubernetesSource
from logcaster_guard.adapters.per_target import by_target, in_parts
from logcaster_guard.adapters.plugin_types import SourceServices
from logcaster_guard.adapters.sources.prometheus import PrometheusSection, PrometheusSource
from logcaster_guard.adapters.sources.prometheus.session import PromAnswer
from logcaster_guard.cluster_view import ClusterView, Look
from logcaster_guard.config.promql import builtin_queries
from logcaster_guard.domain.rules import Action, Policy
from logcaster_guard.domain.signals import Signal, SourceName, Target, Unit
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.engine.shared_pods import SharedPods
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.ports import Answer, Json, Kind, Request
from tests.engine.bench import rule
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock, settle
from tests.fakes.cluster import NAMESPACE
from tests.fakes.journal import MemoryJournal
from tests.fakes.pods import PopulatedCluster
from tests.fakes.services import view_of
from tests.fakes.watches import FakeWatches

POLLS = 4
RULES = [rule(action=Action.ALERT_ONLY), rule("unready", "unready_pods", 100, action=Action.ALERT_ONLY)]


class CountedCluster(PopulatedCluster):
    """Counts the requests."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.asked: Counter[str] = Counter()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """As `ports.Cluster`."""
        self.asked[f"get {kind}"] += 1
        return await super().get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """As `ports.Cluster`, and for `ports.Listings`."""
        self.asked[f"list {kind}"] += 1
        return await super().list(kind, namespace, selector)


class CountedPrometheus(PrometheusSource):
    """Counts the queries, and answers with nothing; `alone`: each target is asked for by itself."""

    queries, alone = 0, False

    def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """As `ports.Source`."""
        if not self.alone:
            return super().read(requests)
        return in_parts([self._answers(of_one) for of_one in by_target(requests)])

    async def _instant(
        self, target: Target, promql: str, params: Mapping[str, str] | None = None
    ) -> PromAnswer | Failure:  # fmt: skip
        del target, promql, params
        self.queries += 1
        return PromAnswer("vector", [], ())


class UnsharedView:
    """A `ClusterView` through which each asks for itself."""

    def __init__(self, cluster: CountedCluster, clock: FakeClock) -> None:
        self._cluster, self._clock = cluster, clock

    def look(self) -> Look:
        """As `ClusterView`."""
        return UnsharedLook(self._cluster, self._clock.monotonic())


@dataclass
class UnsharedLook:
    """Its look."""

    cluster: CountedCluster
    proven: float

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """As the cluster's own."""
        return await self.cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """As the cluster's own."""
        return await self.cluster.list(kind, namespace, selector)


def reading(deployment: Json) -> None:
    """Let its pods read a ConfigMap."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"configMapRef": {"name": "app"}}]


async def measured(count: int, *, shared: bool) -> tuple[float, float, float]:
    """Requests and queries of a poll, and milliseconds of CPU for each target in it."""
    # Where nobody is known to want pods, each asks for its own.
    with contextlib.nullcontext() if shared else mock.patch.object(SharedPods, "want"):
        return await _measured(count, shared=shared)


async def _measured(count: int, *, shared: bool) -> tuple[float, float, float]:
    clock = FakeClock()
    cluster = CountedCluster(clock)
    targets = [Target(f"service-{n}", NAMESPACE, f"service-{n}") for n in range(count)]
    cluster.add(Kind.CONFIG_MAP, "app", data={"level": "info"})
    for target in targets:
        cluster.add_deployment(target.deployment, "v1")
        cluster.change(Kind.DEPLOYMENT, target.deployment, reading)
    crowded = [NAMESPACE] if count > 1 else []
    view: ClusterView = view_of(cluster, clock, *crowded) if shared else UnsharedView(cluster, clock)
    services = SourceServices(
        clock=clock, cluster=cluster, view=view, rosters=Rosters(cluster, view, clock),
        endpoints=Pods(cluster, view, clock), metrics=MetricsSection(), staleness=60.0, keep=3_600.0,
    )  # fmt: skip
    prometheus = CountedPrometheus(PrometheusSection.model_construct(url="http://127.0.0.1:9"), services)
    prometheus.alone = not shared
    query, by_pod = builtin_queries(MetricsSection())["error_rate"]
    signals = {
        "error_rate": Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS, 300.0, query, by_pod),
        "unready_pods": Signal("unready_pods", Unit.COUNT, SourceName.KUBERNETES),
    }
    guard = Guard(
        Configuration(targets, signals, RULES, Policy()),
        GuardPorts(
            cluster=cluster, view=view,
            sources={
                SourceName.PROMETHEUS: prometheus, SourceName.KUBERNETES: KubernetesSource(cluster, view, clock)
            },
            journal=MemoryJournal(), blobs=MemoryBlobs(), channels=[], clock=clock,
            watches=FakeWatches(cluster, clock), listings=cluster,
        ),
    )  # fmt: skip
    task = asyncio.create_task(guard.run())
    await settle(20 * count)
    await clock.advance(Policy().polling.interval * 1.5)
    cluster.asked.clear()
    prometheus.queries, began = 0, time.process_time()
    await clock.advance(Policy().polling.interval * POLLS)
    spent = time.process_time() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return cluster.asked.total() / POLLS, prometheus.queries / POLLS, 1_000 * spent / POLLS / count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, nargs="+", default=[1, 10, 100])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"{'targets':>8}  {'':<9} {'API requests':>13} {'PromQL queries':>15} {'CPU ms/target':>14}   a poll")
    for count in parser.parse_args().targets:
        for shared in (False, True):
            requests, queries, spent = asyncio.run(measured(count, shared=shared))
            view = "shared" if shared else "unshared"
            print(f"{count:>8}  {view:<9} {requests:>13.1f} {queries:>15.1f} {spent:>14.2f}")


if __name__ == "__main__":
    main()
