"""The journal in one SQLite file: WAL, synchronous=FULL, and a single thread that touches it.

A file that is damaged, foreign or from another version is refused and left as it is (`sqlite_layout`). Beside it lies
`<file>.lock`, held while the journal is open: two guards cannot share one file, unless both say so. The file must be on
a local disk (WAL needs shared memory).

What no file can tell is the loss of its own newest part: a `-wal` file cut at a transaction's end looks like a shorter
history.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from logcaster_guard.adapters import sqlite_layout as layout
from logcaster_guard.adapters.journal_codec import EventCodec
from logcaster_guard.domain.errors import JournalConflict, JournalInUse, JournalUnavailable
from logcaster_guard.domain.events import Event
from logcaster_guard.messages.journal_faults import (
    JournalClosed,
    JournalHalfGone,
    JournalMoved,
    JournalTaken,
    JournalVolume,
    StreamElsewhere,
)
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Entry, JournalSize

BUSY_TIMEOUT = 2.0
"""Seconds that an append waits for another program that has the file locked."""

_LOCK_PAUSE = 0.02

_T = TypeVar("_T")


class SqliteJournal:
    """The `Journal` port on a SQLite file; made by `open`.

    Every call runs on the journal's own thread, in the order of the calls. A cancelled append that had not begun never
    happens; one that had begun is finished, and a following `read` tells which.
    """

    def __init__(self, codec: EventCodec, path: Path, *, shared: bool = False) -> None:
        self._codec = codec
        self._file = _File(codec, path, shared=shared)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._closed = False

    @classmethod
    async def open(cls, codec: EventCodec, path: Path, *, shared: bool = False) -> Self:
        """Open the journal at `path`, or create it (0600, missing folders 0700).

        `shared`: others of this machine that say the same may have it open too; a lease tells which of them appends.
        Raises `JournalUnavailable` if it cannot be opened, is locked by another guard, or cannot be trusted.
        """
        journal = cls(codec, path, shared=shared)
        try:
            await journal._run(journal._file.open)
        except BaseException:
            journal._release()  # after the opening, if that goes on behind a cancelled call
            raise
        return journal

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        """Append all or nothing, durable on return; see the port."""
        bodies = [self._codec.encode(event) for event in events]
        return await self._run(lambda: self._file.append(stream, bodies, expected_seq))

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        """The stream from the event after `after`; see the port."""
        return await self._run(lambda: self._file.read(stream, after))

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        """Every event of the streams that start with `prefix`, by position; see the port."""
        return await self._run(lambda: self._file.read_all(prefix))

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        """Let go of these events; see the port. The room is used again, the file itself does not become smaller."""
        by_stream: dict[str, set[int]] = {}
        for stream, seq in superfluous:
            by_stream.setdefault(stream, set()).add(seq)
        for stream, seqs in by_stream.items():
            await self._run(partial(self._file.compact, stream, seqs))

    async def size(self) -> JournalSize:
        """Bytes in use, and with them what is free on the volume; see the port."""
        return await self._run(self._file.size)

    async def aclose(self) -> None:
        """Finish what was begun, close the file and let the lock go; a second call does nothing."""
        if not self._closed:
            await asyncio.shield(asyncio.wrap_future(self._release()))

    def _release(self) -> Future[None]:
        self._closed = True
        closing = self._thread.submit(self._file.close)
        self._thread.shutdown(wait=False)
        return closing

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise failure(JournalUnavailable, JournalClosed(str(self._file.path)))
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class _File:
    """The blocking part; every method runs on the journal's thread."""

    def __init__(self, codec: EventCodec, path: Path, *, shared: bool) -> None:
        self._codec = codec
        self.path = path.absolute()
        self._shared = shared
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def open(self) -> None:
        with layout.told(self.path, "opened"):
            try:
                _make_folders(self.path.parent)
                self._take_lock()
                self._create_if_absent()
                self._share_lock()
                layout.check_header(self.path)
                self._check_content()
                self._connect()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Never raises; a log that could not be folded in stays beside the file and is read at the next open."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        # Last: once it is let go, another guard may open the file.
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, stream: str, bodies: Sequence[str], expected_seq: int) -> int:
        with layout.told(self.path, "written"), self._transaction() as database:
            seq, digest = _tip(database, stream, expected_seq)
            for body in bodies:
                seq, digest = seq + 1, layout.digest(digest, stream, seq + 1, body, seq)
                database.execute(
                    "INSERT INTO events (stream, seq, body, digest) VALUES (?, ?, ?, ?)",
                    (stream, seq, body, digest),
                )
            return seq

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Committed at the end, undone where anything is raised."""
        database = self._still_ours()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise

    def compact(self, stream: str, superfluous: Collection[int]) -> None:
        with layout.told(self.path, "written"), self._transaction() as database:
            query = f"{layout.SELECT} WHERE stream = ? ORDER BY seq"
            rows = list(layout.verified(self.path, database.execute(query, (stream,))))
            kept = [row for row in rows if row[2] not in superfluous or row is rows[-1]]
            stays = {position for position, *_ in kept}
            database.executemany(
                "DELETE FROM events WHERE position = ?", [(row[0],) for row in rows if row[0] not in stays]
            )
            before, digest = 0, layout.NO_DIGEST
            for position, _, seq, body, _ in kept:
                before, digest = seq, layout.digest(digest, stream, seq, body, before)
                database.execute("UPDATE events SET digest = ? WHERE position = ?", (digest, position))

    def size(self) -> JournalSize:
        with layout.told(self.path, "read"):
            database = self._still_ours()
            (pages,), (free,), (size,) = (
                database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
            )
            volume = os.statvfs(self.path)
            return JournalSize((pages - free) * size, pages * size + volume.f_bavail * volume.f_frsize)

    def read(self, stream: str, after: int) -> Sequence[Entry]:
        with layout.told(self.path, "read"):
            database = self._still_ours()
            query = "SELECT seq, digest FROM events WHERE stream = ? AND seq <= ? ORDER BY seq DESC LIMIT 1"
            known: tuple[int, bytes] = database.execute(query, (stream, after)).fetchone() or (0, layout.NO_DIGEST)
            rows = database.execute(f"{layout.SELECT} WHERE stream = ? AND seq > ? ORDER BY seq", (stream, after))
            return [
                layout.entry_of(self._codec, self.path, row)
                for row in layout.verified(self.path, rows, {stream: known})
            ]

    def read_all(self, prefix: str) -> Sequence[Entry]:
        with layout.told(self.path, "read"), _uncollected():
            rows = self._still_ours().execute(
                f"{layout.SELECT} WHERE substr(stream, 1, ?) = ? ORDER BY position", (len(prefix), prefix)
            )
            return [layout.entry_of(self._codec, self.path, row) for row in layout.verified(self.path, rows)]

    def _take_lock(self) -> None:
        self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        end = time.monotonic() + (BUSY_TIMEOUT if self._shared else 0.0)
        while not self._locked():
            if time.monotonic() >= end:
                raise failure(JournalInUse, JournalTaken(str(self.path)))
            time.sleep(_LOCK_PAUSE)

    def _locked(self) -> bool:
        """Try to take the lock: whole, unless the file is shared and there already."""
        how = fcntl.LOCK_SH if self._shared and self.path.exists() else fcntl.LOCK_EX
        try:
            fcntl.flock(self._lock or -1, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _share_lock(self) -> None:
        """Let others in; between the two locks one that wants the file for itself may be quicker."""
        if self._shared and self._lock is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise failure(JournalInUse, JournalTaken(str(self.path))) from error

    def _create_if_absent(self) -> None:
        """A journal appears whole or not at all, so that an empty or partial file is always a damaged one."""
        if self.path.exists():
            return
        if Path(f"{self.path}-wal").exists():
            raise failure(JournalUnavailable, JournalHalfGone(str(self.path), f"{self.path.name}-wal"))
        draft = self.path.with_name(f"{self.path.name}.new")
        for leftover in (draft, Path(f"{draft}-journal"), Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as database:
            database.execute(f"PRAGMA application_id = {layout.APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {layout.FORMAT}")
            database.execute(layout.SCHEMA)
            if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise failure(JournalUnavailable, JournalVolume(str(self.path), fresh=True))
        _sync(draft)
        draft.rename(self.path)
        _sync(self.path.parent)

    def _check_content(self) -> None:
        """Look through the whole file without the right to write it, so that a damaged one stays evidence."""
        log = Path(f"{self.path}-wal")
        alone = not self._shared and (not log.exists() or log.stat().st_size == 0)
        uri = f"{self.path.as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
            database.text_factory = layout.text
            layout.check_structure(self.path, database)
            for _ in layout.verified(self.path, database.execute(f"{layout.SELECT} ORDER BY position")):
                pass

    def _connect(self) -> None:
        self._database = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT
        )
        self._database.text_factory = layout.text
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA trusted_schema = OFF")
        if self._database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise failure(JournalUnavailable, JournalVolume(str(self.path), fresh=False))
        # A volume that refuses to be written is found now, not in the middle of a rollback.
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("ROLLBACK")
        self._identity = _inode(self.path)

    def _still_ours(self) -> sqlite3.Connection:
        """The connection, if file and lock are still at their names: what goes to an unlinked file is lost."""
        if self._database is None or self._lock is None:
            raise failure(JournalUnavailable, JournalClosed(str(self.path)))
        held = os.fstat(self._lock)
        if _inode(self.path) != self._identity or _inode(Path(f"{self.path}.lock")) != (held.st_dev, held.st_ino):
            raise failure(JournalUnavailable, JournalMoved(str(self.path)))
        return self._database


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: a year's events are many, none is garbage, and each pass looks at all of them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _tip(database: sqlite3.Connection, stream: str, expected_seq: int) -> tuple[int, bytes]:
    """The last seq and digest of the stream; raises `JournalConflict` if it is not at `expected_seq`."""
    query = "SELECT seq, digest FROM events WHERE stream = ? ORDER BY seq DESC LIMIT 1"
    row: tuple[int, bytes] = database.execute(query, (stream,)).fetchone() or (0, layout.NO_DIGEST)
    if row[0] != expected_seq:
        raise failure(JournalConflict, StreamElsewhere(stream, row[0], expected_seq))
    return row


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folders(folder: Path) -> None:
    """Create what is missing, each level for the owner alone."""
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        _sync(missing.parent)
