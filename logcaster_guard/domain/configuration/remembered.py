"""What has to be kept of a target's configuration, so that the next guard knows what this one does.

Seconds of a clock mean nothing after a restart, so places in the sequence of resourceVersions are kept, and for how
long an object had held something when that was written down: by now it has been so long at least. What an object held
is kept as the digest of the blob with its manifest, and only as far back as a pod may have read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from logcaster_guard.domain.configuration.followed import NothingRemembered
from logcaster_guard.domain.configuration.object_versions import ObjectVersions
from logcaster_guard.domain.configuration.pod_starts import ContainerStart, PodSeen, PodsSeen
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.spans import Span
from logcaster_guard.domain.errors import GuardError

FORMAT = 1
MOST = 8
"""Versions of one object that are kept. A pod that has read an older one has read what is not known any more."""


class RememberedUnreadable(GuardError):
    """The blob does not hold what this version writes."""


@dataclass(frozen=True, slots=True)
class RememberedVersion:
    """A version of an object; `blob` is the digest of its manifest, empty where the object was absent.

    The seconds of `came` count from when this is written down: 0 is then, and what was before is less.
    """

    blob: str
    resource_version: str
    came: Span
    gap: bool


@dataclass(frozen=True, slots=True)
class RememberedObject:
    """What an object has held; `changes` are the instants at which that changed, within about a day."""

    touched: str
    standing: Span
    versions: tuple[RememberedVersion, ...]
    changes: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is kept of one target; the pods are by the uid of their workload."""

    objects: Mapping[ConfigObject, RememberedObject] = field(default_factory=dict)
    pods: Mapping[str, PodsSeen] = field(default_factory=dict)

    @property
    def manifests(self) -> tuple[str, ...]:
        """The digests of the blobs that this names."""
        return tuple(sorted({v.blob for o in self.objects.values() for v in o.versions if v.blob}))

    def to_bytes(self) -> bytes:
        """Canonical JSON, the same for the same content."""
        body = {
            "format": FORMAT,
            "objects": [_object(one, self.objects[one]) for one in sorted(self.objects)],
            "pods": {workload: _pods(seen) for workload, seen in self.pods.items()},
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Remembered:
        """What `to_bytes` wrote; raises `RememberedUnreadable`."""
        try:
            body = json.loads(content)
            if body["format"] == FORMAT:
                objects = dict(map(_object_of, body["objects"]))
                return cls(objects, {str(workload): _pods_of(seen) for workload, seen in body["pods"].items()})
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise RememberedUnreadable(reason=NothingRemembered()) from error
        raise RememberedUnreadable(reason=NothingRemembered())


def remembered_object(
    versions: ObjectVersions, blobs: Mapping[str, str], changes: Iterable[datetime], now: float
) -> RememberedObject | None:
    """What is kept of an object at monotonic `now`; `blobs` are the digests by resourceVersion.

    None where its present state is not saved. What is older than a version that is not saved goes with it.
    """
    kept: list[RememberedVersion] = []
    for version in reversed(versions.versions[-MOST:]):
        if version.resource_version not in blobs:
            break
        seen = version.came.by_second
        age = 0 if seen is None else max(0, int(now - seen))
        came = Span(version.came.after, version.came.by, None, -float(age))
        kept.insert(0, RememberedVersion(blobs[version.resource_version], version.resource_version, came, version.gap))
    if not kept:
        return None
    return RememberedObject(versions.touched, Span(versions.standing.after), tuple(kept), tuple(changes))


def _object(one: ConfigObject, kept: RememberedObject) -> Mapping[str, Any]:
    return {
        "object": [one.kind, one.namespace, one.name],
        "touched": kept.touched,
        "standing": kept.standing.after,
        "versions": [[v.blob, v.resource_version, v.came.after, v.came.by, v.gap] for v in kept.versions],
        "ages": [int(-(v.came.by_second or 0.0)) for v in kept.versions],
        "changes": [at.isoformat() for at in kept.changes],
    }


def _object_of(found: Any) -> tuple[ConfigObject, RememberedObject]:  # noqa: ANN401 - any JSON value
    kind, namespace, name = found["object"]
    rows = found["versions"]
    versions = tuple(
        RememberedVersion(str(blob), str(version), Span(after, by, None, -float(age)), bool(gap))
        for (blob, version, after, by, gap), age in zip(rows, found.get("ages") or [0] * len(rows), strict=True)
    )
    if not versions:
        raise ValueError(name)
    changes = tuple(map(datetime.fromisoformat, found["changes"]))
    kept = RememberedObject(str(found["touched"]), Span(found["standing"]), versions, changes)
    return ConfigObject(ConfigKind(kind), str(namespace), str(name)), kept


def _pods(seen: PodsSeen) -> Mapping[str, Any]:
    return {"looked": seen.looked.after, "pods": {uid: _pod(pod) for uid, pod in seen.pods.items()}}


def _pod(pod: PodSeen) -> Mapping[str, Any]:
    return {
        "name": pod.name,
        "created": _places(pod.created),
        "starts": {name: [start.instance, *_places(start.span)] for name, start in pod.starts.items()},
        "ready": pod.ready,
        "checksums": pod.checksums,
    }


def _pods_of(found: Any) -> PodsSeen:  # noqa: ANN401 - any JSON value
    pods = {}
    for uid, pod in found["pods"].items():
        starts = {str(n): ContainerStart(str(i), Span(after, by)) for n, (i, after, by) in pod["starts"].items()}
        checksums = tuple((str(name), str(value)) for name, value in pod["checksums"])
        pods[str(uid)] = PodSeen(str(pod["name"]), Span(*pod["created"]), starts, bool(pod["ready"]), checksums)
    return PodsSeen(pods, Span(found["looked"]))


def _places(span: Span) -> Sequence[int | None]:
    return [span.after, span.by]
