"""The guard as a container of the very pods that it guards: what of a pod template is its own.

Its container is known by its name. A release is the template without it, so that another version of the guard is no
release; and a release that is restored takes in the guard as it is now, so that a rollback neither rolls the guard back
nor removes it. Its volumes are those that nobody else mounts. Whatever is the pod's as a whole (its ServiceAccount, its
security context) belongs to the release.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

CONTAINER = "logcaster-guard"
"""The name of the guard's container, and of an init container of its own."""

_LISTS = ("initContainers", "containers")


def is_guard(container: Mapping[str, Any]) -> bool:
    """Whether a container, or its status, is the guard's."""
    return container.get("name") == CONTAINER


def holds_guard(template: Mapping[str, Any]) -> bool:
    """Whether the guard is a container of the pods."""
    spec = template.get("spec")
    lists = [spec.get(field) for field in _LISTS] if isinstance(spec, dict) else []
    return any(isinstance(c, dict) and is_guard(c) for row in lists if isinstance(row, list) for c in row)


def account_of(template: Mapping[str, Any]) -> str:
    """The ServiceAccount that the pods run as."""
    spec = template.get("spec") or {}
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def without_guard(template: Mapping[str, Any]) -> Json:
    """The pod template as if there were no guard in it."""
    if not holds_guard(template):
        return dict(template)
    spec: Json = dict(template["spec"])
    own, others = _mounted(spec, guard=True), _mounted(spec, guard=False)
    for field in _LISTS:
        _set(spec, field, [c for c in spec.get(field) or [] if not is_guard(c)])
    _set(spec, "volumes", [v for v in spec.get("volumes") or [] if v.get("name") not in own - others])
    return {**template, "spec": spec}


def with_guard_of(template: Mapping[str, Any], present: Mapping[str, Any]) -> Json:
    """`template` with the guard's containers as `present` has them, and the volumes that they mount."""
    restored = without_guard(template)
    if not holds_guard(present):
        return restored
    spec, now = dict(restored.get("spec") or {}), present["spec"]
    for field in _LISTS:
        row = list(spec.get(field) or [])
        for index, container in enumerate(now.get(field) or []):
            if is_guard(container):
                row.insert(index, copy.deepcopy(container))
        _set(spec, field, row)
    kept = list(spec.get("volumes") or [])
    missing = _mounted(now, guard=True) - {v.get("name") for v in kept}
    _set(spec, "volumes", [*kept, *(copy.deepcopy(v) for v in now.get("volumes") or [] if v.get("name") in missing)])
    return {**restored, "spec": spec}


def _mounted(spec: Mapping[str, Any], *, guard: bool) -> set[str]:
    """The volumes that the guard's containers mount, or the others."""
    containers: Iterable[Mapping[str, Any]] = (c for field in _LISTS for c in spec.get(field) or [])
    return {
        str(mount.get("name"))
        for c in containers
        if is_guard(c) is guard
        for mount in [*(c.get("volumeMounts") or []), *(c.get("volumeDevices") or [])]
    }


def _set(spec: Json, field: str, row: list[Any]) -> None:
    if row:
        spec[field] = row
    else:
        spec.pop(field, None)
