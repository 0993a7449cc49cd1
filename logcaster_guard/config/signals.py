"""Signals of the settings: which source answers which, what may be said of one, and the domain's value for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from logcaster_guard.adapters.sources.prometheus.section import PrometheusSection
from logcaster_guard.config.promql import (
    builtin_queries,
    check_query,
    has_fixed_range,
    uses_lookback,
)
from logcaster_guard.config.queries import check_syntax
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.config.sources import SignalSection
from logcaster_guard.domain.signals import BUILT_IN_UNITS, Aggregate, Gauge, Signal, SourceName, Target
from logcaster_guard.fields.faults import Refused, closest, listed, quoted
from logcaster_guard.plugins import SOURCES

DEFAULT_LOOKBACK = 300.0
"""Seconds that a rate looks back, as the plan's `[5m]`."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
_RESERVED = frozenset({"and", "or", "not"})
_QUERIED = SourceName.PROMETHEUS
"""The source that answers any signal, built in or not, for which there is a query."""
_SOURCES: Mapping[str, tuple[SourceName, ...]] = {
    name: tuple(dict.fromkeys([*(p.name for p in SOURCES if name in p.answers), _QUERIED])) for name in BUILT_IN_UNITS
}
"""The sources that can answer a built-in signal, the default first."""
_METRICS = tuple(plugin.name for plugin in SOURCES if plugin.own_metrics)
"""The sources that answer an operator's own signal by a metric, without a query."""
_ANSWERS = {plugin.name: plugin.answers for plugin in SOURCES}
_LOOKS_BACK = {plugin.name: plugin.looks_back for plugin in SOURCES}


def signals_in(file: SettingsFile) -> dict[str, Signal]:
    """Every signal, built in or the operator's own, by name; `file` has passed all checks."""
    own = [name for name in file.signals if name not in BUILT_IN_UNITS]
    return {name: _signal(name, file) for name in [*BUILT_IN_UNITS, *own]}


def signal_refusals(
    name: str, signal: SignalSection, targets: Sequence[Target] | None, *, no_prometheus: bool, metricsql: bool = False
) -> Iterator[Refused]:
    """What is wrong with one signal of the settings; `key` of each leads from the `signals` mapping."""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        allowed = "lower-case letters, digits and _, at most 63, and none of and, or, not"
        yield Refused(f"the signal name {quoted(name)}", allowed, key=(name,))
        return
    yield from _unit_refusals(name, signal)
    if signal.query is not None:
        try:
            check_query(signal.query, targets)
            check_syntax(signal.query, metricsql=metricsql)
        except Refused as refusal:
            refusal.key = (name, "query")
            yield refusal
    usable = _SOURCES.get(name, (_QUERIED, *_METRICS))
    source = signal.source or _default_source(name, signal, no_prometheus=no_prometheus)
    if source not in usable:
        found = f"the source {source} for {quoted(name)}"
        yield Refused(found, f"the sources {listed(usable)}", key=(name, "source"))
        return
    yield from _metric_refusals(name, signal, source)
    if source is _QUERIED:
        yield from _promql_refusals(name, signal, no_prometheus=no_prometheus)
    else:
        yield from _probe_refusals(name, signal, source)


def _unit_refusals(name: str, signal: SignalSection) -> Iterator[Refused]:
    fixed = BUILT_IN_UNITS.get(name)
    if fixed is None and signal.unit is None:
        meant = closest(name, BUILT_IN_UNITS)
        allowed = "unit: ratio, seconds, bytes, per_second or count, for a signal of one's own"
        yield Refused(f"no unit for the signal {quoted(name)}", allowed, meant, key=(name,))
    elif fixed is not None and signal.unit not in {None, fixed}:
        found = f"the unit {signal.unit} for the built-in signal {quoted(name)}"
        yield Refused(found, f"{fixed}, or a signal with a name of its own", key=(name, "unit"))


def _promql_refusals(name: str, signal: SignalSection, *, no_prometheus: bool) -> Iterator[Refused]:
    if no_prometheus:
        found = f"the source prometheus for {quoted(name)} and no Prometheus"
        yield Refused(found, "a signal like this with a sources.prometheus.url only", key=(name,))
    if signal.query is None:
        if name not in _ANSWERS[_QUERIED]:
            yield Refused(f"no query for {quoted(name)}", "query: the PromQL that Prometheus is asked", key=(name,))
        return
    if signal.lookback is None and has_fixed_range(signal.query) and not uses_lookback(signal.query):
        allowed = "[$lookback] in the query, or lookback: the longest range in it"
        yield Refused("a fixed range in the query and no lookback", allowed, key=(name, "query"))


def _probe_refusals(name: str, signal: SignalSection, source: SourceName) -> Iterator[Refused]:
    if signal.query is not None:
        yield Refused(f"a query for the source {source}", "queries for the source prometheus only", key=(name, "query"))
    if signal.lookback is not None and name not in _LOOKS_BACK[source]:
        found = f"a lookback for {quoted(name)} from {source}, which reads the present"
        yield Refused(found, "no lookback", key=(name, "lookback"))


def _metric_refusals(name: str, signal: SignalSection, source: SourceName) -> Iterator[Refused]:
    own = name not in BUILT_IN_UNITS and source in _METRICS
    if own and signal.metric is None:
        yield Refused(
            f"no metric for {quoted(name)}", f"metric: the gauge that {source} reads from the pods", key=(name,)
        )
    for key in ("metric", "aggregate"):
        if getattr(signal, key) is not None and not own:
            allowed = f"{key} only for a signal of one's own from {listed(_METRICS)}"
            yield Refused(f"the {key} of {quoted(name)} from {source}", allowed, key=(name, key))


def _default_source(name: str, signal: SignalSection, *, no_prometheus: bool) -> SourceName:
    if signal.query is not None or name not in _SOURCES:
        return _QUERIED
    first, *others = _SOURCES[name]
    return others[0] if no_prometheus and first is _QUERIED else first


def _signal(name: str, file: SettingsFile) -> Signal:
    section, prometheus = file.signals.get(name, SignalSection()), file.sources.of(PrometheusSection)
    source = section.source or _default_source(name, section, no_prometheus=prometheus.url is None)
    unit = BUILT_IN_UNITS.get(name) or section.unit
    if unit is None:
        raise ValueError(f"signal {name} passed its checks without a unit")
    if source is _QUERIED:
        query, by_pod = (section.query, None) if section.query else builtin_queries(file.metrics)[name]
        lookback = section.lookback or (DEFAULT_LOOKBACK if uses_lookback(query) else 0.0)
        return Signal(name, unit, source, lookback, query, by_pod, prometheus.min_requests if by_pod else 0)
    lookback = (section.lookback or DEFAULT_LOOKBACK) if name in _LOOKS_BACK[source] else 0.0
    gauge = None if section.metric is None else Gauge(section.metric, section.aggregate or Aggregate.MAX)
    return Signal(name, unit, source, lookback, gauge=gauge)
