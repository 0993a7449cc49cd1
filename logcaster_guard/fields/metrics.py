"""The section about what the service calls its metrics, which several sources read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from logcaster_guard.fields.section import Metric, Section

POD_SELECTOR = 'namespace="$namespace", pod=~"$pods"'
"""Label matchers that find the series of a target's pods."""


class MetricsSection(Section):
    """What the service calls its metrics: for the built-in PromQL and for scraping alike."""

    selector: str = Field(
        default=POD_SELECTOR,
        title="PromQL",
        description="label matchers that find the target's series; placeholders as in `query`",
    )
    requests: Metric = Field(default="http_requests_total", description="counter of requests")
    status_label: Metric = Field(default="status", description="its label with the HTTP status")
    duration: Metric = Field(
        default="http_request_duration_seconds", description="histogram of request durations, without `_bucket`"
    )
    duration_unit: Literal["seconds", "milliseconds"] = Field(
        default="seconds", description="`seconds`, or `milliseconds` as Istio, Linkerd and Envoy count"
    )
    memory: Metric = Field(
        default="process_resident_memory_bytes",
        description=("gauge of a process's memory, used for pods whose containers' memory or limits are not known"),
    )
    client_errors_count: bool = Field(
        default=True, description="whether 4xx answers count as failed; 5xx always do, 2xx and 3xx never"
    )

    @property
    def seconds_per_unit(self) -> float:
        """How many seconds `duration` counts in."""
        return 0.001 if self.duration_unit == "milliseconds" else 1.0
