from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.patching import json_patch, merge_patch

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
DOCUMENTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("document", "operations", "wanted"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": {"b": 1}}, [{"op": "remove", "path": "/a/b"}], {"a": {}}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ({"a/b": 1, "c~d": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/c~0d"}], {}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
        ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
        ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
    ],
)
def test_operations_do_what_rfc_6902_says(document: Any, operations: Any, wanted: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch(document, operations) == wanted
    assert document == before


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "test", "path": "/a", "value": True}, 422),
        ({"op": "test", "path": "/missing", "value": 1}, 422),
        ({"op": "remove", "path": "/missing"}, 422),
        ({"op": "replace", "path": "/missing", "value": 1}, 422),
        ({"op": "add", "path": "/missing/deeper", "value": 1}, 422),
        ({"op": "add", "path": "/list/5", "value": 1}, 422),
        ({"op": "remove", "path": "/list/-"}, 422),
        ({"op": "add", "path": "/a/b", "value": 1}, 422),
        ({"op": "add", "path": "/b"}, 422),
        ({"op": "replace", "path": "", "value": {}}, 422),
        ({"op": "dance", "path": "/a"}, 400),
        ({"op": "add", "path": "a", "value": 1}, 400),
        ({"path": "/a"}, 400),
        ("add", 400),
    ],
)
def test_what_cannot_be_applied_is_refused_whole(operation: Any, code: int) -> None:
    document = {"a": 1, "list": [1]}
    with pytest.raises(ApiError) as refusal:
        json_patch(document, [{"op": "add", "path": "/before", "value": 1}, operation])
    assert refusal.value.code == code
    assert document == {"a": 1, "list": [1]}


def test_a_patch_that_is_no_list_or_has_too_many_operations_is_refused() -> None:
    for operations, code in (({"op": "add"}, 400), ([{"op": "test", "path": "/a", "value": 1}] * 10_001, 413)):
        with pytest.raises(ApiError) as refusal:
            json_patch({"a": 1}, operations)
        assert refusal.value.code == code


@given(DOCUMENTS, st.text(max_size=3), VALUES)
def test_what_was_added_is_there_and_can_be_removed(document: dict[str, Any], key: str, value: Any) -> None:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    test = {"op": "test", "path": pointer, "value": value}
    added = json_patch(document, [{"op": "add", "path": pointer, "value": value}, test])
    removed = json_patch(added, [{"op": "remove", "path": pointer}])
    assert removed == {k: v for k, v in document.items() if k != key}


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_rfc_7386_says(document: Any, patch: Any, wanted: Any) -> None:
    assert merge_patch(document, patch) == wanted


@given(DOCUMENTS, DOCUMENTS)
def test_a_merge_patch_applied_twice_changes_no_more(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once
