"""Pods that never start are told from pods that may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from logcaster_guard.domain.startup import PATIENCE, held_up, never_starts
from logcaster_guard.messages.texts import english
from tests.domain.build import at

NOW = at(1_000.0)


def pod(
    reason: str = "", message: str = "", *, age: float = 600.0, restarts: int = 0, ready: bool = False, part: str = ""
) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}} if reason else {"running": {}}
    container = {"name": "app", "restartCount": restarts, "state": state}
    created = (NOW - timedelta(seconds=age)).isoformat()
    return {
        "metadata": {"name": "web-1", "creationTimestamp": created},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            f"{part or 'container'}{'ContainerStatuses' if part else 'Statuses'}": [container],
        },
    }


@pytest.mark.parametrize(
    ("found", "lasted", "words"),
    [
        (pod("InvalidImageName", age=0.0), 0.0, "InvalidImageName"),
        (pod("ImagePullBackOff", 'Back-off pulling image "x:1": NotFound: not found', age=0.0), 0.0, "not found"),
        (pod("ErrImagePull", "toomanyrequests", age=5.0), 600.0, None),
        (pod("ErrImagePull", "toomanyrequests", age=600.0), 5.0, None),
        (pod("ImagePullBackOff", "i/o timeout", age=PATIENCE), PATIENCE, "i/o timeout"),
        (pod("CreateContainerConfigError", 'configmap "web" not found', age=0.0), 0.0, 'configmap "web" not found'),
        (pod("CreateContainerConfigError", "failed to sync configmap cache", age=1.0), 600.0, None),
        (pod("CrashLoopBackOff", "back-off 20s", restarts=2), 600.0, None),
        (pod("CrashLoopBackOff", "back-off 40s", restarts=3), 1.0, "CrashLoopBackOff (3 restarts): back-off 40s"),
        (pod("ImagePullBackOff", "i/o timeout", part="init"), 600.0, "i/o timeout"),
        (pod("ContainerCreating"), 600.0, None),
        (pod(), 600.0, None),
    ],
)
def test_what_passes_is_waited_for_and_what_does_not_is_told_in_the_kubelets_words(
    found: dict[str, Any], lasted: float, words: str | None
) -> None:
    seen = never_starts([found], NOW, lasted=lasted)
    said = None if seen is None else english().text(seen)
    assert (said is None) if words is None else (said is not None and words in said and "pod web-1" in said)
    assert held_up(found) or said is None


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (pod("ImagePullBackOff", "i/o timeout"), False),
        (pod("CrashLoopBackOff", restarts=9), False),
        (pod("CreateContainerError", "failed to create containerd container: snapshot 7 does not exist"), False),
        (pod("RunContainerError", 'sandbox "1a2b" not found'), False),
        (pod("ImagePullBackOff", "NotFound: not found"), True),
    ],
)
def test_where_one_pod_serves_only_what_is_not_there_keeps_the_others_from_starting(
    found: dict[str, Any], told: bool
) -> None:
    assert (never_starts([found, pod(ready=True)], NOW, lasted=600.0) is not None) is told
    assert never_starts([found], NOW, lasted=600.0) is not None
    leaving = {**found, "metadata": {**found["metadata"], "deletionTimestamp": NOW.isoformat()}}
    assert never_starts([leaving], NOW, lasted=600.0) is None
