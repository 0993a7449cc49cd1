"""What each way back looks at before it is planned: all that its facts name, as it is in the target's namespace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard import saved_snapshots
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import BlueGreenPolicy, GradualPolicy, Policy
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import blue_green, env, gradual, immediate
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request
from logcaster_guard.steps.step_services import Inspection
from tests.domain.build import template
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.rollbacks.build import request, seen, told

PLAIN = Target("web", "default", "web", service="front")
COLOURED = replace(PLAIN, deployment="web-green", environments={"blue": "web-blue", "green": "web-green"})
POLICY = Policy(
    gradual=GradualPolicy(window=60.0, hold=600.0), blue_green=BlueGreenPolicy(window=90.0)
)  # fmt: skip
VOLUMES: list[Any] = [{"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "emptyDir": {}}]
VOLUMES += [{"name": "c", "persistentVolumeClaim": {"claimName": "gone"}}]


async def inspect(target: str, deployment: str, window: float) -> Inspection:
    """How the pods fared, with a number that tells what was asked."""
    assert (target, deployment) in {(PLAIN.key, "web"), (COLOURED.key, "web-green")}
    return seen(window * 10.0)


class World:
    """A namespace with one object of each kind that is looked at, and a release that was saved."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(FakeClock())
        self.blobs = MemoryBlobs()
        for name in ("web", "web-blue", "web-green", "web-rollback"):
            self.cluster.add_deployment(name, f"{name}:2")
        self.cluster.add(Kind.SERVICE, "front", spec={"selector": {"app": "web"}})
        self.cluster.add(Kind.VOLUME_CLAIM, "data", spec={})
        for kind in (Kind.AUTOSCALER, Kind.POD, Kind.DISRUPTION_BUDGET):
            self.cluster.add(kind, f"one-{kind}".lower(), spec={})
        self.good = template("web:1")
        self.good["spec"]["volumes"] = VOLUMES

    @property
    def ports(self) -> PlanningPorts:
        return PlanningPorts(self.cluster, self.blobs, inspect)

    async def request(self, target: Target, *others: Record) -> Request:
        """A rollback to the saved release, or to one of the others."""
        blob = await self.blobs.put(Release(self.good).to_bytes())
        workload = Workload(self.cluster.object(Kind.DEPLOYMENT, target.deployment or ""))
        return request(workload, Record("good", "1", blob, ("web:1",), 0, 0), *others, target=target, policy=POLICY)

    def only(self, kind: Kind) -> list[Any]:
        [name] = self.cluster.names(kind)
        return [self.cluster.object(kind, name)]


async def test_a_gradual_rollback_looks_at_all_that_two_releases_would_share() -> None:
    world = World()
    asked = await world.request(PLAIN)
    assert await gradual.gather(asked, world.ports) == gradual.Facts(
        request=asked,
        release=Release(world.good),
        service=world.cluster.object(Kind.SERVICE, "front"),
        autoscalers=world.only(Kind.AUTOSCALER),
        pods=world.only(Kind.POD),
        budgets=world.only(Kind.DISRUPTION_BUDGET),
        claims={"data": world.cluster.object(Kind.VOLUME_CLAIM, "data"), "gone": None},
        namesake=world.cluster.object(Kind.DEPLOYMENT, "web-rollback"),
        inspected={60.0: seen(600.0), 600.0: seen(6_000.0)},
    )


async def test_a_gradual_rollback_without_volumes_or_a_hold_looks_at_neither() -> None:
    world = World()
    del world.good["spec"]["volumes"]
    asked = replace(await world.request(PLAIN), policy=Policy(gradual=GradualPolicy(window=60.0, hold=0.0)))
    found = await gradual.gather(asked, world.ports)
    assert isinstance(found, gradual.Facts)
    assert (found.claims, found.inspected) == ({}, {60.0: seen(600.0)})


async def test_a_service_that_switches_environments_is_not_shifted_by_steps() -> None:
    world = World()
    assert "default/front" in told(await gradual.gather(await world.request(COLOURED), world.ports))


async def test_a_switch_looks_at_both_environments() -> None:
    world = World()
    asked = await world.request(COLOURED)
    assert await blue_green.gather(asked, world.ports) == blue_green.Facts(
        request=asked,
        service=world.cluster.object(Kind.SERVICE, "front"),
        other=Workload(world.cluster.object(Kind.DEPLOYMENT, "web-blue")),
        autoscalers=world.only(Kind.AUTOSCALER),
        pods=world.only(Kind.POD),
        snapshots={},
        inspected=seen(900.0),
    )


async def test_an_environment_that_is_missing_is_looked_for_in_the_snapshots_of_good_releases() -> None:
    world = World()
    world.cluster.remove(Kind.DEPLOYMENT, "web-blue")
    snapshot = Snapshot(datetime(2026, 1, 1, tzinfo=UTC), COLOURED.key, ())
    kept = await saved_snapshots.save(world.blobs, snapshot)
    no_snapshot = await world.blobs.put(b"something else")
    older = [Record(f"t{i}", "", "b", (), 0, 0, snapshot=s) for i, s in enumerate(["", "lost", no_snapshot, kept])]
    found = await blue_green.gather(await world.request(COLOURED, *older), world.ports)
    assert isinstance(found, blue_green.Facts)
    assert (found.other, found.snapshots) == (None, {kept: snapshot})


async def test_where_there_are_no_environments_nothing_is_switched() -> None:
    world = World()
    assert PLAIN.key in told(await blue_green.gather(await world.request(PLAIN), world.ports))


@pytest.mark.parametrize("way", [immediate, env])
async def test_a_rolling_update_looks_at_the_service_and_its_autoscalers(way: Any) -> None:
    world = World()
    asked = await world.request(PLAIN)
    found = await way.gather(asked, world.ports)
    assert isinstance(found, immediate.Facts)
    assert (found.request, found.release) == (asked, Release(world.good))
    assert (found.service, found.autoscalers) == (
        world.cluster.object(Kind.SERVICE, "front"),
        world.only(Kind.AUTOSCALER),
    )


@pytest.mark.parametrize("mine", [True, False])
async def test_the_quickest_way_to_the_other_environments_release_is_the_switch(*, mine: bool) -> None:
    world = World()
    world.good["metadata"]["labels"] = {"app": "web-green" if mine else "web-blue"}
    asked = await world.request(COLOURED)
    found = await immediate.gather(asked, world.ports)
    if mine:
        assert isinstance(found, immediate.Facts)
    else:
        assert found == replace(await switched(asked, world), judged=False)
        assert immediate.plan(found) == blue_green.plan(found)


async def switched(asked: Request, world: World) -> blue_green.Facts:
    found = await blue_green.gather(asked, world.ports)
    assert isinstance(found, blue_green.Facts)
    return found
