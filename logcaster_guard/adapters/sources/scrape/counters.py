"""Counters without their resets, and what is computed from them over a window; pure.

A pod's counters are *unwrapped* as they are scraped: from one scrape to the next, a series grows by the difference,
by its whole value if it became smaller or its process started anew (Prometheus' `increase`), and by its whole value
if it was never there before. A pod's first scrape is the baseline. Nothing is extrapolated to the
window's edges: an increase is that between the oldest and the newest sample within the window, and a rate is divided
by the time between these two.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from logcaster_guard.adapters.sources.scrape.exposition import Labels
from logcaster_guard.adapters.sources.scrape.metrics import PodScrape, Spread

START_TIME_SLACK = 1.0
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Totals:
    """A pod's unwrapped counters at monotonic second `at`; `buckets` by upper bound, cumulative. They never fall.

    `memory` is the share of the limit in use, None if either is not known. `counted`: it has the requests' counter;
    `classified`: at least one series of it tells a status. `gauges` are operators' own.
    """

    at: float
    requests: float
    failed: float
    buckets: Mapping[float, float]
    memory: float | None
    counted: bool
    classified: bool
    gauges: Mapping[str, Spread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Increase:
    """What was counted in a window, over all pods; `span` is in seconds, `pods` are those with two samples or more."""

    requests: float
    failed: float
    buckets: Mapping[float, float]
    span: float
    pods: int


@dataclass(slots=True)
class Track:
    """A pod's past: its last raw scrape and its unwrapped samples, oldest first."""

    samples: list[Totals] = field(default_factory=list)
    last: PodScrape | None = None

    def add(self, at: float, scrape: PodScrape, memory_limit: float | None) -> None:
        """Take a scrape of monotonic second `at`; one that is not newer than the last is ignored."""
        if self.samples and at <= self.samples[-1].at:
            return
        before = self.samples[-1] if self.samples else Totals(at, 0.0, 0.0, {}, None, counted=False, classified=False)
        grown = _growth(self.last, scrape)
        used = None if scrape.memory is None or not memory_limit else scrape.memory / memory_limit
        self.samples.append(
            Totals(
                at=at,
                requests=before.requests + sum(grown.values()),
                failed=before.failed + sum(grown[labels] for labels in scrape.failed),
                buckets=_sum(before.buckets, _bucket_growth(self.last, scrape)),
                memory=used,
                counted=bool(scrape.requests),
                classified=bool(scrape.classified),
                gauges=scrape.gauges,
            )
        )
        self.last = _remembered(self.last, scrape)

    def forget(self, before: float, most: int) -> None:
        """Drop samples older than `before`, and the oldest beyond `most`."""
        del self.samples[: max(bisect_left(self.samples, before, key=_at), len(self.samples) - most)]

    def within(self, start: float, end: float) -> Sequence[Totals]:
        """Samples of the closed window."""
        return self.samples[bisect_left(self.samples, start, key=_at) : bisect_right(self.samples, end, key=_at)]


def increase(tracks: Iterable[Track], start: float, end: float) -> Increase:
    """What was counted between monotonic seconds `start` and `end`, pods that are gone included."""
    requests = failed = 0.0
    buckets: Mapping[float, float] = {}
    edges: list[float] = []
    pods = 0
    for track in tracks:
        samples = track.within(start, end)
        if len(samples) < 2:
            continue
        first, last = samples[0], samples[-1]
        requests += last.requests - first.requests
        failed += last.failed - first.failed
        grown = {bound: count - first.buckets.get(bound, 0.0) for bound, count in last.buckets.items()}
        buckets = _sum(buckets, grown)
        edges += [first.at, last.at]
        pods += 1
    return Increase(requests, failed, buckets, max(edges) - min(edges) if edges else 0.0, pods)


def _at(totals: Totals) -> float:
    return totals.at


def _restarted(last: PodScrape, scrape: PodScrape) -> bool:
    if last.started is None or scrape.started is None:
        return False
    return scrape.started > last.started + START_TIME_SLACK


def _growth(last: PodScrape | None, scrape: PodScrape) -> Mapping[Labels, float]:
    """By how much each series of requests grew since the scrape before."""
    if last is None:
        return dict.fromkeys(scrape.requests, 0.0)
    restarted = _restarted(last, scrape)
    grown = {}
    for labels, value in scrape.requests.items():
        old = 0.0 if restarted else last.requests.get(labels, 0.0)
        grown[labels] = value - old if value >= old else value
    return grown


def _bucket_growth(last: PodScrape | None, scrape: PodScrape) -> Mapping[float, float]:
    """By how much each bucket grew, over all histograms of the pod; one histogram's buckets are reset together."""
    grown: dict[float, float] = {}
    for labels, buckets in scrape.buckets.items():
        old = {} if last is None else last.buckets.get(labels, {})
        reset = last is not None and (_restarted(last, scrape) or any(n < old.get(b, 0.0) for b, n in buckets.items()))
        for bound, count in buckets.items():
            growth = 0.0 if last is None else count if reset else count - old.get(bound, 0.0)
            grown[bound] = grown.get(bound, 0.0) + growth
    return grown


def _sum(a: Mapping[float, float], b: Mapping[float, float]) -> Mapping[float, float]:
    return {bound: a.get(bound, 0.0) + b.get(bound, 0.0) for bound in a.keys() | b.keys()}


def _remembered(last: PodScrape | None, scrape: PodScrape) -> PodScrape:
    """The scrape with what was last seen of series that it lacks: one that comes back must not count as new.

    Forgotten when the process started anew, or when the names of series change without end.
    """
    if last is None or _restarted(last, scrape):
        return scrape
    requests = {**last.requests, **scrape.requests}
    buckets = {**last.buckets, **scrape.buckets}
    if len(requests) + len(buckets) > MAX_REMEMBERED:
        return scrape
    return replace(scrape, requests=requests, buckets=buckets, started=scrape.started or last.started)
