from __future__ import annotations

from typing import Any

from logcaster_guard.sandbox.apiserver.ownership import Ownership

Json = dict[str, Any]
record = Ownership().record


def item(spec: Json, entries: list[Json] | None = None) -> Json:
    metadata = {"name": "web", "resourceVersion": "1", "managedFields": entries or []}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def spec(image: str, replicas: int = 1) -> Json:
    containers = [{"name": "app", "image": image}]
    return {"replicas": replicas, "template": {"spec": {"containers": containers}}}


def fields(entries: list[Json], manager: str) -> Json:
    found: Json = next((e["fieldsV1"] for e in entries if e["manager"] == manager), {})
    return found


def test_a_changed_field_moves_to_who_changed_it() -> None:
    first = item(spec("a:1"))
    owned = record(None, first, manager="one", subresource="", time="T1")
    assert fields(owned, "one")["f:spec"]["f:replicas"] == {}
    second = item(spec("a:2"))
    moved = record(item(spec("a:1"), owned), second, manager="two", subresource="", time="T2")
    container = 'k:{"name":"app"}'
    template = fields(moved, "two")["f:spec"]["f:template"]
    assert template == {"f:spec": {"f:containers": {container: {"f:image": {}}}}}
    kept = fields(moved, "one")["f:spec"]["f:template"]["f:spec"]["f:containers"][container]
    assert "f:image" not in kept
    assert {e["manager"]: e["time"] for e in moved} == {"one": "T1", "two": "T2"}


def test_a_subresource_is_an_entry_of_its_own_and_a_removed_field_is_nobodys() -> None:
    owned = record(None, item(spec("a:1")), manager="one", subresource="", time="T1")
    scaled = record(item(spec("a:1"), owned), item(spec("a:1", 2)), manager="one", subresource="scale", time="T2")
    assert [(e["manager"], e.get("subresource", ""), e.get("time")) for e in scaled] == [
        ("one", "", "T1"),
        ("one", "scale", None),
    ]
    without = {"template": spec("a:1")["template"]}
    removed = record(item(spec("a:1", 2), scaled), item(without), manager="one", subresource="", time="T3")
    assert [(e.get("subresource", ""), e["time"]) for e in removed] == [("", "T1")]
    assert "f:replicas" not in fields(removed, "one")["f:spec"]
