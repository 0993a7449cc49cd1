"""Which autoscalers own a workload's size, and which of them KEDA keeps as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.workload import Workload

SCALED_OBJECT = "scaledobject.keda.sh/name"
"""KEDA's own label on an autoscaler that it makes."""


def scales(autoscaler: Mapping[str, Any], workload: Workload) -> bool:
    """Whether this HorizontalPodAutoscaler owns the workload's replica count."""
    reference = autoscaler["spec"].get("scaleTargetRef") or {}
    return reference.get("kind") == workload.kind and reference.get("name") == workload.name


def scaled_object(autoscaler: Mapping[str, Any]) -> str | None:
    """The ScaledObject from which KEDA makes this autoscaler, whose bounds it keeps as they are there; else None."""
    return (autoscaler["metadata"].get("labels") or {}).get(SCALED_OBJECT)
