"""A gzip file as the bytes that it holds: no more than are allowed, and nothing after its end."""

from __future__ import annotations

import hashlib
import os
import zlib

from logcaster_guard.adapters.files.faults import shown
from logcaster_guard.domain.errors import TreeRefused
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import ArchiveFault, ArchiveUnusable

_PIECE = 256 << 10
_GZIP = 31
_MAGIC = b"\x1f\x8b"


class Inflating:
    """Reads an open file from where it begins, and hashes it; `read` counts the bytes that came out of it."""

    def __init__(self, handle: int, place: str, most: int) -> None:
        self._handle, self._place, self._most = handle, place, most
        self._inflater = zlib.decompressobj(_GZIP)
        self._ready = bytearray()
        self._compressed = b""
        self._hash = hashlib.sha256()
        self.read = 0
        if os.pread(handle, 2, 0) != _MAGIC:
            raise self.refused(ArchiveFault.NOT_GZIP)

    def refused(self, fault: ArchiveFault) -> TreeRefused:
        """What to raise for the archive as a whole."""
        return failure(TreeRefused, ArchiveUnusable(shown(self._place), fault))

    def take(self, size: int) -> bytes:
        """The next `size` bytes, which are few; raises `TreeRefused` where it is cut, damaged or too large."""
        while len(self._ready) < size:
            if self._inflater.eof or not self._more():
                raise self.refused(ArchiveFault.CUT)
        taken = bytes(self._ready[:size])
        del self._ready[:size]
        return taken

    def finish(self) -> str:
        """All that is left must be zeros; returns the SHA-256 of the file."""
        while True:
            if self._ready.strip(b"\0"):
                raise self.refused(ArchiveFault.TRAILING)
            self._ready.clear()
            if self._inflater.eof:
                break
            if not self._more():
                raise self.refused(ArchiveFault.CUT)
        if self._inflater.unused_data or self._compressed or self._next():
            raise self.refused(ArchiveFault.TRAILING)
        return self._hash.hexdigest()

    def _more(self) -> bool:
        """Inflate some more; whether there was anything to inflate."""
        data = self._compressed or self._next()
        if not data:
            return False
        try:
            made = self._inflater.decompress(data, _PIECE)
        except zlib.error as error:
            raise self.refused(ArchiveFault.DAMAGED) from error
        self._compressed = self._inflater.unconsumed_tail
        self.read += len(made)
        if self.read > self._most:
            raise self.refused(ArchiveFault.TOO_LARGE)
        self._ready += made
        return True

    def _next(self) -> bytes:
        data = os.read(self._handle, _PIECE)
        self._hash.update(data)
        return data
