"""One scrape of one pod, reduced to what the built-in signals need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from logcaster_guard.adapters.sources.scrape.exposition import Labels, Sample
from logcaster_guard.domain.fold import STATUS
from logcaster_guard.fields.metrics import MetricsSection

START_TIME = "process_start_time_seconds"


def series_names(names: MetricsSection) -> frozenset[str]:
    """Sample names that a scrape is searched for."""
    return frozenset({names.requests, f"{names.duration}_bucket", names.memory, START_TIME})


@dataclass(frozen=True, slots=True)
class PodScrape:
    """Raw counters by series. `failed` and `classified` are subsets of `requests`' keys.

    `classified` have a status label of a known class; `buckets` are by (labels without `le`), then by upper bound.
    `memory` is in bytes, summed over the pod's processes; `started` in seconds since the epoch.
    """

    requests: Mapping[Labels, float]
    failed: frozenset[Labels]
    classified: frozenset[Labels]
    buckets: Mapping[Labels, Mapping[float, float]]
    memory: float | None
    started: float | None


def pod_scrape(samples: Iterable[Sample], names: MetricsSection, *, client_errors: bool) -> PodScrape:
    """Sort the samples; 5xx failed, 4xx only if `client_errors`, 2xx and 3xx never. Non-finite ones are left out."""
    requests: dict[Labels, float] = {}
    classes: dict[Labels, str] = {}
    buckets: dict[Labels, dict[float, float]] = {}
    memory: list[float] = []
    started: float | None = None
    for sample in samples:
        if not math.isfinite(sample.value) or sample.value < 0:
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
        elif (bound := _bound(sample.labels)) is not None:
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
    )


def _bound(labels: Labels) -> float | None:
    try:
        bound = float(dict(labels).get("le", "nan"))
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
