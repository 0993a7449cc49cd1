"""Snapshots in a blob store: an index and its parts, each under its own digest."""

from __future__ import annotations

from logcaster_guard.domain.snapshots import Index, Snapshot
from logcaster_guard.ports import Blobs, ReadableBlobs


async def save(blobs: Blobs, snapshot: Snapshot) -> str:
    """Keep the snapshot; returns its name, the digest of its index. What is there already is not kept twice."""
    parts = [await blobs.put(part) for part in snapshot.parts()]
    return await blobs.put(snapshot.index(parts).to_bytes())


async def load(blobs: ReadableBlobs, digest: str) -> Snapshot:
    """The snapshot of this name. Raises `BlobMissing`, `SnapshotUnreadable`, and the `ClusterError` it met."""
    index = Index.from_bytes(await blobs.get(digest))
    return Snapshot.of(index, [await blobs.get(part) for part in index.parts])
