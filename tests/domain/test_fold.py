"""What is made of series of pods: of the target's own pods, and only where it can be told."""

from __future__ import annotations

import math

import pytest

from logcaster_guard.domain import ownership
from logcaster_guard.domain.fold import Enough, PodSeries, Scope, folded, quantile
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import ByPod, Gap, Measure, NoData, Value
from logcaster_guard.messages.texts import english

NAMESPACE = "prod"
ROSTER = ownership.of_deployment("web", {"web-4444": "v1", "web-5555": "v2"}, {"web-4444-aaaaa": "v1"})
OLD, NEW, HOOK = "web-4444-aaaaa", "web-5555-bbbbb", "web-migrate-x8k2p"
ERRORS = ByPod(Measure.FAILED_SHARE, "http_requests_total", "status", frozenset("45"))
RATE, P95, MEMORY = (ByPod(m, "x") for m in (Measure.TOTAL, Measure.P95, Measure.HIGHEST))
MINUTES = Enough(100, 300.0)
NO_LEAST = Enough(0, 300.0)


def series(pod: str, number: float, **labels: str) -> PodSeries:
    return PodSeries({"namespace": NAMESPACE, "pod": pod, **labels}, ((7.0, number),))


def one(
    by_pod: ByPod,
    *found: PodSeries,
    enough: Enough = NO_LEAST,
    group: PodGroup | None = None,
    whole: bool = True,
) -> Value | NoData:
    (reading,) = folded(by_pod, found, Scope(NAMESPACE, ROSTER, group, whole=whole), enough)
    assert reading.at == 7.0
    return reading


def number(reading: Value | NoData) -> float:
    assert isinstance(reading, Value), reading
    return reading.number


def gap(reading: Value | NoData) -> tuple[Gap, str]:
    assert isinstance(reading, NoData), reading
    return reading.gap, english().text(reading.detail)


def test_only_the_targets_own_pods_count() -> None:
    assert number(one(MEMORY, series(OLD, 0.4), series(HOOK, 0.97))) == 0.4
    assert number(one(RATE, series(OLD, 2.0), series(NEW, 3.0), series(HOOK, 90.0))) == 5.0
    unnamed = PodSeries({"namespace": "", "pod": OLD}, ((7.0, 1.0),))
    assert number(one(RATE, series(OLD, 2.0), unnamed)) == 3.0
    elsewhere = PodSeries({"namespace": "staging", "pod": OLD}, ((7.0, 99.0),))
    assert number(one(RATE, series(OLD, 2.0), elsewhere)) == 2.0
    assert gap(one(MEMORY, series(HOOK, 0.97))) == (Gap.EMPTY, f"x is of other workloads' pods alone: {HOOK}")
    others = gap(one(MEMORY, *(series(f"job-{n}", 1.0) for n in range(4))))
    assert others == (Gap.EMPTY, "x is of other workloads' pods alone: job-0, job-1, job-2, …")


def test_a_release_is_read_of_its_own_pods_alone_gone_ones_included() -> None:
    found = [series(OLD, 9.0, status="200"), series(NEW, 3.0, status="200"), series(NEW, 1.0, status="500")]
    rates = [number(one(ERRORS, *found, group=PodGroup(frozenset({r})), whole=False)) for r in ("v1", "v2")]
    assert rates == [0.0, 0.25]
    assert number(one(ERRORS, *found, group=PodGroup(names=frozenset({NEW})), whole=False)) == 0.25
    none = one(ERRORS, *found, group=PodGroup(frozenset({"v3"})), whole=False)
    assert gap(none) == (Gap.EMPTY, "http_requests_total of none of these pods")


def test_bounds_in_milliseconds_are_told_in_seconds_and_the_largest_is_the_ceiling() -> None:
    counts = {"500": 90.0, "2000": 100.0, "+Inf": 100.0}
    found = [series(OLD, count, le=bound) for bound, count in counts.items()]
    reading = one(ByPod(Measure.P95, "x", bucket_unit=0.001), *found)
    assert number(reading) == pytest.approx(1.25)
    assert isinstance(reading, Value)
    assert reading.ceiling == 2.0


def test_metrics_that_name_no_pod_are_read_whole_or_not_at_all() -> None:
    ingress = [
        PodSeries({"namespace": "ingress", "pod": "nginx-1", "status": status}, ((7.0, n),))
        for status, n in (("200", 3.0), ("502", 1.0))
    ]
    assert number(one(ERRORS, *ingress)) == 0.25
    assert number(one(RATE, PodSeries({}, ((7.0, 4.0),)))) == 4.0
    no_pod = "no series of http_requests_total names a pod of prod"
    assert gap(one(ERRORS, *ingress, whole=False)) == (Gap.NOT_BY_POD, no_pod)
    # Where pods are named, those of the ingress are none of the target's.
    assert number(one(ERRORS, *ingress, series(OLD, 1.0, status="200"))) == 0.0


@pytest.mark.parametrize(
    ("statuses", "rate"),
    [
        ({"200": 9.0, "500": 1.0}, 0.1),
        ({"200": 9.0, "404": 1.0}, 0.1),
        ({"200": 8.0, "500": 1.0, "503": 1.0}, 0.2),
        ({"2xx": 1.0, "5XX": 1.0}, 0.5),
        ({"200": 9.0}, 0.0),
        ({"500": 9.0}, 1.0),
        ({"301": 9.0}, 0.0),
        ({"200": 3.0, "0": 1.0}, 0.0),  # an answer that nobody waited for is a request all the same
    ],
)
def test_the_error_rate_is_failed_of_all(statuses: dict[str, float], rate: float) -> None:
    assert number(one(ERRORS, *(series(OLD, n, status=s) for s, n in statuses.items()))) == rate


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"code": "500"}, "http_requests_total has no label status"),
        ({"status": "5"}, "the label status of http_requests_total holds no HTTP status: 5"),
        ({"status": "Unavailable"}, "the label status of http_requests_total holds no HTTP status: Unavailable"),
        ({"status": "failure"}, "the label status of http_requests_total holds no HTTP status: failure"),
    ],
)
def test_a_pod_that_tells_no_status_makes_the_error_rate_unknown(labels: dict[str, str], says: str) -> None:
    assert gap(one(ERRORS, series(OLD, 9.0, status="200"), series(NEW, 1.0, **labels))) == (Gap.NO_STATUS, says)
    assert number(one(ERRORS, series(OLD, 9.0, status="200"), series(NEW, 0.0, **labels))) == 0.0
    assert number(one(ERRORS, series(OLD, 9.0, status="200"), series(HOOK, 1.0, **labels))) == 0.0


@pytest.mark.parametrize("statuses", [{"200": 0.0}, {"200": 0.0, "500": 0.0}])
def test_without_requests_there_is_no_error_rate(statuses: dict[str, float]) -> None:
    found = [series(OLD, n, status=s) for s, n in statuses.items()]
    assert gap(one(ERRORS, *found)) == (Gap.EMPTY, "no requests in 300 s")
    assert number(one(RATE, *found)) == 0.0


def test_few_requests_prove_nothing() -> None:
    few = [series(OLD, 38 / 300, status="200"), series(OLD, 4 / 300, status="404")]
    assert gap(one(ERRORS, *few, enough=MINUTES)) == (Gap.TOO_FEW, "42 requests in 300 s; 100 are needed")
    buckets = [series(OLD, 42 / 300, le=le) for le in ("1", "+Inf")]
    assert gap(one(P95, *buckets, enough=MINUTES))[0] is Gap.TOO_FEW
    assert gap(one(ERRORS, series(OLD, 99 / 300, status="200"), enough=MINUTES))[0] is Gap.TOO_FEW
    assert number(one(ERRORS, series(OLD, 100 / 300, status="200"), enough=MINUTES)) == 0.0


def test_the_quantile_is_of_all_pods_together() -> None:
    counts = ((OLD, 10, 10, 10), (NEW, 0, 10, 10), (HOOK, 0, 0, 900))
    found = [series(pod, n, le=le) for pod, *ns in counts for le, n in zip(("1", "2", "+Inf"), ns, strict=True)]
    assert number(one(P95, *found)) == pytest.approx(1.9)
    unbound = [series(OLD, 5.0, le="much"), series(OLD, 5.0, le="NaN"), series(OLD, 5.0)]
    assert number(one(P95, *found, *unbound)) == pytest.approx(1.9)
    incomplete = (Gap.NOT_A_NUMBER, "x needs a +Inf and a finite bucket")
    assert gap(one(P95, series(OLD, 1.0, le="1"))) == incomplete
    assert gap(one(P95, series(OLD, 0.0, le="1"), series(OLD, 0.0, le="+Inf")))[0] is Gap.EMPTY


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({-0.5: 4.0, 1.0: 8.0, math.inf: 8.0}, -0.5),
        ({0.0: 4.0, 1.0: 8.0, math.inf: 8.0}, 0.0),
        ({0.0: 0.0, 1.0: 8.0, math.inf: 8.0}, 0.25),
        ({1.0: 4.0, 2.0: 8.0, math.inf: 8.0}, 0.5),
        ({1.0: 0.0, 2.0: 1.0, math.inf: 8.0}, 2.0),
        ({1.0: 0.5, math.inf: 1.0}, 0.5),
        ({1.0: 0.0, math.inf: 8.0}, 1.0),
        ({1.0: 0.0, 2.0: 0.0, 4.0: 8.0, math.inf: 8.0}, 2.5),
        ({1.0: 2.0, 2.0: 0.0, 4.0: 6.0, math.inf: 12.0}, 2.5),  # a count never falls
    ],
)
def test_the_lowest_bucket_begins_at_zero_where_its_bound_is_positive(
    buckets: dict[float, float], expected: float
) -> None:
    assert quantile(0.25, buckets) == expected


@pytest.mark.parametrize("buckets", [{}, {math.inf: 8.0}, {1.0: 4.0, 2.0: 8.0}, {1.0: 0.0, math.inf: 0.0}])
def test_too_little_of_a_histogram_has_no_quantile(buckets: dict[float, float]) -> None:
    assert math.isnan(quantile(0.25, buckets))


@pytest.mark.parametrize(("bad", "expected"), [(math.nan, Gap.NOT_A_NUMBER), (math.inf, Gap.INFINITE)])
def test_what_is_no_number_is_said(bad: float, expected: Gap) -> None:
    assert gap(one(RATE, series(OLD, 1.0), series(NEW, bad)))[0] is expected
    assert number(one(MEMORY, series(OLD, 0.5), series(NEW, math.nan))) == 0.5


def test_the_fullest_pod_counts_whichever_is_listed_first() -> None:
    for shares in ((0.5, 0.3), (0.3, 0.5)):
        assert number(one(MEMORY, *(series(pod, n) for pod, n in zip((OLD, NEW), shares, strict=True)))) == 0.5


@pytest.mark.parametrize("by_pod", [ERRORS, RATE, P95, MEMORY])
def test_an_instant_at_which_only_others_have_a_number_has_none(by_pod: ByPod) -> None:
    found = [series(OLD, 1.0, status="200", le="+Inf"), PodSeries({"pod": HOOK, "le": "+Inf"}, ((8.0, 1.0),))]
    _, later = folded(by_pod, found, Scope(NAMESPACE, ROSTER), Enough(1, 1.0))
    assert (later.at, gap(later)[0]) == (8.0, Gap.EMPTY)


def test_each_instant_is_folded_by_itself() -> None:
    found = [
        PodSeries({"pod": OLD, "status": "200"}, ((1.0, 1.0), (2.0, 1.0), (3.0, 0.0))),
        PodSeries({"pod": NEW, "status": "500"}, ((2.0, 1.0), (4.0, 1.0))),
    ]
    readings = folded(ERRORS, found, Scope(NAMESPACE, ROSTER), NO_LEAST)
    assert [(r.at, r.number if isinstance(r, Value) else r.gap) for r in readings] == [
        (1.0, 0.0), (2.0, 0.5), (3.0, Gap.EMPTY), (4.0, 1.0),
    ]  # fmt: skip
