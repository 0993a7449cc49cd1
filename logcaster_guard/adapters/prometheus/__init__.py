"""Source `prometheus`: PromQL over Prometheus' HTTP API."""

from logcaster_guard.adapters.prometheus.source import PrometheusSource

__all__ = ["PrometheusSource"]
