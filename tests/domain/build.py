"""Short spellings of the domain's values, for tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from logcaster_guard.domain.conditions import Comparator, Compare, NoDataPolicy, Number, SignalRef
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.workload import HASH_LABEL, REVISION, REVISION_HISTORY

START = datetime(2026, 1, 1, tzinfo=UTC)
UID = "deployment-uid"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def rule(
    name: str = "high_error_rate",
    *,
    signal: str = "error_rate",
    above: float = 0.05,
    duration: float = 300.0,
    action: Action = Action.IMMEDIATE,
    no_data: NoDataPolicy = NoDataPolicy.HOLD,
    rollout_window: float | None = 86_400.0,
) -> Rule:
    return Rule(
        name=name,
        text=f"{signal} > {above:g}",
        condition=Compare(Comparator.GT, SignalRef(signal), Number(above)),
        duration=duration,
        action=action,
        no_data=no_data,
        rollout_window=rollout_window,
    )


def template(
    image: str = "logcaster/logcaster-c:1.0",
    *,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    **container: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {"app": "logcaster", **(labels or {})}}
    if annotations is not None:
        metadata["annotations"] = dict(annotations)
    return {"metadata": metadata, "spec": {"containers": [{"name": "logcaster", "image": image, **container}]}}


def deployment(
    pod_template: Mapping[str, Any] | None = None,
    *,
    replicas: int = 3,
    annotations: Mapping[str, str] | None = None,
    managed_fields: Sequence[Mapping[str, Any]] = (),
    uid: str = UID,
    **spec: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "logcaster-prod",
            "namespace": "default",
            "uid": uid,
            "resourceVersion": "7",
            "generation": 4,
            "annotations": dict(annotations or {}),
            "managedFields": list(managed_fields),
        },
        "spec": {"replicas": replicas, "template": dict(pod_template or template()), **spec},
        "status": {"observedGeneration": 4},
    }


def replica_set(
    number: int,
    image: str,
    created: float,
    *,
    earlier: Sequence[int] = (),
    uid: str | None = None,
    owner: str = UID,
) -> dict[str, Any]:
    notes = {REVISION: str(number)}
    if earlier:
        notes[REVISION_HISTORY] = ",".join(map(str, earlier))
    return {
        "metadata": {
            "name": f"logcaster-prod-{image}",
            "namespace": "default",
            "uid": uid or f"rs-{image}",
            "annotations": notes,
            "creationTimestamp": at(created).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ownerReferences": [{"uid": owner, "controller": True, "kind": "Deployment", "name": "logcaster-prod"}],
        },
        "spec": {"template": template(image, labels={HASH_LABEL: image})},
    }


def pod(labels: Mapping[str, str] | None = None, *, ready: bool = True, going: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {"app": "logcaster", **(labels or {})}}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}
