from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.capacity import helper_label, helper_name

NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)
POD_STEM, REPLICA_SET_HASH = 58, 10
"""Kubernetes cuts what it puts a random ending to at 58 characters; a ReplicaSet's name ends with up to ten more."""


@given(NAMES)
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
