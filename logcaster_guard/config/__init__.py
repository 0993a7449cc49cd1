"""Configuration: files in, domain values or faults out."""

from logcaster_guard.config.faults import ConfigFault
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.config.settings import Settings, default_settings

__all__ = ["ConfigFault", "Loaded", "Settings", "default_settings", "load"]
