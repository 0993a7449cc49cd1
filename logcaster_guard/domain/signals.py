"""Signals, their units and their readings: a number, no number, or a source that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.message import Reason


class Unit(StrEnum):
    """What a signal's number counts; only numbers of one unit are compared or added."""

    RATIO = "ratio"
    SECONDS = "seconds"
    BYTES = "bytes"
    PER_SECOND = "per_second"
    COUNT = "count"


class SourceName(StrEnum):
    """Where a signal is read."""

    PROMETHEUS = "prometheus"
    HTTP = "http"
    KUBERNETES = "kubernetes"
    SCRAPE = "scrape"


class Gap(StrEnum):
    """Why a source that answered gave no number."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not a number"
    INFINITE = "infinite"
    PARTIAL = "partial"
    STALE = "stale"
    LAGGING = "lagging"
    TOO_FEW = "too few requests"
    WRONG_TYPE = "wrong type"
    NO_STATUS = "no HTTP status"
    NOT_BY_POD = "not told apart by pod"
    IMPOSSIBLE = "impossible number"
    NOT_READ = "not read yet"


class Fault(StrEnum):
    """Why a source gave no usable answer."""

    SECRET = "secret unreadable"  # noqa: S105 - the name of a fault
    REFUSED = "connection refused"
    UNREACHABLE = "unreachable"
    NAME_NOT_FOUND = "name not found"
    TIMED_OUT = "timed out"
    TLS = "TLS failure"
    REDIRECTED = "redirected"
    CLIENT_ERROR = "4xx"
    THROTTLED = "429"
    SERVER_ERROR = "5xx"
    TRUNCATED = "truncated"
    TOO_LARGE = "too large"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Value:
    """A finite number, read at `at` (seconds on the guard's monotonic clock), in the signal's base unit.

    `sampled` is when the newest sample behind it was taken (same clock, None: not known); `ceiling` the highest number
    that it can show, as the largest finite bucket of a histogram is.
    """

    at: float
    number: float
    sampled: float | None = field(default=None, compare=False)
    ceiling: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NoData:
    """The source answered and had no number. It is not zero, and it is not a breach."""

    at: float
    gap: Gap
    detail: Reason = ""


@dataclass(frozen=True, slots=True)
class SourceError:
    """The source did not answer usably; the target may be well. `retry_after` is in seconds."""

    at: float
    fault: Fault
    detail: Reason = ""
    retry_after: float | None = None


Reading = Value | NoData | SourceError


class Measure(StrEnum):
    """What is made of series of pods."""

    FAILED_SHARE = "failed / all"
    TOTAL = "sum"
    P95 = "95th percentile"
    HIGHEST = "highest"


@dataclass(frozen=True, slots=True)
class ByPod:
    """How one number is made of a query's series, each of which is of one pod (`domain.fold`).

    `metric` is what people know them by. For a share of failures, `status_label` holds the HTTP status, of whose
    classes (`4`, `5`) `failed` are failures; `example` is PromQL that answers with one series as it was scraped.
    `bucket_unit` is how many seconds a histogram's bounds count in.
    """

    measure: Measure
    metric: str
    status_label: str = ""
    failed: frozenset[str] = frozenset()
    example: str = ""
    bucket_unit: float = 1.0


class Aggregate(StrEnum):
    """What is made of the series of one metric, over all pods of a target."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric that a source reads from the pods themselves, and what is made of its series."""

    metric: str
    aggregate: Aggregate


@dataclass(frozen=True, slots=True)
class Signal:
    """A named number of a target.

    `lookback` is how many seconds behind its instant a reading reaches (0 for an instantaneous one).
    `query` is PromQL, with the target's fields and `$lookback` still to be filled in. The guard's own answers with
    series of pods, which `by_pod` makes one number of; an operator's with that number. With fewer than `min_requests`
    in the lookback there is no data. `apart`: nothing but the target's own pods may be in the number, for judging one
    Deployment against another. `gauge` is an operator's own metric, for a source that is asked without a query.
    """

    name: str
    unit: Unit
    source: SourceName
    lookback: float = 0.0
    query: str | None = None
    by_pod: ByPod | None = None
    min_requests: int = 0
    apart: bool = False
    gauge: Gauge | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One guarded workload. `labels` are extra names for the PromQL templates.

    `kind` is Deployment, StatefulSet or DaemonSet, `deployment` the workload's name whatever its kind is.
    `dry_run`: nothing is written for this target. `environments` are Deployments by the value of `environment_label`:
    the Service's selector names the one that is live, and `deployment` is then the Service's name until it is known.
    `gitops` is what is done where a GitOps controller owns it, None for the policy's.
    """

    name: str
    namespace: str
    deployment: str
    service: str | None = None
    health_url: str | None = None
    traffic_url: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: str = "Deployment"
    dry_run: bool = False
    environments: Mapping[str, str] = field(default_factory=dict)
    environment_label: str = "environment"
    gitops: GitOps | None = None

    def live(self, selector: Mapping[str, str]) -> str | None:
        """The Deployment of the environment that a Service with this selector sends everything to; None if of none."""
        return self.environments.get(selector.get(self.environment_label, ""))

    @property
    def key(self) -> str:
        """`namespace/deployment`, unique in a cluster."""
        return f"{self.namespace}/{self.deployment}"


@dataclass(frozen=True, slots=True)
class Series:
    """A signal's past: `(at, number)` in rising order on the guard's monotonic clock, at most `step` seconds apart.

    A hole wider than `step` means that nothing is known there.
    """

    points: tuple[tuple[float, float], ...]
    step: float


@dataclass(frozen=True, slots=True)
class NoHistory:
    """The source keeps no past."""


History = Series | NoHistory | SourceError


BUILT_IN_UNITS: Mapping[str, Unit] = {
    "error_rate": Unit.RATIO,
    "health_check_fails": Unit.COUNT,
    "p95_latency": Unit.SECONDS,
    "response_time": Unit.SECONDS,
    "slow_responses": Unit.COUNT,
    "memory_usage": Unit.RATIO,
    "restart_count": Unit.COUNT,
    "request_rate": Unit.PER_SECOND,
    "unready_pods": Unit.COUNT,
    "rollout_stalled": Unit.COUNT,
}


def is_lagging(reading: Reading) -> bool:
    """Whether the source has only old data of it: that is the fault of what stores or sends the metrics."""
    return isinstance(reading, NoData) and reading.gap is Gap.LAGGING


_ROUNDING = 1e-9


def possible(signal: Signal, number: float) -> bool:
    """Whether the signal can have this number: none of the built-in ones is below 0, nor more than all requests fail.

    An operator's own signal, whatever its unit, may be below 0 and a ratio above 1.
    """
    if signal.name not in BUILT_IN_UNITS:
        return True
    return number >= -_ROUNDING and (signal.name != "error_rate" or number <= 1 + _ROUNDING)
