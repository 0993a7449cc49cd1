"""The manifests of all that a run may touch, as they were at one instant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.guard_reasons import NoSnapshot, SnapshotFormat

Json = dict[str, Any]
FORMAT = 1


class SnapshotUnreadable(GuardError):
    """The blob is not a snapshot that this version reads."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Raw objects of the API server, taken at the UTC instant `at` for the target with this key."""

    at: datetime
    target: str
    manifests: tuple[Json, ...]

    def find(self, kind: str, name: str) -> Json | None:
        """The manifest of this object; None if it was not there."""
        for manifest in self.manifests:
            if manifest.get("kind") == kind and manifest["metadata"]["name"] == name:
                return manifest
        return None

    def to_bytes(self) -> bytes:
        """Canonical JSON, the same for the same snapshot."""
        body = {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "target": self.target,
            "manifests": list(self.manifests),
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Snapshot:
        """The snapshot that `to_bytes` wrote; raises `SnapshotUnreadable`."""
        try:
            body = json.loads(content)
            found = body["format"]
            if found == FORMAT:
                return cls(datetime.fromisoformat(body["at"]), str(body["target"]), tuple(body["manifests"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SnapshotUnreadable(reason=NoSnapshot()) from error
        raise SnapshotUnreadable(reason=SnapshotFormat(f"{found!r:.20}", FORMAT))


_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


def meaningful(manifest: Json) -> Json:
    """The manifest without its status and what the API server keeps for itself: what people compare."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in _BOOKKEEPING}
    return {**{k: v for k, v in manifest.items() if k != "status"}, "metadata": metadata}
