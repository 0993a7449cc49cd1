"""Whether a journal tells something that a guard can go on from: each run folds, and each blob it needs is there."""

from __future__ import annotations

from collections.abc import Sequence

from logcaster_guard.domain.configuration.kept import secrets_among
from logcaster_guard.domain.errors import BlobMissing, GuardError
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.snapshots import parts_named
from logcaster_guard.domain.state import State
from logcaster_guard.engine.journal_state import releases_to_keep
from logcaster_guard.messages.record_faults import Remedy, ToDo
from logcaster_guard.ports import Entry, Flaw, Inspected, ReadableBlobs


async def flaws_of(found: Inspected, blobs: ReadableBlobs, policy: LedgerPolicy) -> Sequence[Flaw]:
    """Everything that is wrong, in the order of the journal; blobs that no rollback needs may be gone.

    Raises the `ClusterError` that the blobs met.
    """
    state, contradictions = State(), list[Flaw]()
    for entry in found.entries:
        try:
            state.take(entry.stream, entry.event)
        except GuardError as error:
            contradictions.append(Flaw(entry.stream, entry.seq, error.reason, ToDo(Remedy.CONTRADICTION)))
    missing: list[Flaw] = []
    needed = releases_to_keep(state, policy) - {""}
    # Nobody but a guard reads what Secrets have held.
    for digest in sorted(needed - secrets_among(needed)):
        try:
            for part in parts_named(await blobs.get(digest)):
                await blobs.get(part)
        except BlobMissing as error:
            entry = _naming(found.entries, digest)
            missing.append(Flaw(entry.stream, entry.seq, error.reason, ToDo(Remedy.RESTORE_BLOB)))
    return (*found.flaws, *contradictions, *missing)


def _naming(entries: Sequence[Entry], digest: str) -> Entry:
    """The last event that names the blob."""
    return next(entry for entry in reversed(entries) if digest in repr(entry.event))
