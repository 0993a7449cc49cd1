"""How old the samples behind an answer are.

The time in an answer is that of the evaluation. A backend that lags stamps old data with it, so the age of what was
sampled is asked for: one query tells, for each metric that the signals read, when its newest sample was taken.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from promql_parser import MatchOp, VectorSelector

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.adapters.sources.prometheus.series import series_of
from logcaster_guard.adapters.sources.prometheus.session import PromAnswer
from logcaster_guard.domain.fold import PodSeries
from logcaster_guard.domain.promql_syntax import SyntaxFault, metric, parsed, walk
from logcaster_guard.domain.signals import Gap, NoData, Reading, Target, Value
from logcaster_guard.messages.reading_faults import NewestSampleOld

_SCRAPED_EVERY = 60.0
"""Seconds between two samples as long as they are not known: what Prometheus has by default."""
_MISSED = 2.5
"""Intervals without a sample after which the newest one is old."""
_HARMLESS = 10.0
"""Seconds that any backend may be behind: a machine that is busy is no backend that lags."""
_OPERATORS = {str(MatchOp.Equal): "=", str(MatchOp.NotEqual): "!=", str(MatchOp.Re): "=~", str(MatchOp.NotRe): "!~"}
_REMEMBERED = 5
_Matchers = frozenset[tuple[str, str, str]]
Ages = Mapping[str, tuple[str, float, float]]
"""By selector: its metric, the second of its newest sample, and how old that was, both on the server's clock."""


@dataclass(frozen=True, slots=True)
class AgeQuestion:
    """`promql` answers with a series for each of `selectors`, which are metric and PromQL, under its index as `n`.

    Where it asks for several targets, there is a series for each pod.
    """

    promql: str
    selectors: Sequence[tuple[str, str]]

    def series(self, answer: PromAnswer, max_series: int) -> Sequence[PodSeries]:
        """The series of the answer; none if it cannot be read."""
        series = series_of(answer, offset=0.0, max_series=max_series)
        return () if isinstance(series, Failure) else series

    def ages(self, series: Iterable[PodSeries]) -> Ages:
        """What the series tell of each selector."""
        found: dict[str, tuple[str, float, float]] = {}
        by_index = {str(index): pair for index, pair in enumerate(self.selectors)}
        for one in series:
            name, selector = by_index.get(one.labels.get("n", ""), ("", ""))
            now, newest = one.points[-1]
            if name and math.isfinite(newest) and newest > found.get(selector, ("", -math.inf))[1]:
                found[selector] = (name, newest, max(0.0, now - newest))
        return found


def age_question(queries: Iterable[str], *, by_pod: bool = False) -> AgeQuestion | None:
    """What to ask for the samples behind these queries; None if they select nothing that can be told."""
    found = sorted({pair for query in queries for pair in selectors_of(query)})
    newest = "max by (pod)" if by_pod else "max"
    parts = [
        f'label_replace({newest}(timestamp({selector})), "n", "{index}", "", "")'
        for index, (_, selector) in enumerate(found)
    ]
    return AgeQuestion(" or ".join(parts), found) if parts else None


@lru_cache(maxsize=4_096)
def selectors_of(query: str) -> tuple[tuple[str, str], ...]:
    """Metric and selector of everything that the query reads; of two the wider one, if it selects the other's too."""
    tree = parsed(query)
    if isinstance(tree, SyntaxFault):
        return ()
    read = {
        (metric(s), _matchers(s)) for s in walk(tree) if isinstance(s, VectorSelector) and not s.matchers.or_matchers
    }
    wide = [(n, m) for n, m in read if n and not any(n == other and m > wider for other, wider in read)]
    return tuple(sorted((name, _selector(name, matchers)) for name, matchers in wide))


def _matchers(selector: VectorSelector) -> _Matchers:
    found = ((m.name, _OPERATORS[str(m.op)], m.value) for m in selector.matchers.matchers)
    return frozenset(matcher for matcher in found if matcher[0] != "__name__")


def _selector(name: str, matchers: _Matchers) -> str:
    return f"{name}{{{', '.join(f'{n}{o}{_quoted(v)}' for n, o, v in sorted(matchers))}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@dataclass(slots=True)
class Pace:
    """At which intervals a metric's samples come, as seen by the second of the newest one at each poll."""

    _newest: float | None = None
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def see(self, newest: float) -> None:
        """Take in the second of the newest sample."""
        if self._newest is not None and newest > self._newest:
            self._intervals.append(newest - self._newest)
        self._newest = newest

    def is_old(self, age: float, staleness: float) -> bool:
        """Whether a newest sample of this age shows that the backend lags; never within `staleness` seconds."""
        return age > max(staleness, _HARMLESS, _MISSED * max(self._intervals, default=_SCRAPED_EVERY))


class Freshness:
    """Dates values by their newest samples: a value whose samples are older than `staleness` seconds may be no data."""

    def __init__(self, staleness: float) -> None:
        self._staleness = staleness
        self._paces: defaultdict[tuple[str, str], Pace] = defaultdict(Pace)

    def dated(
        self, target: Target, readings: Mapping[str, Reading], queries: Mapping[str, str], ages: Ages, at: float
    ) -> Mapping[str, Reading]:
        """The readings of `queries` (by signal name) with the instants of their samples, asked for at second `at`."""
        for name in {name for name, _, _ in ages.values()}:
            self._paces[target.key, name].see(max(newest for n, newest, _ in ages.values() if n == name))
        return {name: self._dated(target.key, r, queries.get(name), ages, at) for name, r in readings.items()}

    def _dated(self, target: str, reading: Reading, query: str | None, ages: Ages, at: float) -> Reading:
        if query is None or not isinstance(reading, Value):
            return reading
        found = [ages[selector] for _, selector in selectors_of(query) if selector in ages]
        if not found:
            return reading
        name, _, age = max(found, key=lambda one: one[2])
        if self._paces[target, name].is_old(age, self._staleness):
            return NoData(reading.at, Gap.LAGGING, NewestSampleOld(name, age))
        return replace(reading, sampled=min(reading.at, at - age))
