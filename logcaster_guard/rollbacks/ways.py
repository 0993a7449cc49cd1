"""Every way back that there is: a new one is a file of its own and a row here."""

from __future__ import annotations

from logcaster_guard.rollbacks import alert_then, blue_green, config, env, gradual, immediate
from logcaster_guard.rollbacks.way_back import WayBack

WAYS: tuple[WayBack, ...] = (immediate.WAY, gradual.WAY, blue_green.WAY, env.WAY, config.WAY, alert_then.WAY)
