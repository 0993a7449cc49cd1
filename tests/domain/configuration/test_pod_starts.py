"""When pods were created and containers started, as far as the guard has seen it."""

from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.configuration.pod_starts import STATUS_LAG, PodsSeen, checksums_of
from logcaster_guard.domain.configuration.spans import Look, Span
from tests.domain.configuration.build import pod


def looked(seen: PodsSeen, second: float, *pods: dict[str, Any], version: str = "5") -> PodsSeen:
    return seen.listed(pods, Look(version, second, second + 1))


FIRST = looked(PodsSeen(), 100.0, version="50")


def test_of_pods_that_were_there_first_only_the_latest_possible_start_is_known() -> None:
    seen = looked(PodsSeen(), 100.0, pod(version=10)).pods["web-1"]
    assert seen.created == seen.starts["web"].span == Span(None, 10, None, 101.0)


def test_a_pod_that_a_list_did_not_show_was_created_after_it() -> None:
    seen = looked(FIRST, 110.0, pod(version=60)).pods["web-1"]
    assert seen.created == seen.starts["web"].span == Span(50, 60, 100.0, 111.0)


def test_the_pods_of_a_list_tell_how_late_it_was_at_least() -> None:
    seen = looked(looked(PodsSeen(), 100.0, pod(version=77)), 110.0, pod(version=77), pod("web-2", 80))
    assert seen.pods["web-2"].created == Span(77, 80, 100.0, 111.0)


def test_a_start_is_no_later_than_the_first_look_that_shows_it() -> None:
    seen = looked(looked(FIRST, 110.0, pod(version=60)), 120.0, pod(version=70))
    assert seen.pods["web-1"].starts["web"].span == Span(50, 60, 100.0, 111.0)


@pytest.mark.parametrize("before", [None, 0])
def test_a_start_is_after_the_last_look_without_it_but_for_what_the_kubelet_had_not_told(before: int | None) -> None:
    seen = looked(looked(FIRST, 200.0, pod(version=60, restarts=before)), 300.0, pod(version=70, restarts=1))
    assert seen.pods["web-1"].created == Span(50, 60, 100.0, 201.0)
    assert seen.pods["web-1"].starts["web"].span == Span(50, 70, 200.0 - STATUS_LAG, 301.0)


def test_a_look_back_tells_what_was_there_when_something_happened() -> None:
    seen = looked(FIRST, 110.0, pod("old", 80), pod("new", 90), pod("again", 95, restarts=1))
    then = [pod("old", 60), pod("again", 55, restarts=0), pod("gone", 40)]
    found = seen.listed_as_of(then, "70").pods
    assert set(found) == {"old", "new", "again"}
    assert found["old"].starts["web"].span == Span(50, 60, 100.0, 111.0)
    assert found["new"].created == found["new"].starts["web"].span == Span(70, 90, 100.0, 111.0)
    assert found["again"].created == Span(50, 55, 100.0, 111.0)
    assert found["again"].starts["web"].span == Span(50, 95, 100.0, 111.0)


def test_where_versions_cannot_be_compared_the_clock_alone_tells() -> None:
    seen = looked(looked(PodsSeen(), 100.0, version=""), 110.0, pod(version=60), version="")
    assert seen.pods["web-1"].created == Span(None, None, 100.0, 111.0)
    later = looked(seen, 120.0, pod(version=60), pod("web-2", 80), version="")
    assert later.pods["web-2"].created == Span(None, None, 110.0, 121.0)


def status(name: str, state: str, last: str = "", **more: Any) -> dict[str, Any]:
    ended = {"terminated": {"containerID": last}} if last else {}
    return {"name": name, "restartCount": 2, "state": {state: {}}, "lastState": ended, **more}


@pytest.mark.parametrize(
    ("row", "container", "started"),
    [
        ("containerStatuses", status("web", "running"), True),
        ("containerStatuses", status("web", "terminated"), True),
        ("containerStatuses", status("web", "waiting", "c1"), True),
        ("containerStatuses", status("web", "waiting"), False),
        ("containerStatuses", {"name": "web"}, False),
        ("initContainerStatuses", status("init", "running"), False),
        ("initContainerStatuses", status("init", "terminated"), True),
        ("initContainerStatuses", status("sidecar", "running"), True),
    ],
)
def test_a_container_counts_once_it_has_read(row: str, container: dict[str, Any], *, started: bool) -> None:
    given = pod(restarts=None)
    given["spec"] = {"initContainers": [{"name": "init"}, {"name": "sidecar", "restartPolicy": "Always"}]}
    given["status"][row] = [container]
    assert set(looked(FIRST, 110.0, given).pods["web-1"].starts) == ({container["name"]} if started else set())


def test_a_container_that_crashes_and_waits_is_the_one_that_ran() -> None:
    running = pod(version=60, restarts=None)
    running["status"]["containerStatuses"] = [status("web", "running", containerID="c1")]
    crashed = pod(version=70, restarts=None)
    crashed["status"]["containerStatuses"] = [status("web", "waiting", "c1")]
    seen = looked(looked(FIRST, 110.0, running), 200.0, crashed)
    assert seen.pods["web-1"].starts["web"].span == Span(50, 60, 100.0, 111.0)
    again = pod(version=80, restarts=None)
    again["status"]["containerStatuses"] = [status("web", "running", "c1", containerID="c2")]
    assert looked(seen, 300.0, again).pods["web-1"].starts["web"].span == Span(50, 80, 190.0, 301.0)


def test_a_pod_that_ends_is_not_ready() -> None:
    seen = looked(FIRST, 110.0, pod("a"), pod("b", ready=False), pod("c", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert {name: found.ready for name, found in seen.pods.items()} == {"a": True, "b": False, "c": False}


def test_checksums_are_told_by_their_name() -> None:
    notes = {"checksum/secret": "2", "checksum/config": "1", "prometheus.io/scrape": "true"}
    expected = (("checksum/config", "1"), ("checksum/secret", "2"))
    assert looked(FIRST, 110.0, pod(annotations=notes)).pods["web-1"].checksums == expected
    assert checksums_of({}) == ()


def test_a_restart_of_the_guard_leaves_what_the_sequence_proves() -> None:
    seen = looked(FIRST, 110.0, pod(version=60)).carried_over(5.0)
    assert seen.pods["web-1"].created == seen.pods["web-1"].starts["web"].span == Span(50, 60, None, 5.0)
    later = looked(seen, 10.0, pod(version=60), pod("web-2", 90))
    assert later.pods["web-2"].created == Span(60, 90, None, 11.0)
