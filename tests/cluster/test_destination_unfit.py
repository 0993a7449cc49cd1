"""The good release is no good either: the guard stops, and who serves goes on serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.domain import runs
from logcaster_guard.domain.rules import Action, RolloutPolicy
from logcaster_guard.domain.signals import History, NoHistory, Reading, Signal, SourceName, Target, Value
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, GOOD, REPLICAS, Case
from tests.cluster.ending import Facts
from tests.cluster.environments import BLUE, GREEN, IDLE
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene
from tests.cluster.serving import Sample, sampled
from tests.fakes.source import TargetByTarget

pytestmark = [pytest.mark.timeout(240)]
PATIENCE = RolloutPolicy(timeout=1.5)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


class Health(TargetByTarget):
    """A `Source` of health checks whose every answer is this number of failures in a row."""

    name = SourceName.HTTP

    def __init__(self, failures: float) -> None:
        self._failures, self._clock = failures, SystemClock()
        self.asked: set[str] = set()

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        self.asked.add(str(target.health_url))
        return {s.name: Value(self._clock.monotonic(), self._failures) for s in signals}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        del target, signal, start, end, step
        return NoHistory()

    async def aclose(self) -> None:
        pass


async def lived(scene: Scene) -> tuple[Sample, Facts]:
    """A guard's life: how many served meanwhile, and how it stands then."""
    scene.policy = replace(scene.policy, rollout=PATIENCE)
    async with sampled(scene) as sample:
        await scene.life(None)
    return sample, await scene.facts()


@pytest.mark.parametrize("action", [Action.IMMEDIATE, Action.GRADUAL, Action.BLUE_GREEN], ids=str)
async def test_where_the_good_release_does_not_come_up_the_bad_one_goes_on_serving(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], action: Action
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=Case(action)) as scene:
        scene.world.releases.register(objects.image(GOOD), Behaviour(ready=False))
        sample, facts = await lived(scene)
    (run,) = facts.runs
    assert run.closed is not None
    assert run.closed.outcome in {runs.FAILED, runs.DESTINATION_BAD}
    assert sample.lowest >= REPLICAS
    assert facts.ledger.freeze is not None
    assert not run.compensations
    assert [q for q in facts.settled if q.endswith("/closed")]
    if action is not Action.IMMEDIATE:
        assert (facts.image, facts.deployments) == (objects.image(BAD), scene.case.left)


@pytest.mark.parametrize("failures", [0.0, 3.0], ids=["healthy", "not healthy"])
async def test_the_service_is_sent_only_to_an_environment_that_answers_well(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], failures: float
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=Case(Action.BLUE_GREEN)) as scene:
        scene.health = health = Health(failures)
        _, facts = await lived(scene)
        selected = (await scene.production())["metadata"]["name"]
    (run,) = facts.runs
    assert run.closed is not None
    assert len(health.asked) >= 1
    if failures:
        assert (run.closed.outcome, selected) == (runs.DESTINATION_BAD, GREEN)
        assert (facts.sizes[BLUE], facts.ledger.freeze is not None) == (IDLE, True)
        assert "does not answer well" in english().text(run.closed.reason)
    else:
        assert (run.closed.outcome, selected) == (runs.RECOVERED, BLUE)


PRUNED = Behaviour(held_up=("CreateContainerConfigError", 'configmap "web-config" not found'))
ABSENT = Behaviour(pullable=False)


@pytest.mark.parametrize(
    ("action", "behaviour"),
    [(Action.IMMEDIATE, ABSENT), (Action.IMMEDIATE, PRUNED), (Action.GRADUAL, PRUNED), (Action.BLUE_GREEN, ABSENT)],
    ids=["immediate, no image", "immediate, no configuration", "gradual", "blue-green"],
)
async def test_a_good_release_that_cannot_start_is_given_up_at_once_and_what_serves_is_put_back(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], action: Action, behaviour: Behaviour
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=Case(action)) as scene:
        scene.world.releases.register(objects.image(GOOD), behaviour)
        # Longer than the test may last: nothing waits for it.
        scene.policy = replace(scene.policy, rollout=RolloutPolicy(timeout=600.0))
        async with sampled(scene) as sample:
            await scene.life(None)
        facts = await scene.facts()
    words = behaviour.waits_for[0]
    first, *rest = [run.closed for run in facts.runs]
    assert first is not None
    assert (first.outcome, words in english().text(first.reason)) == (runs.DESTINATION_BAD, True)
    assert [c.outcome for c in rest if c] == ([runs.PUT_BACK] if action is Action.IMMEDIATE else [])
    assert sample.lowest >= REPLICAS
    assert (facts.image, facts.deployments) == (objects.image(BAD), scene.case.left)
    assert facts.ledger.freeze is not None
    bad = facts.ledger.records[facts.runs[0].opened.plan.to_template]
    assert words in english().text(bad.bad_reason)
    assert len([q for q in facts.settled if q.endswith("/closed")]) == len(facts.runs)
