from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.sources.scrape.counters import Track, increase
from logcaster_guard.adapters.sources.scrape.exposition import Labels, parse
from logcaster_guard.adapters.sources.scrape.metrics import PodScrape, pod_scrape, series_names
from logcaster_guard.domain.fold import quantile
from logcaster_guard.fields.metrics import MetricsSection

OK: Labels = (("status", "200"),)
BAD: Labels = (("status", "500"),)


def scrape(ok: float | None, bad: float | None = None, started: float | None = None, **more: object) -> PodScrape:
    requests = {labels: float(n) for labels, n in ((OK, ok), (BAD, bad)) if n is not None}
    buckets = more.get("buckets", {})
    assert isinstance(buckets, dict)
    failed = frozenset({BAD} & requests.keys())
    return PodScrape(requests, failed, frozenset(requests), {(): buckets} if buckets else {}, None, started)


def track(*scrapes: PodScrape) -> Track:
    made = Track()
    for n, each in enumerate(scrapes):
        made.add(float(n), each, None)
    return made


@pytest.mark.parametrize(
    ("scrapes", "requests", "failed"),
    [
        ([scrape(100, 10), scrape(150, 20)], 60, 10),
        ([scrape(100, 10), scrape(5, 1)], 6, 1),  # restarted
        ([scrape(100), scrape(120, 3)], 23, 3),  # a status not seen before
        ([scrape(100, 9), scrape(110), scrape(120, 9)], 20, 0),  # a series that was away is not new
        ([scrape(100, 9, 50.0), scrape(120, 10, 99.0)], 130, 10),  # restarted, and already above the old count
        ([scrape(100, 9, 50.0), scrape(None, None, 99.0), scrape(7, 1, 99.0)], 8, 1),
        ([scrape(100, 9, 50.0), scrape(101, 9, 50.4)], 1, 0),  # a start time that is only rounded otherwise
    ],
)
def test_growth_between_scrapes(scrapes: list[PodScrape], requests: float, failed: float) -> None:
    found = increase([track(*scrapes)], 0.0, 100.0)
    assert (found.requests, found.failed) == (requests, failed)


def test_one_scrape_is_no_increase() -> None:
    assert increase([track(scrape(100))], 0.0, 100.0).pods == 0


def test_a_scrape_that_is_not_newer_is_ignored() -> None:
    made = track(scrape(100), scrape(110))
    made.add(0.5, scrape(105), None)
    made.add(2.0, scrape(111), None)
    assert increase([made], 0.0, 100.0).requests == 11


def test_only_the_window_counts_and_pods_are_summed() -> None:
    pods = [track(scrape(0), scrape(1), scrape(11), scrape(111)), track(scrape(0), scrape(2), scrape(22))]
    found = increase(pods, 1.0, 2.0)
    assert (found.requests, found.span, found.pods) == (30.0, 1.0, 2)


def test_a_histograms_buckets_are_reset_together() -> None:
    old, new = {0.1: 50.0, math.inf: 100.0}, {0.1: 60.0, math.inf: 70.0}
    found = increase([track(scrape(1, buckets=old), scrape(1, buckets=new))], 0.0, 9.0)
    assert found.buckets == new


def test_what_is_remembered_is_bounded() -> None:
    made = Track()
    for n in range(300):
        labels: dict[Labels, float] = {(("path", f"/{n}/{k}"),): 1.0 for k in range(100)}
        made.add(float(n), PodScrape(labels, frozenset(), frozenset(), {}, None, None), None)
        made.forget(n - 50.0, 20)
    assert made.last is not None
    assert len(made.last.requests) <= 10_000
    assert len(made.samples) == 20


step = st.tuples(st.booleans(), st.integers(0, 1000), st.integers(0, 1000))


@given(st.lists(step, min_size=1, max_size=30))
def test_increases_are_exact_where_restarts_are_told_and_never_too_large_where_not(
    steps: list[tuple[bool, int, int]],
) -> None:
    ok = bad = 17
    started, true_ok, true_bad = 1000.0, 0, 0
    told, silent = Track(), Track()
    told.add(0.0, scrape(ok, bad, started), None)
    silent.add(0.0, scrape(ok, bad), None)
    for n, (restart, more_ok, more_bad) in enumerate(steps, 1):
        if restart:
            ok, bad, started = 0, 0, started + 60
        ok, bad = ok + more_ok, bad + more_bad
        true_ok, true_bad = true_ok + more_ok, true_bad + more_bad
        told.add(float(n), scrape(ok, bad, started), None)
        silent.add(float(n), scrape(ok, bad), None)
    exact, guessed = increase([told], 0.0, 99.0), increase([silent], 0.0, 99.0)
    assert (exact.requests, exact.failed) == (true_ok + true_bad, true_bad)
    assert 0 <= guessed.failed <= guessed.requests <= true_ok + true_bad


@pytest.mark.parametrize(
    ("buckets", "seconds"),
    [
        ({1.0: 0.0, 2.0: 100.0, math.inf: 100.0}, 1.95),
        ({1.0: 100.0, math.inf: 100.0}, 0.95),
        ({1.0: 10.0, 2.5: 20.0, math.inf: 100.0}, 2.5),
        ({-1.0: 100.0, math.inf: 100.0}, -1.0),
        ({1.0: 95.0, 2.0: 95.0, math.inf: 100.0}, 1.0),
        ({1.0: 50.0, 2.0: 40.0, 4.0: 100.0, math.inf: 100.0}, 3.8),  # counts that fall are levelled
        ({1.0: 0.0, math.inf: 0.0}, math.nan),
        ({math.inf: 10.0}, math.nan),
        ({1.0: 10.0, 2.0: 10.0}, math.nan),
        ({}, math.nan),
    ],
)
def test_quantiles_are_those_of_prometheus(buckets: dict[float, float], seconds: float) -> None:
    assert quantile(0.95, buckets) == pytest.approx(seconds, nan_ok=True)


@given(
    observed=st.lists(st.floats(0.001, 20), min_size=1, max_size=60),
    bounds=st.lists(st.floats(0.01, 10), min_size=1, max_size=8, unique=True).map(sorted),
)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(observed: list[float], bounds: list[float]) -> None:
    buckets = {b: float(sum(x <= b for x in observed)) for b in [*bounds, math.inf]}
    true = sorted(observed)[math.ceil(0.95 * len(observed)) - 1]
    bucket = bisect_left(bounds, true)
    found = quantile(0.95, buckets)
    if bucket == len(bounds):
        assert found == bounds[-1]
    else:
        slack = 1e-9
        assert (bounds[bucket - 1] if bucket else 0.0) - slack <= found <= bounds[bucket] + slack


def test_a_histogram_of_milliseconds_is_kept_in_seconds() -> None:
    names = MetricsSection(duration="d_milliseconds", duration_unit="milliseconds")
    text = b'd_milliseconds_bucket{le="500"} 3\nd_milliseconds_bucket{le="+Inf"} 4\n'
    found = pod_scrape(parse(text, series_names(names), max_series=10), names, client_errors=True)
    assert found.buckets == {(): {0.5: 3.0, math.inf: 4.0}}
