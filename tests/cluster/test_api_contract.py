"""What clients of the Kubernetes API rely on, asked of the embedded server and of a real one alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.cluster.conversation import (
    JSON_PATCH,
    STRATEGIC_PATCH,
    WITHIN,
    Conversation,
    answered,
    deployment,
    image,
    names,
    refused,
)
from tests.cluster.harness import Cluster

Json = dict[str, Any]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


def config_map(name: str, **data: str) -> Json:
    return {"metadata": {"name": name, "labels": {"tier": data.get("tier", "none")}}, "data": data}


async def test_an_object_gets_what_the_server_alone_decides(api: Conversation) -> None:
    made = await api.create("deployments", deployment())
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert made["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert made["spec"]["revisionHistoryLimit"] == 10
    assert made["spec"]["progressDeadlineSeconds"] == 600
    template = made["spec"]["template"]["spec"]
    assert (template["restartPolicy"], template["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert template["containers"][0]["imagePullPolicy"] == "IfNotPresent"


async def test_a_generated_name_is_unique_and_a_taken_one_is_refused(api: Conversation) -> None:
    body = {"metadata": {"generateName": "note-"}, "data": {}}
    first, second = await api.create("configmaps", body), await api.create("configmaps", body)
    assert first["metadata"]["name"].startswith("note-")
    assert first["metadata"]["name"] != second["metadata"]["name"]
    taken = await api.http.post(api.path("configmaps"), json={"metadata": {"name": first["metadata"]["name"]}})
    status = refused(taken, 409, "AlreadyExists")
    assert status["message"] == f'configmaps "{first["metadata"]["name"]}" already exists'
    assert status["details"] == {"name": first["metadata"]["name"], "kind": "configmaps"}


async def test_what_does_not_exist_is_a_404_with_a_status(api: Conversation) -> None:
    missing = refused(await api.http.get(api.path("deployments", "nope")), 404, "NotFound")
    assert missing["message"] == 'deployments.apps "nope" not found'
    assert missing["details"] == {"name": "nope", "group": "apps", "kind": "deployments"}
    refused(await api.delete("deployments", "nope"), 404, "NotFound")
    refused(await api.patch("deployments", "nope", {}), 404, "NotFound")
    assert (await api.http.get(f"/apis/apps/v1/namespaces/{api.namespace}/gadgets")).status_code == 404
    elsewhere = api.path("configmaps").replace(api.namespace, f"{api.namespace}-not")
    refused(await api.http.post(elsewhere, json=config_map("a")), 404, "NotFound")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"replicas": -1}, "spec.replicas"),
        ({"selector": {"matchLabels": {"app": "other"}}}, "spec.template.metadata.labels"),
        ({"selector": None}, "spec.selector"),
        ({"strategy": {"type": "Sideways"}}, "spec.strategy"),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}, "spec.strategy.rollingUpdate"),
        ({"minReadySeconds": 600}, "spec.progressDeadlineSeconds"),
    ],
)
async def test_a_spec_that_breaks_a_rule_is_refused_with_the_field(api: Conversation, spec: Json, field: str) -> None:
    status = refused(await api.http.post(api.path("deployments"), json=deployment(**spec)), 422, "Invalid")
    assert any(c["field"].startswith(field) for c in status["details"]["causes"]), status


async def test_a_stale_put_is_refused_and_one_without_a_version_is_not(api: Conversation) -> None:
    old = await api.create("configmaps", config_map("a", x="1"))
    await api.merge("configmaps", "a", {"data": {"x": "2"}})
    old["data"] = {"x": "3"}
    status = refused(await api.put("configmaps", "a", old), 409, "Conflict")
    assert "the object has been modified" in status["message"]
    del old["metadata"]["resourceVersion"]
    assert answered(await api.put("configmaps", "a", old))["data"] == {"x": "3"}
    old["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    refused(await api.put("configmaps", "a", old), 409, "Conflict")
    old["metadata"] = {"name": "b"}
    refused(await api.put("configmaps", "a", old), 400, "BadRequest")


async def test_a_write_that_changes_nothing_leaves_the_version(api: Conversation) -> None:
    made = await api.create("configmaps", config_map("a", x="1"))
    same = await api.merge("configmaps", "a", {"data": {"x": "1"}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_json_patch_fences_with_the_resource_version(api: Conversation) -> None:
    made = await api.create("configmaps", config_map("a", x="1"))
    version = made["metadata"]["resourceVersion"]
    fence = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
    change = {"op": "replace", "path": "/data/x", "value": "2"}
    assert answered(await api.patch("configmaps", "a", [fence, change], JSON_PATCH))["data"] == {"x": "2"}
    refused(await api.patch("configmaps", "a", [fence, {**change, "value": "3"}], JSON_PATCH), 409, "Conflict")
    assert (await api.get("configmaps", "a"))["data"] == {"x": "2"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/x", "value": "other"},
        {"op": "remove", "path": "/data/missing"},
        {"op": "replace", "path": "/nowhere/at/all", "value": 1},
    ],
)
async def test_a_json_patch_that_cannot_be_applied_is_a_422(api: Conversation, operation: Json) -> None:
    made = await api.create("configmaps", config_map("a", x="1"))
    harmless = {"op": "add", "path": "/data/y", "value": "1"}
    refused(await api.patch("configmaps", "a", [harmless, operation], JSON_PATCH), 422, "Invalid")
    assert (await api.get("configmaps", "a"))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_json_patch_pointers_escape_slashes_and_append_to_lists(api: Conversation) -> None:
    await api.create("deployments", deployment(paused=True))
    patched = answered(
        await api.patch(
            "deployments",
            "web",
            [
                {"op": "add", "path": "/metadata/annotations", "value": {"a.example/b": "1"}},
                {"op": "replace", "path": "/metadata/annotations/a.example~1b", "value": "2"},
                {"op": "test", "path": "/metadata/annotations/a.example~1b", "value": "2"},
                {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "b", "image": "b:1"}},
            ],
            JSON_PATCH,
        )
    )
    assert patched["metadata"]["annotations"] == {"a.example/b": "2"}
    assert [c["name"] for c in patched["spec"]["template"]["spec"]["containers"]] == ["app", "b"]


async def test_a_merge_patch_deletes_with_null_and_replaces_lists(api: Conversation) -> None:
    made = await api.create("configmaps", config_map("a", x="1", y="2"))
    assert (await api.merge("configmaps", "a", {"data": {"x": None}}))["data"] == {"y": "2"}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"y": "3"}}
    refused(await api.patch("configmaps", "a", stale), 409, "Conflict")


async def test_a_strategic_patch_merges_lists_by_their_keys(api: Conversation) -> None:
    body = deployment(paused=True)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container |= {
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 80, "name": "http"}],
        "args": ["one", "two"],
    }
    body["spec"]["template"]["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
    await api.create("deployments", body)
    change = {
        "name": "app",
        "env": [{"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}, {"name": "A", "value": "9"}],
        "ports": [{"containerPort": 81, "name": "extra"}],
        "args": ["three"],
    }
    spec = {"containers": [change, {"name": "side", "image": "side:1"}], "tolerations": []}
    patch = {"spec": {"template": {"spec": spec}}}
    patched = answered(await api.patch("deployments", "web", patch, STRATEGIC_PATCH))
    found = patched["spec"]["template"]["spec"]
    by_name = {c["name"]: c for c in found["containers"]}
    assert set(by_name) == {"app", "side"}
    assert {e["name"]: e["value"] for e in by_name["app"]["env"]} == {"A": "9", "C": "3"}
    assert {p["containerPort"] for p in by_name["app"]["ports"]} == {80, 81}
    assert by_name["app"]["args"] == ["three"]
    assert "tolerations" not in found
    removal = {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    patched = answered(await api.patch("deployments", "web", removal, STRATEGIC_PATCH))
    assert [c["name"] for c in patched["spec"]["template"]["spec"]["containers"]] == ["app"]


async def test_a_strategic_patch_switches_the_strategy_with_retain_keys(api: Conversation) -> None:
    await api.create("deployments", deployment(paused=True))
    strategy = {"$retainKeys": ["type"], "type": "Recreate"}
    patched = answered(await api.patch("deployments", "web", {"spec": {"strategy": strategy}}, STRATEGIC_PATCH))
    assert patched["spec"]["strategy"] == {"type": "Recreate"}


async def test_an_unknown_patch_format_is_a_415(api: Conversation) -> None:
    await api.create("configmaps", config_map("a"))
    refused(await api.patch("configmaps", "a", {}, "application/json"), 415, "UnsupportedMediaType")


async def test_deletes_hold_to_their_preconditions(api: Conversation) -> None:
    made = await api.create("configmaps", config_map("a"))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    wrong = {"uid": "00000000-0000-0000-0000-000000000000"}
    refused(await api.delete("configmaps", "a", preconditions=wrong), 409, "Conflict")
    await api.merge("configmaps", "a", {"data": {"x": "2"}})
    stale = {"uid": uid, "resourceVersion": version}
    refused(await api.delete("configmaps", "a", preconditions=stale), 409, "Conflict")
    gone = answered(await api.delete("configmaps", "a", preconditions={"uid": uid}))
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert gone["details"]["uid"] == uid


async def test_the_deployments_generation_counts_spec_and_annotations_but_not_labels(api: Conversation) -> None:
    made = await api.create("deployments", deployment(paused=True))
    steps: list[tuple[Json, int]] = [
        ({"metadata": {"labels": {"a": "b"}}}, 0),
        ({"metadata": {"annotations": {"a": "b"}}}, 1),
        ({"spec": {"replicas": 3}}, 2),
        ({"status": {"replicas": 9}}, 2),
    ]
    for body, advanced in steps:
        patched = await api.merge("deployments", "web", body)
        assert patched["metadata"]["generation"] == made["metadata"]["generation"] + advanced
    assert patched["status"].get("replicas") != 9


async def test_a_status_write_changes_status_and_version_only(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=1))

    async def one_pod() -> bool:
        return len(await api.items("pods")) == 1

    await api.wait_for(one_pod)
    before = (await api.items("pods"))[0]
    name = before["metadata"]["name"]
    body = {"spec": {"nodeName": "sneaked"}, "status": {"message": "said"}}
    after = await api.merge("pods", name, body, "status")
    assert after["status"]["message"] == "said"
    assert "nodeName" not in after["spec"]
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_a_selector_and_a_pods_spec_are_immutable(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=1))
    labels = {"app": "web", "more": "x"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    refused(await api.patch("deployments", "web", patch), 422, "Invalid")
    rename = [{"op": "replace", "path": "/metadata/name", "value": "other"}]
    renamed = await api.patch("deployments", "web", rename, JSON_PATCH)
    assert renamed.status_code in {400, 422}


async def test_scale_reads_and_writes_the_size(api: Conversation) -> None:
    await api.create("deployments", deployment(paused=True))
    scale = await api.get("deployments", "web", "scale")
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert scale["status"]["selector"] == "app=web"
    scale["spec"]["replicas"] = 5
    stale = {**scale, "metadata": {**scale["metadata"], "resourceVersion": "1"}}
    refused(await api.put("deployments", "web", stale, "scale"), 409, "Conflict")
    patched = await api.merge("deployments", "web", {"spec": {"replicas": 4}}, "scale")
    assert patched["spec"]["replicas"] == 4
    assert (await api.get("deployments", "web"))["spec"]["replicas"] == 4


async def test_lists_select_by_labels_and_fields(api: Conversation) -> None:
    for name, tier in (("a", "front"), ("b", "back"), ("c", "data")):
        await api.create("configmaps", config_map(name, tier=tier))
    cases = {
        "tier=front": ["a"],
        "tier==front": ["a"],
        "tier in (front,back)": ["a", "b"],
        "tier notin (front, back),tier": ["c"],
        "tier!=front,tier": ["b", "c"],
        "tier in (front,back),tier!=back": ["a"],
    }
    for selector, wanted in cases.items():
        assert names(await api.items("configmaps", labelSelector=selector)) == wanted, selector
    assert names(await api.items("configmaps", fieldSelector="metadata.name=b")) == ["b"]
    assert not {"a", "b", "c"} & set(names(await api.items("configmaps", labelSelector="!tier")))
    wrong = await api.http.get(api.path("configmaps"), params={"labelSelector": "tier in front"})
    refused(wrong, 400, "BadRequest")
    wrong = await api.http.get(api.path("configmaps"), params={"fieldSelector": "data.x=1"})
    refused(wrong, 400, "BadRequest")


async def test_a_list_in_pages_is_one_consistent_list(api: Conversation) -> None:
    for name in ("a", "b", "c", "d"):
        await api.create("configmaps", config_map(name, tier="page"))
    query: dict[str, str | int] = {"limit": 3, "labelSelector": "tier=page"}
    first = answered(await api.http.get(api.path("configmaps"), params=query))
    assert names(first["items"]) == ["a", "b", "c"]
    await api.create("configmaps", config_map("e", tier="page"))
    query["continue"] = first["metadata"]["continue"]
    second = answered(await api.http.get(api.path("configmaps"), params=query))
    assert names(second["items"]) == ["d"]
    assert not second["metadata"].get("continue")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def watched(api: Conversation, count: int, **query: str) -> list[tuple[str, Json]]:
    """The first `count` events of a watch on configmaps."""
    seen: list[tuple[str, Json]] = []
    parameters = {"watch": "true", "timeoutSeconds": "20", **query}
    async with (
        asyncio.timeout(WITHIN),
        api.http.stream("GET", api.path("configmaps"), params=parameters, timeout=WITHIN) as response,
    ):
        assert response.status_code == 200
        async for line in response.aiter_lines():
            event = json.loads(line)
            seen.append((event["type"], event["object"]))
            if len(seen) == count:
                break
    return seen


async def test_a_watch_tells_every_change_after_its_version(api: Conversation) -> None:
    first = await api.create("configmaps", config_map("a", tier="x"))
    watch = asyncio.create_task(
        watched(api, 5, resourceVersion=first["metadata"]["resourceVersion"], labelSelector="tier=x")
    )
    await api.create("configmaps", config_map("b", tier="x"))
    await api.merge("configmaps", "a", {"data": {"more": "1"}})
    await api.merge("configmaps", "b", {"metadata": {"labels": {"tier": "y"}}})
    await api.merge("configmaps", "b", {"metadata": {"labels": {"tier": "x"}}})
    answered(await api.delete("configmaps", "a"))
    seen = await watch
    told = [(kind, item["metadata"]["name"]) for kind, item in seen]
    assert told == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "b"), ("DELETED", "a")]
    versions = [int(item["metadata"]["resourceVersion"]) for _, item in seen]
    assert versions == sorted(set(versions))


async def test_a_watch_from_nowhere_begins_with_what_exists(api: Conversation) -> None:
    await api.create("configmaps", config_map("a", tier="x"))
    seen = await watched(api, 1, resourceVersion="0", labelSelector="tier=x")
    assert [(kind, item["metadata"]["name"]) for kind, item in seen] == [("ADDED", "a")]


async def test_a_list_of_an_exact_version_shows_what_there_was_then(api: Conversation) -> None:
    for name in ("a", "b"):
        await api.create("configmaps", config_map(name, tier="then"))
    edited = await api.merge("configmaps", "b", {"data": {"x": "2"}})
    version = edited["metadata"]["resourceVersion"]
    await api.merge("configmaps", "b", {"data": {"x": "3"}})
    answered(await api.delete("configmaps", "a"))
    await api.create("configmaps", config_map("c", tier="then"))
    query = {"resourceVersion": version, "resourceVersionMatch": "Exact", "labelSelector": "tier=then"}
    found = answered(await api.http.get(api.path("configmaps"), params=query))
    assert found["metadata"]["resourceVersion"] == version
    assert [(i["metadata"]["name"], (i.get("data") or {}).get("x")) for i in found["items"]] == [
        ("a", None),
        ("b", "2"),
    ]


async def test_a_watch_ends_at_its_timeout(api: Conversation) -> None:
    made = await api.create("configmaps", config_map("a"))
    query = {
        "watch": "true",
        "timeoutSeconds": "1",
        "resourceVersion": made["metadata"]["resourceVersion"],
        "fieldSelector": "metadata.name=a",
    }
    response = await api.http.get(api.path("configmaps"), params=query)
    assert (response.status_code, response.text) == (200, "")


async def test_a_lease_is_written_only_with_its_version(api: Conversation) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15}
    made = await api.create("leases", {**lease, "spec": spec})
    refused(await api.put("leases", "l", {**lease, "spec": spec}), 422, "Invalid")
    made["spec"]["holderIdentity"] = "b"
    assert answered(await api.put("leases", "l", made))["spec"]["holderIdentity"] == "b"
    refused(await api.put("leases", "l", made), 409, "Conflict")


async def test_an_autoscaler_is_kept_and_may_not_have_its_bounds_crossed(api: Conversation) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": 4, "maxReplicas": 6}
    made = await api.create("horizontalpodautoscalers", {"metadata": {"name": "web"}, "spec": spec})
    assert made["spec"]["minReplicas"] == 4
    raised = await api.merge("horizontalpodautoscalers", "web", {"spec": {"minReplicas": 5}})
    assert (raised["spec"]["minReplicas"], raised["spec"]["maxReplicas"]) == (5, 6)
    refused(await api.patch("horizontalpodautoscalers", "web", {"spec": {"minReplicas": 7}}), 422, "Invalid")


async def test_an_event_about_an_object_is_found_by_field(api: Conversation) -> None:
    made = await api.create("configmaps", config_map("a"))
    about = {"kind": "ConfigMap", "namespace": api.namespace, "name": "a", "uid": made["metadata"]["uid"]}
    body = {"metadata": {"generateName": "a."}, "involvedObject": about, "reason": "Said", "message": "m"}
    await api.create("events", {**body, "type": "Normal"})
    found = await api.items("events", fieldSelector="involvedObject.name=a,involvedObject.kind=ConfigMap")
    assert [e["reason"] for e in found] == ["Said"]


async def test_managed_fields_name_the_writer_of_the_template_and_when(cluster: Cluster) -> None:
    def writers(item: Json) -> dict[str, str]:
        return {
            f["manager"]: f["time"]
            for f in item["metadata"]["managedFields"]
            if "f:template" in f["fieldsV1"].get("f:spec", {})
        }

    async with Conversation(cluster, agent="first/1.0 (linux)") as first, Conversation(cluster, "second") as second:
        made = await first.create("deployments", deployment(paused=True))
        entry = next(f for f in made["metadata"]["managedFields"] if f["manager"] == "first")
        assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Update", "apps/v1", "FieldsV1")
        assert set(writers(made)) == {"first"}
        scaled = await second.merge("deployments", "web", {"spec": {"replicas": 3}})
        assert writers(scaled) == writers(made)
        path = first.path("deployments", "web")
        patched = await second.http.patch(
            path,
            params={"fieldManager": "third"},
            content=json.dumps(image("example.invalid/web:2")),
            headers={"Content-Type": STRATEGIC_PATCH},
        )
        found = writers(answered(patched))
        assert set(found) == {"first", "third"}
        assert found["first"] == writers(made)["first"]


async def test_whoever_scales_owns_the_size_and_is_not_dated(cluster: Cluster) -> None:
    async with Conversation(cluster, "first") as first, Conversation(cluster, "second") as second:
        await first.create("deployments", deployment(paused=True))
        path = first.path("deployments", "web")
        content, headers = json.dumps({"spec": {"replicas": 4}}), {"Content-Type": "application/merge-patch+json"}
        answered(await second.http.patch(f"{path}/scale", content=content, headers=headers))
        scaled = answered(await first.http.get(path))
    owners = [f for f in scaled["metadata"]["managedFields"] if "f:replicas" in f["fieldsV1"].get("f:spec", {})]
    assert [(o["manager"], o["subresource"], "time" in o) for o in owners] == [("second", "scale", False)]


async def test_a_pod_is_bound_once(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=1))

    async def one_pod() -> bool:
        return len(await api.items("pods")) == 1

    await api.wait_for(one_pod)
    name = (await api.items("pods"))[0]["metadata"]["name"]
    binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "one"}}
    first: httpx.Response = await api.http.post(api.path("pods", name, "binding"), json=binding)
    assert first.status_code == 201
    refused(await api.http.post(api.path("pods", name, "binding"), json=binding), 409, "Conflict")
    bound = await api.items("pods", fieldSelector="spec.nodeName=one")
    assert names(bound) == [name]
    assert {"type": "PodScheduled", "status": "True"}.items() <= bound[0]["status"]["conditions"][0].items()


async def test_a_pod_with_a_node_waits_for_it_and_one_without_goes_at_once(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=2))

    async def two_pods() -> bool:
        return len(await api.items("pods")) == 2

    await api.wait_for(two_pods)
    bound, free = [p["metadata"]["name"] for p in await api.items("pods")]
    binding = {"metadata": {"name": bound}, "target": {"kind": "Node", "name": "one"}}
    await api.http.post(api.path("pods", bound, "binding"), json=binding)
    answered(await api.delete("pods", free))
    assert (await api.http.get(api.path("pods", free))).status_code == 404
    leaving = answered(await api.delete("pods", bound))
    assert leaving["metadata"]["deletionTimestamp"]
    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.http.get(api.path("pods", bound))).status_code == 200
    answered(await api.delete("pods", bound, gracePeriodSeconds=0))
    assert (await api.http.get(api.path("pods", bound))).status_code == 404
