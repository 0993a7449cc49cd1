"""Whether pods will ever start, by what the kubelet says of their containers.

A registry that is away and a node that is short of memory pass; an image that is not there, a name that is none, and a
ConfigMap that was pruned do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from logcaster_guard.domain.capacity import is_serving
from logcaster_guard.domain.step_observations import ContainerWaits
from logcaster_guard.domain.workload import instant

AT_ONCE = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Reasons that no time mends."""

IN_TIME = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
"""Reasons that may pass: they count once a pod has not got further for `PATIENCE`."""

PATIENCE = 30.0
"""Seconds: long enough for the kubelet's second pull, ten seconds after the first."""

_NAMES_WHAT_IS_ABSENT = frozenset({"ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"})
"""Reasons that tell of an image or of a configuration; a runtime that finds no sandbox or snapshot may find it next."""

LOOPING, CRASHES = "CrashLoopBackOff", 3
"""A container that was started again so often, and waits for the next time, will not stay up."""

_ABSENT = re.compile(r"not found|manifest unknown|does not exist|couldn't find key", re.IGNORECASE)
"""What is not there: it is not waited for."""

_LONGEST = 300


def never_starts(pods: Iterable[Mapping[str, Any]], now: datetime, *, lasted: float) -> ContainerWaits | None:
    """Why no pod of a release will ever start, in the kubelet's words; None while that is not sure.

    `pods` are all of the release's, `lasted` is for how long (in seconds) they are waited for. Where one of them
    serves, only what is not there keeps the others from starting.
    """
    waiting = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    alone = not any(is_serving(p, None) for p in waiting)
    for pod in waiting:
        created = instant(pod["metadata"].get("creationTimestamp"))
        age = 0.0 if created is None else min(lasted, (now - created).total_seconds())
        for container in _containers(pod):
            if _is_absent(container) or (alone and _stays(container, age)):
                return _seen(pod["metadata"]["name"], container)
    return None


def held_up(pod: Mapping[str, Any]) -> bool:
    """Whether a container waits for one of the reasons that may keep it from ever starting."""
    return any(_reason(c) in {*AT_ONCE, *IN_TIME, LOOPING} for c in _containers(pod))


def _containers(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waiting(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return (container.get("state") or {}).get("waiting") or {}


def _reason(container: Mapping[str, Any]) -> str:
    return str(_waiting(container).get("reason") or "")


def _message(container: Mapping[str, Any]) -> str:
    return " ".join(str(_waiting(container).get("message") or "").split())[:_LONGEST]


def _is_absent(container: Mapping[str, Any]) -> bool:
    reason = _reason(container)
    named = reason in _NAMES_WHAT_IS_ABSENT and _ABSENT.search(_message(container)) is not None
    return named or reason in AT_ONCE


def _stays(container: Mapping[str, Any], age: float) -> bool:
    """Whether what may pass has not passed for long enough."""
    reason = _reason(container)
    return (reason in IN_TIME and age >= PATIENCE) or (reason == LOOPING and _restarts(container) >= CRASHES)


def _restarts(container: Mapping[str, Any]) -> int:
    return int(container.get("restartCount") or 0)


def _seen(pod: str, container: Mapping[str, Any]) -> ContainerWaits:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    code = f"{ended['exitCode']} {ended.get('reason') or ''}".rstrip() if "exitCode" in ended else ""
    name, reason = str(container.get("name")), _reason(container)
    return ContainerWaits(name, pod, reason, _restarts(container), code, _message(container))
