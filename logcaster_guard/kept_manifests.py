"""What ConfigMaps and Secrets have held: each kind in its own store, found again by the place that the store gave."""

from __future__ import annotations

from dataclasses import dataclass

from logcaster_guard.domain.configuration.content import Concealed, DigestKey
from logcaster_guard.domain.configuration.kept import kept_secret
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import BlobMissing
from logcaster_guard.domain.guard_reasons import SecretsNotKept
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs, SavedSecrets


@dataclass(frozen=True, slots=True)
class KeptManifests:
    """`secrets` is None where Secrets are named and never read."""

    blobs: Blobs
    secrets: SavedSecrets | None

    def keeps(self, kind: ConfigKind) -> bool:
        """Whether objects of this kind are read and kept."""
        return kind is not ConfigKind.SECRET or self.secrets is not None

    async def key(self, one: ConfigObject) -> DigestKey | None:
        """What its fingerprints are made with; None for a ConfigMap. Raises as `SavedSecrets.key`."""
        if one.kind is not ConfigKind.SECRET or self.secrets is None:
            return None
        return await self.secrets.key(one.namespace)

    async def put(self, one: ConfigObject, manifest: Concealed) -> str:
        """Keep it durably; returns the place. Raises `ClusterError` and `JournalUnavailable`."""
        if one.kind is not ConfigKind.SECRET:
            return await self.blobs.put(manifest.reveal())
        if self.secrets is None:
            raise AssertionError("no Secret is read")
        return await self.secrets.put(one.namespace, manifest)

    async def get(self, place: str) -> Concealed:
        """What is kept in that place; raises `BlobMissing`, `ClusterError` and `JournalUnavailable`."""
        if kept_secret(place) is None:
            return Concealed(await self.blobs.get(place))
        if self.secrets is None:
            raise failure(BlobMissing, SecretsNotKept())
        return await self.secrets.get(place)
