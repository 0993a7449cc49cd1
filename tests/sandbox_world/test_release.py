from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.sandbox.release import HEALTH_PORT, MIB, TRAFFIC_PORT, Behaviour, Process, Releases, version_of

IMAGE = "logcaster/logcaster-c:1.0"


def process(releases: Releases, version: str = "1.0") -> Process:
    return Process(IMAGE, version, releases, started=100.0, epoch=1_700_000_000.0, seed="1")


def statuses(run: Process, count: int) -> list[int]:
    answers = [run.answer("GET", TRAFFIC_PORT, "/", 101.0) for _ in range(count)]
    return [a.status for a in answers if a is not None]


def samples(text: str) -> dict[str, float]:
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


@given(share=st.floats(0, 1), count=st.integers(0, 400))
def test_the_error_share_is_met_to_the_nearest_request(share: float, count: int) -> None:
    run = process(Releases({IMAGE: Behaviour(error_rate=share)}))
    failed = statuses(run, count).count(500)
    assert abs(failed - share * count) < 1 + 1e-6


@given(own=st.floats(0, 1), foreign=st.floats(0, 1))
def test_a_dependency_adds_to_what_the_release_fails_by_itself(own: float, foreign: float) -> None:
    releases = Releases({IMAGE: Behaviour(error_rate=own)})
    releases.dependency_failure = foreign
    assert max(own, foreign) - 1e-9 <= releases.error_share(releases.of(IMAGE)) <= min(1.0, own + foreign) + 1e-9


def test_behaviour_changes_at_once_in_a_running_process() -> None:
    releases = Releases()
    run = process(releases)
    assert statuses(run, 5) == [200] * 5
    releases.register(IMAGE, Behaviour(error_rate=1.0))
    assert statuses(run, 5) == [500] * 5


@pytest.mark.parametrize(
    ("behaviour", "port", "path", "status"),
    [
        (Behaviour(), HEALTH_PORT, "/health", 200),
        (Behaviour(healthy=False), HEALTH_PORT, "/health", 503),
        (Behaviour(), HEALTH_PORT, "/ready", 200),
        (Behaviour(ready=False), HEALTH_PORT, "/ready", 503),
        (Behaviour(error_rate=1.0), HEALTH_PORT, "/health", 200),
        (Behaviour(), TRAFFIC_PORT, "/", 200),
        (Behaviour(error_rate=1.0), TRAFFIC_PORT, "/", 500),
        (Behaviour(error_rate=1.0), TRAFFIC_PORT, "/metrics", 200),
        (Behaviour(), TRAFFIC_PORT, "/health", 404),
        (Behaviour(), 80, "/", None),
        (Behaviour(startup=10), TRAFFIC_PORT, "/", None),
    ],
)
def test_what_is_answered_where(behaviour: Behaviour, port: int, path: str, status: int | None) -> None:
    answer = process(Releases({IMAGE: behaviour})).answer("GET", port, path, 101.0)
    assert (answer.status if answer else None) == status


def test_metrics_count_what_was_answered() -> None:
    run = process(Releases({IMAGE: Behaviour(error_rate=0.25, latency=3.0, memory=10 * MIB, memory_growth=MIB)}))
    answers = [run.answer("GET", TRAFFIC_PORT, "/", 101.0) for _ in range(40)]
    run.answer("GET", HEALTH_PORT, "/health", 101.0)
    found = samples(run.metrics(105.0))
    assert found['http_requests_total{method="GET",status="200",version="1.0"}'] == 30
    assert found['http_requests_total{method="GET",status="500",version="1.0"}'] == 10
    assert found['http_request_duration_seconds_bucket{version="1.0",le="2.0"}'] == 0
    assert found['http_request_duration_seconds_bucket{version="1.0",le="5.0"}'] == 40
    assert found['http_request_duration_seconds_count{version="1.0"}'] == 40
    delays = [a.delay for a in answers if a]
    assert found['http_request_duration_seconds_sum{version="1.0"}'] == pytest.approx(sum(delays))
    assert found["process_resident_memory_bytes"] == 15 * MIB
    assert found["process_start_time_seconds"] == 1_700_000_000


@given(latency=st.floats(0, 30), count=st.integers(1, 50))
def test_the_histogram_is_cumulative(latency: float, count: int) -> None:
    run = process(Releases({IMAGE: Behaviour(latency=latency)}))
    statuses(run, count)
    buckets = [v for k, v in samples(run.metrics(102.0)).items() if "_bucket" in k]
    assert buckets == sorted(buckets)
    assert buckets[-1] == count


def test_without_traffic_there_is_no_series_of_requests() -> None:
    assert not [k for k in samples(process(Releases()).metrics(101.0)) if k.startswith("http_")]


@given(version=st.text())
def test_no_version_breaks_the_metrics(version: str) -> None:
    run = process(Releases(), version)
    statuses(run, 1)
    rows = [r for r in run.metrics(101.0).split("\n") if r.startswith("http_requests_total")]
    assert len(rows) == 1
    assert re.fullmatch(r'http_requests_total\{method="GET",status="200",version="(?:[^"\\\n]|\\["\\n])*"\} 1', rows[0])


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("logcaster/logcaster-c:1.2", "1.2"),
        ("registry:5000/logcaster/logcaster-c:1.2", "1.2"),
        ("registry:5000/logcaster/logcaster-c", "latest"),
        ("registry:5000/logcaster-c@sha256:0123456789abcdef0123", "0123456789ab"),
        ("registry:5000/logcaster-c:1.2@sha256:0123456789abcdef0123", "1.2"),
    ],
)
def test_the_version_of_an_image(image: str, version: str) -> None:
    assert version_of(image) == version
