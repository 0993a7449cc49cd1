"""Watches tell of every change once and in its order: in memory, on the embedded API server and on a real one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.watches import KubernetesWatches
from logcaster_guard.ports import Change, Interruption, Json, Kind, Listing, Watches, WatchEvent
from tests.cluster import planes
from tests.cluster.harness import Cluster
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.watches import FakeWatches

PLURAL = {Kind.CONFIG_MAP: "configmaps", Kind.SECRET: "secrets"}
OURS = ("app", "other")
"""The objects of the tests; a real control plane and the audit of the tests put others beside them."""

Step = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Watched:
    """What is watched, and what somebody else does there."""

    watches: Watches
    namespace: str
    create: Step
    change: Step
    delete: Step

    def watch(self, kind: Kind, name: str = "") -> AsyncGenerator[WatchEvent, None]:
        return self.watches.watch(kind, self.namespace, name)


def in_memory() -> Watched:
    cluster = FakeCluster(FakeClock())

    async def create(kind: Kind, name: str, value: str) -> None:
        cluster.add(kind, name, data={"k": value})

    async def change(kind: Kind, name: str, value: str) -> None:
        cluster.change(kind, name, lambda found: found["data"].update(k=value))

    async def delete(kind: Kind, name: str) -> None:
        cluster.remove(kind, name)

    return Watched(FakeWatches(cluster, FakeClock()), cluster.namespace, create, change, delete)


def on(cluster: Cluster, watches: Watches) -> Watched:
    def path(kind: Kind, name: str = "") -> str:
        return f"/api/v1/namespaces/{cluster.namespace}/{PLURAL[kind]}" + (f"/{name}" if name else "")

    async def create(kind: Kind, name: str, value: str) -> None:
        made = {"apiVersion": "v1", "kind": str(kind), "metadata": {"name": name}, "data": {"k": value}}
        await cluster.admin.create(path(kind), made)

    async def change(kind: Kind, name: str, value: str) -> None:
        await cluster.admin.patch(path(kind, name), {"data": {"k": value}})

    async def delete(kind: Kind, name: str) -> None:
        await cluster.admin.delete(path(kind, name))

    return Watched(watches, cluster.namespace, create, change, delete)


@pytest.fixture(params=["memory", "sandbox", "real"])
async def watched(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watched]:
    if request.param == "memory":
        yield in_memory()
        return
    if request.param == "sandbox":
        plane = planes.sandbox(tmp_path)
    else:
        plane = planes.real(planes.way_into(request.getfixturevalue("real_control_plane")), tmp_path)
    async with plane as cluster:
        api = await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=10.0)
        yield on(cluster, KubernetesWatches(api, SystemClock()))
        await api.aclose()


async def following(events: AsyncGenerator[WatchEvent, None]) -> WatchEvent:
    """The next event of what the test has made."""
    async with asyncio.timeout(10.0):
        while True:
            event = await anext(events)
            assert not isinstance(event, Interruption)
            if isinstance(event, Listing) or (isinstance(event, Change) and _name(event.object) in OURS):
                return event


def _name(item: Json) -> str:
    return str(item["metadata"]["name"])


async def listed(events: AsyncGenerator[WatchEvent, None]) -> dict[str, str]:
    listing = await following(events)
    assert isinstance(listing, Listing)
    assert listing.version.isdigit()
    return {_name(item): item["data"]["k"] for item in listing.items if _name(item) in OURS}


async def changed(events: AsyncGenerator[WatchEvent, None]) -> tuple[str, str, bool, int]:
    change = await following(events)
    assert isinstance(change, Change)
    assert change.version == change.object["metadata"]["resourceVersion"]
    return _name(change.object), change.object["data"]["k"], change.deleted, int(change.version)


def value(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("kind", [Kind.CONFIG_MAP, Kind.SECRET])
async def test_what_there_is_comes_first_and_then_each_change_in_its_order(watched: Watched, kind: Kind) -> None:
    await watched.create(kind, "app", value("1"))
    async with aclosing(watched.watch(kind)) as events:
        assert await listed(events) == {"app": value("1")}
        await watched.create(kind, "other", value("1"))
        await watched.change(kind, "app", value("2"))
        await watched.change(kind, "app", value("3"))
        await watched.delete(kind, "app")
        await watched.create(kind, "app", value("4"))
        told = [await changed(events) for _ in range(5)]
    assert [(name, text, deleted) for name, text, deleted, _ in told] == [
        ("other", value("1"), False),
        ("app", value("2"), False),
        ("app", value("3"), False),
        ("app", value("3"), True),
        ("app", value("4"), False),
    ]
    versions = [version for *_, version in told]
    assert versions == sorted(set(versions))


async def test_the_watch_of_a_name_tells_of_that_object_alone_and_of_one_that_is_not_there_yet(
    watched: Watched,
) -> None:
    await watched.create(Kind.CONFIG_MAP, "other", "1")
    async with aclosing(watched.watch(Kind.CONFIG_MAP, "app")) as events:
        assert await listed(events) == {}
        await watched.change(Kind.CONFIG_MAP, "other", "2")
        await watched.create(Kind.CONFIG_MAP, "app", "1")
        assert (await changed(events))[:3] == ("app", "1", False)
