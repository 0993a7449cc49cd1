"""Source `prometheus`: PromQL over Prometheus' HTTP API."""

from logcaster_guard.adapters.plugin_types import SourcePlugin
from logcaster_guard.adapters.sources.prometheus.section import PrometheusSection
from logcaster_guard.adapters.sources.prometheus.source import PrometheusSource
from logcaster_guard.domain.signals import SourceName

__all__ = ["PLUGIN", "PrometheusSection", "PrometheusSource"]

_MEASURED = frozenset({"error_rate", "request_rate", "p95_latency", "memory_usage"})
PLUGIN = SourcePlugin(
    name=SourceName.PROMETHEUS,
    section=PrometheusSection,
    meaning="the Prometheus that answers PromQL",
    make=lambda section, services: None if section.url is None else PrometheusSource(section, services),
    answers=_MEASURED,
    looks_back=_MEASURED,
)
