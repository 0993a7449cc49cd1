"""How long saved releases stay: what a rollback may need, and no more, of the blobs and of what Secrets held."""

from __future__ import annotations

import structlog

from logcaster_guard.domain.configuration.kept import secrets_among
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.rules import Policy
from logcaster_guard.engine.blob_retention import blobs_to_keep
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.left_secrets import LeftSecrets, known_since
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Clock

_YOUNG = 86_400.0
"""Seconds for which everything stays: what it belongs to may not be in the journal yet."""


class ReleaseRetention:
    """Goes by what the journal tells; where that cannot be read, nothing goes."""

    def __init__(self, state: JournalState, manifests: KeptManifests, policy: Policy, clock: Clock) -> None:
        self._state = state
        self._manifests = manifests
        self._policy = policy
        self._clock = clock
        self.left_secrets = LeftSecrets(manifests.secrets, self._needed_secrets, clock)

    async def forget(self) -> None:
        """Remove what no rollback can need any more; what fails is logged, and tried the next time."""
        if not self._state.loaded or not self._state.available:
            return
        try:
            kept, secrets = await self._needed()
            removed = await self._manifests.blobs.keep_only(kept, older_than=_YOUNG)
            if self._manifests.secrets is not None:
                since = known_since(self._state.since, self._clock.now())
                removed += await self._manifests.secrets.keep_only(secrets, older_than=_YOUNG, since=since)
                self.left_secrets.forget()
        except (ClusterError, JournalUnavailable) as error:
            structlog.get_logger().error(
                "journal.unavailable", detail=str(error), effect="old releases stay a day longer"
            )
            return
        structlog.get_logger().info("releases.forgotten", removed=removed, kept=len(kept) + len(secrets))

    async def _needed(self) -> tuple[frozenset[str], frozenset[str]]:
        """The blobs that stay, and the places of what Secrets held. Raises `ClusterError` and `JournalUnavailable`."""
        needed = self._state.releases_to_keep(self._policy.ledger)
        secrets = secrets_among(needed)
        kept = await blobs_to_keep(self._manifests.blobs, needed - secrets, self._policy.snapshots, self._clock.now())
        return kept - secrets_among(kept), secrets | secrets_among(kept)

    async def _needed_secrets(self) -> frozenset[str]:
        return (await self._needed())[1]
