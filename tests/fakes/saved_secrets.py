"""A store of Secrets that forgets everything with the process."""

from __future__ import annotations

from collections.abc import Collection

from logcaster_guard.domain.configuration.content import Concealed, DigestKey
from logcaster_guard.domain.configuration.kept import KeptSecret
from logcaster_guard.domain.errors import BlobMissing, ClusterError, JournalUnavailable


class MemorySavedSecrets:
    """Implements `ports.SavedSecrets`; one that is `full` takes nothing, one that is `refused` gives no key.

    `wanted` is what was to be kept when it was told last.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Concealed] = {}
        self.full = False
        self.refused: ClusterError | None = None
        self._key = DigestKey(Concealed(b"0" * 32))
        self.wanted: frozenset[str] = frozenset()

    def lose_key(self, other: bytes = b"1" * 32) -> None:
        """The next guard finds no key, and makes another."""
        self._key = DigestKey(Concealed(other))

    async def key(self, namespace: str) -> DigestKey:  # noqa: ARG002 - the port's; one key for all of them
        if self.refused is not None:
            raise self.refused
        return self._key

    async def put(self, namespace: str, content: Concealed) -> str:
        key = await self.key(namespace)
        if self.full:
            raise JournalUnavailable("exceeded quota")
        place = str(KeptSecret(namespace, key.name, key.digest(content.reveal())))
        self.kept[place] = content
        return place

    async def get(self, place: str) -> Concealed:
        if place not in self.kept:
            raise BlobMissing(f"{place!r:.80} is not in the store")
        return self.kept[place]

    async def keep_only(self, places: Collection[str], *, older_than: float) -> int:
        self.wanted = frozenset(places)
        found = [place for place in self.kept if place not in places] if older_than <= 0 else []
        for place in found:
            del self.kept[place]
        return len(found)
