"""A guard over fakes: services `logcaster-prod` on v1, rules and polls of the plan, time that a test lets pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.conditions import Comparator, Compare, Number, SignalRef
from logcaster_guard.domain.events import Event, RunClosed
from logcaster_guard.domain.notices import Delivered, Delivery, Notice
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.signals import Signal, SourceName, Target, Unit
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.engine.self_workload import OwnPod
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.ports import Clock, Kind, Rights, Source
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import START, FakeClock, settle
from tests.fakes.cluster import NAMESPACE, FakeCluster
from tests.fakes.journal import MemoryJournal
from tests.fakes.saved_secrets import MemorySavedSecrets
from tests.fakes.services import view_of
from tests.fakes.source import FakeSource
from tests.fakes.watches import FakeWatches

PROD, ANOTHER = "logcaster-prod", "another"
KEY = f"default/{PROD}"
SIGNALS = {
    "error_rate": Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS),
    "health_check_fails": Signal("health_check_fails", Unit.COUNT, SourceName.HTTP),
    "request_rate": Signal("request_rate", Unit.PER_SECOND, SourceName.PROMETHEUS),
}
PROVEN = 700.0
"""Seconds after which v1 is known to be good."""
FIRES = 301.0
"""Seconds from the rollout of a bad release to the run, and not yet its end."""
E = TypeVar("E")


def rule(
    name: str = "high_error_rate",
    signal: str = "error_rate",
    above: float = 0.05,
    duration: float = 300.0,
    *,
    action: Action = Action.IMMEDIATE,
    rollout_window: float | None = 86_400.0,
) -> Rule:
    condition = Compare(Comparator.GT, SignalRef(signal), Number(above))
    return Rule(name, f"{signal} > {above}", condition, duration, action, rollout_window=rollout_window)


ERRORS = rule()
HEALTH = rule("health_check_failure", "health_check_fails", 3, 120.0)


class Inbox:
    """A channel that takes everything."""

    name = "inbox"

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    async def deliver(self, notice: Notice) -> Delivery:
        self.notices.append(notice)
        return Delivered()

    async def aclose(self) -> None:
        pass


class Bench:
    """`errors` is the error rate that each image has while it is rolled out.

    `view` takes the place of the shared view; `more` are sources besides, each with a signal that it is read for.
    """

    def __init__(
        self,
        *,
        rules: Sequence[Rule] = (ERRORS, HEALTH),
        policy: Policy | None = None,
        past: bool = True,
        deployments: Sequence[str] = (PROD,),
        own_pod: OwnPod | None = None,
        lookback: float = 0.0,
        rights: Rights | None = None,
        cluster: Callable[[Clock], FakeCluster] = FakeCluster,
    ) -> None:
        self.clock = FakeClock()
        self.cluster = cluster(self.clock)
        self.watches = FakeWatches(self.cluster, self.clock)
        self.journal: MemoryJournal | None = MemoryJournal()
        self.journal_fault = ""
        self.view: ClusterView | None = None
        self.more: dict[SourceName, tuple[Source, Signal]] = {}
        self.blobs = MemoryBlobs()
        self.saved_secrets: MemorySavedSecrets | None = None
        self.prometheus = FakeSource(SourceName.PROMETHEUS, self.clock, past=past)
        self.http = FakeSource(SourceName.HTTP, self.clock, past=False)
        self.errors: dict[str, float | None] = {"v1": 0.0, "v2": 0.3, "v3": 0.3}
        self.inbox = Inbox()
        self._rules, self._policy, self._deployments = rules, policy or Policy(), deployments
        self._signals = {name: replace(signal, lookback=lookback) for name, signal in SIGNALS.items()}
        self._task: asyncio.Task[None] | None = None
        self._guard: Guard | None = None
        self.authority: LeaderElector | None = None
        self._own_pod = own_pod
        self._rights = rights
        self.cluster.on_rolled = self._rolled
        for name in deployments:
            self.http.set(name, "health_check_fails", 0)
            self.cluster.add_deployment(name, "v1")
            self.cluster.add(Kind.SERVICE, name, spec={"selector": {"app": name}})

    def _rolled(self, name: str, image: str) -> None:
        self.prometheus.set(name, "error_rate", self.errors[image])

    @property
    def guard(self) -> Guard:
        assert self._guard is not None
        return self._guard

    async def start(self) -> None:
        crowded = [NAMESPACE] if len(self._deployments) > 1 else []
        targets = [Target(n, "default", n, service=n) for n in self._deployments]
        signals = self._signals | {signal.name: signal for _, signal in self.more.values()}
        sources = {SourceName.PROMETHEUS: self.prometheus, SourceName.HTTP: self.http}
        self._guard = Guard(
            Configuration(targets, signals, self._rules, self._policy),
            GuardPorts(
                cluster=self.cluster,
                view=self.view or view_of(self.cluster, self.clock, *crowded),
                sources=sources | {name: source for name, (source, _) in self.more.items()},
                journal=self.journal,
                blobs=self.blobs,
                channels=[self.inbox],
                clock=self.clock,
                rights=self._rights,
                watches=self.watches,
                listings=self.cluster,
                saved_secrets=self.saved_secrets,
            ),
            authority=self.authority,
            own_pod=self._own_pod,
            journal_fault=self.journal_fault,
        )
        self._task = asyncio.create_task(self._guard.run())
        await settle(60)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def pass_(self, seconds: float) -> None:
        """Let time pass, in pieces small enough that whatever is woken gets done."""
        assert self._task is None or not self._task.done()
        end = self.clock.monotonic() + seconds
        while end - self.clock.monotonic() > 1e-9:
            await self.clock.advance(min(5.0, end - self.clock.monotonic()))
            await settle(40)

    async def good_v1(self) -> None:
        """Start, and watch v1 until it is known to be good."""
        await self.start()
        await self.pass_(PROVEN)

    async def bad_v2(self) -> None:
        """As `good_v1`, then v2 is rolled out; the next poll is 20 s away."""
        await self.good_v1()
        self.cluster.roll(PROD, "v2")

    def told(self, kind: type[E]) -> list[E]:
        """The journal's events of this type."""
        assert self.journal is not None
        return [e.event for e in self.journal.entries if isinstance(e.event, kind)]

    def streams(self, kind: type[Event]) -> list[str]:
        assert self.journal is not None
        return [e.stream for e in self.journal.entries if isinstance(e.event, kind)]

    def notices(self, event: str) -> list[Notice]:
        return [n for n in self.inbox.notices if n.event == event]

    def writes(self, kind: Kind = Kind.DEPLOYMENT) -> int:
        return sum(k is kind for k, _, _ in self.cluster.writes)


def wall(monotonic: float) -> datetime:
    """The instant that the fake clock shows at this second, if nobody set it."""
    return START + timedelta(seconds=monotonic - 1_000.0)


def hpa(minimum: int, maximum: int = 10) -> dict[str, Any]:
    reference = {"kind": "Deployment", "name": PROD}
    return {"scaleTargetRef": reference, "minReplicas": minimum, "maxReplicas": maximum}


def minimum(made: Bench) -> int:
    found = made.cluster.object(Kind.AUTOSCALER, "hpa")["spec"]["minReplicas"]
    assert isinstance(found, int)
    return found


async def in_mid_run(made: Bench) -> None:
    """The good template is written, and its rollout does not end."""
    await made.bad_v2()
    await made.pass_(290.0)
    made.cluster.stuck = True
    await made.pass_(20.0)
    assert made.writes() == 1
    assert made.told(RunClosed) == []


@contextlib.asynccontextmanager
async def bench(**options: Any) -> AsyncIterator[Bench]:
    made = Bench(**options)
    try:
        yield made
    finally:
        await made.stop()
