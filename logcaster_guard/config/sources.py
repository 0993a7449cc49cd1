"""The sections of `guard.yaml` about where signals are read, and what the service calls its metrics."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from logcaster_guard.config.durations import show_duration
from logcaster_guard.config.faults import Refused, described
from logcaster_guard.config.promql import POD_SELECTOR
from logcaster_guard.config.schema import (
    BaseUrl,
    Duration,
    Metric,
    PathName,
    SecretSource,
    Section,
    Size,
    WholeNumber,
    pattern_of,
)
from logcaster_guard.domain.signals import SourceName, Unit

_HTTP_PATH = re.compile(r"/[\x21-\x22\x24-\x3e\x40-\x7e]{0,500}")


def _check_http_path(text: str) -> str:
    if not _HTTP_PATH.fullmatch(text):
        raise Refused(described(text), "a path that starts with /, without ? or #")
    return text


class PrometheusSection(Section):
    """The Prometheus that answers PromQL; `url: null` for none."""

    url: BaseUrl | None = "http://prometheus:9090"
    timeout: Duration = 10.0
    max_bytes: Size = 8 << 20
    max_series: WholeNumber = 20_000
    min_requests: WholeNumber = 100
    token: SecretSource | None = None
    ca_file: PathName | None = None
    dialect: Literal["promql", "metricsql"] = "promql"


class HttpSection(Section):
    """The guard's own requests to the health and traffic addresses."""

    timeout: Duration = 5.0
    slow_after: Duration = 2.0
    proxy: BaseUrl | None = None
    max_bytes: Size = 1 << 20

    @model_validator(mode="after")
    def _slow_answers_arrive(self) -> HttpSection:
        if self.slow_after >= self.timeout:
            raise Refused(
                f"slow_after of {show_duration(self.slow_after)} with a timeout of {show_duration(self.timeout)}",
                "a slow_after shorter than the timeout, else no answer is ever slow",
                key=("slow_after",),
            )
        return self


class KubernetesSection(Section):
    """The API server; `kubeconfig: null` means the pod's service account, or the default kubeconfig outside a pod."""

    kubeconfig: PathName | None = None
    context: str | None = None
    timeout: Duration = 10.0


class ScrapeSection(Section):
    """The pods' own /metrics, for a guard without Prometheus."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 9999
    path: Annotated[str, AfterValidator(_check_http_path), pattern_of(_HTTP_PATH)] = "/metrics"
    timeout: Duration = 5.0
    max_bytes: Size = 4 << 20
    max_series: WholeNumber = 20_000
    min_requests: WholeNumber = 100
    proxy: BaseUrl | None = None


class SourcesSection(Section):
    """Where signals are read."""

    prometheus: PrometheusSection = PrometheusSection()
    http: HttpSection = HttpSection()
    kubernetes: KubernetesSection = KubernetesSection()
    scrape: ScrapeSection = ScrapeSection()


class MetricsSection(Section):
    """What the service calls its metrics: for the built-in PromQL and for scraping alike."""

    selector: str = POD_SELECTOR
    requests: Metric = "http_requests_total"
    status_label: Metric = "status"
    duration: Metric = "http_request_duration_seconds"
    duration_unit: Literal["seconds", "milliseconds"] = "seconds"
    memory: Metric = "process_resident_memory_bytes"
    client_errors_count: bool = True

    @property
    def seconds_per_unit(self) -> float:
        """How many seconds `duration` counts in."""
        return 0.001 if self.duration_unit == "milliseconds" else 1.0


class SignalSection(Section):
    """How one signal is read; what is left out of a built-in signal keeps its default."""

    source: Annotated[SourceName, Strict(False)] | None = None
    query: str | None = None
    lookback: Duration | None = None
    unit: Annotated[Unit, Strict(False)] | None = None
