from __future__ import annotations

from dataclasses import replace

import pytest

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.client import MERGE_PATCH, ApiRefused, Client
from tests.cluster.in_process import InProcessClient

PATH = "/apis/apps/v1/namespaces/default/deployments"
NAMED = f"{PATH}/{objects.DEPLOYMENT}"


async def test_what_is_asked_within_is_answered_refused_and_recorded_as_over_http() -> None:
    async with ApiServer(tokens={"node": "node"}) as server:
        over_http, within = Client(server.url, "node"), InProcessClient(server, "node")
        made = await within.create(PATH, objects.deployment(objects.image("1.0"), replicas=0))
        assert made["metadata"]["uid"]
        await within.patch(NAMED, {"metadata": {"annotations": {"a": "b"}}}, MERGE_PATCH)
        shown = [await client.get(NAMED) for client in (over_http, within)]
        assert shown[0] == shown[1]
        listed = [await client.list(PATH, "app=logcaster") for client in (over_http, within)]
        assert [d["metadata"] for d in listed[0]] == [d["metadata"] for d in listed[1]]
        assert not await within.list(PATH, "app=other")
        refusals = []
        for client in (over_http, within):
            with pytest.raises(ApiRefused) as refused:
                await client.get(f"{PATH}/none")
            refusals.append((refused.value.status, str(refused.value)))
        await over_http.aclose()
    assert refusals[0] == refusals[1]
    *_, third, fourth = server.audit
    assert replace(third, at=fourth.at) == fourth
    create, patch = server.audit[:2]
    assert (create.verb, create.user, create.name, create.code) == ("create", "node", objects.DEPLOYMENT, 201)
    assert (patch.verb, patch.body, patch.code) == ("patch", {"metadata": {"annotations": {"a": "b"}}}, 200)
