"""An autoscaler made with a maximum alone: the API server sets its minimum to 1, and 1 is what it gets back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from tests.cluster.case import GOOD, REPLICAS, Case
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene, autoscaler

pytestmark = [pytest.mark.timeout(240)]
MOST = 2 * REPLICAS


@pytest.mark.parametrize("action", [Action.IMMEDIATE, Action.GRADUAL], ids=str)
async def test_an_autoscaler_without_a_minimum_of_its_own_gets_back_what_the_api_server_set(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    async with Scene.set_up(cluster, api, rights, None, case=Case(action)) as scene:
        body = autoscaler(1, REPLICAS, objects.DEPLOYMENT)
        del body["spec"]["minReplicas"]
        made = await scene.cluster.admin.create(scene.autoscalers, body)
        assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (1, MOST)
        await scene.life(None)
        facts = await scene.facts()
        left = await scene.cluster.admin.get(f"{scene.autoscalers}/{objects.DEPLOYMENT}")
    (run,) = facts.runs
    assert run.closed is not None
    assert (run.closed.outcome, facts.image, facts.replicas) == (runs.RECOVERED, objects.image(GOOD), REPLICAS)
    borrowed = run.taken[f"autoscaler/{objects.DEPLOYMENT}"]
    assert (borrowed.original, run.compensations) == (1, {})
    assert (left["spec"]["minReplicas"], left["spec"]["maxReplicas"]) == (1, MOST)
    # Raised, and given back.
    assert facts.reasons["HoldNotGivenBack"] == 0
    assert left["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
