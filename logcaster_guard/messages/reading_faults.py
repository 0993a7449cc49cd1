"""Why a source gave no reading of a signal, as messages. Lengths of time are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.addresses import Forbidden
from logcaster_guard.domain.message import Message, Reason


class LineFault(StrEnum):
    """What is wrong with a line of metrics."""

    NOT_TEXT = "not_text"
    REPEATS_SERIES = "repeats_series"
    NOT_UTF8 = "not_utf8"
    NO_VALUE = "no_value"
    REPEATS_LABEL = "repeats_label"
    BAD_LABELS = "bad_labels"


@dataclass(frozen=True, slots=True)
class ClockApart(Message):
    """A sample's time differs from the present."""

    seconds: float
    ahead: bool
    kind: Literal["gap.clock_apart"] = "gap.clock_apart"


@dataclass(frozen=True, slots=True)
class Infinity(Message):
    """An infinite number."""

    positive: bool
    kind: Literal["gap.infinity"] = "gap.infinity"


@dataclass(frozen=True, slots=True)
class NewestSampleOld(Message):
    """The newest sample of a metric is old."""

    metric: str
    seconds: float
    kind: Literal["gap.newest_sample_old"] = "gap.newest_sample_old"


@dataclass(frozen=True, slots=True)
class OwnQueryUnsplit(Message):
    """An operator's own query names no pods."""

    kind: Literal["gap.own_query_unsplit"] = "gap.own_query_unsplit"


@dataclass(frozen=True, slots=True)
class NoQuery(Message):
    """The signal has no query."""

    signal: str
    kind: Literal["gap.no_query"] = "gap.no_query"


@dataclass(frozen=True, slots=True)
class QueryNamesNoPods(Message):
    """The signal's query does not name the target's pods."""

    signal: str
    kind: Literal["gap.query_names_no_pods"] = "gap.query_names_no_pods"


@dataclass(frozen=True, slots=True)
class LabelsAre(Message):
    """Which labels the series have instead; there may be none known."""

    gap: Reason
    labels: tuple[str, ...]
    kind: Literal["gap.labels_are"] = "gap.labels_are"


@dataclass(frozen=True, slots=True)
class LastScrapeOld(Message):
    """The last scrape is old."""

    seconds: float
    kind: Literal["gap.last_scrape_old"] = "gap.last_scrape_old"


@dataclass(frozen=True, slots=True)
class NoPods(Message):
    """The target has no pods."""

    kind: Literal["gap.no_pods"] = "gap.no_pods"


@dataclass(frozen=True, slots=True)
class PodsUnscraped(Message):
    """Some pods could not be scraped."""

    lost: int
    pods: int
    kind: Literal["gap.pods_unscraped"] = "gap.pods_unscraped"


@dataclass(frozen=True, slots=True)
class NoneScraped(Message):
    """None of these pods was scraped then."""

    kind: Literal["gap.none_scraped"] = "gap.none_scraped"


@dataclass(frozen=True, slots=True)
class NoMemoryLimit(Message):
    """No pod has both a limit and the metric."""

    metric: str
    kind: Literal["gap.no_memory_limit"] = "gap.no_memory_limit"


@dataclass(frozen=True, slots=True)
class NoPodHas(Message):
    """No pod has the metric."""

    metric: str
    kind: Literal["gap.no_pod_has"] = "gap.no_pod_has"


@dataclass(frozen=True, slots=True)
class OneScrapeSoFar(Message):
    """A rate needs two scrapes."""

    kind: Literal["gap.one_scrape"] = "gap.one_scrape"


@dataclass(frozen=True, slots=True)
class NoStatusOn(Message):
    """Series without a status on some of the pods."""

    metric: str
    label: str
    lacking: int
    pods: int
    kind: Literal["gap.no_status_on"] = "gap.no_status_on"


@dataclass(frozen=True, slots=True)
class NoTraffic(Message):
    """No requests came."""

    seconds: float
    kind: Literal["gap.no_traffic"] = "gap.no_traffic"


@dataclass(frozen=True, slots=True)
class NoIp(Message):
    """The pod has no address."""

    kind: Literal["scrape.no_ip"] = "scrape.no_ip"


@dataclass(frozen=True, slots=True)
class IpForbidden(Message):
    """The pod's address is none that the guard speaks to."""

    address: str
    why: Forbidden
    kind: Literal["scrape.ip_forbidden"] = "scrape.ip_forbidden"


@dataclass(frozen=True, slots=True)
class NoSuchSignal(Message):
    """The source has no such signal; `known` are those it has, as far as told."""

    source: str
    signal: str
    known: tuple[str, ...]
    kind: Literal["source.no_such_signal"] = "source.no_such_signal"


@dataclass(frozen=True, slots=True)
class NeedsLookback(Message):
    """The signal cannot be read without a lookback."""

    signal: str
    kind: Literal["source.needs_lookback"] = "source.needs_lookback"


@dataclass(frozen=True, slots=True)
class NoneOfPodsScraped(Message):
    """No pod could be scraped."""

    pods: int
    detail: Reason
    kind: Literal["scrape.none"] = "scrape.none"


@dataclass(frozen=True, slots=True)
class MetricsCut(Message):
    """The metrics end too early."""

    kind: Literal["scrape.cut"] = "scrape.cut"


@dataclass(frozen=True, slots=True)
class MetricsTooLong(Message):
    """Too many lines."""

    most: int
    kind: Literal["scrape.too_long"] = "scrape.too_long"


@dataclass(frozen=True, slots=True)
class SeriesTooMany(Message):
    """Too many series."""

    most: int
    kind: Literal["scrape.too_many"] = "scrape.too_many"


@dataclass(frozen=True, slots=True)
class LineUnreadable(Message):
    """A line of the metrics is wrong; `label` is what is repeated, or empty."""

    line: int
    fault: LineFault
    label: str
    kind: Literal["scrape.line"] = "scrape.line"


@dataclass(frozen=True, slots=True)
class NoUrl(Message):
    """The target has no such URL."""

    key: str
    kind: Literal["probe.no_url"] = "probe.no_url"


@dataclass(frozen=True, slots=True)
class OfUrl(Message):
    """The exchange with one of the target's URLs failed."""

    key: str
    failure: Reason
    kind: Literal["probe.of_url"] = "probe.of_url"


@dataclass(frozen=True, slots=True)
class DescribedOddly(Message):
    """The API server described the target in an odd way."""

    target: str
    error: str
    kind: Literal["kubernetes.described_oddly"] = "kubernetes.described_oddly"


@dataclass(frozen=True, slots=True)
class NoPresentPod(Message):
    """The workload has no pod of its present release."""

    workload: str
    kind: Literal["kubernetes.no_present_pod"] = "kubernetes.no_present_pod"


@dataclass(frozen=True, slots=True)
class ViewOld(Message):
    """What is shared of the cluster is old."""

    what: str
    namespace: str
    seconds: float
    kind: Literal["kubernetes.view_old"] = "kubernetes.view_old"
