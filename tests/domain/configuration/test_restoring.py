"""What it takes to give a ConfigMap back what it held; what API servers make of it is in tests/cluster."""

from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.configuration import restoring
from logcaster_guard.domain.configuration.restoring import Apply, KeyChange, Patch, changes, edited, next_write
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.releases import pointer
from logcaster_guard.domain.rights import CONFIG_ROLE, Right
from logcaster_guard.domain.steps import CLUSTER, ObjectReference, Plan
from logcaster_guard.domain.workload import LAST_APPLIED
from logcaster_guard.messages.texts import english
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.stores import CODEC
from tests.domain.build import at

Json = dict[str, Any]


def config_map(data: Json, binary: Json | None = None, **owners: tuple[str, ...]) -> Json:
    """A ConfigMap whose keys these managers have applied on the server's side."""
    entries = [
        {"manager": m, "operation": "Apply", "fieldsV1": {"f:data": {f"f:{key}": {} for key in keys}}}
        for m, keys in owners.items()
    ]
    metadata = {"name": "c", "namespace": "default", "uid": "u", "resourceVersion": "7", "managedFields": entries}
    return {"kind": "ConfigMap", "metadata": metadata, "data": data, "binaryData": binary or {}}


SAVED = config_map({"same": "1", "other": "é", "went": "1"}, {"b": "AAE="})
SEEN = config_map({"same": "1", "other": "2", "came": "abc"}, {"b": "AAECAw=="})


def test_a_change_tells_the_key_and_the_bytes_and_never_the_value() -> None:
    found = changes(SEEN, SAVED, None)
    assert [(c.mark, c.before, c.after, c.binary) for c in found] == [
        ("~b", 4, 2, True),
        ("-came", 3, None, False),
        ("~other", 1, 2, False),
        ("+went", None, 1, False),
    ]
    assert [c.mark for c in changes(None, SAVED, None)] == ["+b", "+other", "+same", "+went"]
    assert changes(SAVED, SAVED, None) == ()


@pytest.mark.parametrize(
    ("data", "theirs"),
    [
        (SEEN["data"], ()),
        (SAVED["data"], ()),
        ({**SEEN["data"], "went": "1"}, ()),
        ({**SEEN["data"], "other": "3"}, ("other",)),
        ({**SEEN["data"], "new": "1"}, ("new",)),
        ({k: v for k, v in SEEN["data"].items() if k != "same"}, ("same",)),
        ({k: v for k, v in SEEN["data"].items() if k != "other"}, ("other",)),
    ],
)
def test_a_key_that_holds_a_third_thing_is_somebodys_edit(data: Json, theirs: tuple[str, ...]) -> None:
    assert edited({**SEEN, "data": data}, SAVED, changes(SEEN, SAVED, None), None) == theirs


def test_no_key_is_gone_in_between_whoever_has_taken_it_over() -> None:
    saved = config_map({"a": "1", "b": "1"}, one=("a",), two=("b",))
    taken = config_map({"a": "2", "b": "2"}, one=("a", "b"))
    write = next_write(taken, saved)
    assert isinstance(write, Apply)
    assert (write.manager, write.body["data"], write.body["metadata"]["uid"]) == ("two", {"b": "1"}, "u")
    # Where each has the other's, neither can apply its own without that.
    swapped = next_write(config_map({"a": "2", "b": "2"}, one=("b",), two=("a",)), saved)
    assert isinstance(swapped, Patch)
    assert (swapped.manager, [o["path"] for o in swapped.operations[1:]]) == ("one", ["/data/a"])


def test_what_nobody_applied_is_one_patch_bound_to_the_look() -> None:
    write = next_write(SEEN, SAVED)
    assert isinstance(write, Patch)
    assert list(write.operations) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "remove", "path": "/data/came"},
        {"op": "add", "path": "/data/other", "value": "é"},
        {"op": "add", "path": "/data/went", "value": "1"},
        {"op": "add", "path": "/binaryData/b", "value": "AAE="},
    ]
    assert write.manager == MANAGER
    assert next_write(SAVED, SAVED) is None


def by(manager: str, *paths: tuple[str, ...]) -> Json:
    """The entry of who has written these fields one by one."""
    fields: Json = {}
    for path in paths:
        node = fields
        for name in path:
            node = node.setdefault(f"f:{name}", {})
    return {"manager": manager, "operation": "Update", "fieldsV1": fields}


def test_each_key_goes_back_to_who_had_it_and_last_applied_first() -> None:
    saved, live = config_map({"a": "1", "b": "1"}, {"c": "AAE="}), config_map({"a": "2", "b": "2", "new": "2"})
    noted = ("metadata", "annotations", LAST_APPLIED)
    saved["metadata"] |= {
        "annotations": {LAST_APPLIED: "one"},
        "managedFields": [by("edit", ("data", "b")), by("apply", ("data", "a"), noted, ("binaryData", "c"))],
    }
    live["metadata"]["annotations"] = {LAST_APPLIED: "two"}
    first = next_write(live, saved)
    assert isinstance(first, Patch)
    assert first.manager == "apply"
    assert [(o["op"], o["path"]) for o in first.operations[1:]] == [
        ("remove", "/data/new"),
        ("add", "/data/a"),
        ("add", "/binaryData"),
        ("add", f"/metadata/annotations/{pointer(LAST_APPLIED)}"),
    ]
    live |= {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}
    live["metadata"]["annotations"] = saved["metadata"]["annotations"]
    then = next_write(live, saved)
    assert isinstance(then, Patch)
    assert (then.manager, [o["path"] for o in then.operations[1:]]) == ("edit", ["/data/b"])
    assert restoring.writes_at_most(saved) >= 2
    # What it is half-way is nobody else's.
    live["metadata"]["managedFields"] = [by("apply", ("data", "a")), by("edit", ("data", "b"))]
    assert restoring.made_from(live, saved)
    live["metadata"]["managedFields"].append(by("somebody", ("data", "b")))
    assert not restoring.made_from(live, saved)


@pytest.mark.parametrize(
    ("entries", "noted", "manager"),
    [
        ([], False, MANAGER),
        ([], True, "kubectl-client-side-apply"),
        ([by("edit", ("data", "other"))], False, "edit"),
        # What an earlier version of the guard has written is no reason to go on owning it.
        ([by(MANAGER, ("data", "a"))], True, "kubectl-client-side-apply"),
    ],
)
def test_where_nobody_is_known_to_have_had_a_key_whoever_wrote_the_rest_gets_it(
    entries: list[Json], noted: bool, manager: str
) -> None:
    saved = config_map({"a": "1"})
    saved["metadata"] |= {"managedFields": entries, "annotations": {LAST_APPLIED: "{}"} if noted else {}}
    write = next_write(config_map({"a": "2"}), saved)
    assert isinstance(write, Patch)
    assert write.manager == manager


def test_an_apply_that_makes_it_again_can_meet_no_other_object() -> None:
    made = restoring.creation(config_map({"a": "1"}, one=("a",)), ())
    assert (made.manager, made.body["data"]) == ("one", {"a": "1"})
    assert made.body["metadata"] == {"name": "c", "namespace": "default", "resourceVersion": "1"}


def test_the_step_answers_for_itself_and_the_journal_keeps_it() -> None:
    marks = tuple(KeyChange(f"k{n}", binary=False, seen="0", before=1, after=2) for n in range(25))
    step, gone = RestoreConfigMap("c", "u", "blob", marks), RestoreConfigMap("c", "", "blob", marks[:2])
    plan = Plan("config", "default", "web", "w", "bad", "good", (), (), 3, False, None, None, (step, gone))
    assert step.touches(plan) == (ObjectReference(CLUSTER, "ConfigMap", "default", "c"),)
    assert [r.verb for r in step.rights(plan)] == ["get", "patch"]
    assert gone.rights(plan)[-1] == Right("create", "", "configmaps", "default", "c", CONFIG_ROLE)
    assert (step.blobs, step.claims, step.borrows) == (("blob",), (), None)
    shown = [english().text(line) for line in plan.lines]
    assert shown[0].startswith("give ConfigMap default/c back what it held: ~k0, ~k1, ")
    assert shown[0].endswith("~k19 and 5 more")
    assert shown[1] == "make ConfigMap default/c again: ~k0, ~k1"
    opened = RunOpened(at(0), "r", "default/web", "rule", "reason", plan)
    assert CODEC.decode(CODEC.encode(opened)) == opened
