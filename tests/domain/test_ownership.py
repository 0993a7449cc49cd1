"""Whose pod a name is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import ownership
from logcaster_guard.domain.ownership import UNKNOWN, Roster

WEB = ownership.of_deployment("web", {"web-7d9f8c6b5": "v1", "web-55bf4c9d88": "v2"}, {"web-7d9f8c6b5-abcde": "v1"})
AT_50, AT_60 = "x" * 50, "x" * 60


def generated(owner: str, ending: str = "x8k2p") -> str:
    """As Kubernetes makes a pod's name of its owner's."""
    return f"{owner}-"[:58] + ending


def long(length: int, *hashes: str, live: dict[str, str] | None = None) -> Roster:
    name = "x" * length
    return ownership.of_deployment(name, {f"{name}-{h}": h for h in hashes}, live or {})


@pytest.mark.parametrize(
    ("roster", "pod", "release"),
    [
        (WEB, "web-7d9f8c6b5-abcde", "v1"),
        (WEB, "web-55bf4c9d88-zzzzz", "v2"),
        (WEB, "web-6c5bd79f4-x8k2p", UNKNOWN),  # its ReplicaSet is gone
        (WEB, "web-migrate-x8k2p", None),  # a hook Job's
        (WEB, "web-db-migrate-28f9c-x8k2p", None),
        (WEB, "web-rollback-0a1b2c3d-7d9f8c6b5-x8k2p", None),  # a helper's
        (WEB, "web-api-7d9f8c6b5-x8k2p", None),
        (WEB, "web-0", None),
        (WEB, "web", None),
        (WEB, "", None),
        (long(46), generated("x" * 46 + "-7d9f8c6b55"), UNKNOWN),  # the longest that keeps the whole hash
        (long(47), generated("x" * 47 + "-7d9f8c6b55"), None),
        (long(50, "7d9f8c6b5", "55bf4c9d88"), generated(f"{AT_50}-7d9f8c6b5"), "7d9f8c6b5"),
        (long(50, "7d9f8c6b55", "7d9f8c6b44"), generated(f"{AT_50}-7d9f8c6b55"), UNKNOWN),  # cut before they differ
        (long(56, "7d9f8c6b5"), generated("x" * 56 + "-7d9f8c6b5"), None),  # one character of the hash proves nothing
        (long(60, "7d9f8c6b5"), generated(f"{AT_60}-7d9f8c6b5"), None),  # any workload's that is called nearly so
        (long(60, "7d9f8c6b5", live={generated(AT_60): "v1"}), generated(AT_60), "v1"),
        (ownership.of_stateful_set("web", {"web-0": "v1"}), "web-0", UNKNOWN),
        (ownership.of_stateful_set("web", {}), "web-12", UNKNOWN),
        (ownership.of_stateful_set("web", {}), "web-7d9f8", None),
        (ownership.of_daemon_set("agent", {"agent-aaaaa": "v1"}), "agent-aaaaa", "v1"),
        (ownership.of_daemon_set("agent", {}), "agent-x8k2p", UNKNOWN),
        (ownership.of_daemon_set("agent", {}), "agent-7d9f8c6b5-x8k2p", None),
        (ownership.of_deployment("web", {"web-old-7d9f8c6b5": "v0"}, {}), "web-old-7d9f8c6b5-x8k2p", "v0"),  # adopted
    ],
)
def test_a_pod_belongs_to_who_owns_it(roster: Roster, pod: str, release: str | None) -> None:
    assert roster.release(pod) == release


@given(
    name=st.from_regex(r"[a-z]([a-z0-9.-]{0,88}[a-z0-9])?", fullmatch=True),
    digest=st.text("456789bcdf", min_size=4, max_size=10),
    ending=st.text("bcdfghjklmnpqrstvwxz2456789", min_size=5, max_size=5),
)
def test_the_pattern_finds_every_pod_of_the_workload_however_long_its_name(
    name: str, digest: str, ending: str
) -> None:  # fmt: skip
    pod = generated(f"{name}-{digest}", ending)
    adopted = {"other.one-44": "v0"}
    for replica_sets in ({f"{name}-{digest}": "v1"}, adopted):
        pattern = re.compile(ownership.of_deployment(name, replica_sets, {}).pattern)
        assert pattern.fullmatch(pod)
    assert pattern.fullmatch("other.one-44-x8k2p")
    assert not pattern.fullmatch("otherxone-44-x8k2p")
    assert re.fullmatch(ownership.of_daemon_set(name, {}).pattern, generated(name, ending))
    assert re.fullmatch(ownership.of_stateful_set(name, {}).pattern, f"{name}-7")


@pytest.mark.parametrize(
    ("kind", "roster"),
    [
        ("Deployment", ownership.of_deployment("web", {}, {})),
        ("DaemonSet", ownership.of_daemon_set("web", {})),
        ("StatefulSet", ownership.of_stateful_set("web", {})),
    ],
)
def test_an_example_is_the_name_of_a_pod_that_such_a_workload_owns(kind: str, roster: Roster) -> None:
    assert roster.release(ownership.example(kind, "web")) == UNKNOWN
