"""Makes one number of series of pods: of those that belong to the target, whatever the query has found besides.

| measure | of the series | formula |
|---|---|---|
| `FAILED_SHARE` | requests per second by status | failed / all; no failing series is 0, no requests are no data |
| `TOTAL` | requests per second | the sum |
| `P95` | buckets per second by `le` | Prometheus' `histogram_quantile(0.95, …)` on their sums |
| `HIGHEST` | shares of a limit | the highest |
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from logcaster_guard.domain.guard_reasons import (
    BucketsMissing,
    NoneOfThesePods,
    NoRequests,
    NoStatusLabel,
    NotAStatus,
    OthersPodsAlone,
    RequestsTooFew,
    SeriesNameNoPod,
)
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.ownership import PodGroup, Roster
from logcaster_guard.domain.signals import ByPod, Gap, Measure, NoData, Value

STATUS = re.compile(r"([1-5])(?:[0-9][0-9]|xx|XX)", re.ASCII)
"""An HTTP status, or its class."""
_NAMED = 3
"""Names that are told of many."""


@dataclass(frozen=True, slots=True)
class PodSeries:
    """`labels` with `namespace` and `pod`, and `(at, number)` in rising order."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def pod(self) -> str:
        """The pod that it says it is of; empty if none."""
        return self.labels.get("pod", "")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose series count: those of the roster's pods in `namespace`, of `group` alone unless that is None.

    `whole`: where no series names a pod of the namespace, as with metrics of an ingress or a Service, all of them do.
    """

    namespace: str
    roster: Roster
    group: PodGroup | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Enough:
    """With fewer than `requests` in `seconds` there is no data."""

    requests: int
    seconds: float


def folded(by_pod: ByPod, series: Sequence[PodSeries], scope: Scope, enough: Enough) -> Sequence[Value | NoData]:
    """The number at each instant at which the series have one, in rising order; `at` is that instant."""
    found = _chosen(by_pod, series, scope)
    instants = sorted({at for one in series for at, _ in one.points})
    if isinstance(found, NoData):
        return [NoData(at, found.gap, found.detail) for at in instants]
    number_at = _MEASURES[by_pod.measure](by_pod, found, enough)
    return [_finite(number_at(at)) for at in instants]


def quantile(q: float, buckets: Mapping[float, float]) -> float:
    """The q-quantile of a histogram, q between 0 and 1; `buckets` are cumulative counts by upper bound.

    As Prometheus' `histogram_quantile` (promql/quantile.go, bucketQuantile): linear within a bucket, the lowest of
    which begins at 0 if its bound is positive; the highest finite bound if the rank is in the +Inf bucket; NaN
    without a +Inf bucket, without a finite one, or without observations.
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or not math.isinf(bounds[-1]):
        return math.nan
    counts: list[float] = []
    for bound in bounds:  # pods with other bounds leave counts that fall; each becomes the highest before it
        counts.append(max(buckets[bound], counts[-1] if counts else 0.0))
    if counts[-1] <= 0:
        return math.nan
    rank = q * counts[-1]
    at = bisect_left(counts, rank)
    if at == len(counts) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    lower, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    return lower + (bounds[at] - lower) * ((rank - below) / (counts[at] - below))


_NumberAt = Callable[[float], Value | NoData]


def _chosen(by_pod: ByPod, series: Sequence[PodSeries], scope: Scope) -> Sequence[PodSeries] | NoData:
    named = [s for s in series if s.pod and s.labels.get("namespace") in {None, "", scope.namespace}]
    if not named:
        if scope.whole:
            return series
        return NoData(0.0, Gap.NOT_BY_POD, SeriesNameNoPod(by_pod.metric, scope.namespace))
    pods = {s.pod: scope.roster.release(s.pod) for s in named}
    own = {pod for pod, release in pods.items() if release is not None}
    if not own:
        return NoData(0.0, Gap.EMPTY, OthersPodsAlone(by_pod.metric, *_some(pods)))
    if scope.group is not None:
        own = {pod for pod in own if scope.group.has(pod, pods[pod])}
        if not own:
            return NoData(0.0, Gap.EMPTY, NoneOfThesePods(by_pod.metric))
    return [s for s in named if s.pod in own]


def _failed_share(by_pod: ByPod, series: Sequence[PodSeries], enough: Enough) -> _NumberAt:
    classes = [STATUS.fullmatch(s.labels.get(by_pod.status_label, "")) for s in series]
    told = {s.pod for s, status in zip(series, classes, strict=True) if status}
    every: defaultdict[float, float] = defaultdict(float)
    failed: defaultdict[float, float] = defaultdict(float)
    untold: defaultdict[float, set[str]] = defaultdict(set)
    for one, status in zip(series, classes, strict=True):
        fails = status is not None and status[1] in by_pod.failed
        for at, number in one.points:
            every[at] += number
            if fails:
                failed[at] += number
            if number > 0 and one.pod not in told:
                untold[at].add(one.labels.get(by_pod.status_label, ""))

    def number_at(at: float) -> Value | NoData:
        if at in untold:
            return NoData(at, Gap.NO_STATUS, _no_status(by_pod, untold[at]))
        return _too_few(at, every[at], enough) or Value(at, failed[at] / every[at])

    return number_at


def _total(_: ByPod, series: Sequence[PodSeries], __: Enough) -> _NumberAt:
    every: defaultdict[float, float] = defaultdict(float)
    for one in series:
        for at, number in one.points:
            every[at] += number
    return lambda at: Value(at, every[at]) if at in every else NoData(at, Gap.EMPTY)


def _p95(by_pod: ByPod, series: Sequence[PodSeries], enough: Enough) -> _NumberAt:
    buckets: defaultdict[float, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
    for one in series:
        bound = _bound(one.labels.get("le", ""))
        if bound is not None:
            for at, number in one.points:
                buckets[at][bound * by_pod.bucket_unit] += number

    def number_at(at: float) -> Value | NoData:
        too_few = _too_few(at, max(buckets[at].values(), default=0.0), enough)
        if too_few is not None:
            return too_few
        seconds = quantile(0.95, buckets[at])
        if math.isnan(seconds):
            return NoData(at, Gap.NOT_A_NUMBER, BucketsMissing(by_pod.metric))
        return Value(at, seconds, ceiling=max(b for b in buckets[at] if math.isfinite(b)))

    return number_at


def _highest(_: ByPod, series: Sequence[PodSeries], __: Enough) -> _NumberAt:
    highest: dict[float, float] = {}
    for one in series:
        for at, number in one.points:
            if not math.isnan(number):
                highest[at] = max(highest.get(at, number), number)
    return lambda at: Value(at, highest[at]) if at in highest else NoData(at, Gap.EMPTY)


_MEASURES: Mapping[Measure, Callable[[ByPod, Sequence[PodSeries], Enough], _NumberAt]] = {
    Measure.FAILED_SHARE: _failed_share,
    Measure.TOTAL: _total,
    Measure.P95: _p95,
    Measure.HIGHEST: _highest,
}


def _too_few(at: float, rate: float, enough: Enough) -> NoData | None:
    if rate <= 0:
        return NoData(at, Gap.EMPTY, NoRequests(enough.seconds))
    if rate * enough.seconds < enough.requests - 1e-6:
        seen = round(rate * enough.seconds)
        return NoData(at, Gap.TOO_FEW, RequestsTooFew(seen, enough.seconds, enough.requests))
    return None


def _finite(reading: Value | NoData) -> Value | NoData:
    if isinstance(reading, Value) and not math.isfinite(reading.number):
        return NoData(reading.at, Gap.NOT_A_NUMBER if math.isnan(reading.number) else Gap.INFINITE)
    return reading


def _no_status(by_pod: ByPod, values: set[str]) -> Message:
    held = values - {""}
    if held:
        return NotAStatus(by_pod.status_label, by_pod.metric, *_some(held))
    return NoStatusLabel(by_pod.metric, by_pod.status_label)


def _some(names: Collection[str]) -> tuple[tuple[str, ...], bool]:
    """Some of them, and whether there are more."""
    shown = tuple(sorted(name[:80] for name in names)[:_NAMED])
    return shown, len(names) > len(shown)


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
