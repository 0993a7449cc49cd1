"""How often the API server is asked whose pods are whose, and what is known while it does not answer."""

from __future__ import annotations

from logcaster_guard.adapters.kubernetes.rosters import Rosters
from logcaster_guard.domain.errors import NotFound, Unavailable
from logcaster_guard.domain.ownership import Roster
from logcaster_guard.domain.signals import Fault, NoData, SourceError, Target
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.services import view_of

TARGET = Target("web", "default", "web")


async def test_one_look_serves_all_who_ask_within_a_second_and_the_last_one_while_there_is_no_answer() -> None:
    clock = FakeClock()
    cluster = FakeCluster(clock)
    cluster.add_deployment("web", "v1")
    rosters = Rosters(cluster, view_of(cluster, clock), clock)
    first = await rosters(TARGET, False)
    assert isinstance(first, Roster)
    assert await rosters(TARGET, False) is first
    await clock.advance(1.0)
    second = await rosters(TARGET, False)
    assert isinstance(second, Roster)
    assert second is not first
    cluster.fault = lambda *_: Unavailable("no answer", status=503)
    await clock.advance(599.0)
    assert await rosters(TARGET, False) is second
    await clock.advance(1.0)
    lost = await rosters(TARGET, False)
    assert isinstance(lost, SourceError)
    assert lost.fault is Fault.SERVER_ERROR
    cluster.fault = lambda *_: NotFound("web not found", status=404)
    assert isinstance(await rosters(TARGET, False), NoData)
