"""What it takes to give a ConfigMap back what it held; what API servers make of it is in tests/cluster."""

from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.configuration import restoring
from logcaster_guard.domain.configuration.restoring import Apply, KeyChange, Patch, changes, edited, next_write
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.rights import CONFIG_ROLE, Right
from logcaster_guard.domain.steps import CLUSTER, ObjectReference, Plan
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
    assert isinstance(next_write(config_map({"a": "2", "b": "2"}, one=("b",), two=("a",)), saved), Patch)


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
    assert next_write(SAVED, SAVED) is None


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
