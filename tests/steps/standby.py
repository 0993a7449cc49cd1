"""Two environments that read one ConfigMap, and a run that is to take the Service to the one that idles."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from logcaster_guard.domain.configuration import restoring
from logcaster_guard.domain.configuration.copies import referring
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.events import RunClosed, RunEnding, RunOpened
from logcaster_guard.domain.observations import Before, Done, Observation
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.runs import RECOVERED, Run
from logcaster_guard.domain.steps import Plan, Write
from logcaster_guard.domain.workload import Workload, template_hash
from logcaster_guard.ports import Json, Kind
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_later import RestoreLater
from logcaster_guard.steps.roll_environment import RollEnvironment
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import HandlerContext, Handlers, handlers_of
from logcaster_guard.steps.switch_service import SwitchService
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import START, FakeClock
from tests.fakes.pods import PopulatedCluster

BLUE, GREEN, SERVICE, LABEL, NAME = "blue", "green", "active", "environment", "settings"
SAVED, EDITED = {"LEVEL": "info"}, {"LEVEL": "debug"}
TARGET = "default/web"
NOBODY: Any = None


@dataclass
class Standby:
    """`run` stands before `step`."""

    clock: FakeClock
    cluster: PopulatedCluster
    handlers: Handlers
    run: Run

    def name(self, environment: str = BLUE) -> str:
        """What the pods of the environment read by."""
        spec = self.cluster.object(Kind.DEPLOYMENT, environment)["spec"]["template"]["spec"]
        return str(spec["containers"][0]["envFrom"][0]["configMapRef"]["name"])

    @property
    def held(self) -> Json:
        return dict(self.cluster.object(Kind.CONFIG_MAP, NAME)["data"])

    @property
    def copy(self) -> str:
        (found,) = (name for name in self.cluster.names(Kind.CONFIG_MAP) if name != NAME)
        return found

    async def look(self) -> Observation:
        assert self.run.present is not None
        return await self.handlers.steps[self.run.present.kind].observe(self.run.present, self.run)

    async def apply(self) -> None:
        assert self.run.present is not None
        await self.handlers.steps[self.run.present.kind].apply(self.run.present, self.run)

    async def done(self) -> None:
        """The next step, to its end."""
        seen, step = await self.look(), self.run.present
        assert isinstance(seen, Before), seen
        assert isinstance(step, Write)
        held = {} if seen.borrows is None else {seen.borrows.id: seen.borrows}
        self.run = replace(self.run, compensations={**self.run.compensations, **held}, taken={**self.run.taken, **held})
        await self.apply()
        seen = await self.look()
        assert isinstance(seen, Done), seen
        self.run = replace(self.run, step=self.run.step + 1, done_at={**self.run.done_at, self.run.step: START})

    def ending(self, outcome: str = RECOVERED) -> None:
        """The run gives back what it has borrowed."""
        self.run = replace(self.run, ending=RunEnding(START, "r", outcome, "", freeze=False))

    def closed(self, outcome: str = RECOVERED) -> None:
        """The run is over, and what it has borrowed is put off."""
        self.ending(outcome)
        self.run = replace(self.run, closed=RunClosed(self.clock.now(), "r", outcome, "", freeze=False))

    async def back(self, kind: str) -> Observation:
        (owed,) = (owed for owed in self.run.taken.values() if owed.kind == kind)
        return await self.handlers.compensators[kind].observe_compensation(owed, self.run)

    async def give_back(self, kind: str) -> None:
        (owed,) = (owed for owed in self.run.taken.values() if owed.kind == kind)
        await self.handlers.compensators[kind].compensate(owed, self.run)


async def standby(*, restart: bool = False) -> Standby:
    """Green is live, and both read what somebody edited; `restart`: nothing differs, and nothing is copied."""
    clock, blobs = FakeClock(), MemoryBlobs()
    cluster = PopulatedCluster(clock)
    cluster.add(Kind.CONFIG_MAP, NAME, data=EDITED)
    for name in (BLUE, GREEN):
        cluster.add_deployment(name, f"v{len(name) - 3}", replicas=3)
        cluster.change(Kind.DEPLOYMENT, name, _reading)
    cluster.add(Kind.SERVICE, SERVICE, spec={"selector": {LABEL: GREEN}})
    saved = {"kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "default"}, "data": SAVED}
    digest = await blobs.put(json.dumps(saved).encode())
    other, live = (Workload(cluster.object(Kind.DEPLOYMENT, name)) for name in (BLUE, GREEN))
    uid = cluster.object(Kind.CONFIG_MAP, NAME)["metadata"]["uid"]
    changes = restoring.changes(cluster.object(Kind.CONFIG_MAP, NAME), saved, None)
    copy = CopyConfigMap(NAME, digest, "seed")
    later = RestoreLater.put_off(RestoreConfigMap(NAME, uid, digest, changes))
    switch = SwitchService(LABEL, GREEN, BLUE)
    renamed = referring(other.template, {(ConfigKind.CONFIG_MAP, NAME): copy.copy("")})
    plan = Plan(
        "blue_green", "default", BLUE, other.uid, live.hash, other.hash if restart else template_hash(renamed),
        live.images, other.images, 3, False, SERVICE, {LABEL: GREEN},
        (RollEnvironment(restart=True), switch) if restart else (copy, RollEnvironment(restart=False), later, switch),
        floor=3, live=GREEN, live_uid=live.uid, stands_for="" if restart else ReleaseId(other.hash, "c").key,
    )  # fmt: skip
    run = Run(RunOpened(START, "r", TARGET, "rule", "it was met", plan), started=START)
    context = HandlerContext(cluster, blobs, clock, NOBODY, NOBODY, NOBODY, NOBODY, staleness=30.0)
    return Standby(clock, cluster, handlers_of(KINDS, context), run)


def _reading(deployment: Json) -> None:
    template = deployment["spec"]["template"]
    template["metadata"]["labels"] = {"app": deployment["metadata"]["name"], LABEL: deployment["metadata"]["name"]}
    template["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": NAME}}]
