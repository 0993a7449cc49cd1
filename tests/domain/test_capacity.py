"""Who counts as serving, and what a disruption budget leaves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logcaster_guard.domain import capacity
from logcaster_guard.domain.capacity import helper_label, helper_name
from logcaster_guard.messages.texts import english
from tests.domain.build import pod

SELECTOR = {"app": "logcaster"}


def helping(helper: str) -> dict[str, Any]:
    return pod({capacity.HELPER_LABEL: capacity.helper_label(helper)})


def budget(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "pdb"}, "spec": {"selector": {"matchLabels": {"app": "logcaster"}}, **spec}}


@pytest.mark.parametrize(
    ("one", "serves"),
    [
        (pod(), True),
        (pod(ready=False), False),
        (pod(going=True), False),
        (pod({"app": "other"}), False),
        ({"metadata": {"labels": {"app": "logcaster"}}}, False),
        ({"metadata": {}, "status": pod()["status"]}, False),
    ],
)
def test_a_pod_serves_that_is_ready_and_selected_and_not_going(one: dict[str, Any], serves: bool) -> None:
    assert capacity.is_serving(one, SELECTOR) is serves


def test_a_service_that_selects_nothing_has_no_pods_and_without_a_service_ready_is_enough() -> None:
    assert not capacity.is_serving(pod(), {})
    assert capacity.is_serving(pod({"app": "other"}), None)


def test_a_helpers_pods_are_counted_apart_and_one_helpers_not_for_another() -> None:
    pods = [pod(), pod(), helping("web-rollback-1"), helping("web-rollback-2"), pod(ready=False)]
    assert [capacity.serving(pods, SELECTOR, name) for name in (None, "web-rollback-1", "x")] == [2, 1, 0]


@pytest.mark.parametrize(
    ("spec", "expected", "wanted"),
    [
        ({"minAvailable": 2}, 4, 2),
        ({"minAvailable": "50%"}, 5, 3),
        ({"minAvailable": "100%"}, 200, 200),
        ({"minAvailable": 0}, 4, 0),
        ({"maxUnavailable": 1}, 4, 3),
        ({"maxUnavailable": "25%"}, 5, 3),
        ({"maxUnavailable": 9}, 4, 0),
        ({}, 4, 4),
    ],
)
def test_what_a_budget_wants_healthy(spec: dict[str, Any], expected: int, wanted: int) -> None:
    assert capacity.wanted_healthy(budget(**spec), expected) == wanted


@pytest.mark.parametrize("spec", [{"minAvailable": 2}, {"maxUnavailable": 1}])
@pytest.mark.parametrize(("removed", "broken"), [(0, False), (1, False), (2, True)])
def test_a_budget_is_broken_by_the_first_pod_that_it_cannot_spare(
    removed: int, spec: dict[str, int], *, broken: bool
) -> None:
    pods = [pod(), pod(), pod(), pod(ready=False), pod({"app": "other"})]
    short = capacity.short_of([budget(**spec)], pods, removed=removed, expected=3)
    found = None if short is None else english().text(short)
    assert (found is not None) is broken
    if found is not None:
        assert found == "disruption budget pdb wants 2 healthy pods, and 1 would be left"


@pytest.mark.parametrize(
    ("selector", "takes"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "logcaster"}}, True),
        ({"matchLabels": {"app": "logcaster", "tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["logcaster", "api"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["logcaster"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
        (
            {"matchLabels": {"app": "logcaster"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
            False,
        ),
    ],
)
def test_which_budgets_count_a_pod(selector: Any, takes: bool) -> None:
    made = {"metadata": {"name": "pdb"}, "spec": {"selector": selector}}
    assert capacity.budgets_for([made], {"app": "logcaster"}) == ([made] if takes else [])


NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)
POD_STEM, REPLICA_SET_HASH = 58, 10
"""Kubernetes cuts what it puts a random ending to at 58 characters; a ReplicaSet's name ends with up to ten more."""


@given(NAMES)
@example("a" * 37)
@example("a" * 38)
@example("a" * 63)
def test_a_helpers_name_is_kept_whole_in_those_of_its_pods_and_as_its_label(name: str) -> None:
    helper = helper_name(name)
    assert len(f"{helper}-{'x' * REPLICA_SET_HASH}-") <= POD_STEM
    assert helper_label(helper) == helper
    assert ".-" not in helper[len(name) :]


@given(NAMES, NAMES)
def test_no_two_deployments_share_a_helper(one: str, other: str) -> None:
    assert (helper_name(one) == helper_name(other)) == (one == other)


def test_it_is_told_from_the_deployments_name_alone() -> None:
    assert helper_name("logcaster-prod") == "logcaster-prod-rollback"
    long = "a-deployment-with-a-name-that-is-much-longer"
    assert helper_name(long) == "a-deployment-with-a-name-that-is-1b2c-rollback"
    assert helper_name("a" * 37) == "a" * 37 + "-rollback"
    assert re.fullmatch(r"a{31}-[0-9a-f]{4}-rollback", helper_name("a" * 31 + "-" + "b" * 9))


def test_the_label_of_a_longer_name_of_an_earlier_version_is_its_end() -> None:
    assert helper_label("x" * 10 + "." + "y" * 62) == "y" * 62
