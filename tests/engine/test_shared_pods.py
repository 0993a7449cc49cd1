"""Targets of one namespace have one list of pods together, and are told no more than that list proves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.engine.shared_pods import SHARED_FOR, SharedPods
from logcaster_guard.ports import Json, Kind
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock, settle
from tests.fakes.cluster import NAMESPACE
from tests.fakes.journal import MemoryJournal
from tests.fakes.pods import PopulatedCluster
from tests.fakes.services import view_of
from tests.fakes.watches import FakeWatches

SHOP, POLLS = "shop", 2


class Lists:
    """Answers with a pod for each of two targets; each list takes `lasts` seconds."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.lasts = clock, 0.0
        self.asked: list[tuple[str, str, str]] = []
        self.error: ClusterError | None = None

    async def __call__(self, namespace: str, selector: str, version: str) -> tuple[Sequence[Json], str]:
        self.asked.append((namespace, selector, version))
        number = str(len(self.asked))
        if self.lasts:
            await self.clock.sleep_until(self.clock.monotonic() + self.lasts)
        if self.error is not None and not selector:
            raise self.error
        names = [f"app={name}" for name in ("a", "b")] if not selector else [selector]
        return [{"metadata": {"name": n, "labels": dict([n.split("=")])}} for n in names], number


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lists(clock: FakeClock) -> Lists:
    return Lists(clock)


@pytest.fixture
def pods(lists: Lists, clock: FakeClock) -> SharedPods:
    made = SharedPods(lists, clock)
    for target in ("a", "b"):
        made.want(target, SHOP)
    return made


def named(answer: tuple[Sequence[Json], Any]) -> list[str]:
    return [pod["metadata"]["name"] for pod in answer[0]]


async def test_one_list_serves_all_who_poll_and_its_age_counts_from_when_it_was_asked_for(
    pods: SharedPods, lists: Lists, clock: FakeClock
) -> None:
    first = await pods.listed(SHOP, "app=a")
    await clock.advance(SHARED_FOR / 2)
    second = await pods.listed(SHOP, "app=b")
    assert (named(first), named(second)) == (["app=a"], ["app=b"])
    assert first[1] == second[1]
    assert (second[1].version, clock.monotonic() - (second[1].asked or 0.0)) == ("1", SHARED_FOR / 2)
    await clock.advance(SHARED_FOR)
    _, look = await pods.listed(SHOP, "app=b")
    assert (look.version, look.asked) == ("2", clock.monotonic())
    assert lists.asked == [(SHOP, "", "")] * 2


async def test_after_an_edit_no_list_will_do_that_was_begun_before(
    pods: SharedPods, lists: Lists, clock: FakeClock
) -> None:
    lists.lasts = 5.0
    polling = asyncio.create_task(pods.listed(SHOP, "app=a"))
    await settle(5)
    begun = pods.begun
    looks = [asyncio.create_task(pods.listed(SHOP, f"app={name}", after=begun)) for name in "ab"]
    await clock.advance(5.0)
    await settle(5)
    assert polling.done()
    assert not any(look.done() for look in looks)
    await clock.advance(5.0)
    assert [(await look)[1].version for look in looks] == ["2", "2"]
    assert len(lists.asked) == 2


async def test_whoever_has_waited_is_served_by_what_was_asked_for_meanwhile(
    pods: SharedPods, lists: Lists, clock: FakeClock
) -> None:
    lists.lasts = 5.0
    first = asyncio.create_task(pods.listed(SHOP, "app=a"))
    await settle(5)
    waiting = [asyncio.create_task(pods.listed(SHOP, "app=b")) for _ in range(3)]
    await clock.advance(5.0)
    await settle(5)
    assert first.done()
    # What was asked for before they came is no answer to them: it is older than they can wait for.
    await clock.advance(5.0)
    assert {(await one)[1].version for one in waiting} == {"2"}
    assert len(lists.asked) == 2


async def test_a_server_that_is_away_is_asked_once_for_all(pods: SharedPods, lists: Lists) -> None:
    lists.error = Unavailable("no answer")
    for _ in range(5):
        with pytest.raises(Unavailable):
            await pods.listed(SHOP, "app=a")
    assert len(lists.asked) == 1


@pytest.mark.parametrize("error", [Rejected("forbidden", status=403), Unavailable("too large", status=200)])
async def test_where_all_of_them_cannot_be_listed_each_asks_for_its_own(
    pods: SharedPods, lists: Lists, clock: FakeClock, error: ClusterError
) -> None:
    lists.error = error
    for selector in ("app=a", "app=b", "app=a"):
        assert named(await pods.listed(SHOP, selector)) == [selector]
    assert [selector for _, selector, _ in lists.asked] == ["", "app=a", "app=b", "app=a"]
    await clock.advance(601.0)
    lists.error = None
    for selector in ("app=a", "app=b"):
        await pods.listed(SHOP, selector)
    assert [selector for _, selector, _ in lists.asked[4:]] == [""]


async def test_a_list_that_was_broken_off_serves_nobody(pods: SharedPods, lists: Lists) -> None:
    lists.lasts = 5.0
    first = asyncio.create_task(pods.listed(SHOP, "app=a"))
    await settle(5)
    begun = pods.begun - 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    lists.lasts = 0.0
    items, look = await pods.listed(SHOP, "app=a", after=begun)
    assert (len(items), look.version) == (1, "2")


async def test_a_target_alone_asks_for_its_own_pods(pods: SharedPods, lists: Lists) -> None:
    pods.want("b", None)
    assert named(await pods.listed(SHOP, "app=a")) == ["app=a"]
    await pods.as_of(SHOP, "app=a", "7")
    assert lists.asked == [(SHOP, "app=a", ""), (SHOP, "app=a", "7")]


@pytest.mark.parametrize("count", [1, 10, 100])
async def test_any_number_of_targets_of_a_namespace_make_one_list_of_pods_a_poll(count: int) -> None:
    clock = FakeClock()
    cluster = PopulatedCluster(clock)
    targets = [Target(f"service-{n}", NAMESPACE, f"service-{n}") for n in range(count)]
    cluster.add(Kind.CONFIG_MAP, "app", data={"level": "info"})
    for target in targets:
        cluster.add_deployment(target.deployment, "v1")
        cluster.change(
            Kind.DEPLOYMENT,
            target.deployment,
            lambda d: d["spec"]["template"]["spec"]["containers"][0].update(
                envFrom=[{"configMapRef": {"name": "app"}}]
            ),
        )
    guard = Guard(
        Configuration(targets, {}, [], Policy()),
        GuardPorts(
            cluster=cluster, view=view_of(cluster, clock, NAMESPACE), sources={}, journal=MemoryJournal(),
            blobs=MemoryBlobs(), channels=[], clock=clock, watches=FakeWatches(cluster, clock), listings=cluster,
        ),
    )  # fmt: skip
    task = asyncio.create_task(guard.run())
    try:
        await settle(5 * count + 200)
        await clock.advance(Policy().polling.interval * 1.5)
        cluster.listings.clear()
        await clock.advance(Policy().polling.interval * POLLS)
        polls = [name for kind, name in cluster.listings if kind is Kind.POD]
        assert len(polls) == POLLS
        # An edit is looked at at once, and that is one list as well.
        cluster.listings.clear()
        cluster.change(Kind.CONFIG_MAP, "app", lambda c: c["data"].update(level="debug"))
        await settle(5 * count + 200)
        assert sum(kind is Kind.POD for kind, _ in cluster.listings) == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
