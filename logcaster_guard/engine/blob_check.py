"""Whether each blob is what its name says, and something that a guard has put there, with all that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from logcaster_guard.domain.errors import BlobMissing
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.snapshots import Index, SnapshotUnreadable, manifests_in
from logcaster_guard.messages.record_faults import BlobLacking, BlobUnknown, Remedy, ToDo
from logcaster_guard.ports import Blobs, Flaw


async def blob_flaws(blobs: Blobs) -> Sequence[Flaw]:
    """Everything that is wrong with the blobs themselves. Raises the `ClusterError` it met."""
    flaws: list[Flaw] = []
    sound: set[str] = set()
    indices: dict[str, Index] = {}
    for digest in sorted(await blobs.digests()):
        try:
            content = await blobs.get(digest)
        except BlobMissing as error:
            flaws.append(Flaw("", 0, error.reason, ToDo(Remedy.UNUSED)))
            continue
        sound.add(digest)
        try:
            indices[digest] = Index.from_bytes(content)
        except SnapshotUnreadable:
            if not _known(content):
                flaws.append(Flaw("", 0, BlobUnknown(digest), ToDo(Remedy.LOOK_FIRST)))
    return (*flaws, *(flaw for digest, index in indices.items() for flaw in _lacking(digest, index, sound)))


def _lacking(digest: str, index: Index, sound: set[str]) -> Sequence[Flaw]:
    lacking = (part for part in index.parts if part not in sound)
    found = (BlobLacking(digest[:12], index.target, index.at, part) for part in lacking)
    return [Flaw("", 0, one, ToDo(Remedy.RESTORE_PART)) for one in found]


def _known(content: bytes) -> bool:
    """Whether it is a part of a snapshot, or a release."""
    try:
        manifests_in(content)
    except SnapshotUnreadable:
        try:
            body = json.loads(content)
            return isinstance(Release.from_bytes(content).template, dict) and "format" not in body
        except (ValueError, LookupError, TypeError, RecursionError):
            return False
    return True
