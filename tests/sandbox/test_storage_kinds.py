"""Kinds that are kept and shown, and what is not done with them."""

from __future__ import annotations

import httpx

NODES = "/api/v1/nodes"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_a_node_is_cluster_wide_and_keeps_its_heartbeat(http: httpx.AsyncClient) -> None:
    made = await http.post(NODES, json={"metadata": {"name": "one", "labels": {"a": "b"}}})
    assert (made.status_code, "namespace" in made.json()["metadata"]) == (201, False)
    ready = {"type": "Ready", "status": "True"}
    await http.patch(f"{NODES}/one/status", json={"status": {"conditions": [ready]}}, headers=MERGE)
    assert [n["status"]["conditions"] for n in (await http.get(NODES)).json()["items"]] == [[ready]]
    assert (await http.delete(f"{NODES}/one")).json()["kind"] == "Status"


async def test_a_volume_claim_stays_pending(http: httpx.AsyncClient) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await http.post(CLAIMS, json={"metadata": {"name": "data"}, "spec": spec})
    assert (made.status_code, made.json()["status"]) == (201, {"phase": "Pending"})
    assert (await http.get(f"{CLAIMS}/data")).json()["spec"] == {**spec, "volumeMode": "Filesystem"}


async def test_a_volume_claim_says_how_it_is_used_and_how_much_it_asks_for(http: httpx.AsyncClient) -> None:
    answer = await http.post(CLAIMS, json={"metadata": {"name": "data"}, "spec": {}})
    fields = {c["field"] for c in answer.json()["details"]["causes"]}
    assert (answer.status_code, fields) == (422, {"spec.accessModes", "spec.resources[storage]"})


async def test_an_eviction_is_refused(http: httpx.AsyncClient) -> None:
    pods = "/api/v1/namespaces/default/pods"
    containers = [{"name": "app", "image": "web:1"}]
    await http.post(pods, json={"metadata": {"name": "a"}, "spec": {"containers": containers}})
    assert (await http.post(f"{pods}/a/eviction", json={"metadata": {"name": "a"}})).status_code == 404
    assert (await http.get(f"{pods}/a")).status_code == 200


async def test_an_object_may_have_a_field_of_the_name_that_lists_have(http: httpx.AsyncClient) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    assert (await http.post(path, json={"metadata": {"name": "one"}, "items": "abc"})).status_code == 201
    assert (await http.get(f"{path}/one")).json()["metadata"]["name"] == "one"
