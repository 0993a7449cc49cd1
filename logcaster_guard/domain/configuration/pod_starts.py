"""When pods were created and their containers started, as far as the guard has seen it.

The kubelet tells of a container a little after it has started it, so only the order of looks that are `STATUS_LAG`
apart proves that a container was started again after something. That it runs proves at once that it was started before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from logcaster_guard.domain.capacity import is_serving
from logcaster_guard.domain.configuration.spans import Look, Span, place_of

Json = Mapping[str, Any]

STATUS_LAG = 10.0
"""Seconds by which a pod's status may be behind what the kubelet has done."""

CHECKSUMS = "checksum/"
"""What Helm charts call the annotations that replace all pods when their configuration changes."""

Checksums = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """The last start of a container. `instance` tells it from the one before."""

    instance: str
    span: Span


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod, when it was created, and the last start of each of its containers that was started."""

    name: str
    created: Span
    starts: Mapping[str, ContainerStart]
    ready: bool
    checksums: Checksums = ()


@dataclass(frozen=True, slots=True)
class PodsSeen:
    """The pods that there are, by uid. `looked` is after what the last list of them was read."""

    pods: Mapping[str, PodSeen] = field(default_factory=dict)
    looked: Span = field(default_factory=Span)

    def listed(self, pods: Sequence[Json], look: Look) -> PodsSeen:
        """After a list of all the pods as they are now; `look.version` is the list's own, or empty."""
        seen = {str(pod["metadata"]["uid"]): self._seen(pod, look) for pod in pods}
        places = [place_of(look.version), *(_place(pod) for pod in pods)] if look.version else []
        known = [place for place in places if place is not None]
        return PodsSeen(seen, self.looked.narrowed(Span(max(known, default=None), None, look.asked)))

    def listed_as_of(self, pods: Iterable[Json], resource_version: str) -> PodsSeen:
        """After a list of all the pods as they were at a resourceVersion, which may be an earlier one.

        A pod that is there and was not then has been created since; a container that ran then had been started.
        """
        then = {str(pod["metadata"]["uid"]): pod for pod in pods}
        since = Span(after=place_of(resource_version))
        return replace(self, pods={uid: _as_of(pod, then.get(uid), since) for uid, pod in self.pods.items()})

    def carried_over(self, now: float) -> PodsSeen:
        """The same after a restart, at monotonic `now`."""
        pods = {
            uid: replace(
                pod,
                created=pod.created.carried_over(now),
                starts={name: replace(start, span=start.span.carried_over(now)) for name, start in pod.starts.items()},
            )
            for uid, pod in self.pods.items()
        }
        return PodsSeen(pods, Span(self.looked.after))

    def _seen(self, pod: Json, look: Look) -> PodSeen:
        by = Span(None, _place(pod) if look.version else None, None, look.seen)
        known = self.pods.get(str(pod["metadata"]["uid"]))
        if known is None:
            created = replace(by, after=self.looked.after, after_second=self.looked.after_second)
            earlier: Mapping[str, ContainerStart] = {}
            started = created
        else:
            created, earlier = known.created, known.starts
            last = self.looked.after_second
            lagging = Span(after_second=None if last is None else last - STATUS_LAG)
            started = replace(by, after=created.after, after_second=created.after_second).narrowed(lagging)
        starts = {name: ContainerStart(instance, started) for name, instance in _instances(pod).items()}
        kept = {n: earlier[n] for n, s in starts.items() if n in earlier and earlier[n].instance == s.instance}
        return PodSeen(
            name=str(pod["metadata"]["name"]),
            created=created,
            starts=starts | kept,
            ready=is_serving(pod, None),
            checksums=checksums_of(pod),
        )


def checksums_of(template: Json) -> Checksums:
    """The annotations of a pod, or of its template, by which a chart tells that its configuration is another one."""
    notes = (template.get("metadata") or {}).get("annotations") or {}
    return tuple(sorted((str(k), str(v)) for k, v in notes.items() if k.startswith(CHECKSUMS)))


def _as_of(pod: PodSeen, then: Json | None, since: Span) -> PodSeen:
    if then is None:
        starts = {n: replace(s, span=s.span.narrowed(since)) for n, s in pod.starts.items()}
        return replace(pod, created=pod.created.narrowed(since), starts=starts)
    by = Span(by=_place(then))
    ran = _instances(then)
    starts = {
        n: replace(s, span=s.span.narrowed(by)) if ran.get(n) == s.instance else s for n, s in pod.starts.items()
    }  # fmt: skip
    return replace(pod, created=pod.created.narrowed(by), starts=starts)


def _place(pod: Json) -> int | None:
    return place_of(str(pod["metadata"].get("resourceVersion", "")))


def _instances(pod: Json) -> Mapping[str, str]:
    """Each container that was started, and what tells this start from others.

    An init container that is not a sidecar reads while it lasts, so it counts once it has ended.
    """
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    lasting = {str(c.get("name")) for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    found: dict[str, str] = {}
    for row, ends in (("initContainerStatuses", True), ("containerStatuses", False)):
        for container in status.get(row) or []:
            name = str(container.get("name"))
            instance = _instance(container, once=ends and name not in lasting)
            if instance:
                found[name] = instance
    return found


def _instance(container: Json, *, once: bool) -> str:
    """The container's last start that counts; empty where there is none."""
    state = container.get("state") or {}
    ended = (container.get("lastState") or {}).get("terminated")
    if "terminated" in state or ("running" in state and not once):
        ran: Json = container
    elif "waiting" in state and ended:
        ran = ended
    else:
        return ""
    return f"{container.get('restartCount') or 0} {ran.get('containerID') or ''}"
