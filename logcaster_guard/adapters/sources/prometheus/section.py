"""The settings of the source `prometheus`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from logcaster_guard.fields.section import BaseUrl, Duration, PathName, SecretSource, Section, Size, WholeNumber


class PrometheusSection(Section):
    """The Prometheus that answers PromQL; `url: null` for none."""

    url: BaseUrl | None = Field(
        default="http://prometheus:9090", description="without a query string; `null`: there is none"
    )
    timeout: Duration = Field(default=10.0, description="for a whole answer")
    max_bytes: Size = Field(default=8 << 20, description="larger answers are refused")
    max_series: WholeNumber = Field(default=20_000, description="answers with more series are refused")
    min_requests: WholeNumber = Field(
        default=100,
        description=(
            "with fewer requests in the lookback `error_rate` and `p95_latency` have no data; not "
            "for queries of one's own"
        ),
    )
    token: SecretSource | None = Field(default=None, description="bearer token")
    ca_file: PathName | None = Field(default=None, description="certificates that are trusted instead of the system's")
    dialect: Literal["promql", "metricsql"] = Field(
        default="promql", description="`metricsql` for VictoriaMetrics: what is no PromQL is warned of, not refused"
    )
