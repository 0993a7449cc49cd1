"""StatefulSets and DaemonSets go back to their good template, known from their ControllerRevisions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.event_channel import EventChannel
from logcaster_guard.domain import runs
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.signals import History, NoHistory, Reading, Signal, SourceName, Target, Value
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.ports import Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import STRATEGIC_PATCH
from logcaster_guard.sandbox.release import Behaviour
from logcaster_guard.sandbox.world import World
from logcaster_guard.stores import CODEC
from tests.cluster.case import BAD, GOOD, PACE, POLICY, RULE, SIGNAL, image_of
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS
from tests.fakes.services import view_of
from tests.fakes.source import TargetByTarget
from tests.real.waiting import until

pytestmark = [pytest.mark.timeout(180)]
Json = dict[str, Any]
NAME = "logcaster-prod"
PLURALS = {"StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


def manifest(kind: str, image: str) -> Json:
    body = objects.deployment(image, replicas=3, name=NAME)
    body["kind"] = kind
    if kind == "DaemonSet":
        del body["spec"]["replicas"]
    else:
        body["spec"]["serviceName"] = objects.SERVICE
    return body


class ErrorsOf(TargetByTarget):
    """Errors exactly while the workload asks for the bad image."""

    name = SourceName.SCRAPE

    def __init__(self, cluster: Cluster, path: str, clock: SystemClock) -> None:
        self._cluster, self._path, self._clock = cluster, path, clock

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        del target
        bad = image_of(await self._cluster.admin.get(self._path)) == objects.image(BAD)
        return {s.name: Value(self._clock.monotonic(), 0.3 if bad else 0.0) for s in signals}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        del target, signal, start, end, step
        return NoHistory()

    async def aclose(self) -> None:
        pass


@contextlib.asynccontextmanager
async def guarding(cluster: Cluster, kind: str, path: str, folder: Path) -> AsyncIterator[Guard]:
    clock = SystemClock()
    api = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    journal = await SqliteJournal.open(CODEC, folder / "journal.db")
    target = Target("logcaster", cluster.namespace, NAME, service=objects.SERVICE, kind=kind)
    guard = Guard(
        Configuration([target], {SIGNAL.name: SIGNAL}, [RULE], POLICY),
        GuardPorts(
            cluster=api,
            view=view_of(api, clock, shared_for=0.05),
            sources={SourceName.SCRAPE: ErrorsOf(cluster, path, clock)},
            journal=journal,
            blobs=FolderBlobs(folder / "blobs"),
            channels=[EventChannel(api, {(cluster.namespace, NAME): Kind(kind)})],
            clock=clock,
        ),
    )
    task = asyncio.create_task(guard.run())
    try:
        yield guard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await journal.aclose()
        await api.aclose()


@pytest.mark.parametrize(
    ("kind", "new"),
    [
        ("StatefulSet", Behaviour(error_rate=0.3)),
        ("StatefulSet", Behaviour(pullable=False)),
        ("DaemonSet", Behaviour(error_rate=0.3)),
        ("DaemonSet", Behaviour(pullable=False)),
    ],
    ids=lambda value: value if isinstance(value, str) else ("never starts" if not value.pullable else "fails"),
)
async def test_it_is_back_on_the_good_template(cluster: Cluster, kind: str, new: Behaviour, tmp_path: Path) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server has neither StatefulSets nor DaemonSets")
    await cluster.grant("guard", OF_TARGETS)
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/{PLURALS[kind]}/{NAME}"
    world = World(cluster.node(), namespace=cluster.namespace, pace=PACE)
    world.releases.register(objects.image(BAD), new)
    await world.start(traffic=False)
    try:
        await cluster.admin.create(path.rpartition("/")[0], manifest(kind, objects.image(GOOD)))
        await cluster.admin.create(f"/api/v1/namespaces/{cluster.namespace}/services", objects.service())
        async with guarding(cluster, kind, path, tmp_path) as guard:
            key = f"{cluster.namespace}/{NAME}"

            def release_statuses() -> list[ReleaseStatus]:
                return [release.status for release in guard.read_model.releases(key)]

            async def good() -> bool:
                status = (await cluster.admin.get(path)).get("status") or {}
                there = status.get("readyReplicas", 0) or status.get("numberReady", 0)
                return bool(there) and release_statuses() == [ReleaseStatus.GOOD]

            async def closed() -> bool:
                found = guard.state.runs()
                return bool(found) and all(run.closed is not None for run in found)

            await until(good, 60)
            await cluster.admin.patch(path, objects.new_image(objects.image(BAD)), STRATEGIC_PATCH)
            await until(closed, 90)
            [run] = guard.state.runs()
            assert run.closed is not None
            assert (run.closed.outcome, image_of(await cluster.admin.get(path))) == (
                runs.RECOVERED,
                objects.image(GOOD),
            ), run.closed.reason

            async def told() -> list[Json]:
                events = await cluster.admin.list(f"/api/v1/namespaces/{cluster.namespace}/events")
                return [e["involvedObject"] for e in events if e.get("reason") == "RunClosed"]

            (about,) = await until(told, 30)
            assert (about["kind"], about["uid"]) == (kind, run.opened.plan.uid)
        pods = await cluster.admin.list(f"/api/v1/namespaces/{cluster.namespace}/pods")
        assert {p["spec"]["containers"][0]["image"] for p in pods} == {objects.image(GOOD)}
        mine = [r for r in await cluster.audit() if r.user == "guard" and r.resource == PLURALS[kind] and r.code < 300]
        assert len(mine) == 1
    finally:
        await world.stop()
