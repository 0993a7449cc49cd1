"""Source `scrape`: the pods' own `/metrics`, for a guard without Prometheus."""

from logcaster_guard.adapters.scrape.metrics import MetricNames
from logcaster_guard.adapters.scrape.source import Endpoint, ScrapeSource

__all__ = ["Endpoint", "MetricNames", "ScrapeSource"]
