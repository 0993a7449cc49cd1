"""Who wrote a field of an object, by its `managedFields`.

Convention: each entry names a field manager, the instant at which it last changed any of its fields, and in `fieldsV1`
the fields that it owns, as a tree of `f:<name>` keys (API reference, ManagedFieldsEntry).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Entry = Mapping[str, Any]

MANAGER = "logcaster-guard"
"""The guard's own field manager."""

PAUSED = ("spec", "paused")
REPLICAS = ("spec", "replicas")
SELECTOR = ("spec", "selector")
MINIMUM = ("spec", "minReplicas")
MAXIMUM = ("spec", "maxReplicas")

_EVER = datetime(1970, 1, 2, tzinfo=UTC)

SKEW = timedelta(minutes=1)
"""By how much the API server's clock may be behind the guard's."""


def entries_of(raw: Mapping[str, Any]) -> list[Entry]:
    """The entries of an object's `managedFields`."""
    return (raw.get("metadata") or {}).get("managedFields") or []


def written_by(raw: Mapping[str, Any], *paths: tuple[str, ...], since: datetime) -> str:
    """` (field manager kubectl-edit, 2026-01-01T10:00:00Z)`: who owns the field at one of `paths` and wrote last.

    Only whoever wrote since then can have changed it: where somebody removed something, which nobody owns then, the
    owner of what is left is not blamed. What is written through `scale` has no date (seen on v1.36). The guard itself
    never counts. Empty where nobody is to be named.
    """
    return _last(raw, lambda entry: any(_owns(entry, path) for path in paths), since)


def annotated_by(raw: Mapping[str, Any], annotation: str) -> str:
    """Likewise, who owns an annotation: whoever gave it its present value."""
    return written_by(raw, ("metadata", "annotations", annotation), since=_EVER)


def released_by(raw: Mapping[str, Any], *, since: datetime) -> str:
    """Likewise, who last wrote a part of a workload's pod template that tells one release from another."""
    return _last(raw, owns_release, since)


def owns_release(entry: Entry) -> bool:
    """Whether an entry owns a part of the template that tells one release from another."""
    template = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:template") or {}
    metadata = {k for k in template.get("f:metadata") or {} if k not in {".", "f:annotations"}}
    return bool(metadata or set(template) - {".", "f:metadata"})


def _last(raw: Mapping[str, Any], owns: Callable[[Entry], bool], since: datetime) -> str:
    owners = [e for e in entries_of(raw) if e.get("manager") != MANAGER and owns(e)]
    dated = [(at, e) for e in owners if (at := _at(e)) is not None and at >= since - SKEW]
    if dated:
        at, last = max(dated, key=lambda found: found[0])
        return f" (field manager {_name(last)}, {at:%Y-%m-%dT%H:%M:%SZ})"
    scaled = [e for e in owners if e.get("subresource") == "scale"]
    return f" (field manager {_name(scaled[-1])})" if scaled else ""


def _name(entry: Entry) -> str:
    return str(entry.get("manager", ""))[:128]


def _at(entry: Entry) -> datetime | None:
    text = entry.get("time")
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _owns(entry: Entry, path: tuple[str, ...]) -> bool:
    node = entry.get("fieldsV1") or {}
    for name in path:
        node = node.get(f"f:{name}")
        if node is None:
            return False
    return True
