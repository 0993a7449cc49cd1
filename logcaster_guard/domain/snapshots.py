"""The manifests of all that a run may touch, and of the ConfigMaps that its pods read, as they were at one instant.

A snapshot is kept as an index, whose digest is its name, and parts, each a list of manifests: what two snapshots have
in common is kept once. A ConfigMap is a part of its own. What a Secret held is in no part: the index names the place.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.guard_reasons import NoPartOfSnapshot, NoSnapshot, SnapshotFormat
from logcaster_guard.domain.rules import SnapshotPolicy

Json = dict[str, Any]
FORMAT = 2
WHOLE = 1
"""The format in which one blob held all manifests."""

NEVER_READ = "no snapshot holds what a Secret holds"
"""Why a Secret is left out where settings do not let the guard read any."""


class SnapshotUnreadable(GuardError):
    """The blob is not a snapshot that this version reads."""


@dataclass(frozen=True, slots=True)
class Omission:
    """What belongs to a snapshot and is not in it: an object, or without a `name` all of a kind; `detail` says why."""

    kind: str
    namespace: str
    name: str
    reason: NoContent
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name or '*'}"


@dataclass(frozen=True, slots=True)
class SavedSecret:
    """A Secret that belongs to a snapshot, and the place where what it held is kept (`configuration.kept`)."""

    namespace: str
    name: str
    place: str

    def __str__(self) -> str:
        return f"{ConfigKind.SECRET} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Index:
    """What names a snapshot: when it was taken, of which target, the digests of its `parts`, and what it leaves out.

    In format 1 the manifests stood here.
    """

    at: datetime
    target: str
    parts: tuple[str, ...]
    omissions: tuple[Omission, ...] = ()
    manifests: tuple[Json, ...] = ()
    secrets: tuple[SavedSecret, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON, the same for the same index."""
        omissions = [[o.kind, o.namespace, o.name, o.reason, o.detail] for o in self.omissions]
        return _canonical(
            {
                "format": FORMAT,
                "at": self.at.isoformat(),
                "target": self.target,
                "parts": list(self.parts),
                "omissions": omissions,
                **({"secrets": [[s.namespace, s.name, s.place] for s in self.secrets]} if self.secrets else {}),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Index:
        """The index in a blob, of this format or an earlier one; raises `SnapshotUnreadable`."""
        try:
            body = json.loads(content)
            found, at, target = body["format"], datetime.fromisoformat(body["at"]), str(body["target"])
            if found == WHOLE:
                return cls(at, target, (), manifests=tuple(body["manifests"]))
            if found == FORMAT:
                omissions = [Omission(k, ns, name, NoContent(why), d) for k, ns, name, why, d in body["omissions"]]
                secrets = [SavedSecret(str(ns), str(name), str(place)) for ns, name, place in body.get("secrets", ())]
                return cls(at, target, tuple(map(str, body["parts"])), tuple(omissions), secrets=tuple(secrets))
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise SnapshotUnreadable(reason=NoSnapshot()) from error
        raise SnapshotUnreadable(reason=SnapshotFormat(f"{found!r:.20}", f"{WHOLE}, {FORMAT}"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Objects of the API server, taken at the UTC instant `at` for the target with this key; the workload stands first.

    `omissions` are the objects that belong to it and are not there, or could not be read. `secrets` are those of which
    it names the place; all others are omissions.
    """

    at: datetime
    target: str
    manifests: tuple[Json, ...]
    omissions: tuple[Omission, ...] = ()
    secrets: tuple[SavedSecret, ...] = ()

    def find(self, kind: str, name: str) -> Json | None:
        """The manifest of this object; None if it was not there."""
        for manifest in self.manifests:
            if manifest.get("kind") == kind and manifest["metadata"]["name"] == name:
                return manifest
        return None

    @property
    def unread(self) -> Sequence[Omission]:
        """What could not be read, but for what settings do not let the guard read."""
        return [o for o in self.omissions if o.reason is NoContent.UNREADABLE and o.detail != NEVER_READ]

    def parts(self) -> Sequence[bytes]:
        """What is kept beside the index: the manifests of all that is no configuration, then each ConfigMap."""
        configuration = [m for m in self.manifests if m.get("kind") == ConfigKind.CONFIG_MAP]
        others = [m for m in self.manifests if m.get("kind") != ConfigKind.CONFIG_MAP]
        return [_canonical(others), *(_canonical([m]) for m in configuration)]

    def index(self, parts: Iterable[str]) -> Index:
        """The index over the digests of the parts."""
        return Index(self.at, self.target, tuple(parts), self.omissions, secrets=self.secrets)

    @classmethod
    def of(cls, index: Index, parts: Iterable[bytes]) -> Snapshot:
        """The snapshot with this index and what is kept under its parts; raises `SnapshotUnreadable`."""
        manifests = [*index.manifests, *(m for part in parts for m in manifests_in(part))]
        return cls(index.at, index.target, tuple(manifests), index.omissions, index.secrets)


def manifests_in(part: bytes) -> Sequence[Json]:
    """The manifests of one part; raises `SnapshotUnreadable`."""
    try:
        found = json.loads(part)
        if isinstance(found, list) and all(m["metadata"]["name"] for m in found):
            return found
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise SnapshotUnreadable(reason=NoPartOfSnapshot()) from error
    raise SnapshotUnreadable(reason=NoPartOfSnapshot())


def parts_named(blob: bytes) -> Sequence[str]:
    """The digests of what else belongs to a blob: the parts, where it is the index of a snapshot."""
    try:
        return Index.from_bytes(blob).parts
    except SnapshotUnreadable:
        return ()


def secrets_named(blob: bytes) -> Sequence[SavedSecret]:
    """The Secrets of which a blob names the place, where it is the index of a snapshot."""
    try:
        return Index.from_bytes(blob).secrets
    except SnapshotUnreadable:
        return ()


def within_bounds(found: Mapping[str, Index], policy: SnapshotPolicy, now: datetime) -> frozenset[str]:
    """The snapshots, by digest, that are kept for their own sake: of each target the newest, while they are young."""
    oldest = now - timedelta(seconds=policy.max_age)
    of_target: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for digest, index in found.items():
        if index.at >= oldest:
            of_target[index.target].append((index.at, digest))
    return frozenset(digest for taken in of_target.values() for _, digest in sorted(taken)[-policy.keep :])


def lasting(manifest: Json) -> Json:
    """The manifest without its status, and without what changes each time that the status does."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k != "resourceVersion"}
    if "managedFields" in metadata:
        metadata["managedFields"] = [f for f in metadata["managedFields"] if f.get("subresource") != "status"]
    return {**{k: v for k, v in manifest.items() if k != "status"}, "metadata": metadata}


_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


def meaningful(manifest: Json) -> Json:
    """The manifest without its status and what the API server keeps for itself: what people compare."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in _BOOKKEEPING}
    return {**{k: v for k, v in manifest.items() if k != "status"}, "metadata": metadata}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
