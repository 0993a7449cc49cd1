"""A more severe rule fires in the middle of a stage of a gradual rollback, and the immediate one takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.capacity import helper_name
from logcaster_guard.domain.conditions import Comparator, Compare, Number, SignalRef
from logcaster_guard.domain.notices import Delivered, Delivery, Notice
from logcaster_guard.domain.rules import Action, AttributionPolicy, GradualPolicy, Rule
from logcaster_guard.domain.signals import History, NoHistory, Reading, Signal, SourceName, Target, Unit, Value
from logcaster_guard.engine.services import Configuration
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from tests.cluster.case import BAD, GOOD, Case, image_of
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene
from tests.cluster.serving import sampled
from tests.fakes.source import TargetByTarget

pytestmark = [pytest.mark.timeout(240)]
REPLICAS = 4
HALF = REPLICAS // 2
HELPER = helper_name(objects.DEPLOYMENT)
HEALTH = Signal("health_check_fails", Unit.COUNT, SourceName.HTTP)
URGENT = Rule(
    name="health_check_failure",
    text="health_check_fails > 3",
    condition=Compare(Comparator.GT, SignalRef(HEALTH.name), Number(3)),
    duration=0.2,
    action=Action.IMMEDIATE,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


@dataclass
class TwoRulesScene(Scene):
    """A gradual rule watches the errors and an immediate one the health checks. A stage lasts longer than the test."""

    @property
    def configuration(self) -> Configuration:
        configuration = super().configuration
        slow = GradualPolicy(steps=(0.5, 1.0), wait=200.0, window=200.0)
        # No health check was ever asked for before the bad release.
        policy = replace(configuration.policy, gradual=slow, attribution=AttributionPolicy(least_history=None))
        return Configuration(
            configuration.targets,
            {**configuration.signals, HEALTH.name: HEALTH},
            [*configuration.rules, URGENT],
            policy,
        )

    @property
    def target(self) -> Target:
        return replace(super().target, health_url="http://logcaster:9998/health")

    async def sizes(self) -> dict[str, int]:
        """How many pods each Deployment wants."""
        found = await self.cluster.admin.list(self.deployments)
        return {d["metadata"]["name"]: d["spec"]["replicas"] for d in found}

    async def bounds(self) -> list[tuple[int, int]]:
        """Those of the autoscaler, if there is one."""
        found = await self.cluster.admin.list(self.autoscalers)
        return [(a["spec"]["minReplicas"], a["spec"]["maxReplicas"]) for a in found]


@dataclass
class Health(TargetByTarget):
    """A `Source` of health checks: the bad release fails them from the moment at which half of the pods are shifted.

    `borrowed` are the autoscaler's bounds at that moment.
    """

    scene: TwoRulesScene
    borrowed: list[tuple[int, int]] | None = None
    name = SourceName.HTTP

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        del target
        if self.borrowed is None and await self.scene.sizes() == {objects.DEPLOYMENT: HALF, HELPER: HALF}:
            self.borrowed = await self.scene.bounds()
        bad = image_of(await self.scene.world.deployment()) == objects.image(BAD)
        failures = 9 if bad and self.borrowed is not None else 0
        return {s.name: Value(self.scene.clock.monotonic(), failures) for s in signals}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        del target, signal, start, end, step
        return NoHistory()

    async def aclose(self) -> None:
        pass


@dataclass
class People:
    """A `Channel` that keeps what people are told."""

    notices: list[Notice] = field(default_factory=list)
    name = "people"

    async def deliver(self, notice: Notice) -> Delivery:
        self.notices.append(notice)
        return Delivered()

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("minimum", [None, 2], ids=["plain", "with autoscaler"])
async def test_the_immediate_run_ends_what_the_gradual_one_has_begun_and_people_are_told_of_both(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], minimum: int | None
) -> None:
    async with TwoRulesScene.set_up(
        cluster, api, rights, minimum, case=Case(Action.GRADUAL), replicas=REPLICAS
    ) as scene:
        scene.health, people = Health(scene), People()
        scene.channels = [people]
        async with sampled(scene) as sample:
            await scene.life(None)
        facts = await scene.facts()
        assert await scene.sizes() == {objects.DEPLOYMENT: REPLICAS}
        assert await scene.bounds() == ([] if minimum is None else [(minimum, 2 * REPLICAS)])

    assert scene.health.borrowed == ([] if minimum is None else [(HALF, HALF)])
    slow, urgent = sorted(facts.runs, key=lambda run: run.opened.at)
    assert (slow.opened.rule, urgent.opened.rule, urgent.opened.parent) == ("high_error_rate", URGENT.name, slow.id)
    assert slow.closed is not None
    assert urgent.closed is not None
    assert (slow.closed.outcome, urgent.closed.outcome) == (runs.ESCALATED, runs.RECOVERED)
    assert not urgent.compensations
    assert facts.image == objects.image(GOOD)
    assert facts.ledger.freeze is None
    assert sample.lowest >= REPLICAS - 1, "the Deployment's own rolling update may be one short"

    told = [n for n in people.notices if n.event in {"run.opened", "run.closed"}]
    assert [(n.run, n.event.removeprefix("run.")) for n in told] == [
        (slow.id, "opened"),
        (urgent.id, "opened"),
        (urgent.id, "closed"),
    ]
    assert f"takes over from run {slow.id}" in told[1].text
