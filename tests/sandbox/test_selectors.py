from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.resources import CONFIG_MAPS, PODS
from logcaster_guard.sandbox.apiserver.selectors import as_text, parse_fields, parse_labels, selects

KEYS = st.sampled_from(["app", "tier", "example.com/part"])
VALUES = st.sampled_from(["a", "b", "c"])
LABELS = st.dictionaries(KEYS, VALUES)
EXPRESSIONS = st.builds(
    lambda key, operator, values: {"key": key, "operator": operator, "values": values},
    KEYS,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(VALUES, min_size=1, unique=True),
)


@pytest.mark.parametrize(
    ("text", "labels", "wanted"),
    [
        ("", {}, True),
        ("a=1", {"a": "1"}, True),
        ("a=1", {"a": "2"}, False),
        ("a!=1", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": "1"}, False),
        ("a in (1,2),b", {"a": "2", "b": "x"}, True),
        ("a notin (1,2)", {}, True),
        ("example.com/a==1", {"example.com/a": "1"}, True),
    ],
)
def test_a_query_selects_by_labels(text: str, labels: dict[str, str], wanted: bool) -> None:
    assert parse_labels(text)(labels) is wanted


@pytest.mark.parametrize("text", ["a in 1", "a in (1", "=1", "a=b=c", "a>1", "-a"])
def test_a_query_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_labels(text)
    assert refusal.value.code == 400


def test_fields_are_selected_where_the_resource_has_them() -> None:
    pod = {"metadata": {"name": "a"}, "spec": {}, "status": {"phase": "Running"}}
    assert parse_fields(PODS, "status.phase!=Pending,spec.nodeName=")(pod)
    with pytest.raises(ApiError):
        parse_fields(CONFIG_MAPS, "spec.nodeName=a")
    with pytest.raises(ApiError):
        parse_fields(PODS, "metadata.name")


@given(LABELS, st.lists(EXPRESSIONS, min_size=1, max_size=3), LABELS)
def test_an_objects_selector_and_its_text_mean_the_same(
    equal: dict[str, str], expressions: list[dict[str, object]], labels: dict[str, str]
) -> None:
    selector = {"matchLabels": equal, "matchExpressions": expressions}
    assert selects(selector, labels) == parse_labels(as_text(selector))(labels)


def test_no_selector_selects_nothing() -> None:
    assert not selects(None, {"a": "1"})
    assert not selects({}, {"a": "1"})
