"""The built-in PromQL, and the check of the queries that operators write (`domain.promql` fills them in)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from logcaster_guard.domain.promql import FIELDS, LABEL_PREFIX, TemplateFault, allowed, placeholders, render
from logcaster_guard.domain.signals import ByPod, Measure, Target
from logcaster_guard.fields.faults import Refused, closest, quoted
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.messages.texts import phrase

MAX_LENGTH = 10_000
"""What Prometheus' Kubernetes service discovery calls a workload's pods."""
_SCRAPERS = ("job", "endpoint", "prometheus", "prometheus_replica", "replica", "receive_replica", "__replica__")
"""Labels that tell who scraped: series that differ in nothing else are the same one."""

_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_FIXED_RANGE = re.compile(r"\[\s*\d")


def builtin_queries(metrics: MetricsSection) -> Mapping[str, tuple[str, ByPod]]:
    """The default query of each built-in signal that Prometheus can answer, by signal name, and what is made of it.

    Each answers with series of pods; which of them count is decided by who owns the pods. Memory is the container's
    working set as cAdvisor knows it against the limit that kube-state-metrics or cAdvisor know, or, in pods of which
    neither is there, the process's own gauge against the sum of the containers' limits.
    """
    failed = frozenset("45" if metrics.client_errors_count else "5")
    requests, selector, unit = metrics.requests, metrics.selector, metrics.seconds_per_unit
    example = f"topk(1, {requests}{{{selector}}})"
    every = _rate_by_pod(requests, selector, metrics.status_label)
    buckets = f"{metrics.duration}_bucket"
    return {
        "error_rate": (every, ByPod(Measure.FAILED_SHARE, requests, metrics.status_label, failed, example)),
        "request_rate": (every, ByPod(Measure.TOTAL, requests)),
        "p95_latency": (_rate_by_pod(buckets, selector, "le"), ByPod(Measure.P95, buckets, bucket_unit=unit)),
        "memory_usage": (
            _memory(metrics.memory, selector),
            ByPod(Measure.HIGHEST, "container_memory_working_set_bytes"),
        ),
    }


def _rate_by_pod(counter: str, selector: str, label: str) -> str:
    """What each pod counts a second, by the label; the series of several scrapers of one instance are one."""
    own = f"namespace, pod, {label}"
    rate = f"rate({counter}{{{selector}}}[$lookback])"
    once = f"max by ({own}, instance) (sum by ({own}, instance, {', '.join(_SCRAPERS)}) ({rate}))"
    return f"sum by ({own}) ({once})"


def _memory(gauge: str, selector: str) -> str:
    container, pod = "(namespace, pod, container)", "(namespace, pod)"
    real = f'{selector}, container!="", container!="POD"'
    used = f"max by {container} (container_memory_working_set_bytes{{{real}}})"
    asked = f'max by {container} (kube_pod_container_resource_limits{{{selector}, resource="memory"}})'
    known = f"max by {container} (container_spec_memory_limit_bytes{{{real}}})"
    own = f"max by {pod} ({gauge}{{{selector}}})"
    return f"({used} / ({asked} > 0) or {used} / ({known} > 0)) or on {pod} {own} / (sum by {pod} ({asked}) > 0)"


def uses_lookback(query: str) -> bool:
    """Whether `$lookback` stands in the query."""
    return "lookback" in placeholders(query)


def has_fixed_range(query: str) -> bool:
    """Whether a range such as `[5m]` stands in the query."""
    return _FIXED_RANGE.search(query) is not None


def check_query(query: str, targets: Sequence[Target] | None) -> None:
    """Raise `Refused` unless the query can be filled in for every target (None: the targets are not known)."""
    if not query.strip():
        raise Refused(phrase("found.empty_query"), phrase("allowed.promql"))
    if len(query) > MAX_LENGTH:
        found = phrase("found.long_query", length=f"{len(query):,}")
        raise Refused(found, phrase("allowed.at_most", most=f"{MAX_LENGTH:,}"))
    known = frozenset(FIELDS) if targets is None else frozenset.intersection(*(allowed(t) for t in targets))
    for name in sorted(placeholders(query) - known):
        if targets is None and name.startswith(LABEL_PREFIX):
            continue
        meant = closest(name, known)
        raise Refused(
            phrase("found.placeholder", name=quoted(f"${name}")),
            phrase("allowed.words", words=[f"${k}" for k in sorted(known)]),
            None if meant is None else phrase("meant.word", word=meant.replace('"', '"$', 1)),
            offset=_place(query, name),
        )
    if targets:
        try:
            render(query, _awkward(targets), 1.0)
        except TemplateFault as fault:
            raise Refused(phrase("found.unfillable"), phrase("allowed.query_fault", fault=fault.reason)) from None


def _awkward(targets: Sequence[Target]) -> Target:
    """A target with the value of each field that is hardest to put into a query: one rendering stands for all."""

    def hardest(values: Iterable[str | None]) -> str:
        return max((v or "" for v in values), key=lambda v: ("`" in v, not _WORD.fullmatch(v)))

    names = frozenset.intersection(*(frozenset(t.labels) for t in targets))
    return Target(
        name="any",
        namespace=hardest(t.namespace for t in targets),
        deployment=hardest(t.deployment for t in targets),
        service=hardest(t.service for t in targets),
        labels={name: hardest(t.labels[name] for t in targets) for name in names},
    )


def _place(query: str, name: str) -> int:
    found = re.search(rf"\$(?:\{{{re.escape(name)}\}}|{re.escape(name)}(?![A-Za-z0-9_]))", query)
    return found.start() if found else 0
