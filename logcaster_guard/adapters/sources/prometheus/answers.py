"""An answer of Prometheus as one number, or as points; pure."""

from __future__ import annotations

import math
from typing import Any

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.adapters.sources.prometheus.session import PromAnswer
from logcaster_guard.domain.signals import Fault, Gap, NoData, Reading, SourceError, Value
from logcaster_guard.messages.exchange_faults import (
    AnswerPartial,
    HistogramFound,
    RangeNeeded,
    ResultType,
    SampleUnreadable,
    ScalarNeeded,
    SeveralSeries,
    ValuesNotPlain,
)
from logcaster_guard.messages.reading_faults import ClockApart, Infinity


def reading_of(answer: PromAnswer, *, at: float, epoch: float, staleness: float, max_series: int) -> Reading:
    """The one number of an instant query, as read at monotonic second `at` when the wall clock showed `epoch`."""
    partial = partial_of(answer, at)
    if partial is not None:
        return partial
    if answer.result_type == "scalar":
        return _sample(answer.result, at, epoch, staleness)
    if answer.result_type != "vector":
        return NoData(at, Gap.WRONG_TYPE, ResultType(answer.result_type[:20], ScalarNeeded()))
    if not answer.result:
        return NoData(at, Gap.EMPTY)
    if len(answer.result) > max_series:
        return SourceError(at, Fault.TOO_LARGE, _too_many(answer))
    if len(answer.result) > 1:
        return NoData(at, Gap.WRONG_TYPE, SeveralSeries(len(answer.result)))
    series = answer.result[0]
    if isinstance(series, dict) and "histogram" in series and "value" not in series:
        return NoData(at, Gap.WRONG_TYPE, HistogramFound())
    return _sample(series.get("value") if isinstance(series, dict) else None, at, epoch, staleness)


def points_of(answer: PromAnswer, *, offset: float, max_series: int) -> tuple[tuple[float, float], ...] | Failure:
    """The finite points of a range query; `offset` turns seconds since the epoch into monotonic ones."""
    if answer.warnings:
        return Failure(Fault.MALFORMED, AnswerPartial(answer.warnings[0]))
    if answer.result_type != "matrix":
        return Failure(Fault.MALFORMED, ResultType(answer.result_type[:20], RangeNeeded()))
    if len(answer.result) > max_series:
        return Failure(Fault.TOO_LARGE, _too_many(answer))
    if len(answer.result) > 1:
        return Failure(Fault.MALFORMED, SeveralSeries(len(answer.result)))
    if not answer.result:
        return ()
    series = answer.result[0]
    values = series.get("values") if isinstance(series, dict) else None
    if not isinstance(values, list):
        return Failure(Fault.MALFORMED, ValuesNotPlain())
    points: list[tuple[float, float]] = []
    for value in values:
        pair = pair_of(value)
        if pair is None or (points and pair[0] + offset <= points[-1][0]):
            return Failure(Fault.MALFORMED, SampleUnreadable())
        if math.isfinite(pair[1]):
            points.append((pair[0] + offset, pair[1]))
    return tuple(points)


def partial_of(answer: PromAnswer, at: float) -> NoData | None:
    """Why the answer may lack series; None if it is whole."""
    return NoData(at, Gap.PARTIAL, answer.warnings[0]) if answer.warnings else None


def stale(at: float, seconds: float, epoch: float, staleness: float) -> NoData | None:
    """Why a sample of Unix second `seconds` does not tell the present, which is `epoch`; None if it does."""
    if abs(seconds - epoch) <= staleness:
        return None
    ahead = seconds > epoch
    return NoData(at, Gap.STALE if ahead else Gap.LAGGING, ClockApart(abs(seconds - epoch), ahead))


def _sample(value: Any, at: float, epoch: float, staleness: float) -> Reading:  # noqa: ANN401 - JSON
    pair = pair_of(value)
    if pair is None:
        return SourceError(at, Fault.MALFORMED, SampleUnreadable())
    seconds, number = pair
    old = stale(at, seconds, epoch, staleness)
    if old is not None:
        return old
    if math.isnan(number):
        return NoData(at, Gap.NOT_A_NUMBER)
    if math.isinf(number):
        return NoData(at, Gap.INFINITE, Infinity(number > 0))
    return Value(at, number)


def pair_of(value: Any) -> tuple[float, float] | None:  # noqa: ANN401 - JSON
    """A sample, `[seconds, "number"]`; None for anything else."""
    if not isinstance(value, list) or len(value) != 2 or isinstance(value[0], bool):
        return None
    seconds, text = value
    if not isinstance(seconds, int | float) or not isinstance(text, str) or "_" in text:
        return None
    try:
        pair = float(seconds), float(text)
    except (ValueError, OverflowError):
        return None
    return pair if math.isfinite(pair[0]) else None


def _too_many(answer: PromAnswer) -> SeveralSeries:
    return SeveralSeries(len(answer.result))
