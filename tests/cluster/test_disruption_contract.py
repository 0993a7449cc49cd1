"""How PodDisruptionBudgets count, on the embedded control plane and on a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.conversation import Conversation, answered, deployment, refused
from tests.cluster.harness import Cluster

Json = dict[str, Any]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


def path(api: Conversation, name: str = "") -> str:
    return f"/apis/policy/v1/namespaces/{api.namespace}/poddisruptionbudgets" + (f"/{name}" if name else "")


async def make(api: Conversation, **spec: int | str) -> None:
    body = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    answered(await api.http.post(path(api), json=body))


async def counts(api: Conversation) -> Json:
    item = answered(await api.http.get(path(api, "web")))
    names = ("currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed")
    seen = item["status"].get("observedGeneration") == item["metadata"]["generation"]
    return {n: item["status"][n] for n in names} if seen else {}


def counted(healthy: int, desired: int, expected: int, allowed: int) -> Json:
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
    }


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"minAvailable": 3}, counted(4, 3, 4, 1)),
        ({"minAvailable": 9}, counted(4, 9, 4, 0)),
        ({"minAvailable": "51%"}, counted(4, 3, 4, 1)),
        ({"maxUnavailable": 1}, counted(4, 3, 4, 1)),
        ({"maxUnavailable": "30%"}, counted(4, 2, 4, 2)),
        ({"maxUnavailable": 9}, counted(4, 0, 4, 4)),
    ],
)
async def test_a_budget_counts_the_pods_of_a_deployment(api: Conversation, spec: Json, wanted: Json) -> None:
    await api.create("deployments", deployment(replicas=4))
    await api.rolled_out("web")
    await make(api, **spec)

    async def settled() -> bool:
        return await counts(api) == wanted

    await api.wait_for(settled)


async def test_a_pod_that_is_not_ready_is_not_healthy(api: Conversation) -> None:
    await make(api, minAvailable=1)
    await api.create("deployments", deployment(replicas=2))

    async def two_unready() -> bool:
        return await counts(api) == counted(0, 1, 2, 0)

    await api.wait_for(two_unready, node=lambda _: False)


async def test_a_smaller_deployment_is_followed(api: Conversation) -> None:
    await make(api, maxUnavailable=1)
    await api.create("deployments", deployment(replicas=3))
    await api.rolled_out("web")
    await api.merge("deployments", "web", {"spec": {"replicas": 1}}, "scale")

    async def followed() -> bool:
        return await counts(api) == counted(1, 0, 1, 1)

    await api.wait_for(followed, node=lambda _: True)


async def test_both_bounds_at_once_are_refused(api: Conversation) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "maxUnavailable": 1}}
    refused(await api.http.post(path(api), json=body), 422, "Invalid")
