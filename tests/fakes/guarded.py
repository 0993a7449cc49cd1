"""A whole guard in this process, over fakes, and its HTTP server on a free port of the loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx

from logcaster_guard.domain.conditions import Comparator, Compare, Number, SignalRef
from logcaster_guard.domain.events import RunClosed, RunOpened
from logcaster_guard.domain.leadership import Record, Terms
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.signals import Signal, SourceName, Target, Unit
from logcaster_guard.domain.steps import Plan
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.journal_state import run_stream
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.messages.texts import Texts
from logcaster_guard.sandbox import objects
from logcaster_guard.steps.verify_recovery import VerifyRecovery
from logcaster_guard.web.server import serving
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import START, FakeClock
from tests.fakes.journal import MemoryJournal
from tests.fakes.lease import MemoryLease, Shelf
from tests.fakes.services import view_of
from tests.fakes.static_world import AnsweringSource, StaticCluster

TARGET = Target("logcaster", "logcaster", objects.DEPLOYMENT, service=objects.SERVICE)
SIGNAL = Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS, lookback=30.0)
RULE = Rule(
    name="high_error_rate",
    text="error_rate > 5%",
    condition=Compare(Comparator.GT, SignalRef("error_rate"), Number(0.05)),
    duration=300.0,
    action=Action.IMMEDIATE,
)
CALM = Rule(
    name="[bold]very_high",
    text="error_rate > 90%",
    condition=Compare(Comparator.GT, SignalRef("error_rate"), Number(0.9)),
    duration=60.0,
    action=Action.ALERT_ONLY,
)
INTERVAL = Policy().polling.interval


def deployment() -> dict[str, Any]:
    body = objects.deployment(objects.image("1.0.0"))
    body["metadata"] |= {"namespace": TARGET.namespace, "uid": "u1", "resourceVersion": "1", "generation": 1}
    body["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "7"}
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 3)
    return {**body, "status": {"observedGeneration": 1, **counts}}


def elector(clock: FakeClock, holder: str) -> LeaderElector:
    """The elector of a lease that `holder` has taken and never renews."""
    shelf = Shelf(Record(holder, 3, 30.0, renewed=START, version="v0"))
    return LeaderElector(MemoryLease(shelf), clock, Terms(30.0, 5.0, 10.0), "this-one")


class Guarded:
    """The parts that tests turn, and what the guard tells of them at `url`."""

    def __init__(self, journal: MemoryJournal | None, *, holder: str | None = None) -> None:
        self.clock = FakeClock()
        self.authority = None if holder is None else elector(self.clock, holder)
        self.source = AnsweringSource(SourceName.PROMETHEUS, self.clock)
        self.cluster = StaticCluster(deployment())
        self.journal = journal
        self.blobs = MemoryBlobs()
        self.url = ""
        self.guard = self._guard()

    def _guard(self) -> Guard:
        return Guard(
            Configuration([TARGET], {SIGNAL.name: SIGNAL}, [RULE, CALM], Policy()),
            GuardPorts(
                cluster=self.cluster,
                view=view_of(self.cluster, self.clock),
                sources={SourceName.PROMETHEUS: self.source},
                journal=self.journal,
                blobs=self.blobs,
                channels=[],
                clock=self.clock,
            ),
            authority=self.authority,
        )

    def restarted(self) -> Guarded:
        """Another guard over the same parts, which nobody serves."""
        self.guard = self._guard()
        return self

    @classmethod
    @contextlib.asynccontextmanager
    async def serving(
        cls,
        *,
        journal: bool = True,
        run: bool = False,
        runs: bool = False,
        holder: str | None = None,
        texts: Texts | None = None,
    ) -> AsyncIterator[Guarded]:
        """The server; `run` also starts the guard, `runs` gives its journal a rollback that ended well.

        `holder` has the lease that this one waits for.
        """
        memory = MemoryJournal() if journal else None
        if memory is not None and runs:
            await memory.append(run_stream("r1"), past_run(), 0)
        scene = cls(memory, holder=holder)
        async with serving(scene.guard, "127.0.0.1:0", texts=texts) as url:
            assert url is not None
            scene.url = url
            async with scene.running() if run else contextlib.nullcontext():
                yield scene

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The guard at work."""
        task = asyncio.create_task(self.guard.run())
        try:
            await self.clock.advance(0.0)
            yield
        finally:
            task.cancel()
            await self._ended(task)

    async def _ended(self, task: asyncio.Task[None]) -> None:
        """Let the clock run until the guard has wound up; bounded."""
        for _ in range(100):
            if task.done():
                break
            await self.clock.advance(1.0)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def get(self, path: str) -> httpx.Response:
        return await self.ask("GET", path)

    async def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, self.url + path, headers=headers)


def past_run() -> tuple[RunOpened, RunClosed]:
    plan = Plan(
        strategy="immediate",
        namespace=TARGET.namespace,
        deployment=TARGET.deployment,
        uid="u1",
        from_template="bad",
        to_template="good",
        from_images=("logcaster/logcaster-c:2.0.0",),
        to_images=("logcaster/logcaster-c:1.0.0",),
        replicas=3,
        autoscaled=False,
        service=None,
        selector=None,
        steps=(VerifyRecovery("high_error_rate", 300.0, 1_200.0),),
    )
    began = START - timedelta(days=3)
    return (
        RunOpened(began, "r1", TARGET.key, "high_error_rate", "it was met", plan, evidence={"error_rate": "30%"}),
        RunClosed(began + timedelta(seconds=90), "r1", "not recovered", "still bad", freeze=False),
    )
