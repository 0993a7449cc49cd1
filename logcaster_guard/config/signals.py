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
from logcaster_guard.fields.faults import Refused, closest, quoted
from logcaster_guard.messages.texts import phrase
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
        yield Refused(phrase("found.signal_name", name=quoted(name)), phrase("allowed.signal_name"), key=(name,))
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
        found = phrase("found.source_for", source=str(source), name=quoted(name))
        yield Refused(found, phrase("allowed.sources", names=usable), key=(name, "source"))
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
        yield Refused(phrase("found.no_unit", name=quoted(name)), phrase("allowed.unit"), meant, key=(name,))
    elif fixed is not None and signal.unit not in {None, fixed}:
        found = phrase("found.unit_of_built_in", unit=str(signal.unit), name=quoted(name))
        yield Refused(found, phrase("allowed.its_unit", unit=str(fixed)), key=(name, "unit"))


def _promql_refusals(name: str, signal: SignalSection, *, no_prometheus: bool) -> Iterator[Refused]:
    if no_prometheus:
        yield Refused(phrase("found.no_prometheus", name=quoted(name)), phrase("allowed.with_prometheus"), key=(name,))
    if signal.query is None:
        if name not in _ANSWERS[_QUERIED]:
            yield Refused(phrase("found.no_query", name=quoted(name)), phrase("allowed.a_query"), key=(name,))
        return
    if signal.lookback is None and has_fixed_range(signal.query) and not uses_lookback(signal.query):
        yield Refused(phrase("found.fixed_range"), phrase("allowed.lookback"), key=(name, "query"))


def _probe_refusals(name: str, signal: SignalSection, source: SourceName) -> Iterator[Refused]:
    if signal.query is not None:
        found = phrase("found.query_for", source=str(source))
        yield Refused(found, phrase("allowed.queries"), key=(name, "query"))
    if signal.lookback is not None and name not in _LOOKS_BACK[source]:
        found = phrase("found.lookback_for", name=quoted(name), source=str(source))
        yield Refused(found, phrase("allowed.no_lookback"), key=(name, "lookback"))


def _metric_refusals(name: str, signal: SignalSection, source: SourceName) -> Iterator[Refused]:
    own = name not in BUILT_IN_UNITS and source in _METRICS
    if own and signal.metric is None:
        allowed = phrase("allowed.a_metric", source=str(source))
        yield Refused(phrase("found.no_metric", name=quoted(name)), allowed, key=(name,))
    for key in ("metric", "aggregate"):
        if getattr(signal, key) is not None and not own:
            allowed = phrase("allowed.key_of_own_signal", key=key, sources=_METRICS)
            found = phrase("found.key_of_signal", key=key, name=quoted(name), source=str(source))
            yield Refused(found, allowed, key=(name, key))


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
