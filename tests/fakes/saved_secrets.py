"""A store of Secrets that forgets everything with the process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from logcaster_guard.domain.configuration.content import Concealed, DigestKey
from logcaster_guard.domain.configuration.kept import KeptSecret, kept_secret
from logcaster_guard.domain.errors import BlobMissing, ClusterError, JournalUnavailable
from tests.fakes.clock import START


class MemorySavedSecrets:
    """Implements `ports.SavedSecrets`; one that is `full` takes nothing, one that is `refused` gives no key.

    `wanted` is what was to be kept when it was told last.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Concealed] = {}
        self.put_at: dict[str, datetime] = {}
        self.now = START
        self.since: datetime | None = None
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
        self.kept[place], self.put_at[place] = content, self.now
        return place

    async def get(self, place: str) -> Concealed:
        if place not in self.kept:
            raise BlobMissing(f"{place!r:.80} is not in the store")
        return self.kept[place]

    async def keep_only(self, places: Collection[str], *, older_than: float, since: datetime = START) -> int:
        self.wanted, self.since = frozenset(places), since
        old = [place for place in self.kept if self.put_at[place] >= since] if older_than <= 0 else []
        found = [place for place in old if place not in places]
        for place in found:
            del self.kept[place]
        return len(found)

    async def kept_before(self, since: datetime) -> Sequence[tuple[str, str]]:
        before = [kept_secret(place) for place, at in self.put_at.items() if place in self.kept and at < since]
        return [(kept.digest, f"{kept.namespace}/{kept.digest}") for kept in before if kept is not None]
