"""Configuration: files in, domain values or faults out."""

from logcaster_guard.config.loading import Faults, Loaded, load
from logcaster_guard.config.settings import Settings, default_settings
from logcaster_guard.fields.faults import ConfigFault

__all__ = ["ConfigFault", "Faults", "Loaded", "Settings", "default_settings", "load"]
