"""The built-in PromQL, and the check of the queries that operators write (`domain.promql` fills them in)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from logcaster_guard.config.faults import Refused, closest, listed, quoted
from logcaster_guard.domain.promql import FIELDS, LABEL_PREFIX, TemplateFault, allowed, placeholders, render
from logcaster_guard.domain.signals import Target

MAX_LENGTH = 10_000
POD_SELECTOR = 'namespace="$namespace", pod=~"$deployment-[a-z0-9]+-[a-z0-9]+"'
"""What Prometheus' Kubernetes service discovery calls the pods of a Deployment."""

_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_FIXED_RANGE = re.compile(r"\[\s*\d")


def builtin_queries(
    *, selector: str, requests: str, status_label: str, duration: str, memory: str, client_errors_count: bool
) -> Mapping[str, str]:
    """The default query of each built-in signal that Prometheus can answer, by signal name.

    The error rate is failed / all over every series. With no failing series at all `failed` is empty, hence the
    `or 0 * all`; without traffic the whole is empty: no data, not 0. Memory is the fullest container's working set as
    cAdvisor knows it, or the process's own gauge against the limit that kube-state-metrics knows.
    """
    failed_status = "[45].." if client_errors_count else "5.."
    every = f"sum(rate({requests}{{{selector}}}[$lookback]))"
    failed = f'sum(rate({requests}{{{selector}, {status_label}=~"{failed_status}"}}[$lookback]))'
    used, limit = "container_memory_working_set_bytes", "container_spec_memory_limit_bytes"
    own_limit = f'sum by (namespace, pod) (kube_pod_container_resource_limits{{{selector}, resource="memory"}})'
    return {
        "error_rate": f"({failed} or 0 * {every}) / ({every} > 0)",
        "request_rate": every,
        "p95_latency": f"histogram_quantile(0.95, sum by (le) (rate({duration}_bucket{{{selector}}}[$lookback])))",
        "memory_usage": (
            f'max({used}{{{selector}, container!=""}} / ({limit}{{{selector}, container!=""}} > 0))'
            f" or max({memory}{{{selector}}} / on (namespace, pod) group_left () {own_limit})"
        ),
    }


def of_some_pods(selector: str, label: str) -> str:
    """The selector narrowed to pods by their marks in `label`.

    A pod's name begins with its ReplicaSet's; a `pod-template-hash` or a version is the whole value.
    """
    return f'{selector}, {label}=~"(?:$pods)(?:-[a-z0-9]+)?"'


def uses_lookback(query: str) -> bool:
    """Whether `$lookback` stands in the query."""
    return "lookback" in placeholders(query)


def has_fixed_range(query: str) -> bool:
    """Whether a range such as `[5m]` stands in the query."""
    return _FIXED_RANGE.search(query) is not None


def check_query(query: str, targets: Sequence[Target] | None) -> None:
    """Raise `Refused` unless the query can be filled in for every target (None: the targets are not known)."""
    if not query.strip():
        raise Refused("an empty query", "PromQL")
    if len(query) > MAX_LENGTH:
        raise Refused(f"a query of {len(query):,} characters", f"at most {MAX_LENGTH:,}")
    known = frozenset(FIELDS) if targets is None else frozenset.intersection(*(allowed(t) for t in targets))
    for name in sorted(placeholders(query) - known):
        if targets is None and name.startswith(LABEL_PREFIX):
            continue
        meant = closest(name, known)
        raise Refused(
            f"the placeholder {quoted('$' + name)}, which not every target can fill in",
            listed(f"${k}" for k in sorted(known)),
            None if meant is None else meant.replace('"', '"$', 1),
            offset=_place(query, name),
        )
    if targets:
        try:
            render(query, _awkward(targets), 1.0)
        except TemplateFault as fault:
            raise Refused("a query that cannot be filled in for every target", str(fault).rstrip(".")) from None


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
