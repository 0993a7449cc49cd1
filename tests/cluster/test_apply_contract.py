"""Server-side apply of ConfigMaps and Secrets, asked of the embedded server and of a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.canary import encoded
from tests.cluster.conversation import JSON_PATCH, Conversation, answered, refused
from tests.cluster.harness import Cluster

Json = dict[str, Any]
MAPS, SECRETS = "configmaps", "secrets"
FORCE = {"force": "true"}
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


def config_map(data: Json | None, name: str = "a", **metadata: Any) -> Json:
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return body if data is None else {**body, "data": data}


def secret(name: str = "s", **fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


def owned(item: Json) -> dict[tuple[str, str], Json]:
    """Who owns what, by manager and operation."""
    entries = item["metadata"].get("managedFields") or []
    assert all((e["fieldsType"], e["apiVersion"]) == ("FieldsV1", "v1") for e in entries)
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in entries}


def data_of(*keys: str) -> Json:
    return {"f:data": {f"f:{key}": {} for key in keys}}


async def test_an_apply_creates_and_its_manager_owns_what_it_said(api: Conversation) -> None:
    created = await api.apply(MAPS, config_map({"x": "1", "y": "1"}, labels={"tier": "web"}))
    assert created.status_code == 201
    made = answered(created)
    assert made["data"] == {"x": "1", "y": "1"}
    labels: Json = {"f:metadata": {"f:labels": {"f:tier": {}}}}
    assert owned(made) == {("ci", "Apply"): {**data_of("x", "y"), **labels}}
    assert made["metadata"]["managedFields"][0]["time"]
    again = await api.apply(MAPS, config_map({"x": "1", "y": "1"}, labels={"tier": "web"}))
    assert again.status_code == 200
    assert answered(again) == made


async def test_an_apply_may_say_where_it_belongs_and_need_not_say_its_name(api: Conversation) -> None:
    placed = await api.apply(MAPS, config_map({"x": "1"}, namespace=api.namespace))
    assert placed.status_code == 201
    assert (await api.apply(MAPS, config_map({"x": "2"}, namespace=api.namespace))).status_code == 200
    nameless = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "3"}}
    assert answered(await api.apply(MAPS, nameless, name="a"))["data"] == {"x": "3"}
    refused(await api.apply(MAPS, config_map({"x": "1"}, "b"), name="c"), 400, "BadRequest")
    refused(await api.apply(MAPS, config_map({"x": "1"}, "d", namespace="elsewhere")), 400, "BadRequest")


async def test_what_a_manager_no_longer_applies_is_gone_unless_somebody_else_owns_it(api: Conversation) -> None:
    answered(await api.apply(MAPS, config_map({"x": "1", "y": "1"}, labels={"a": "1"}, annotations={"b": "1"})))
    shared = answered(await api.apply(MAPS, config_map({"x": "1"}), "other"))
    assert owned(shared)["other", "Apply"] == data_of("x")
    # Who only comes to own what is there already is not dated.
    assert ["time" in e for e in shared["metadata"]["managedFields"]] == [False, True]
    left = answered(await api.apply(MAPS, config_map(None, annotations={"b": "1"})))
    assert left["data"] == {"x": "1"}
    assert "labels" not in left["metadata"]
    annotated: Json = {"f:metadata": {"f:annotations": {"f:b": {}}}}
    assert owned(left) == {("other", "Apply"): data_of("x"), ("ci", "Apply"): annotated}
    nothing = answered(await api.apply(MAPS, config_map(None), "other"))
    assert "data" not in nothing
    assert owned(nothing) == {("ci", "Apply"): annotated}


async def test_an_apply_over_what_others_own_is_a_conflict_that_names_them(api: Conversation) -> None:
    answered(await api.apply(MAPS, config_map({"x": "1", "y": "1", "z": "1"})))
    answered(await api.apply(MAPS, config_map({"x": "1"}), "other"))
    body = {"data": {"z": "2"}}
    answered(
        await api.http.patch(
            f"{api.path(MAPS, 'a')}?fieldManager=hand",
            json=body,
            headers={"Content-Type": "application/merge-patch+json"},
        )
    )
    one = refused(await api.apply(MAPS, config_map({"z": "1"})), 409, "Conflict")
    assert one["message"] == 'Apply failed with 1 conflict: conflict with "hand" using v1: .data.z'
    assert one["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "hand" using v1', "field": ".data.z"}]
    }
    several = refused(await api.apply(MAPS, config_map({"x": "3", "y": "3"}), "third"), 409, "Conflict")
    assert several["message"] == (
        'Apply failed with 3 conflicts: conflicts with "ci":\n- .data.x\n- .data.y\nconflicts with "other":\n- .data.x'
    )
    causes = {(c["message"], c["field"]) for c in several["details"]["causes"]}
    assert causes == {
        ('conflict with "ci"', ".data.x"),
        ('conflict with "ci"', ".data.y"),
        ('conflict with "other"', ".data.x"),
    }
    assert (await api.get(MAPS, "a"))["data"] == {"x": "1", "y": "1", "z": "2"}


async def test_a_forced_apply_takes_over_what_it_changes(api: Conversation) -> None:
    answered(await api.apply(MAPS, config_map({"x": "1", "y": "1"})))
    taken = answered(await api.apply(MAPS, config_map({"x": "2", "y": "1"}), "third", **FORCE))
    assert taken["data"] == {"x": "2", "y": "1"}
    assert owned(taken) == {("ci", "Apply"): data_of("y"), ("third", "Apply"): data_of("x", "y")}
    # A value that is the same already is no conflict.
    assert (await api.apply(MAPS, config_map({"x": "2", "y": "1"}))).status_code == 200
    changed = await api.merge(MAPS, "a", {"data": {"x": "3"}})
    assert owned(changed)["contract", "Update"] == data_of("x")
    assert owned(changed)["third", "Apply"] == data_of("y")
    restored = answered(await api.apply(MAPS, config_map({"x": "2", "y": "1"}), **FORCE))
    assert restored["data"] == {"x": "2", "y": "1"}
    assert owned(restored) == {("ci", "Apply"): data_of("x", "y"), ("third", "Apply"): data_of("y")}


async def test_one_apply_as_the_former_manager_leaves_nobody_else_as_owner(api: Conversation) -> None:
    """What a rollback writes: the saved set, under the manager that had it."""
    saved = config_map({"x": "1", "only-v1": "1"})
    answered(await api.apply(MAPS, saved))
    live = answered(await api.apply(MAPS, config_map({"x": "2", "only-v2": "1"})))
    bound = {k: live["metadata"][k] for k in ("uid", "resourceVersion")}
    back = answered(await api.apply(MAPS, config_map(saved["data"], **bound), **FORCE))
    assert back["data"] == saved["data"]
    assert owned(back) == {("ci", "Apply"): data_of("x", "only-v1")}
    third = answered(await api.apply(MAPS, config_map({"x": "3"})))
    assert third["data"] == {"x": "3"}


async def test_version_and_uid_in_the_body_are_preconditions(api: Conversation) -> None:
    made = answered(await api.apply(MAPS, config_map({"x": "1"})))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    answered(await api.apply(MAPS, config_map({"x": "2"}, uid=uid, resourceVersion=version)))
    stale = refused(await api.apply(MAPS, config_map({"x": "3"}, resourceVersion=version), **FORCE), 409, "Conflict")
    assert "the object has been modified" in stale["message"]
    other = refused(await api.apply(MAPS, config_map({"x": "3"}, uid=NOBODY), **FORCE), 422, "Invalid")
    assert other["details"]["causes"][0]["field"] == "metadata.uid"
    assert (await api.get(MAPS, "a"))["data"] == {"x": "2"}


async def test_a_uid_keeps_an_apply_from_creating_and_a_version_does_not(api: Conversation) -> None:
    gone = refused(await api.apply(MAPS, config_map({"x": "1"}, uid=NOBODY)), 409, "Conflict")
    assert "uid mismatch" in gone["message"]
    assert (await api.apply(MAPS, config_map({"x": "1"}, resourceVersion="5"))).status_code == 201


async def test_a_dry_run_of_an_apply_keeps_nothing(api: Conversation) -> None:
    dry = await api.apply(MAPS, config_map({"x": "1"}), dryRun="All")
    assert (dry.status_code, owned(dry.json())) == (201, {("ci", "Apply"): data_of("x")})
    assert (await api.http.get(api.path(MAPS, "a"))).status_code == 404
    made = answered(await api.apply(MAPS, config_map({"x": "1"})))
    assert answered(await api.apply(MAPS, config_map({"x": "2"}), dryRun="All"))["data"] == {"x": "2"}
    assert await api.get(MAPS, "a") == made


@pytest.mark.parametrize(
    ("body", "query", "refusal"),
    [
        (config_map({"x": "1"}), {"manager": ""}, (422, "Invalid")),
        ({"metadata": {"name": "a"}}, {}, (400, "BadRequest")),
        ({**config_map({"x": "1"}), "kind": "Secret"}, {}, (400, "BadRequest")),
        (
            config_map({"x": "1"}, managedFields=[{"manager": "q", "operation": "Apply", "apiVersion": "v1"}]),
            {},
            (400, "BadRequest"),
        ),
        (config_map({"x": "1"}, "b"), {"name": "a"}, (400, "BadRequest")),
        (config_map({"x": "1"}, namespace="elsewhere"), {}, (400, "BadRequest")),
    ],
    ids=str.split("manager typeless kind owners name namespace"),
)
async def test_what_cannot_be_applied_is_refused(
    api: Conversation, body: Json, query: dict[str, str], refusal: tuple[int, str]
) -> None:
    answered(await api.apply(MAPS, config_map({"x": "0"})))
    refused(await api.apply(MAPS, body, **({"force": "true"} | query)), *refusal)


async def test_only_an_apply_can_be_forced(api: Conversation) -> None:
    answered(await api.apply(MAPS, config_map({"x": "1"})))
    response = await api.http.patch(
        f"{api.path(MAPS, 'a')}?force=true", json={}, headers={"Content-Type": "application/merge-patch+json"}
    )
    refused(response, 422, "Invalid")


async def test_finalizers_are_owned_one_by_one_and_owner_references_by_uid(api: Conversation) -> None:
    first, second = "example.com/one", "example.com/two"
    answered(await api.apply(MAPS, config_map(None, finalizers=[first])))
    both = answered(await api.apply(MAPS, config_map(None, finalizers=[second]), "other"))
    assert both["metadata"]["finalizers"] == [first, second]
    assert owned(both)["other", "Apply"] == {"f:metadata": {"f:finalizers": {f'v:"{second}"': {}}}}
    left = answered(await api.apply(MAPS, config_map(None)))
    assert left["metadata"]["finalizers"] == [second]
    owner = answered(await api.apply(MAPS, config_map(None, "owner")))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    held = answered(await api.apply(MAPS, config_map(None, ownerReferences=[reference])))
    key = f'k:{{"uid":"{reference["uid"]}"}}'
    assert owned(held)["ci", "Apply"] == {"f:metadata": {"f:ownerReferences": {key: {}}}}
    answered(await api.apply(MAPS, config_map(None), "other"))


async def test_who_owns_what_may_be_said_in_a_patch_and_an_apply_goes_by_it(api: Conversation) -> None:
    answered(await api.apply(MAPS, config_map({"x": "1", "y": "1"})))
    entries = (await api.get(MAPS, "a"))["metadata"]["managedFields"]
    del entries[0]["fieldsV1"]["f:data"]["f:y"]
    change = [{"op": "replace", "path": "/metadata/managedFields", "value": entries}]
    answered(await api.patch(MAPS, "a", change, JSON_PATCH))
    kept = answered(await api.apply(MAPS, config_map({"x": "1"})))
    assert kept["data"] == {"x": "1", "y": "1"}
    # With the last key of its own goes the whole of `data`.
    assert "data" not in answered(await api.apply(MAPS, config_map(None)))


async def test_an_object_that_nobody_owns_is_before_first_applys(api: Conversation) -> None:
    await api.create(MAPS, config_map({"x": "1", "y": "1"}))
    answered(await api.patch(MAPS, "a", {"metadata": {"managedFields": [{}]}}))
    told = refused(await api.apply(MAPS, config_map({"x": "2"})), 409, "Conflict")
    assert 'conflict with "before-first-apply" using v1: .data.x' in told["message"]
    taken = answered(await api.apply(MAPS, config_map({"x": "2"}), **FORCE))
    assert set(owned(taken)) == {("ci", "Apply"), ("before-first-apply", "Update")}


async def test_a_secret_is_applied_as_opaque_and_keeps_what_string_data_once_said(api: Conversation) -> None:
    made = answered(await api.apply(SECRETS, secret(stringData={"a": "1", "b": "2"})))
    assert (made["type"], made["data"]) == ("Opaque", {"a": encoded("1"), "b": encoded("2")})
    assert "stringData" not in made
    assert owned(made) == {("ci", "Apply"): {"f:stringData": {"f:a": {}, "f:b": {}}}}
    # The API server folds it into `data`, which nobody owns: so nothing of it is ever taken away.
    again = answered(await api.apply(SECRETS, secret(data={"a": encoded("9")})))
    assert again["data"] == {"a": encoded("9"), "b": encoded("2")}
    assert owned(again) == {("ci", "Apply"): data_of("a")}
    less = answered(await api.apply(SECRETS, secret(data={"c": encoded("3")})))
    assert less["data"] == {"b": encoded("2"), "c": encoded("3")}
