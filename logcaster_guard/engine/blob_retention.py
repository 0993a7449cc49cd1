"""Which blobs stay: what a rollback may need, the newest snapshots, and whatever these are made of.

Invariant: nothing goes that is needed, nor any part of it, also where the store cannot be read in full at the moment.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from logcaster_guard.domain.errors import BlobMissing, JournalUnavailable
from logcaster_guard.domain.guard_reasons import NeededUnread
from logcaster_guard.domain.rules import SnapshotPolicy
from logcaster_guard.domain.snapshots import Index, SnapshotUnreadable, within_bounds
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs


async def blobs_to_keep(blobs: Blobs, needed: Collection[str], policy: SnapshotPolicy, now: datetime) -> frozenset[str]:
    """The digests that stay, and the places of the Secrets that belong to them. What cannot be read stays.

    Raises `JournalUnavailable` where that is needed: nobody knows what belongs to it; and the `ClusterError` it met.
    """
    found: dict[str, Index] = {}
    unread: set[str] = set()
    for digest in await blobs.digests():
        try:
            found[digest] = Index.from_bytes(await blobs.get(digest))
        except BlobMissing:
            unread.add(digest)
        except SnapshotUnreadable:
            continue
    if not unread.isdisjoint(needed):
        raise failure(JournalUnavailable, NeededUnread())
    kept = {*needed, *unread, *within_bounds(found, policy, now)}
    indices = [found[digest] for digest in kept & found.keys()]
    places = {secret.place for index in indices for secret in index.secrets}
    return frozenset(kept.union(places, *(index.parts for index in indices)))
