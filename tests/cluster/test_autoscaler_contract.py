"""How an autoscaler behaves where nothing serves metrics, on the embedded control plane and on a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.conversation import Conversation, deployment
from tests.cluster.harness import Cluster

Json = dict[str, Any]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


def autoscaler(least: int, most: int) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most}
    return {"metadata": {"name": "web"}, "spec": spec}


async def size(api: Conversation) -> int:
    return int((await api.get("deployments", "web"))["spec"]["replicas"])


async def told(api: Conversation, kind: str) -> str:
    status = (await api.get("horizontalpodautoscalers", "web")).get("status") or {}
    return next((str(c["reason"]) for c in status.get("conditions") or [] if c["type"] == kind), "")


@pytest.mark.parametrize(("before", "after"), [(1, 3), (9, 5)])
async def test_a_target_outside_its_bounds_is_brought_to_the_nearer_one(
    api: Conversation, before: int, after: int
) -> None:
    await api.create("deployments", deployment(replicas=before))
    await api.create("horizontalpodautoscalers", autoscaler(3, 5))

    async def resized() -> bool:
        return await size(api) == after

    await api.wait_for(resized)

    async def shown() -> bool:
        return bool((await api.get("horizontalpodautoscalers", "web"))["status"]["desiredReplicas"] == after)

    await api.wait_for(shown)


async def test_a_later_scale_below_the_minimum_is_undone(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=4))
    await api.create("horizontalpodautoscalers", autoscaler(4, 8))

    async def watched() -> bool:
        return await told(api, "AbleToScale") == "SucceededGetScale"

    await api.wait_for(watched)
    await api.merge("deployments", "web", {"spec": {"replicas": 2}}, "scale")

    async def undone() -> bool:
        return await size(api) == 4

    await api.wait_for(undone)


async def test_equal_bounds_pin_the_size(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=4))
    await api.create("horizontalpodautoscalers", autoscaler(4, 8))
    await api.merge("horizontalpodautoscalers", "web", {"spec": {"minReplicas": 2, "maxReplicas": 2}})

    async def pinned() -> bool:
        return await size(api) == 2

    await api.wait_for(pinned)


async def test_a_target_of_no_replicas_disables_it(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=0))
    await api.create("horizontalpodautoscalers", autoscaler(3, 5))

    async def disabled() -> bool:
        return await told(api, "ScalingActive") == "ScalingDisabled"

    await api.wait_for(disabled)
    assert await size(api) == 0


async def test_within_its_bounds_a_target_keeps_its_size(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=4))
    await api.rolled_out("web")
    await api.create("horizontalpodautoscalers", autoscaler(3, 5))

    async def without_metrics() -> bool:
        return await told(api, "ScalingActive") == "FailedGetResourceMetric"

    await api.wait_for(without_metrics)
    assert await size(api) == 4
