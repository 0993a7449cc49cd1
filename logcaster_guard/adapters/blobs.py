"""Content kept in a folder under its SHA-256: written once, whole or not at all, checked on every read."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from logcaster_guard.domain.errors import BlobMissing, JournalUnavailable
from logcaster_guard.messages.journal_faults import BlobAbsent, BlobDamaged, BlobsRefused, NoDigest
from logcaster_guard.messages.texts import failure

_DIGEST = re.compile(r"[0-9a-f]{64}")


class FolderBlobs:
    """The `Blobs` port on a folder (0700, made at the first `put`): `<first two digits>/<digest>`, files 0600.

    All I/O runs in a thread. `put` raises `JournalUnavailable` if the content could not be made durable: the journal
    must not name what is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    async def put(self, content: bytes) -> str:
        """Keep `content` durably; see the port."""
        return await asyncio.to_thread(self._put, bytes(content))

    async def get(self, digest: str) -> bytes:
        """The content, checked against `digest`; see the port."""
        if not _DIGEST.fullmatch(digest):
            raise failure(BlobMissing, NoDigest(f"{digest!r:.80}"))
        return await asyncio.to_thread(self._get, digest)

    async def digests(self) -> Sequence[str]:
        """Everything that is kept, in no order; empty where there is no folder."""
        return await asyncio.to_thread(
            lambda: [f.name for f in self._path.glob("[0-9a-f][0-9a-f]/*") if _DIGEST.fullmatch(f.name)]
        )

    async def keep_only(self, digests: Collection[str], *, older_than: float) -> int:
        """Remove every other blob that was put more than `older_than` seconds ago; returns how many.

        Raises `JournalUnavailable` if the folder cannot be written.
        """
        return await asyncio.to_thread(self._keep_only, frozenset(digests), older_than)

    def _keep_only(self, digests: frozenset[str], older_than: float) -> int:
        limit = time.time() - older_than
        removed = 0
        try:
            for file in sorted(self._path.glob("[0-9a-f][0-9a-f]/*")):
                if file.name not in digests and file.stat(follow_symlinks=False).st_mtime < limit:
                    file.unlink(missing_ok=True)
                    removed += 1
        except OSError as error:
            refused = BlobsRefused(str(self._path), "cleaned", str(error.strerror or error))
            raise failure(JournalUnavailable, refused) from error
        return removed

    def _put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        folder = self._path / digest[:2]
        try:
            with contextlib.suppress(BlobMissing):
                self._get(digest)
                # It may have been renamed into place just before a crash that came before the folder was synced.
                _sync(folder)
                os.utime(folder / digest)
                return digest
            for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
                missing.mkdir(mode=0o700, exist_ok=True)
                _sync(missing.parent)
            _write(folder / digest, content)
        except OSError as error:
            refused = BlobsRefused(str(self._path), "written", str(error.strerror or error))
            raise failure(JournalUnavailable, refused) from error
        return digest

    def _get(self, digest: str) -> bytes:
        try:
            # A FIFO put in the file's place would otherwise hold the thread for ever.
            descriptor = os.open(
                self._path / digest[:2] / digest, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            )
            with open(descriptor, "rb") as file:  # noqa: PTH123 # a descriptor has no path
                content = file.read()
        except OSError as error:
            absent = BlobAbsent(digest, str(self._path), str(error.strerror or error), folder=True)
            raise failure(BlobMissing, absent) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise failure(BlobMissing, BlobDamaged(digest, str(self._path), "", folder=True))
        return content


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 # a descriptor has no path
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
