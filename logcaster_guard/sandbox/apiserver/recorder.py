"""Events that the controllers write about what they did."""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.clock import Clock, stamp
from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Caller, Objects, random_suffix
from logcaster_guard.sandbox.apiserver.resources import EVENTS

CONTROLLER_MANAGER = Caller("kube-controller-manager")


class Recorder:
    """Writes core/v1 Events as `component`."""

    def __init__(self, objects: Objects, clock: Clock, component: str) -> None:
        self._objects = objects
        self._clock = clock
        self._component = component

    def event(self, about: Json, reason: str, message: str, *, kind: str = "Normal") -> None:
        """Record `message` about an object; an event that its namespace does not take any more is dropped."""
        metadata = about["metadata"]
        now = stamp(self._clock.now())
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        body: Json = {
            "metadata": {"name": f"{metadata['name']}.{random_suffix(16)}", "namespace": metadata["namespace"]},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        try:
            self._objects.create(EVENTS, metadata["namespace"], body, CONTROLLER_MANAGER)
        except ApiError as e:
            if e.code not in {403, 404}:
                raise
