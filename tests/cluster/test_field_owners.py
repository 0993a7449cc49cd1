"""After a run every field that it has written belongs to the field manager that had it, together with its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.field_owners import MAXIMUM, MINIMUM, REPLICAS, SELECTOR, is_guards
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import ApiRefused
from tests.cluster.case import GOOD, WITHIN, Case, image_of
from tests.cluster.case import REPLICAS as SIZE
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene

pytestmark = [pytest.mark.timeout(180)]
APPLY = "application/apply-patch+yaml"
GROUPS = {"Deployment": "apps/v1", "HorizontalPodAutoscaler": "autoscaling/v2", "Service": "v1"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


async def own(scene: Scene, kind: str, path: str, spec: dict[str, Any], other: dict[str, Any]) -> None:
    """A pipeline owns these fields alone: who made the object loses them with the change to the `other` values."""
    for values in (other, spec):
        await apply(scene, kind, path, values, force=True)


async def apply(scene: Scene, kind: str, path: str, spec: dict[str, Any], *, force: bool = False) -> Json:
    """`kubectl apply --server-side` of these fields alone, by the pipeline."""
    body = {"apiVersion": GROUPS[kind], "kind": kind, "metadata": {"name": path.rpartition("/")[2]}, "spec": spec}
    query = f"?fieldManager=ci&force={str(force).lower()}"
    return await scene.cluster.admin.patch(f"{path}{query}", body, APPLY)


async def test_the_guard_owns_no_size_and_no_bound_after_a_gradual_run(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    async with Scene.set_up(cluster, api, rights, 2, case=Case(Action.GRADUAL)) as scene:
        path, hpa = f"{scene.deployments}/{objects.DEPLOYMENT}", f"{scene.autoscalers}/{objects.DEPLOYMENT}"
        before = await scene.cluster.admin.get(hpa)
        await scene.life(None)
        facts = await scene.facts()
        assert [r.closed and r.closed.outcome for r in facts.runs] == ["recovered"]
        assert (facts.image, facts.replicas) == (objects.image(GOOD), SIZE)
        workload, scaler = await scene.cluster.admin.get(path), await scene.cluster.admin.get(hpa)
        assert not is_guards(workload, REPLICAS)
        assert not is_guards(scaler, MINIMUM, MAXIMUM)
        assert scaler["spec"] == before["spec"]


async def test_what_was_applied_on_the_servers_side_is_applied_again_without_a_conflict(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    async with Scene.set_up(cluster, api, rights, 2, case=Case(Action.GRADUAL)) as scene:
        path, hpa = f"{scene.deployments}/{objects.DEPLOYMENT}", f"{scene.autoscalers}/{objects.DEPLOYMENT}"
        await own(scene, "Deployment", path, {"replicas": SIZE}, {"replicas": SIZE + 1})
        bounds = {"minReplicas": 2, "maxReplicas": SIZE * 2}
        await own(scene, "HorizontalPodAutoscaler", hpa, bounds, {"minReplicas": 1, "maxReplicas": SIZE * 3})
        await scene.world.rolled_out(WITHIN)
        await scene.life(None)
        assert (await scene.facts()).image == objects.image(GOOD)
        again = await apply(scene, "Deployment", path, {"replicas": SIZE + 1})
        assert again["spec"]["replicas"] == SIZE + 1
        again = await apply(scene, "HorizontalPodAutoscaler", hpa, {"minReplicas": 3, "maxReplicas": 9})
        assert (again["spec"]["minReplicas"], again["spec"]["maxReplicas"]) == (3, 9)


async def test_a_service_that_was_switched_can_be_switched_by_its_own_manager(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=Case(Action.BLUE_GREEN)) as scene:
        path = f"/api/v1/namespaces/{scene.cluster.namespace}/services/{objects.ACTIVE_SERVICE}"
        before = (await scene.cluster.admin.get(path))["spec"]["selector"]
        await own(scene, "Service", path, {"selector": before}, {"selector": {**before, "track": "x"}})
        await scene.life(None)
        service = await scene.cluster.admin.get(path)
        assert service["spec"]["selector"] != before
        assert not is_guards(service, SELECTOR)
        assert image_of(await scene.production()) == objects.image(GOOD)
        again = await apply(scene, "Service", path, {"selector": before})
        assert again["spec"]["selector"] == before


async def test_a_later_apply_would_be_a_conflict_with_whoever_keeps_a_field(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    """What the others guard against: a scale by somebody else, which nobody hands back."""
    async with Scene.set_up(cluster, api, rights, None, case=Case(Action.GRADUAL)) as scene:
        path = f"{scene.deployments}/{objects.DEPLOYMENT}"
        await own(scene, "Deployment", path, {"replicas": SIZE}, {"replicas": SIZE + 1})
        await scene.world.scale(SIZE + 1)
        with pytest.raises(ApiRefused, match="conflict"):
            await apply(scene, "Deployment", path, {"replicas": SIZE})
