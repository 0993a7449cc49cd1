"""Who wrote a field of an object, by its `managedFields`.

Convention: each entry names a field manager, the instant at which it last changed any of its fields, and in `fieldsV1`
the fields that it owns, as a tree of `f:<name>` keys (API reference, ManagedFieldsEntry).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.provenance_reasons import FieldManager

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


def written_by(raw: Mapping[str, Any], *paths: tuple[str, ...], since: datetime) -> Reason:
    """` (field manager kubectl-edit, 2026-01-01T10:00:00Z)`: who owns the field at one of `paths` and wrote last.

    Only whoever wrote since then can have changed it: where somebody removed something, which nobody owns then, the
    owner of what is left is not blamed. What is written through `scale` has no date (seen on v1.36). The guard itself
    never counts. Empty where nobody is to be named.
    """
    return _last(raw, lambda entry: any(_owns(entry, path) for path in paths), since)


def annotated_by(raw: Mapping[str, Any], annotation: str) -> Reason:
    """Likewise, who owns an annotation: whoever gave it its present value."""
    return written_by(raw, ("metadata", "annotations", annotation), since=_EVER)


def released_by(raw: Mapping[str, Any], *, since: datetime) -> Reason:
    """Likewise, who last wrote a part of a workload's pod template that tells one release from another."""
    return _last(raw, owns_release, since)


def owns_release(entry: Entry) -> bool:
    """Whether an entry owns a part of the template that tells one release from another."""
    template = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:template") or {}
    metadata = {k for k in template.get("f:metadata") or {} if k not in {".", "f:annotations"}}
    return bool(metadata or set(template) - {".", "f:metadata"})


def _last(raw: Mapping[str, Any], owns: Callable[[Entry], bool], since: datetime) -> Reason:
    owners = [e for e in entries_of(raw) if e.get("manager") != MANAGER and owns(e)]
    dated = [(at, e) for e in owners if (at := _at(e)) is not None and at >= since - SKEW]
    if dated:
        at, last = max(dated, key=lambda found: found[0])
        return FieldManager(_name(last), at)
    scaled = [e for e in owners if e.get("subresource") == "scale"]
    return FieldManager(_name(scaled[-1]), None) if scaled else ""


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


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """Who owns a field: a manager, by `Apply` or by `Update`, of an API version, perhaps through a subresource.

    `path` is dotted: `spec.replicas`.
    """

    path: str
    manager: str
    operation: str
    api_version: str
    subresource: str = ""


def owners_of(raw: Mapping[str, Any], *paths: tuple[str, ...]) -> tuple[FieldOwner, ...]:
    """Everybody but the guard who owns one of these fields."""
    return tuple(
        FieldOwner(
            ".".join(path),
            str(entry.get("manager", "")),
            str(entry.get("operation", "")),
            str(entry.get("apiVersion", "")),
            str(entry.get("subresource", "")),
        )
        for path in paths
        for entry in entries_of(raw)
        if entry.get("manager") != MANAGER and _owns(entry, path)
    )


def is_guards(raw: Mapping[str, Any], *paths: tuple[str, ...]) -> bool:
    """Whether the guard owns one of these fields."""
    return any(e.get("manager") == MANAGER and _owns(e, path) for e in entries_of(raw) for path in paths)


def handed_back(
    raw: Mapping[str, Any], owners: Sequence[FieldOwner], *paths: tuple[str, ...]
) -> list[dict[str, Any]]:  # fmt: skip
    """The object's `managedFields` with these fields the guard's no more, but `owners`'."""
    found: list[dict[str, Any]] = []
    for entry in entries_of(raw):
        kept = copy.deepcopy(dict(entry))
        if entry.get("manager") == MANAGER:
            for path in paths:
                _drop(kept.get("fieldsV1") or {}, path)
            if not _says_anything(kept.get("fieldsV1") or {}):
                continue
        found.append(kept)
    for owner in owners:
        path = tuple(owner.path.split("."))
        if path not in paths or not is_guards(raw, path):
            continue
        mine = [e for e in found if _is_of(e, owner)] or [_added(found, owner)]
        node = mine[0]["fieldsV1"]
        for name in path:
            node = node.setdefault(f"f:{name}", {})
    return found


def _is_of(entry: Entry, owner: FieldOwner) -> bool:
    whose = (entry.get("manager"), entry.get("operation"), entry.get("apiVersion"), entry.get("subresource", ""))
    return whose == (owner.manager, owner.operation, owner.api_version, owner.subresource)


def _added(found: list[dict[str, Any]], owner: FieldOwner) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": owner.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": {},
    }
    if owner.subresource:
        entry["subresource"] = owner.subresource
    found.append(entry)
    return entry


def _drop(fields: dict[str, Any], path: tuple[str, ...]) -> None:
    name = f"f:{path[0]}"
    if name not in fields:
        return
    if len(path) > 1:
        _drop(fields[name], path[1:])
    if len(path) == 1 or not _says_anything(fields[name]):
        del fields[name]


def _says_anything(fields: Mapping[str, Any]) -> bool:
    return bool(fields.keys() - {"."})
