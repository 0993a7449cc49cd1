"""A small cluster that knows what its containers have read, and the guard that only sees some of it, for properties."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from logcaster_guard.domain.configuration.container_reads import Moment
from logcaster_guard.domain.configuration.content import Found, NoContent
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, first_seen
from logcaster_guard.domain.configuration.pod_starts import STATUS_LAG, PodsSeen
from logcaster_guard.domain.configuration.references import ConfigReference, ReadAt
from logcaster_guard.domain.configuration.spans import Look
from tests.domain.configuration.build import config_map, found

PROPAGATION = 120.0
Value = str | None
"""What the object holds: the value of its only key, None where it is absent."""
Held = tuple[Value, int]
"""A value, and the resourceVersion since which the object held it."""


def as_found(value: Value) -> Found:
    return NoContent.ABSENT if value is None else found(config_map({"k": value}))


@dataclass
class Container:
    """The one container of a pod: what it has read by itself, and what stands in its volume."""

    name: str
    version: int
    instance: int = -1
    reported: int = -1
    started_at: float = 0.0
    read: dict[int, dict[ReadAt, Held]] = field(default_factory=dict)
    volume: Held = (None, 0)
    synced_at: float = 0.0

    def raw(self) -> dict[str, Any]:
        statuses = [{"name": "web", "restartCount": self.reported, "state": {"running": {}}}]
        return {
            "metadata": {"uid": self.name, "name": self.name, "resourceVersion": str(self.version)},
            "status": {
                "conditions": [{"type": "Ready", "status": str(self.reported >= 0)}],
                "containerStatuses": statuses if self.reported >= 0 else [],
            },
        }


@dataclass
class World:
    """Every method is something that may happen next. `comparable`: resourceVersions are one sequence."""

    reference: ConfigReference
    value: Value
    comparable: bool
    version: int = 100
    now: float = 1000.0
    touched: int = 100
    pods: dict[str, Container] = field(default_factory=dict)
    events: list[tuple[int, Value]] = field(default_factory=list)
    past: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    broken: bool = False
    made: int = 0
    heard: int = 0
    objects: ObjectVersions | None = None
    seen: PodsSeen = field(default_factory=PodsSeen)

    @property
    def held(self) -> Held:
        return self.value, self.touched

    @property
    def moment(self) -> Moment:
        return Moment(self.now, PROPAGATION)

    def edit(self, value: Value) -> None:
        if value != self.value:
            self.value, self.touched = value, self._next()
            self.events.append((self.version, value))
            self.past[self.version] = [copy.deepcopy(pod.raw()) for pod in self.pods.values()]

    def create(self) -> None:
        if len(self.pods) < 4:
            self.made += 1
            name = f"pod-{self.made}"
            self.pods[name] = Container(name, self._next())

    def delete(self, index: int) -> None:
        if self.pods:
            del self.pods[self._pick(index).name]
            self._next()

    def start(self, index: int) -> None:
        """Start a container, the first time or again; without what it needs it does not."""
        if not self.pods:
            return
        pod = self._pick(index)
        self.report(index)
        if pod.instance < 0 and self._there:
            pod.volume, pod.synced_at = self.held, self.now
        elif pod.instance < 0 or (self.reference.read_at is ReadAt.START and not self._there):
            return
        pod.instance += 1
        pod.started_at = self.now
        pod.read[pod.instance] = {ReadAt.START: self.held, ReadAt.START_FROM_VOLUME: pod.volume}

    def report(self, index: int) -> None:
        """The kubelet writes the pod's status."""
        if self.pods:
            pod = self._pick(index)
            if pod.reported != pod.instance:
                pod.reported, pod.version = pod.instance, self._next()

    def propagate(self, index: int) -> None:
        """The kubelet tries to bring a volume up to date."""
        if self.pods and (pod := self._pick(index)).instance >= 0:
            pod.synced_at = self.now
            if self._there:
                pod.volume = self.held

    def wait(self, seconds: float) -> None:
        """Nothing is later than it may be at the most."""
        self.now += seconds
        for index, pod in enumerate(list(self.pods.values())):
            if self.now - pod.started_at >= STATUS_LAG:
                self.report(index)
            if self.now - pod.synced_at >= PROPAGATION:
                self.propagate(index)

    def hear(self) -> None:
        """The guard gets the next event of its watch, or lists the object if the watch had broken, or never began."""
        if self.objects is None or self.broken:
            look = self._look(self.touched if self.value is not None else self.version, self.now)
            held = as_found(self.value)
            self.objects = self.objects.seen(held, look, unbroken=False) if self.objects else first_seen(held, look)
            self.objects = self.objects.still(self._look(self.version, self.now))
            self.events, self.broken, self.heard = [], False, self.touched
        elif self.events:
            version, value = self.events.pop(0)
            self.heard = version
            self.objects = self.objects.seen(as_found(value), self._look(version, None), unbroken=True)

    def lose_watch(self) -> None:
        self.broken = True

    def bookmark(self) -> None:
        if self.objects is not None and not self.broken and not self.events:
            self.objects = self.objects.still(self._look(self.version, None))

    def get(self) -> None:
        """The guard reads the object, which is as its watch has told so far."""
        if self.objects is not None and not self.broken and not self.events:
            self.objects = self.objects.still(self._look(self.version, self.now))

    def list(self) -> None:
        pods = [copy.deepcopy(pod.raw()) for pod in self.pods.values()]
        self.seen = self.seen.listed(pods, self._look(self.version, self.now))

    def list_as_of_the_edit(self) -> None:
        if self.objects is not None and self.comparable:
            version = self.objects.latest.resource_version
            if int(version) in self.past:
                self.seen = self.seen.listed_as_of(self.past[int(version)], version)

    def look(self) -> None:
        """The guard hears all that its watch has for it, lists the pods, and asks whether that was all."""
        for _ in range(len(self.events) + 1):
            self.hear()
        self.list()
        self.wait(1.0)
        self.get()
        self.list()

    def roll(self) -> None:
        """One more pod comes up."""
        self.create()
        self.start(len(self.pods) - 1)
        self.report(len(self.pods) - 1)

    def restart_guard(self) -> None:
        if self.objects is not None:
            self.objects, self.broken = self.objects.carried_over(self.now, recorded=self.now), True
            self.seen = self.seen.carried_over(self.now)

    def truth(self, name: str) -> Held:
        """What the start of the pod that the API tells of has read."""
        pod = self.pods[name]
        if self.reference.read_at is ReadAt.WHENEVER:
            return pod.volume
        return pod.read[pod.reported][self.reference.read_at]

    @property
    def _there(self) -> bool:
        return self.value is not None or self.reference.optional

    def _pick(self, index: int) -> Container:
        return list(self.pods.values())[index % len(self.pods)]

    def _look(self, version: int, asked: float | None) -> Look:
        return Look(str(version) if self.comparable else "", asked, self.now)

    def _next(self) -> int:
        self.version += 1
        return self.version
