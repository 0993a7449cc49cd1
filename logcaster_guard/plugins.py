"""Every source and channel that there is. Settings, schema, documentation and the guard's parts go over these rows."""

from __future__ import annotations

from typing import Any

from logcaster_guard.adapters.channels import slack, webhook
from logcaster_guard.adapters.kubernetes import event_channel, signals
from logcaster_guard.adapters.plugin_types import ChannelPlugin, SourcePlugin
from logcaster_guard.adapters.sources import probe, prometheus, scrape

SOURCES: tuple[SourcePlugin[Any], ...] = (prometheus.PLUGIN, probe.PLUGIN, signals.PLUGIN, scrape.PLUGIN)
"""In the order of their keys; of two that answer a signal, the first is its default."""

CHANNELS: tuple[ChannelPlugin, ...] = (slack.PLUGIN, webhook.PLUGIN, event_channel.PLUGIN)
"""In the order of their keys."""
