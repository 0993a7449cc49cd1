"""ConfigMaps and Secrets, asked of the embedded server and of a real one alike."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.canary import ONE, encoded
from tests.cluster.conversation import JSON_PATCH, MERGE_PATCH, Conversation, answered, refused
from tests.cluster.harness import Cluster
from tests.cluster.test_apply_contract import MAPS, NOBODY, SECRETS, config_map, secret
from tests.real.waiting import until

Json = dict[str, Any]
BOUND = 1_048_576
IMMUTABLE = "Forbidden: field is immutable when `immutable` is set"


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


def causes(status: Json) -> list[tuple[str, str]]:
    return [(c["field"], c["message"]) for c in status["details"]["causes"]]


@pytest.mark.parametrize("plural", [MAPS, SECRETS])
async def test_what_is_immutable_stays_as_it_is_and_stays_immutable(api: Conversation, plural: str) -> None:
    kind = "ConfigMap" if plural == MAPS else "Secret"
    made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "data": {"x": encoded("1")}, "immutable": True}
    await api.create(plural, made)
    for change, fields in (
        ({"data": {"x": encoded("2")}}, ["data"]),
        ({"data": {"y": encoded("2")}}, ["data"]),
        ({"immutable": False}, ["immutable"]),
        ({"immutable": None, "data": {"x": encoded("2")}}, ["immutable", "data"]),
    ):
        status = refused(await api.patch(plural, "a", change), 422, "Invalid")
        assert causes(status) == [(field, IMMUTABLE) for field in fields]
    applied = await api.apply(plural, {**made, "data": {"x": encoded("2")}}, force="true")
    assert causes(refused(applied, 422, "Invalid")) == [("data", IMMUTABLE)]
    labelled = await api.merge(plural, "a", {"metadata": {"labels": {"l": "1"}}})
    assert labelled["data"] == {"x": encoded("1")}
    assert (await api.apply(plural, made)).status_code == 200
    await api.delete(plural, "a")
    again = await api.create(plural, {**made, "data": {"x": encoded("2")}})
    assert again["metadata"]["uid"] != labelled["metadata"]["uid"]


async def test_binary_data_is_base64_under_keys_of_its_own(api: Conversation) -> None:
    body = {**config_map({"a": "text"}), "binaryData": {"b": encoded("\x00\x01")}}
    made = await api.create(MAPS, body)
    assert (made["data"], made["binaryData"]) == (body["data"], body["binaryData"])
    twice = await api.patch(MAPS, "a", {"binaryData": {"a": encoded("1")}})
    assert causes(refused(twice, 422, "Invalid"))[0][0] == "data[a]"
    bad = refused(await api.http.post(api.path(MAPS), json={**body, "binaryData": {"b": "%"}}), 400, "BadRequest")
    assert "illegal base64 data at input byte 0" in bad["message"]
    without = await api.merge(MAPS, "a", {"binaryData": None, "data": None})
    assert not {"data", "binaryData"} & set(without)


async def test_string_data_is_folded_into_data_and_never_shown(api: Conversation) -> None:
    made = await api.create(SECRETS, secret(data={"p": encoded("v")}, stringData={"p": "w", "q": "z"}))
    assert (made["data"], made["type"]) == ({"p": encoded("w"), "q": encoded("z")}, "Opaque")
    changed = await api.merge(SECRETS, "s", {"stringData": {"q": "zz"}})
    assert changed["data"] == {"p": encoded("w"), "q": encoded("zz")}
    assert "stringData" not in changed
    removed = await api.merge(SECRETS, "s", {"data": {"p": None}})
    assert removed["data"] == {"q": encoded("zz")}


async def test_the_type_of_a_secret_stays(api: Conversation) -> None:
    made = await api.create(SECRETS, secret(type="example.com/snapshot", data={"p": encoded("v")}))
    assert made["type"] == "example.com/snapshot"
    status = refused(await api.patch(SECRETS, "s", {"type": "Opaque"}), 422, "Invalid")
    assert causes(status) == [("type", 'Invalid value: "Opaque": field is immutable')]
    await api.create(SECRETS, secret("other", data={"p": encoded("v")}))
    found = await api.items(SECRETS, fieldSelector="type=example.com/snapshot")
    assert [i["metadata"]["name"] for i in found] == ["s"]


@pytest.mark.parametrize("kind", [MERGE_PATCH, JSON_PATCH])
async def test_a_patch_that_is_no_base64_is_refused_with_the_whole_secret(api: Conversation, kind: str) -> None:
    """Why nothing of such an answer may be kept."""
    await api.create(SECRETS, secret(data={"p": encoded("v"), "password": encoded(ONE)}))
    patch: object = {"data": {"p": "%%%"}}
    if kind == JSON_PATCH:
        patch = [{"op": "replace", "path": "/data/p", "value": "%%%"}]
    status = refused(await api.patch(SECRETS, "s", patch, kind), 422, "Invalid")
    assert status["message"].startswith(' "" is invalid: patch: Invalid value: ')
    assert status["message"].endswith("illegal base64 data at input byte 0")
    assert encoded(ONE) in status["message"]
    assert encoded(ONE) in status["details"]["causes"][0]["message"]


async def test_what_is_no_base64_is_refused_otherwise_without_it(api: Conversation) -> None:
    await api.create(SECRETS, secret(data={"p": encoded("v")}))
    broken = secret(data={"p": "%%%"})
    told = 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
    posted = await api.http.post(api.path(SECRETS), json={**broken, "metadata": {"name": "t"}})
    assert refused(posted, 400, "BadRequest")["message"] == told
    assert refused(await api.put(SECRETS, "s", broken), 400, "BadRequest")["message"] == told
    applied = await api.apply(SECRETS, broken, force="true")
    assert applied.status_code == 500
    assert "illegal base64 data" in applied.json()["message"]
    # Line ends are let pass and not kept.
    folded = await api.merge(SECRETS, "s", {"data": {"p": "YWJj\nZGVm"}})
    assert folded["data"]["p"] == "YWJjZGVm"


@pytest.mark.parametrize(
    ("plural", "field", "value"),
    [(MAPS, "data", 5), (MAPS, "data", ["a"]), (SECRETS, "data", 5), (SECRETS, "stringData", {})],
)
async def test_a_value_of_another_type_is_refused(api: Conversation, plural: str, field: str, value: object) -> None:
    body = config_map({}) if plural == MAPS else secret("a")
    refused(await api.http.post(api.path(plural), json={**body, field: {"x": value}}), 400, "BadRequest")
    await api.create(plural, body)
    status = refused(await api.patch(plural, "a", {field: {"x": value}}), 422, "Invalid")
    assert "cannot unmarshal" in status["message"]


async def test_data_is_bounded_and_bytes_are_counted(api: Conversation) -> None:
    def binary(size: int) -> str:
        return base64.b64encode(b"x" * size).decode()

    dry = {"dryRun": "All"}
    for body, field in (
        (config_map({"a": "é" * (BOUND // 2)}), ""),
        (config_map({"a": "é" * (BOUND // 2), "b": "1"}), "[]"),
        ({**config_map({"a": "1"}), "binaryData": {"b": binary(BOUND)}}, "[]"),
        (secret(data={"a": binary(BOUND)}), ""),
        (secret(data={"a": binary(BOUND), "b": binary(1)}), "data"),
    ):
        path = api.path(MAPS if body["kind"] == "ConfigMap" else SECRETS)
        response = await api.http.post(path, json=body, params=dry)
        if not field:
            assert response.status_code == 201, field
            continue
        told = [(field, f"Too long: may not be more than {BOUND} bytes")]
        assert causes(refused(response, 422, "Invalid")) == told


@pytest.mark.parametrize("key", ["a b", "..", "..data", "é", "x" * 254])
async def test_a_key_that_could_be_no_file_is_refused(api: Conversation, key: str) -> None:
    for plural, body in ((MAPS, config_map({key: "1"})), (SECRETS, secret(stringData={key: "1"}))):
        status = refused(await api.http.post(api.path(plural), json=body), 422, "Invalid")
        assert causes(status)[0][0] == f"data[{key}]"


async def test_one_object_can_be_listed_and_watched_by_its_name(api: Conversation) -> None:
    for name in ("a", "b"):
        await api.create(MAPS, config_map({"x": name}, name))
    found = await api.http.get(api.path(MAPS), params={"fieldSelector": "metadata.name=a"})
    assert [i["data"] for i in found.json()["items"]] == [{"x": "a"}]
    query = {
        "watch": "1",
        "fieldSelector": "metadata.name=a",
        "resourceVersion": found.json()["metadata"]["resourceVersion"],
        "timeoutSeconds": "10",
    }
    events: list[tuple[str, str]] = []
    async with api.http.stream("GET", api.path(MAPS), params=query) as response, asyncio.timeout(10):
        await api.merge(MAPS, "b", {"data": {"x": "2"}})
        await api.merge(MAPS, "a", {"data": {"x": "2"}})
        await api.delete(MAPS, "a")
        async for line in response.aiter_lines():
            event = json.loads(line)
            events.append((event["type"], event["object"]["metadata"]["name"]))
            if len(events) == 2:
                break
    assert events == [("MODIFIED", "a"), ("DELETED", "a")]


async def test_what_is_made_with_a_dead_owner_is_collected_and_with_a_live_one_stays(api: Conversation) -> None:
    owner = answered(await api.apply(MAPS, config_map(None, "owner")))
    live = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    dead = {**live, "name": "gone", "uid": NOBODY}
    answered(await api.apply(MAPS, config_map({"x": "1"}, "orphan", ownerReferences=[dead])))
    answered(await api.apply(MAPS, config_map({"x": "1"}, "kept", ownerReferences=[live])))

    async def left(names: set[str]) -> bool:
        # Controllers of a real control plane put a few more into every namespace.
        return {i["metadata"]["name"] for i in await api.items(MAPS)} & {"owner", "orphan", "kept"} == names

    await until(lambda: left({"owner", "kept"}), 10)
    await api.delete(MAPS, "owner")
    await until(lambda: left(set()), 10)


async def test_what_a_finalizer_holds_can_be_written_but_not_made_again(api: Conversation) -> None:
    answered(await api.apply(MAPS, config_map({"x": "1"}, finalizers=["example.com/hold"])))
    marked = answered(await api.delete(MAPS, "a"))
    assert marked["metadata"]["deletionTimestamp"]
    again = refused(await api.http.post(api.path(MAPS), json=config_map({"x": "2"})), 409, "AlreadyExists")
    assert again["message"] == 'object is being deleted: configmaps "a" already exists'
    written = await api.apply(MAPS, config_map({"x": "2"}, finalizers=["example.com/hold"]))
    assert written.status_code == 200
    assert answered(written)["metadata"]["deletionTimestamp"]
    more = await api.apply(MAPS, config_map({"x": "2"}, finalizers=["example.com/hold", "example.com/more"]))
    assert causes(refused(more, 422, "Invalid"))[0][0] == "metadata.finalizers"
    answered(await api.apply(MAPS, config_map({"x": "2"})))
    assert (await api.http.get(api.path(MAPS, "a"))).status_code == 404
