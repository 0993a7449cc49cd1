from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.sandbox.lifecycle import Life, Pace, memory_limit, shown
from logcaster_guard.sandbox.release import MIB, TRAFFIC_PORT, Behaviour, Releases

IMAGE = "logcaster/logcaster-c:1.0"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PACE = Pace(start_delay=1.0, drain=2.0, crash_backoff=10.0, crash_backoff_most=40.0)
Json = dict[str, Any]


class Told:
    """A pod whose time is told."""

    def __init__(self, behaviour: Behaviour, **container: Any) -> None:
        self.releases = Releases({IMAGE: behaviour})
        containers = [{"name": "proxy", "image": "proxy:1"}, {"name": "logcaster", "image": IMAGE, **container}]
        pod = {"metadata": {"uid": "u", "name": "p", "labels": {}}, "spec": {"containers": containers}}
        self.life = Life(pod, "10.64.1.0", self.releases, PACE, now=0.0, seed="1")
        self.now = 0.0

    def at(self, now: float, *, terminating: bool = False) -> Json:
        self.life.advance(now, BEGIN + timedelta(seconds=now), terminating=terminating)
        self.now = now
        return self.life.status(now, BEGIN)

    def serves(self) -> bool:
        return self.life.answer("GET", TRAFFIC_PORT, "/", self.now) is not None


def conditions(status: Json) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status["conditions"]}


def container(status: Json) -> Json:
    found = status["containerStatuses"][1]
    assert isinstance(found, dict)
    return found


def test_a_pod_starts_after_the_delay_and_is_ready() -> None:
    told = Told(Behaviour())
    before = told.at(0.9)
    assert before["phase"] == "Pending"
    assert container(before)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert not told.serves()
    after = told.at(1.0)
    assert after["phase"] == "Running"
    assert set(conditions(after).values()) == {"True"}
    assert set(conditions(after)) == {"PodScheduled", "Initialized", "ContainersReady", "Ready"}
    assert (container(after)["started"], container(after)["ready"], container(after)["image"]) == (True, True, IMAGE)
    assert told.serves()


def test_a_slow_start_is_running_before_it_is_ready() -> None:
    told = Told(Behaviour(startup=5.0))
    told.at(1.0)
    status = told.at(5.9)
    assert (status["phase"], conditions(status)["Ready"], told.serves()) == ("Running", "False", False)
    status = told.at(6.0)
    assert (conditions(status)["Ready"], told.serves()) == ("True", True)
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["lastTransitionTime"] == "2026-01-01T00:00:06Z"


def test_readiness_follows_the_release() -> None:
    told = Told(Behaviour())
    assert conditions(told.at(1.0))["Ready"] == "True"
    told.releases.register(IMAGE, Behaviour(ready=False))
    assert conditions(told.at(2.0))["Ready"] == "False"
    assert told.serves()


def test_an_image_that_cannot_be_pulled_waits_until_it_can() -> None:
    told = Told(Behaviour(pullable=False))
    assert container(told.at(5.0))["state"]["waiting"]["reason"] == "ImagePullBackOff"
    told.releases.register(IMAGE, Behaviour())
    assert told.at(6.0)["phase"] == "Running"


def test_a_crash_loop_backs_off_longer_each_time() -> None:
    told = Told(Behaviour(crash_every=5.0))
    told.at(1.0)
    crashed = told.at(6.0)
    assert container(crashed)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container(crashed)["lastState"]["terminated"]["exitCode"] == 1
    assert (container(crashed)["restartCount"], conditions(crashed)["Ready"]) == (0, "False")
    assert not told.serves()
    starts = []
    running = False
    for tenth in range(60, 2000):
        state = container(told.at(tenth / 10))
        if "running" in state["state"] and not running:
            starts.append(tenth / 10)
        running = "running" in state["state"]
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps[:3] == pytest.approx([25.0, 45.0, 45.0])
    assert container(told.at(200.0))["restartCount"] == len(starts)


def test_counters_and_memory_die_with_the_process() -> None:
    told = Told(Behaviour(crash_every=5.0, memory=MIB, memory_growth=MIB))
    told.at(1.0)
    first = told.life.process
    assert told.serves()
    told.at(6.0)
    told.at(16.0)
    second = told.life.process
    assert first is not None
    assert second is not None
    assert "http_requests_total{" in first.metrics(6.0)
    assert "http_requests_total{" not in second.metrics(16.0)
    assert second.memory(16.0) == MIB


def test_a_leak_is_killed_at_the_containers_limit() -> None:
    told = Told(Behaviour(memory=MIB, memory_growth=MIB), resources={"limits": {"memory": "10Mi"}})
    told.at(1.0)
    assert "running" in container(told.at(10.0))["state"]
    terminated = container(told.at(10.5))["lastState"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


def test_a_pod_that_is_deleted_is_unready_at_once_and_serves_through_the_drain() -> None:
    told = Told(Behaviour())
    told.at(1.0)
    status = told.at(10.0, terminating=True)
    assert (conditions(status)["Ready"], told.serves(), told.life.over(10.0)) == ("False", True, False)
    told.at(11.9, terminating=True)
    assert told.serves()
    told.at(12.0, terminating=True)
    assert (told.serves(), told.life.over(12.0)) == (False, True)


def test_a_pod_that_is_deleted_before_it_ran_is_removed_at_once() -> None:
    told = Told(Behaviour())
    told.at(0.5, terminating=True)
    assert told.life.over(0.5)


@given(times=st.lists(st.floats(0, 300), max_size=40).map(sorted), deleted=st.none() | st.floats(0, 300))
def test_only_a_ready_pod_that_is_not_deleted_is_told_ready_and_restarts_never_fall(
    times: list[float], deleted: float | None
) -> None:
    told = Told(Behaviour(crash_every=7.0))
    restarts = 0
    for now in times:
        terminating = deleted is not None and now >= deleted
        status = told.at(now, terminating=terminating)
        if conditions(status)["Ready"] == "True":
            assert told.serves()
            assert not terminating
        assert container(status)["restartCount"] >= restarts
        restarts = container(status)["restartCount"]


def test_what_is_shown_ignores_times_and_notices_change() -> None:
    told = Told(Behaviour())
    first = told.at(1.0)
    assert shown(told.at(50.0)) == shown(first)
    assert shown(told.at(51.0, terminating=True)) != shown(first)
    assert shown({}) != shown(first)


@pytest.mark.parametrize(
    ("text", "number"),
    [("256Mi", 256 * MIB), ("1Gi", 1024 * MIB), ("128000", 128_000.0), ("1.5M", 1.5e6), ("", None), ("many", None)],
)
def test_a_memory_limit_in_bytes(text: str, number: float | None) -> None:
    assert memory_limit({"resources": {"limits": {"memory": text}}} if text else {}) == number
