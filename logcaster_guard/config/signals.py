"""Signals of the settings: which source answers which, what may be said of one, and the domain's value for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from logcaster_guard.config.faults import Refused, closest, listed, quoted
from logcaster_guard.config.promql import (
    builtin_queries,
    check_query,
    has_fixed_range,
    uses_lookback,
)
from logcaster_guard.config.queries import check_syntax
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.config.sources import MetricsSection, SignalSection
from logcaster_guard.domain.signals import BUILT_IN_UNITS, ByPod, Signal, SourceName, Target

DEFAULT_LOOKBACK = 300.0
"""Seconds that a rate looks back, as the plan's `[5m]`."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
_RESERVED = frozenset({"and", "or", "not"})
_PROBED = frozenset({"health_check_fails", "response_time", "slow_responses"})
_OBSERVED = frozenset({"restart_count", "unready_pods", "rollout_stalled"})
_MEASURED = frozenset({"error_rate", "request_rate", "p95_latency", "memory_usage"})
_SOURCES: Mapping[str, tuple[SourceName, ...]] = {
    **dict.fromkeys(_PROBED, (SourceName.HTTP, SourceName.PROMETHEUS)),
    **dict.fromkeys(_OBSERVED, (SourceName.KUBERNETES, SourceName.PROMETHEUS)),
    **dict.fromkeys(_MEASURED, (SourceName.PROMETHEUS, SourceName.SCRAPE)),
}
"""The sources that can answer a built-in signal, the default first."""


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
    usable = _SOURCES.get(name, (SourceName.PROMETHEUS,))
    source = signal.source or _default_source(name, signal, no_prometheus=no_prometheus)
    if source not in usable:
        found = f"the source {source} for {quoted(name)}"
        yield Refused(found, f"the sources {listed(usable)}", key=(name, "source"))
    elif source is SourceName.PROMETHEUS:
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
        if name not in _MEASURED:
            yield Refused(f"no query for {quoted(name)}", "query: the PromQL that Prometheus is asked", key=(name,))
        return
    if signal.lookback is None and has_fixed_range(signal.query) and not uses_lookback(signal.query):
        allowed = "[$lookback] in the query, or lookback: the longest range in it"
        yield Refused("a fixed range in the query and no lookback", allowed, key=(name, "query"))


def _probe_refusals(name: str, signal: SignalSection, source: SourceName) -> Iterator[Refused]:
    if signal.query is not None:
        yield Refused(f"a query for the source {source}", "queries for the source prometheus only", key=(name, "query"))
    if signal.lookback is not None and not _looks_back(name, source):
        found = f"a lookback for {quoted(name)} from {source}, which reads the present"
        yield Refused(found, "no lookback", key=(name, "lookback"))


def _default_source(name: str, signal: SignalSection, *, no_prometheus: bool) -> SourceName:
    if signal.query is not None or name not in _SOURCES:
        return SourceName.PROMETHEUS
    if name in _MEASURED and no_prometheus:
        return SourceName.SCRAPE
    return _SOURCES[name][0]


def _looks_back(name: str, source: SourceName) -> bool:
    return source is SourceName.SCRAPE and name != "memory_usage"


def _signal(name: str, file: SettingsFile) -> Signal:
    section = file.signals.get(name, SignalSection())
    source = section.source or _default_source(name, section, no_prometheus=file.sources.prometheus.url is None)
    unit = BUILT_IN_UNITS.get(name) or section.unit
    if unit is None:
        raise ValueError(f"signal {name} passed its checks without a unit")
    if source is SourceName.PROMETHEUS:
        query, by_pod = (section.query, None) if section.query else _builtin(file.metrics)[name]
        lookback = section.lookback or (DEFAULT_LOOKBACK if uses_lookback(query) else 0.0)
        return Signal(
            name, unit, source, lookback, query, by_pod, file.sources.prometheus.min_requests if by_pod else 0
        )
    return Signal(name, unit, source, (section.lookback or DEFAULT_LOOKBACK) if _looks_back(name, source) else 0.0)


def _builtin(metrics: MetricsSection) -> Mapping[str, tuple[str, ByPod]]:
    return builtin_queries(
        selector=metrics.selector,
        requests=metrics.requests,
        status_label=metrics.status_label,
        duration=metrics.duration,
        duration_unit=metrics.seconds_per_unit,
        memory=metrics.memory,
        client_errors_count=metrics.client_errors_count,
    )
