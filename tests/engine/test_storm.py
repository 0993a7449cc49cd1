"""Twenty targets fail at once while nobody can be told: budgets hold, runs go on, and what is due is told later."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from logcaster_guard.domain.events import NoticeQueued, NoticeSettled, RunClosed, RunOpened
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import SourceName, Target
from logcaster_guard.engine.channel_queues import RetryPolicy
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.messages import SUMMED_UP
from logcaster_guard.ports import Json, Kind
from logcaster_guard.web.metrics import registry
from tests.engine.bench import ERRORS, FIRES, PROVEN, SIGNALS, E
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock, settle
from tests.fakes.cluster import FakeCluster
from tests.fakes.journal import MemoryJournal
from tests.fakes.services import view_of
from tests.fakes.source import FakeSource

NAMES = [f"service-{n}" for n in range(20)]
MOST = 12
"""Notices that wait for a channel at most, fewer than a storm makes."""


class Namespaces:
    """Implements `ports.Cluster` by one of its own for each namespace."""

    def __init__(self, clock: FakeClock, names: Sequence[str]) -> None:
        self.parts = {name: FakeCluster(clock, name) for name in names}

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        return await self.parts[namespace].get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        return await self.parts[namespace].list(kind, namespace, selector)

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        return await self.parts[namespace].json_patch(kind, namespace, name, operations, manager=manager)

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        raise NotImplementedError

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        raise NotImplementedError

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        raise NotImplementedError

    def ahead(self) -> float:
        return 0.0

    async def aclose(self) -> None:
        pass


@dataclass
class Channel:
    """Takes nothing while it is `down`: it `hangs`, or says that it cannot."""

    name: str
    hangs: bool
    down: bool = True
    asked: int = 0
    notices: list[Notice] = field(default_factory=list)

    async def deliver(self, notice: Notice) -> Delivery:
        self.asked += 1
        if self.down and self.hangs:
            await asyncio.Event().wait()
        if self.down:
            return TryLater("connection refused")
        self.notices.append(notice)
        return Delivered()

    async def aclose(self) -> None:
        pass


class Storm:
    """A guard over a service in each of as many namespaces."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = Namespaces(self.clock, NAMES)
        self.journal = MemoryJournal()
        self.channels = [Channel("failing", hangs=False), Channel("hanging", hangs=True)]
        self.prometheus = FakeSource(SourceName.PROMETHEUS, self.clock, past=True)
        errors = {"v1": 0.0, "v2": 0.3}
        for name, part in self.cluster.parts.items():
            part.on_rolled = lambda name, image: self.prometheus.set(name, "error_rate", errors[image])
            part.add_deployment(name, "v1")
        self.guard = Guard(
            Configuration([Target(n, n, n) for n in NAMES], SIGNALS, [ERRORS], Policy()),
            GuardPorts(
                cluster=self.cluster,
                view=view_of(self.cluster, self.clock),
                sources={SourceName.PROMETHEUS: self.prometheus},
                journal=self.journal,
                blobs=MemoryBlobs(),
                channels=self.channels,
                clock=self.clock,
            ),
        )
        assert self.guard.outbox is not None
        self.outbox = self.guard.outbox
        self.outbox._policy = RetryPolicy(most=MOST)

    async def pass_(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while end - self.clock.monotonic() > 1e-9:
            await self.clock.advance(min(5.0, end - self.clock.monotonic()))
            await settle(60)
            assert max(self.outbox.pending().values()) <= MOST
            assert all(len(queue.owed) + len(queue.closed) <= 100 for queue in self.outbox._queues)

    async def breaks_out(self) -> None:
        """Every service gets the bad release at the same moment, and each rule fires at the same one."""
        for name in NAMES:
            self.cluster.parts[name].roll(name, "v2")
        await self.pass_(FIRES + 10.0)

    def told(self, kind: type[E]) -> list[E]:
        return [e.event for e in self.journal.entries if isinstance(e.event, kind)]

    def images(self) -> Mapping[str, int]:
        return Counter(part.image(name) for name, part in self.cluster.parts.items())

    def refusals(self, guardrail: str) -> float:
        found = [f for f in registry(self.guard.read_model.status).collect() if f.name == "logcaster_guard_refusals"]
        return sum(s.value for f in found for s in f.samples if s.labels.get("guardrail") == guardrail)


@pytest.fixture
async def storm() -> AsyncIterator[Storm]:
    made = Storm()
    task = asyncio.create_task(made.guard.run())
    await settle(200)
    try:
        await made.pass_(PROVEN)
        yield made
    finally:
        task.cancel()
        for _ in range(50):
            await made.clock.advance(1.0)
            if task.done():
                break
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_budget_of_the_cluster_holds_and_runs_end_with_nobody_there_to_be_told(storm: Storm) -> None:
    await storm.breaks_out()
    assert len(storm.told(RunOpened)) == 3
    assert storm.images() == {"v1": 3, "v2": 17}
    assert storm.refusals("cluster_budget") == 17
    await storm.pass_(900.0)
    assert [c.outcome for c in storm.told(RunClosed)] == ["recovered"] * 3
    assert all(not channel.notices and channel.asked > 2 for channel in storm.channels)
    # As the hour of the first three ends, the next three are let through, and no more.
    await storm.pass_(3_600.0)
    assert (len(storm.told(RunOpened)), storm.images()) == (6, {"v1": 6, "v2": 14})


async def test_when_the_channels_are_back_what_is_due_is_told_and_the_rest_summed_up(storm: Storm) -> None:
    await storm.breaks_out()
    await storm.pass_(900.0)
    for channel in storm.channels:
        channel.down = False
    await storm.pass_(900.0)
    assert set(storm.outbox.pending().values()) == {0}
    opened = {o.run for o in storm.told(RunOpened)}
    queued = {q.notice.id for q in storm.told(NoticeQueued)}
    for channel in storm.channels:
        events = Counter(n.event for n in channel.notices)
        for event in ("run.opened", "run.restored", "run.closed"):
            assert {n.run for n in channel.notices if n.event == event} == opened
        assert events[SUMMED_UP] == 1
        [summary] = [n for n in channel.notices if n.event == SUMMED_UP]
        settled = [s for s in storm.told(NoticeSettled) if s.channel == channel.name]
        left = [s for s in settled if s.outcome.startswith("left out")]
        assert (int(summary.facts["count"]), len(left) > 0) == (len(left), True)
        # Each is delivered, or settled as left out, once.
        delivered = [n.id for n in channel.notices]
        assert len(set(delivered)) == len(delivered)
        assert {s.notice for s in settled} >= queued - {summary.id}
