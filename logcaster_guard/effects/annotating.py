"""Writes what a person says to the guard on the workload it is about: the way of the command line and of the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from logcaster_guard.domain import inbox
from logcaster_guard.domain.errors import Conflict
from logcaster_guard.domain.inbox import Denied
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Cluster, Kind

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """The object that an annotation goes on."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and the digest by which the guard tells what became of it."""

    place: Place
    annotation: str
    value: str
    digest: str


Compose = Callable[[Workload], str | Denied]


async def annotate(cluster: Cluster, place: Place, annotation: str, compose: Compose) -> Written | Denied:
    """Set the annotation to what `compose` makes of the object as it is at that moment; nothing else is changed.

    Raises the `ClusterError` it met, `Conflict` where the object changes all the time.
    """
    for attempt in range(_ATTEMPTS):
        workload = Workload(await cluster.get(place.kind, place.namespace, place.name))
        value = compose(workload)
        if isinstance(value, Denied):
            return value
        # Bound to the look: what `compose` saw is what it is written beside.
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": workload.resource_version}
        annotations = {**workload.annotations, annotation: value}
        written = {"op": "add", "path": "/metadata/annotations", "value": annotations}
        try:
            await cluster.json_patch(place.kind, place.namespace, place.name, [version, written])
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return Written(place, annotation, value, inbox.digest(workload.uid, annotation, value))
    raise AssertionError("unreachable: the last attempt raises")
