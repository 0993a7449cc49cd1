"""Whether a journal tells something that a guard can go on from: each run folds, and each blob it needs is there."""

from __future__ import annotations

from collections.abc import Sequence

from logcaster_guard.domain.configuration.kept import secrets_among
from logcaster_guard.domain.errors import BlobMissing, GuardError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.snapshots import parts_named, secrets_named
from logcaster_guard.domain.state import State
from logcaster_guard.engine.journal_state import releases_to_keep
from logcaster_guard.engine.saved_secrets_check import Needed, checked_secrets
from logcaster_guard.messages.record_faults import Remedy, ToDo
from logcaster_guard.ports import Checked, Entry, Flaw, Inspected, ReadableBlobs, SavedSecrets


async def checked(
    found: Inspected, blobs: ReadableBlobs, secrets: SavedSecrets | Message, policy: LedgerPolicy
) -> Checked:
    """Everything that is wrong, in the order of the journal; what no rollback needs may be gone.

    `secrets` may be why nobody can look at what is kept of them. Raises the `ClusterError` that the blobs met.
    """
    state, contradictions = State(), list[Flaw]()
    for entry in found.entries:
        try:
            state.take(entry.stream, entry.event)
        except GuardError as error:
            contradictions.append(Flaw(entry.stream, entry.seq, error.reason, ToDo(Remedy.CONTRADICTION)))
    missing: list[Flaw] = []
    needed = releases_to_keep(state, policy) - {""}
    of_secrets = [_of_secret(found.entries, state, place) for place in sorted(secrets_among(needed))]
    for digest in sorted(needed - secrets_among(needed)):
        entry = _naming(found.entries, digest)
        try:
            whole = await blobs.get(digest)
            of_secrets += [Needed(s.place, str(s), entry.stream, entry.seq) for s in secrets_named(whole)]
            for part in parts_named(whole):
                await blobs.get(part)
        except BlobMissing as error:
            missing.append(Flaw(entry.stream, entry.seq, error.reason, ToDo(Remedy.RESTORE_BLOB)))
    kept = await checked_secrets(of_secrets, secrets)
    return Checked((*found.flaws, *contradictions, *missing, *kept.flaws), kept.not_looked_at)


def _of_secret(entries: Sequence[Entry], state: State, place: str) -> Needed:
    entry = _naming(entries, place)
    records = [record for ledger in state.ledgers.values() for record in ledger.records.values()]
    objects = (one for record in records for one, kept in record.contents.items() if kept == place)
    return Needed(place, next(objects, ""), entry.stream, entry.seq)


def _naming(entries: Sequence[Entry], digest: str) -> Entry:
    """The last event that names the blob."""
    return next(entry for entry in reversed(entries) if digest in repr(entry.event))
