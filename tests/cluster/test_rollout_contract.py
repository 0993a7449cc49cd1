"""How Deployments and what they control behave, on the embedded control plane and on a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.conversation import (
    JSON_PATCH,
    REVISION,
    STRATEGIC_PATCH,
    Conversation,
    answered,
    deployment,
    image,
    image_of,
    names,
)
from tests.cluster.harness import Cluster

Json = dict[str, Any]
HISTORY = "deployment.kubernetes.io/revision-history"
ONE, TWO, THREE = (f"example.invalid/web:{n}" for n in (1, 2, 3))


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


async def set_image(api: Conversation, name: str) -> None:
    answered(await api.patch("deployments", "web", image(name), STRATEGIC_PATCH))


async def reason(api: Conversation, kind: str) -> str:
    conditions = (await api.get("deployments", "web"))["status"].get("conditions") or []
    return next((str(c["reason"]) for c in conditions if c["type"] == kind), "")


async def test_a_rollout_makes_a_replicaset_named_after_the_template(api: Conversation) -> None:
    await api.create("deployments", deployment())
    item = await api.rolled_out("web")
    (only,) = await api.sets()
    digest = only["metadata"]["labels"]["pod-template-hash"]
    assert only["metadata"]["name"] == f"web-{digest}"
    assert only["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    owner = only["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (item["metadata"]["uid"], True, True)
    assert only["metadata"]["annotations"][REVISION] == item["metadata"]["annotations"][REVISION] == "1"
    assert only["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] == "2"
    assert only["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] == "3"
    pods = await api.items("pods")
    assert len(pods) == 2
    for pod in pods:
        assert pod["metadata"]["name"].startswith(f"web-{digest}-")
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": digest}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == only["metadata"]["uid"]

    async def settled() -> bool:
        return await reason(api, "Progressing") == "NewReplicaSetAvailable"

    await api.wait_for(settled)
    assert await reason(api, "Available") == "MinimumReplicasAvailable"
    status = (await api.get("deployments", "web"))["status"]
    counts = {k: v for k, v in status.items() if k not in {"conditions", "terminatingReplicas"}}
    replicas = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    assert counts == {"observedGeneration": item["metadata"]["generation"], **replicas}


async def test_the_names_of_pods_are_cut_after_58_characters(api: Conversation) -> None:
    name = "logcaster-relay-of-the-second-region-with-a-name-of-its-own"
    await api.create("deployments", deployment(name))
    await api.rolled_out(name)
    (only,) = await api.sets()
    assert only["metadata"]["name"].startswith(f"{name}-")
    names_of_pods = names(await api.items("pods"))
    assert len(names_of_pods) == 2
    assert {(n[:58], len(n)) for n in names_of_pods} == {(name[:58], 63)}


async def test_going_back_renumbers_the_old_replicaset_and_remembers(api: Conversation) -> None:
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    (first,) = await api.sets()
    await set_image(api, TWO)
    await api.rolled_out("web")
    await set_image(api, ONE)
    item = await api.rolled_out("web")
    assert item["metadata"]["annotations"][REVISION] == "3"
    two, three = await api.sets()
    assert (two["metadata"]["annotations"][REVISION], two["spec"]["replicas"]) == ("2", 0)
    assert three["metadata"]["annotations"][REVISION] == "3"
    assert three["metadata"]["annotations"][HISTORY] == "1"
    for field in ("uid", "name", "creationTimestamp"):
        assert three["metadata"][field] == first["metadata"][field]
    await set_image(api, TWO)
    await api.rolled_out("web")
    await set_image(api, ONE)
    await api.rolled_out("web")
    histories = [s["metadata"]["annotations"][HISTORY] for s in await api.sets()]
    assert histories == ["2", "1,3"]


async def test_a_restart_is_a_new_revision_of_the_same_image(api: Conversation) -> None:
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    await api.merge("deployments", "web", {"spec": {"template": {"metadata": {"annotations": stamp}}}})
    item = await api.rolled_out("web")
    assert item["metadata"]["annotations"][REVISION] == "2"
    assert [image_of(s) for s in await api.sets()] == [ONE, ONE]


async def test_annotations_are_copied_to_the_current_replicaset_and_stay_there(api: Conversation) -> None:
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    await api.merge("deployments", "web", {"metadata": {"annotations": {"a": "1", applied: "{}"}}})

    async def copied() -> bool:
        return bool((await api.sets())[0]["metadata"]["annotations"].get("a") == "1")

    await api.wait_for(copied)
    await api.merge("deployments", "web", {"metadata": {"annotations": {"a": None, "b": "2"}}})

    async def followed() -> bool:
        return "b" in (await api.sets())[0]["metadata"]["annotations"]

    await api.wait_for(followed)
    notes = (await api.sets())[0]["metadata"]["annotations"]
    assert notes["a"] == "1"
    assert applied not in notes
    await set_image(api, TWO)
    await api.rolled_out("web")
    old, new = await api.sets()
    assert (old["metadata"]["annotations"].get("a"), new["metadata"]["annotations"].get("a")) == ("1", None)
    assert new["metadata"]["annotations"]["b"] == "2"


async def test_with_no_history_limit_left_no_old_replicaset_stays(api: Conversation) -> None:
    await api.create("deployments", deployment(revisionHistoryLimit=0))
    await api.rolled_out("web")
    await set_image(api, TWO)
    await api.rolled_out("web")

    async def alone() -> bool:
        return [image_of(s) for s in await api.sets()] == [TWO]

    await api.wait_for(alone)


async def test_an_unready_version_stops_the_rollout_and_leaves_the_service_whole(api: Conversation) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    await api.create("services", service)
    await api.create("deployments", deployment(replicas=4, progressDeadlineSeconds=2))
    await api.rolled_out("web")

    async def serving() -> dict[str, bool]:
        slices = await api.items("endpointslices", labelSelector="kubernetes.io/service-name=web")
        return {e["targetRef"]["name"]: e["conditions"]["ready"] for s in slices for e in s.get("endpoints") or []}

    async def four_ready() -> bool:
        return sorted((await serving()).values()) == [True] * 4

    await api.wait_for(four_ready)
    await set_image(api, TWO)

    async def given_up() -> bool:
        return await reason(api, "Progressing") == "ProgressDeadlineExceeded"

    await api.wait_for(given_up, node=lambda pod: image_of(pod) == ONE)
    status = (await api.get("deployments", "web"))["status"]
    assert (status["updatedReplicas"], status["readyReplicas"], status["unavailableReplicas"]) == (2, 3, 2)
    assert {image_of(s): s["spec"]["replicas"] for s in await api.sets()} == {ONE: 3, TWO: 2}
    images = {p["metadata"]["name"]: image_of(p) for p in await api.items("pods")}

    async def three_ready() -> bool:
        return sorted(images.get(n, "") for n, ready in (await serving()).items() if ready) == [ONE] * 3

    await api.wait_for(three_ready, node=lambda pod: image_of(pod) == ONE)


async def test_default_settings_let_one_of_four_be_missing_while_going_back(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=4))
    await api.rolled_out("web")
    await set_image(api, TWO)
    await api.rolled_out("web")
    await set_image(api, ONE)
    seen = []

    async def done() -> bool:
        item = await api.get("deployments", "web")
        seen.append(item["status"].get("availableReplicas", 0))
        return await reason(api, "Progressing") == "NewReplicaSetAvailable" and (
            item["status"].get("observedGeneration") == item["metadata"]["generation"]
            and item["status"].get("updatedReplicas") == 4
        )

    await api.wait_for(done, node=lambda _: True)
    assert min(seen) == 3


async def test_recreate_ends_every_old_pod_before_the_first_new_one(api: Conversation) -> None:
    await api.create("deployments", deployment(strategy={"type": "Recreate"}))
    await api.rolled_out("web")
    await set_image(api, TWO)
    mixed = []

    async def done() -> bool:
        images = {image_of(p) for p in await api.items("pods")}
        mixed.append(len(images) > 1)
        return images == {TWO}

    await api.wait_for(done, node=lambda _: True)
    assert not any(mixed)
    await api.rolled_out("web")


async def test_a_paused_deployment_is_scaled_but_not_rolled_out(api: Conversation) -> None:
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    await api.merge("deployments", "web", {"spec": {"paused": True}})
    await set_image(api, TWO)
    await api.merge("deployments", "web", {"spec": {"replicas": 3}}, "scale")

    async def scaled() -> bool:
        item = await api.get("deployments", "web")
        return bool(item["status"].get("readyReplicas") == 3) and await reason(api, "Progressing") == "DeploymentPaused"

    await api.wait_for(scaled, node=lambda _: True)
    assert [image_of(s) for s in await api.sets()] == [ONE]
    await api.merge("deployments", "web", {"spec": {"paused": None}})
    await api.rolled_out("web")

    async def replaced() -> bool:
        return {image_of(p) for p in await api.items("pods")} == {TWO}

    await api.wait_for(replaced, node=lambda _: True)


async def test_scaling_in_mid_rollout_shares_the_change(api: Conversation) -> None:
    strategy = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    await api.create("deployments", deployment(replicas=4, strategy=strategy))
    await api.rolled_out("web")
    await set_image(api, TWO)

    async def sizes(old: int, new: int) -> bool:
        return {image_of(s): s["spec"]["replicas"] for s in await api.sets()} == {ONE: old, TWO: new}

    await api.wait_for(lambda: sizes(4, 2), node=lambda pod: image_of(pod) == ONE)
    await api.merge("deployments", "web", {"spec": {"replicas": 10}}, "scale")
    await api.wait_for(lambda: sizes(8, 4), node=lambda pod: image_of(pod) == ONE)


async def test_a_scale_down_takes_the_pod_that_is_not_ready(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=3))

    async def three() -> bool:
        return len(await api.items("pods")) == 3

    await api.wait_for(three)
    unready = (await api.items("pods"))[1]["metadata"]["name"]

    async def two_ready() -> bool:
        return bool((await api.get("deployments", "web"))["status"].get("readyReplicas") == 2)

    await api.wait_for(two_ready, node=lambda pod: bool(pod["metadata"]["name"] != unready))
    await api.merge("deployments", "web", {"spec": {"replicas": 2}}, "scale")

    async def left() -> bool:
        return len(await api.items("pods")) == 2

    await api.wait_for(left, node=lambda pod: bool(pod["metadata"]["name"] != unready))
    assert unready not in names(await api.items("pods"))


async def test_a_deleted_pod_is_replaced_while_it_ends(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=1))
    await api.rolled_out("web")
    (pod,) = await api.items("pods")
    answered(await api.delete("pods", pod["metadata"]["name"]))

    async def replaced() -> bool:
        return len(await api.items("pods")) == 2

    await api.wait_for(replaced)
    leaving = [p["metadata"]["name"] for p in await api.items("pods") if "deletionTimestamp" in p["metadata"]]
    assert leaving == [pod["metadata"]["name"]]


async def test_an_orphaned_helpers_replicaset_is_adopted_as_a_revision_that_never_was(api: Conversation) -> None:
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    helper = deployment(image=TWO, replicas=1)
    helper["metadata"]["name"] = "helper"
    helper["spec"]["template"]["metadata"]["labels"]["role"] = "helper"
    helper["spec"]["selector"]["matchLabels"] = {"app": "web", "role": "helper"}
    await api.create("deployments", helper)
    await api.rolled_out("helper")
    answered(await api.delete("deployments", "helper", propagationPolicy="Orphan"))

    async def adopted() -> bool:
        found = [s for s in await api.sets() if image_of(s) == TWO]
        owners = found[0]["metadata"].get("ownerReferences") or []
        return [o["name"] for o in owners] == ["web"]

    await api.wait_for(adopted, node=lambda _: True)

    async def renumbered() -> bool:
        return bool((await api.get("deployments", "web"))["metadata"]["annotations"][REVISION] == "2")

    await api.wait_for(renumbered, node=lambda _: True)


async def test_a_foreground_deletion_waits_for_the_pods(api: Conversation) -> None:
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    marked = answered(await api.delete("deployments", "web", propagationPolicy="Foreground"))
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def pods_leaving() -> bool:
        return all("deletionTimestamp" in p["metadata"] for p in await api.items("pods"))

    await api.wait_for(pods_leaving)
    assert "deletionTimestamp" in (await api.get("deployments", "web"))["metadata"]
    assert len(await api.sets()) == 1

    async def gone() -> bool:
        return (await api.http.get(api.path("deployments", "web"))).status_code == 404

    await api.wait_for(gone, node=lambda _: True)
    assert await api.sets() == []
    assert await api.items("pods") == []


async def test_a_background_deletion_collects_what_was_owned(api: Conversation) -> None:
    await api.create("deployments", deployment())
    await api.rolled_out("web")
    answered(await api.delete("deployments", "web"))
    assert (await api.http.get(api.path("deployments", "web"))).status_code == 404

    async def gone() -> bool:
        return not await api.sets() and not await api.items("pods")

    await api.wait_for(gone, node=lambda _: True)


async def test_an_object_whose_owner_does_not_exist_is_collected(api: Conversation) -> None:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "never",
        "uid": "00000000-0000-4000-8000-000000000000",
    }
    await api.create("configmaps", {"metadata": {"name": "a", "ownerReferences": [owner]}})

    async def gone() -> bool:
        return (await api.http.get(api.path("configmaps", "a"))).status_code == 404

    await api.wait_for(gone)


async def test_slices_tell_terminating_pods_from_ready_ones(api: Conversation) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    await api.create("services", {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}})
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 8080}]
    await api.create("deployments", body)
    await api.rolled_out("web")
    pod = (await api.items("pods"))[0]
    answered(await api.delete("pods", pod["metadata"]["name"]))

    async def told() -> bool:
        slices = await api.items("endpointslices", labelSelector="kubernetes.io/service-name=web")
        found = [(s, e) for s in slices for e in s.get("endpoints") or []]
        leaving = [(s, e) for s, e in found if e["targetRef"]["name"] == pod["metadata"]["name"]]
        if len(leaving) != 1 or not leaving[0][1]["conditions"]["terminating"]:
            return False
        part, endpoint = leaving[0]
        assert endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
        assert endpoint["addresses"] == [pod["status"]["podIP"]]
        assert endpoint["targetRef"]["uid"] == pod["metadata"]["uid"]
        assert part["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        return True

    await api.wait_for(told)


async def test_a_service_without_pods_has_a_slice_without_endpoints(api: Conversation) -> None:
    await api.create(
        "services", {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    )

    async def one_slice() -> bool:
        return len(await api.items("endpointslices", labelSelector="kubernetes.io/service-name=web")) == 1

    await api.wait_for(one_slice)
    (part,) = await api.items("endpointslices", labelSelector="kubernetes.io/service-name=web")
    assert part["endpoints"] is None
    assert part["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"


async def test_the_controller_tells_what_it_scaled_as_events(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=1))
    await api.rolled_out("web")

    async def told() -> bool:
        events = await api.items("events", fieldSelector="involvedObject.kind=Deployment,reason=ScalingReplicaSet")
        return [e["message"].rsplit(" ", 4)[1:] for e in events] == [["from", "0", "to", "1"]]

    await api.wait_for(told)


async def test_status_updates_move_the_version_but_not_the_generation(api: Conversation) -> None:
    made = await api.create("deployments", deployment())
    item = await api.rolled_out("web")
    assert item["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert item["metadata"]["generation"] == made["metadata"]["generation"]
    fence = {"op": "replace", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]}
    note = {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
    assert (await api.patch("deployments", "web", [fence, note], JSON_PATCH)).status_code == 409


async def test_minimum_ready_seconds_delay_availability(api: Conversation) -> None:
    await api.create("deployments", deployment(replicas=1, minReadySeconds=2))

    async def ready() -> bool:
        return bool((await api.get("deployments", "web"))["status"].get("readyReplicas") == 1)

    await api.wait_for(ready, node=lambda _: True)
    assert "availableReplicas" not in (await api.get("deployments", "web"))["status"]
    await api.rolled_out("web")
