"""What a run rests on is taken away by somebody in its middle: the helper, production's Deployment, the Service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from logcaster_guard.domain import capacity, runs
from logcaster_guard.domain.rules import Action, GradualPolicy, RolloutPolicy
from logcaster_guard.domain.runs import Run
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json, Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import ApiRefused
from tests.cluster.case import BAD, POLICY, REPLICAS, WITHIN, Case, image_of
from tests.cluster.crashes import Point, Tape
from tests.cluster.environments import BLUE
from tests.cluster.harness import Cluster
from tests.cluster.interference import Act, Disturbance, Disturbed, DisturbedScene, On
from tests.cluster.scene import Scene
from tests.cluster.serving import sampled, serving
from tests.real.waiting import until

pytestmark = [pytest.mark.timeout(180)]
GRADUAL, BLUE_GREEN = Case(Action.GRADUAL), Case(Action.BLUE_GREEN)
ORPHANING = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan"}
LOOKS = 10


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


async def helper_of(scene: Scene) -> Json | None:
    return next((d for d in await scene.cluster.admin.list(scene.deployments) if capacity.is_helper(d)), None)


async def _delete(scene: Scene, helper: str) -> None:
    await scene.cluster.admin.delete(f"{scene.deployments}/{helper}")


async def _orphan(scene: Scene, helper: str) -> None:
    await scene.cluster.admin.delete(f"{scene.deployments}/{helper}", ORPHANING)


async def _scale(scene: Scene, helper: str) -> None:
    await scene.world.scale(1, name=helper)


@pytest.mark.parametrize(
    ("act", "words"),
    [(_delete, "Somebody deleted the helper"), (_orphan, "Somebody deleted the helper"), (_scale, "from 2 to 1")],
    ids=["deleted", "deleted without its pods", "scaled"],
)
async def test_what_somebody_does_to_the_helper_is_not_put_down_to_the_good_release(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], act: Callable[[Scene, str], Awaitable[None]], words: str
) -> None:
    async def theirs(scene: Scene, name: str) -> str:
        del name
        helper = await helper_of(scene)
        assert helper is not None
        await act(scene, helper["metadata"]["name"])
        return ""

    async with DisturbedScene.set_up(cluster, api, rights, None, case=GRADUAL) as scene:
        scene.policy = replace(POLICY, gradual=GradualPolicy(steps=(0.5, 1.0), wait=0.1, window=0.1, hold=1.0))
        # Production is smaller already, and the helper is about to be judged.
        cell = Disturbance(Point("append to run: StepDone 2", 1), Act("takes away", On.PRODUCTION, theirs))
        tape, left = await scene.disturbed(cell)
    assert tape.done is not None
    (run,) = left.runs
    assert run.closed is not None
    assert (run.closed.outcome, run.closed.freeze, dict(run.compensations)) == (runs.ABANDONED, True, {})
    assert words in english().text(run.closed.reason)
    assert left.ledger.records[run.opened.plan.to_template].bad_since is None
    assert {n: (image_of(d.raw), d.replicas) for n, d in left.deployments.items()} == {
        objects.DEPLOYMENT: (objects.image(BAD), REPLICAS)
    }


@dataclass
class Looks(Tape):
    """A guard's life in which its looks at a helper are counted from the end of the run on."""

    helper: int = 0

    def looked(self, kind: Kind, name: str) -> None:
        ended = any(p.what.startswith("append to run: HoldReleased") for p in self.points)
        self.helper += ended and kind is Kind.DEPLOYMENT and name != objects.DEPLOYMENT


async def test_the_helper_serves_until_a_deployment_that_was_deleted_without_its_pods_is_back(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    """`kubectl delete --cascade=orphan` is how people change what is immutable, without missing anybody."""
    async with Scene.set_up(cluster, api, rights, None, case=GRADUAL) as scene:
        scene.policy = replace(POLICY, gradual=GradualPolicy(steps=(0.5, 1.0), wait=WITHIN, window=0.1, hold=WITHIN))
        tape = Looks()
        life = asyncio.create_task(scene.life(None, tape=tape))
        try:

            async def shifted() -> bool:
                return int((await scene.world.deployment())["spec"]["replicas"]) < REPLICAS

            async def looked() -> bool:
                return tape.helper >= LOOKS

            await until(shifted, WITHIN)
            async with sampled(scene) as before:
                await scene.cluster.admin.delete(f"{scene.deployments}/{objects.DEPLOYMENT}", ORPHANING)
                await until(looked, WITHIN)
            assert await helper_of(scene) is not None
            assert len(await serving(scene)) >= REPLICAS
            again = objects.deployment(objects.image(BAD), replicas=REPLICAS)
            async with sampled(scene) as sample:
                await until(lambda: _created(scene, again), WITHIN)
                await life
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        facts = await scene.facts()
    assert [r.closed.outcome for r in facts.runs if r.closed is not None][:1] == [runs.ABANDONED]
    assert (facts.deployments, facts.replicas) == ([objects.DEPLOYMENT], REPLICAS)
    assert min(before.lowest, sample.lowest) >= REPLICAS


async def _created(scene: Scene, body: Json) -> bool:
    with contextlib.suppress(ApiRefused):
        await scene.cluster.admin.create(scene.deployments, body)
        return True
    return False


async def test_who_served_is_not_made_smaller_while_their_service_is_being_replaced(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    """`kubectl replace --force` deletes it first."""
    path = f"/api/v1/namespaces/{{}}/services/{objects.ACTIVE_SERVICE}"
    async with Scene.set_up(cluster, api, rights, None, case=BLUE_GREEN) as scene:
        here = path.format(scene.cluster.namespace)

        async def delete() -> str:
            await scene.cluster.admin.delete(here)
            return ""

        tape = Disturbed(at=Point("append to run: StepStarted 4", 1), act=delete)

        async def ended() -> bool:
            return any(p.what.startswith("append to run: RunClosed") for p in tape.points)

        life = asyncio.create_task(scene.life(None, tape=tape))
        try:
            await until(ended, WITHIN)
            selector = {**objects.LABELS, objects.ENVIRONMENT: objects.BLUE}
            body = objects.service(name=objects.ACTIVE_SERVICE, selector=selector)
            await scene.cluster.admin.create(here.rpartition("/")[0], body)
            assert len(await serving(scene)) == REPLICAS
            await life
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        facts = await scene.facts()
    run: Run = facts.runs[0]
    assert run.closed is not None
    assert (run.closed.outcome, dict(run.compensations)) == (runs.ABANDONED, {})
    assert (
        english().text(run.closed.reason) == f"Service {scene.cluster.namespace}/{objects.ACTIVE_SERVICE} was deleted."
    )
    assert facts.sizes[BLUE] == REPLICAS


async def test_whoever_refuses_pods_of_the_good_release_is_named(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server has no quotas")
    async with Scene.set_up(cluster, api, rights, None, case=GRADUAL) as scene:
        path = f"/api/v1/namespaces/{scene.cluster.namespace}/resourcequotas"
        hard = {"pods": str(REPLICAS)}
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
        await scene.cluster.admin.create(path, body)
        # The controller that counts is not started here.
        await scene.cluster.admin.patch(f"{path}/few/status", {"status": {"hard": hard, "used": hard}})
        scene.policy = replace(POLICY, rollout=RolloutPolicy(timeout=3.0))
        await scene.life(None)
        facts = await scene.facts()
    (run,) = facts.runs
    assert run.closed is not None
    assert run.closed.outcome == runs.FAILED
    assert "does not come up: 0 of 2 pods" in english().text(run.closed.reason)
    assert "exceeded quota: few" in english().text(run.closed.reason)
