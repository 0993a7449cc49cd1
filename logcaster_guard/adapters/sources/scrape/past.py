"""What is remembered of a target, and the signals computed from it at any instant of that past; pure."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logcaster_guard.adapters.sources.scrape.counters import Increase, Totals, Track, increase
from logcaster_guard.adapters.sources.scrape.metrics import PodScrape
from logcaster_guard.domain.fold import quantile
from logcaster_guard.domain.guard_reasons import BucketsMissing, RequestsTooFew
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import Gap, Gauge, NoData, Value
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.messages.reading_faults import (
    LastScrapeOld,
    NoMemoryLimit,
    NoneScraped,
    NoPodHas,
    NoPods,
    NoStatusOn,
    NoTraffic,
    OneScrapeSoFar,
    PodsUnscraped,
)

ERROR_RATE = "error_rate"
REQUEST_RATE = "request_rate"
P95_LATENCY = "p95_latency"
MEMORY_USAGE = "memory_usage"
SIGNALS = frozenset({ERROR_RATE, REQUEST_RATE, P95_LATENCY, MEMORY_USAGE})

PodKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """One look at all pods at monotonic second `at`; `lost` of `pods` gave no scrape."""

    at: float
    pods: int
    lost: int

    @property
    def partial(self) -> bool:
        """Whether more than half were lost, so that the rest no longer speaks for the target."""
        return 2 * self.lost > self.pods


@dataclass(frozen=True, slots=True)
class Limits:
    """What is enough and what is too much.

    Below `min_requests` in a window no rate is given; `staleness` and `keep` are in seconds, `max_samples` of a pod.
    """

    min_requests: float
    staleness: float
    keep: float
    max_samples: int
    max_pods: int


@dataclass(slots=True)
class Past:
    """A target's rounds and pods."""

    names: MetricsSection
    limits: Limits
    rounds: list[Round] = field(default_factory=list)
    tracks: dict[PodKey, Track] = field(default_factory=dict)

    def add(self, this: Round, scrapes: Mapping[PodKey, tuple[PodScrape, float | None]]) -> None:
        """Take a round: each pod's scrape and memory limit. One that is not newer than the last is ignored."""
        if self.rounds and this.at <= self.rounds[-1].at:
            return
        self.rounds.append(this)
        for key, (scrape, memory_limit) in scrapes.items():
            self.tracks.setdefault(key, Track()).add(this.at, scrape, memory_limit)
        self._forget(this.at - self.limits.keep)

    def at(self, signal: str, at: float, lookback: float, gauge: Gauge | None = None) -> Value | NoData:
        """The signal at monotonic second `at`, of what had been seen by then."""
        index = bisect_right(self.rounds, at, key=lambda r: r.at)
        if not index:
            return NoData(at, Gap.NOT_READ)
        latest = self.rounds[index - 1]
        if at - latest.at > self.limits.staleness:
            return NoData(at, Gap.STALE, LastScrapeOld(at - latest.at))
        if not latest.pods:
            return NoData(at, Gap.EMPTY, NoPods())
        if latest.partial:
            return NoData(at, Gap.PARTIAL, PodsUnscraped(latest.lost, latest.pods))
        newest = [s for t in self.tracks.values() for s in t.within(latest.at, latest.at)]
        if gauge is not None:
            return _own(gauge, at, newest)
        if signal == MEMORY_USAGE:
            return self._memory(at, newest)
        return self._counted(signal, at, newest, increase(self.tracks.values(), at - lookback, at))

    def portion(
        self, signal: str, group: PodGroup, start: float, end: float, gauge: Gauge | None = None
    ) -> Value | NoData:
        """The signal over the window, of these pods alone."""
        tracks = [track for (pod, template), track in self.tracks.items() if group.has(pod, template)]
        windows = [samples for track in tracks if (samples := track.within(start, end))]
        newest = [samples[-1] for samples in windows]
        if not newest:
            return NoData(end, Gap.EMPTY, NoneScraped())
        if gauge is not None:
            return _own(gauge, end, newest)
        if signal == MEMORY_USAGE:
            return self._memory(end, newest)
        return self._counted(signal, end, newest, increase(tracks, start, end))

    def _forget(self, before: float) -> None:
        old = bisect_left(self.rounds, before, key=lambda r: r.at)
        del self.rounds[: max(old, len(self.rounds) - self.limits.max_samples)]
        for track in self.tracks.values():
            track.forget(before, self.limits.max_samples)
        kept = sorted((k for k, t in self.tracks.items() if t.samples), key=lambda k: self.tracks[k].samples[-1].at)
        self.tracks = {k: self.tracks[k] for k in kept[-self.limits.max_pods :]}

    def _memory(self, at: float, newest: Sequence[Totals]) -> Value | NoData:
        shares = [s.memory for s in newest if s.memory is not None]
        if not shares:
            return NoData(at, Gap.EMPTY, NoMemoryLimit(str(self.names.memory)))
        return Value(at, max(shares))

    def _counted(self, signal: str, at: float, newest: Sequence[Totals], counted: Increase) -> Value | NoData:
        if signal != P95_LATENCY and not any(s.counted for s in newest) and not counted.requests:
            return NoData(at, Gap.EMPTY, NoPodHas(str(self.names.requests)))
        if not counted.pods or counted.span <= 0:
            return NoData(at, Gap.TOO_FEW, OneScrapeSoFar())
        if signal == REQUEST_RATE:
            return Value(at, counted.requests / counted.span)
        if signal == P95_LATENCY:
            return self._latency(at, counted)
        untold = sum(s.requests > 0 and not s.classified for s in newest)
        if untold or not any(s.classified for s in newest):
            requests, label = str(self.names.requests), str(self.names.status_label)
            lacking = NoStatusOn(requests, label, untold or len(newest), len(newest))
            return NoData(at, Gap.NO_STATUS, lacking)
        too_few = self._too_few(at, counted.requests, counted.span)
        return too_few or Value(at, counted.failed / counted.requests)

    def _latency(self, at: float, counted: Increase) -> Value | NoData:
        if not counted.buckets:
            return NoData(at, Gap.EMPTY, NoPodHas(f"{self.names.duration}_bucket"))
        too_few = self._too_few(at, max(counted.buckets.values()), counted.span)
        if too_few is not None:
            return too_few
        seconds = quantile(0.95, counted.buckets)
        if math.isnan(seconds):
            return NoData(at, Gap.NOT_A_NUMBER, BucketsMissing(str(self.names.duration)))
        return Value(at, seconds)

    def _too_few(self, at: float, requests: float, span: float) -> NoData | None:
        if requests <= 0:
            return NoData(at, Gap.EMPTY, NoTraffic(span))
        if requests < self.limits.min_requests:
            needed = round(self.limits.min_requests)
            return NoData(at, Gap.TOO_FEW, RequestsTooFew(round(requests), round(span), needed))
        return None


def _own(gauge: Gauge, at: float, newest: Sequence[Totals]) -> Value | NoData:
    """An operator's own gauge, of every series that these pods have."""
    found = [spread for totals in newest if (spread := totals.gauges.get(gauge.metric)) is not None]
    if not found:
        return NoData(at, Gap.EMPTY, NoPodHas(gauge.metric))
    first, *others = found
    return Value(at, sum(others, start=first).made(gauge.aggregate))
