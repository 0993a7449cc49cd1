"""An embedded Kubernetes API server with the controllers that a Deployment needs. No kubelet, no scheduler."""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.clock import Clock, SystemClock
from logcaster_guard.sandbox.apiserver.server import ApiServer, AuditEntry

__all__ = ["ApiServer", "AuditEntry", "Clock", "SystemClock"]
