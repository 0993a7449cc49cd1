"""Source `scrape`: the pods' own `/metrics`, for a guard without Prometheus."""

from logcaster_guard.adapters.plugin_types import SourcePlugin
from logcaster_guard.adapters.sources.scrape.past import MEMORY_USAGE, SIGNALS
from logcaster_guard.adapters.sources.scrape.section import ScrapeSection
from logcaster_guard.adapters.sources.scrape.source import ScrapeSource
from logcaster_guard.domain.signals import SourceName

__all__ = ["PLUGIN", "ScrapeSection", "ScrapeSource"]

PLUGIN = SourcePlugin(
    name=SourceName.SCRAPE,
    section=ScrapeSection,
    meaning="the pods' own metrics, for a guard without Prometheus",
    make=ScrapeSource,
    answers=SIGNALS,
    looks_back=SIGNALS - {MEMORY_USAGE},
    own_metrics=True,
)
