"""The shared view of the cluster: how often the API server is asked, and how old what it showed may be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from logcaster_guard.adapters.kubernetes.answers import NoAnswer
from logcaster_guard.adapters.kubernetes.rosters import Pods, Rosters
from logcaster_guard.adapters.kubernetes.shared_view import SharedView
from logcaster_guard.adapters.kubernetes.signals import KubernetesSource
from logcaster_guard.domain.errors import ClusterError, NotFound, Rejected, Unavailable
from logcaster_guard.domain.ownership import Roster
from logcaster_guard.domain.signals import Fault, Signal, SourceError, SourceName, Target, Unit, Value
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind, Request
from tests.fakes.clock import FakeClock, settle
from tests.fakes.cluster import NAMESPACE
from tests.fakes.pods import PopulatedCluster
from tests.fakes.services import view_of

NAMES = ("a", "b", "c")
TARGETS = [Target(name, NAMESPACE, name) for name in NAMES]
UNREADY = Signal("unready_pods", Unit.COUNT, SourceName.KUBERNETES)


class Asked(PopulatedCluster):
    """Counts what is asked; an answer takes `delay` seconds and `waits` for a test."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self._time = clock
        self.asked: Counter[tuple[str, Kind]] = Counter()
        self.delay = 0.0
        for name in NAMES:
            self.add_deployment(name, "v1")

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        self.asked["get", kind] += 1
        await self._takes()
        return await super().get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        self.asked["list", kind] += 1
        await self._takes()
        # As the API server does.
        return [{k: v for k, v in o.items() if k != "kind"} for o in await super().list(kind, namespace, selector)]

    async def _takes(self) -> None:
        if self.delay:
            await self._time.sleep_until(self._time.monotonic() + self.delay)


def made(*crowded: str) -> tuple[FakeClock, Asked, SharedView]:
    clock = FakeClock()
    cluster = Asked(clock)
    return clock, cluster, view_of(cluster, clock, *crowded)


async def shared(source: KubernetesSource, targets: Sequence[Target] = TARGETS) -> list[object]:
    requests = [Request(target, UNREADY, shared=True) for target in targets]
    return [reading async for _, reading in source.read(requests)]


async def test_one_list_for_each_kind_serves_all_targets_and_all_who_watch_them() -> None:
    clock, cluster, view = made(NAMESPACE)
    source, rosters, pods = (
        KubernetesSource(cluster, view, clock),
        Rosters(cluster, view, clock),
        Pods(cluster, view, clock),
    )
    assert await shared(source) == [Value(1_000.0, 3.0)] * 3
    found = [await rosters(target, True) for target in TARGETS]
    assert all(isinstance(roster, Roster) for roster in found)
    assert [await pods(target, True) for target in TARGETS] == [[]] * 3
    assert set(cluster.asked) == {("list", k) for k in (Kind.DEPLOYMENT, Kind.REPLICA_SET, Kind.POD)}
    assert set(cluster.asked.values()) == {1}
    await clock.advance(1.0)
    await shared(source)
    assert set(cluster.asked.values()) == {2}


async def test_a_target_that_is_alone_in_its_namespace_asks_for_nothing_of_others() -> None:
    clock, cluster, view = made()
    source = KubernetesSource(cluster, view, clock)
    await shared(source, TARGETS[:1])
    await Rosters(cluster, view, clock)(TARGETS[0], True)
    assert cluster.asked == {("get", Kind.DEPLOYMENT): 1, ("list", Kind.REPLICA_SET): 1, ("list", Kind.POD): 1}


@pytest.mark.parametrize(
    "error",
    [Rejected("forbidden", status=403), NoAnswer("more than 64 MiB", fault=Fault.TOO_LARGE)],
)
async def test_what_cannot_be_listed_is_asked_for_by_name_until_it_may_be_listed_again(error: ClusterError) -> None:
    clock, cluster, view = made(NAMESPACE)
    source = KubernetesSource(cluster, view, clock)
    cluster.fault = lambda verb, kind, _: error if (verb, kind) == ("list", Kind.DEPLOYMENT) else None
    for _ in range(3):
        assert await shared(source) == [Value(clock.monotonic(), 3.0)] * 3
        await clock.advance(30.0)
    assert cluster.asked["list", Kind.DEPLOYMENT] == 1
    assert cluster.asked["get", Kind.DEPLOYMENT] == 9
    cluster.fault = lambda *_: None
    await clock.advance(600.0)
    await shared(source)
    assert cluster.asked["get", Kind.DEPLOYMENT] == 9


async def test_a_failure_is_shared_too_and_no_older_answer_takes_its_place() -> None:
    clock, cluster, view = made(NAMESPACE)
    source = KubernetesSource(cluster, view, clock)
    await shared(source)
    await clock.advance(30.0)
    cluster.fault = lambda *_: Unavailable("away", status=503)
    assert await shared(source) == [SourceError(1_030.0, Fault.SERVER_ERROR, "away")] * 3
    assert cluster.asked["list", Kind.DEPLOYMENT] == 2


async def test_a_reading_is_as_old_as_the_oldest_answer_behind_it_and_beyond_staleness_an_error() -> None:
    clock, cluster, view = made(NAMESPACE)
    source = KubernetesSource(cluster, view, clock)
    cluster.delay = 15.0
    reading = asyncio.create_task(shared(source, TARGETS[:1]))
    await settle()
    await clock.advance(45.0)
    # Deployment, ReplicaSets and pods were asked for one after the other.
    assert await reading == [Value(1_000.0, 3.0)]
    cluster.delay = 61.0
    late = asyncio.create_task(shared(source, TARGETS[:1]))
    await settle()
    await clock.advance(61.0)
    [error] = await late
    assert isinstance(error, SourceError)
    assert "61 s old" in english().text(error.detail)


async def test_who_asks_while_an_answer_is_under_way_gets_one_that_was_asked_for_later() -> None:
    clock, cluster, view = made(NAMESPACE)
    cluster.delay = 5.0
    looks = [asyncio.create_task(view.look().get(Kind.DEPLOYMENT, NAMESPACE, "a"))]
    await settle()
    await clock.advance(4.0)
    looks += [asyncio.create_task(view.look().get(Kind.DEPLOYMENT, NAMESPACE, name)) for name in NAMES]
    await settle()
    await clock.advance(1.0)
    cluster.roll("a", "v2")
    await clock.advance(5.0)
    images = [(await look)["spec"]["template"]["spec"]["containers"][0]["image"] for look in looks[:2]]
    assert images == ["v1", "v2"]
    assert cluster.asked["list", Kind.DEPLOYMENT] == 2


async def test_one_who_stops_waiting_leaves_no_answer_behind_that_nobody_gave() -> None:
    clock, cluster, view = made(NAMESPACE)
    cluster.delay = 5.0
    first, second = (asyncio.create_task(view.look().get(Kind.DEPLOYMENT, NAMESPACE, "a")) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    await clock.advance(5.0)
    assert (await second)["metadata"]["name"] == "a"


async def test_what_is_not_there_is_not_found_and_a_selector_takes_what_has_all_its_labels() -> None:
    _, _, view = made(NAMESPACE)
    with pytest.raises(NotFound):
        await view.look().get(Kind.DEPLOYMENT, NAMESPACE, "d")
    assert {p["metadata"]["labels"]["app"] for p in await view.look().list(Kind.POD, NAMESPACE, "app=b")} == {"b"}
    assert await view.look().list(Kind.POD, NAMESPACE, "app=b,other=x") == []
    assert len(await view.look().list(Kind.POD, NAMESPACE)) == 9


async def test_what_is_not_only_watched_is_asked_for_anew_each_time() -> None:
    clock, cluster, view = made(NAMESPACE)
    source = KubernetesSource(cluster, view, clock)
    await shared(source)
    for _ in range(2):
        await read_now(source, TARGETS[0], [UNREADY])
    assert cluster.asked["get", Kind.DEPLOYMENT] == 2
