"""Four services, each with a rollback in mid-step, as a killed guard leaves them and the next one finds them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from logcaster_guard.domain.events import RunOpened, StepStarted
from logcaster_guard.domain.rules import (
    Action,
    AlertPolicy,
    BlueGreenPolicy,
    GradualPolicy,
    Limits,
    Policy,
    RolloutPolicy,
)
from logcaster_guard.domain.signals import SourceName, Target
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.ports import Blobs, Clock, Journal, Json, Kind
from tests.engine.bench import PROVEN, SIGNALS, Inbox, rule
from tests.engine.world import EagerClock, rest
from tests.fakes.clock import START
from tests.fakes.cluster import NAMESPACE
from tests.fakes.connection import ConnectedCluster, ConnectedInbox, ConnectedJournal, ConnectedSource, Connection
from tests.fakes.pods import PopulatedCluster
from tests.fakes.services import view_of
from tests.fakes.source import FakeSource

ERRORS = {"v1": 0.0, "v2": 0.3, "v3": 0.0}
PLAYED: Mapping[str, tuple[Action, str]] = {
    "gradual": (Action.GRADUAL, "judge_helper"),
    "asked": (Action.ALERT_THEN, "ask_people"),
    "switched": (Action.BLUE_GREEN, "await_endpoints"),
    "plain": (Action.IMMEDIATE, "restore_template"),
}
"""Each service's way back, and the step that its guard is killed in."""

ENVIRONMENTS = {"blue": "switched-blue", "green": "switched-green"}
AUTOSCALER = {"scaleTargetRef": {"kind": "Deployment", "name": "gradual"}, "minReplicas": 3, "maxReplicas": 6}
POLICY = Policy(
    limits=Limits(per_cluster_per_hour=10),
    rollout=RolloutPolicy(timeout=7_200.0),
    gradual=GradualPolicy(steps=(0.5, 1.0), hold=7_200.0),
    blue_green=BlueGreenPolicy(min_requests=1),
    alert=AlertPolicy(grace=7_200.0, remind_every=7_200.0),
)
RULES = [replace(rule(f"errors_of_{n}", action=a), targets=frozenset({n})) for n, (a, _) in PLAYED.items()]


class SlicedCluster(PopulatedCluster):
    """Also lists the pods that each Service selects, once `follows` is set: its controller may be behind."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.follows = False

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        if kind is not Kind.ENDPOINT_SLICE:
            return await super().list(kind, namespace, selector)
        if not self.follows:
            return []
        service = self.object(Kind.SERVICE, selector.rpartition("=")[2])
        wanted = service["spec"]["selector"].items()
        references = [p["metadata"] for p in self._pods() if wanted <= p["metadata"]["labels"].items()]
        return [{"endpoints": [{"targetRef": {"kind": "Pod", "uid": r["uid"], "name": r["name"]}} for r in references]}]

    def dump(self) -> Sequence[Json]:
        """Every object, as it is."""
        return [copy.deepcopy(found) for found in self._objects.values()]

    def load(self, objects: Sequence[Json]) -> None:
        """Exactly these objects, as `dump` gave them."""
        self._objects = {(Kind(o["kind"]), o["metadata"]["name"]): copy.deepcopy(o) for o in objects}
        self._counter = 10_000


class Services:
    """The services, and at most one guard at a time over `journal` and `blobs`."""

    def __init__(self, journal: Journal, blobs: Blobs, now: datetime = START) -> None:
        self.clock = EagerClock(now=now)
        self.cluster = SlicedCluster(self.clock)
        self.journal, self.blobs = journal, blobs
        self.source = FakeSource(SourceName.PROMETHEUS, self.clock, past=True)
        self.inbox = Inbox()
        self.targets = [
            Target(n, "default", n, service=n, environments=ENVIRONMENTS if a is Action.BLUE_GREEN else {})
            for n, (a, _) in PLAYED.items()
        ]
        self.traffic: float | None = None
        self._line = Connection()
        self._task: asyncio.Task[None] | None = None
        self.cluster.on_rolled = self._rolled

    def _rolled(self, name: str, image: str) -> None:
        self.source.set(name, "error_rate", ERRORS[image])
        self.source.set(name, "request_rate", self.traffic)

    def install(self) -> None:
        """All of them on v1; of the two environments blue is the live one, and green is as large."""
        for name in PLAYED:
            if name == "switched":
                for colour, deployment in ENVIRONMENTS.items():
                    self.cluster.add_deployment(deployment, "v1")
                    self.cluster.change(Kind.DEPLOYMENT, deployment, partial(_label, colour))
                self.cluster.add(Kind.SERVICE, name, spec={"selector": {"app": name, "environment": "blue"}})
            else:
                self.cluster.add_deployment(name, "v1")
                self.cluster.add(Kind.SERVICE, name, spec={"selector": {"app": name}})
        self.cluster.add(Kind.AUTOSCALER, "gradual", spec=AUTOSCALER)

    def load(self, objects: Sequence[Json]) -> None:
        """These objects are there, and serve as their images do."""
        self.cluster.load(objects)
        for name in self.cluster.names(Kind.DEPLOYMENT):
            self._rolled(name, self.cluster.image(name))

    def release_v2(self, name: str) -> None:
        """Roll the bad release out; with two environments to the idle one, which then becomes the live one."""
        if name != "switched":
            self.cluster.roll(name, "v2")
            return
        self.cluster.roll(ENVIRONMENTS["green"], "v2")
        self.cluster.change(Kind.SERVICE, name, lambda s: s["spec"]["selector"].update(environment="green"))

    async def start(self) -> Guard:
        """A guard begins."""
        self._line = line = Connection()
        cluster = ConnectedCluster(line, self.cluster)
        guard = Guard(
            Configuration(self.targets, SIGNALS, RULES, POLICY),
            GuardPorts(
                cluster=cluster,
                view=view_of(cluster, self.clock, NAMESPACE),
                sources={SourceName.PROMETHEUS: ConnectedSource(line, self.source)},
                journal=ConnectedJournal(line, self.journal),
                blobs=self.blobs,
                channels=[ConnectedInbox(line, self.inbox)],
                clock=self.clock,
            ),
        )
        self._task = asyncio.create_task(guard.run())
        await rest()
        return guard

    async def pass_(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        assert self._task is None or not self._task.done()

    async def kill(self) -> None:
        """Nothing that the guard does from now on gets through."""
        self._line.cut = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def play(self) -> None:
        """Everything up to the death of a guard that has a run of each way back in mid-step.

        The last write of the plain one has taken effect, and nobody has learned of it.
        """
        self.install()
        await self.start()
        await self.pass_(PROVEN)
        self.cluster.on_write = self._written
        for name, (_, step) in PLAYED.items():
            # Breaches that begin together would have one cause.
            await self.pass_(POLICY.attribution.together + 1)
            self.release_v2(name)
            for _ in range(1_000):
                await self.pass_(1.0)
                if await self.reached(name, step):
                    break
            else:
                raise AssertionError(f"{name} did not reach {step}")
        await self.kill()

    def _written(self, verb: str, kind: Kind, name: str, *_: Json | None) -> None:
        """The guard dies as soon as the plain service's template is written."""
        if (verb, kind, name) == ("patch", Kind.DEPLOYMENT, "plain"):
            self._line.cut = True

    async def reached(self, name: str, step: str) -> bool:
        """Whether the service's run is in its first step of this kind."""
        entries = [e.event for e in await self.journal.read_all("run/")]
        opened = next((e for e in entries if isinstance(e, RunOpened) and e.target == f"default/{name}"), None)
        if opened is None:
            return False
        kinds: list[str] = [s.kind for s in opened.plan.steps]
        return any(isinstance(e, StepStarted) and (e.run, e.step) == (opened.run, kinds.index(step)) for e in entries)


def _label(colour: str, deployment: Json) -> None:
    labels = {"app": "switched", "environment": colour}
    deployment["spec"]["selector"]["matchLabels"] = labels
    deployment["spec"]["template"]["metadata"]["labels"] = labels
