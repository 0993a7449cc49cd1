"""A blob store that forgets everything with the process."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from logcaster_guard.domain.errors import BlobMissing, JournalUnavailable
from tests import canary


class MemoryBlobs:
    """Implements `ports.Blobs`; one that is `full` takes nothing."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self.full = False

    @property
    def contents(self) -> Sequence[bytes]:
        """Everything that is kept."""
        return list(self._kept.values())

    async def put(self, content: bytes) -> str:
        if self.full:
            raise JournalUnavailable("no space left on device")
        canary.note("a blob", content)
        digest = hashlib.sha256(content).hexdigest()
        self._kept[digest] = bytes(content)
        return digest

    async def keep_only(self, digests: Collection[str], *, older_than: float) -> int:
        found = [d for d in self._kept if d not in digests] if older_than <= 0 else []
        for digest in found:
            del self._kept[digest]
        return len(found)

    async def digests(self) -> Sequence[str]:
        return list(self._kept)

    async def get(self, digest: str) -> bytes:
        if digest not in self._kept:
            raise BlobMissing(f"the blob {digest!r:.80} is not in the store")
        return self._kept[digest]
