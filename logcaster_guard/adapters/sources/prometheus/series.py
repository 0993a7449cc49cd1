"""An answer of Prometheus as the series that it holds; pure."""

from __future__ import annotations

import itertools
from typing import Any

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.adapters.sources.prometheus.answers import pair_of
from logcaster_guard.adapters.sources.prometheus.session import PromAnswer
from logcaster_guard.domain.fold import PodSeries
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.exchange_faults import ResultType, SeriesNeeded, SeriesUnreadable, TooManySeries


def series_of(answer: PromAnswer, *, offset: float, max_series: int) -> list[PodSeries] | Failure:
    """The series of an instant or a range query; `offset` turns seconds since the epoch into monotonic ones."""
    if answer.result_type not in {"vector", "matrix"}:
        return Failure(Fault.MALFORMED, ResultType(answer.result_type[:20], SeriesNeeded()))
    if len(answer.result) > max_series:
        return Failure(Fault.TOO_LARGE, TooManySeries(len(answer.result), max_series))
    found = [_series(raw, offset) for raw in answer.result]
    whole = [one for one in found if one is not None]
    return whole if len(whole) == len(found) else Failure(Fault.MALFORMED, SeriesUnreadable())


def _series(raw: Any, offset: float) -> PodSeries | None:  # noqa: ANN401 - JSON
    labels = raw.get("metric") if isinstance(raw, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        return None
    values = raw["values"] if "values" in raw else [raw.get("value")]
    if not isinstance(values, list):
        return None
    points = [pair for value in values if (pair := pair_of(value)) is not None]
    rising = all(a[0] < b[0] for a, b in itertools.pairwise(points))
    if len(points) < len(values) or not rising:
        return None
    return PodSeries(labels, tuple((at + offset, number) for at, number in points))
