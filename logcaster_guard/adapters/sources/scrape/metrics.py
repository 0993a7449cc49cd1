"""One scrape of one pod, reduced to what the built-in signals need."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from logcaster_guard.adapters.sources.scrape.exposition import Labels, Sample
from logcaster_guard.domain.fold import STATUS
from logcaster_guard.domain.signals import Aggregate
from logcaster_guard.fields.metrics import MetricsSection

START_TIME = "process_start_time_seconds"


def series_names(names: MetricsSection) -> frozenset[str]:
    """Sample names that a scrape is searched for."""
    return frozenset({names.requests, f"{names.duration}_bucket", names.memory, START_TIME})


@dataclass(frozen=True, slots=True)
class Spread:
    """The series of one gauge: how many, their sum, the lowest and the highest."""

    count: int
    total: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, number: float) -> Spread:
        """One series."""
        return cls(1, number, number, number)

    def __add__(self, other: Spread) -> Spread:
        lowest, highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        return Spread(self.count + other.count, self.total + other.total, lowest, highest)

    def made(self, aggregate: Aggregate) -> float:
        """The number that the aggregate makes of them."""
        match aggregate:
            case Aggregate.SUM:
                return self.total
            case Aggregate.AVG:
                return self.total / self.count
            case Aggregate.MIN:
                return self.lowest
            case Aggregate.MAX:
                return self.highest


@dataclass(frozen=True, slots=True)
class PodScrape:
    """Raw counters by series. `failed` and `classified` are subsets of `requests`' keys.

    `classified` have a status label of a known class; `buckets` are by (labels without `le`), then by upper bound.
    `memory` is in bytes, summed over the pod's processes; `started` in seconds since the epoch; `gauges` are the
    operators' own, by metric.
    """

    requests: Mapping[Labels, float]
    failed: frozenset[Labels]
    classified: frozenset[Labels]
    buckets: Mapping[Labels, Mapping[float, float]]
    memory: float | None
    started: float | None
    gauges: Mapping[str, Spread] = field(default_factory=dict)


def pod_scrape(
    samples: Iterable[Sample], names: MetricsSection, own: Collection[str] = (), *, client_errors: bool
) -> PodScrape:
    """Sort the samples; 5xx failed, 4xx only if `client_errors`, 2xx and 3xx never. Non-finite ones are left out."""
    requests: dict[Labels, float] = {}
    classes: dict[Labels, str] = {}
    buckets: dict[Labels, dict[float, float]] = {}
    memory: list[float] = []
    gauges: dict[str, Spread] = {}
    started: float | None = None
    for sample in samples:
        if not math.isfinite(sample.value):
            continue
        if sample.name in own:
            one = Spread.of(sample.value)
            gauges[sample.name] = gauges[sample.name] + one if sample.name in gauges else one
        if sample.value < 0:
            continue
        if sample.name == names.requests:
            requests[sample.labels] = sample.value
            status = STATUS.fullmatch(dict(sample.labels).get(names.status_label, ""))
            if status is not None:
                classes[sample.labels] = status[1]
        elif sample.name == names.memory:
            memory.append(sample.value)
        elif sample.name == START_TIME:
            started = sample.value if started is None else max(started, sample.value)
        elif sample.name == f"{names.duration}_bucket" and (bound := _bound(sample.labels)) is not None:
            rest = tuple(pair for pair in sample.labels if pair[0] != "le")
            buckets.setdefault(rest, {})[bound * names.seconds_per_unit] = sample.value
    bad = {"5", "4"} if client_errors else {"5"}
    return PodScrape(
        requests=requests,
        failed=frozenset(labels for labels, group in classes.items() if group in bad),
        classified=frozenset(classes),
        buckets=buckets,
        memory=sum(memory) if memory else None,
        started=started,
        gauges=gauges,
    )


def _bound(labels: Labels) -> float | None:
    try:
        bound = float(dict(labels).get("le", "nan"))
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
