"""A journal's file as whoever may not change it sees it: looked through whole, and copied beside a running guard."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from logcaster_guard.adapters import sqlite_layout as layout
from logcaster_guard.adapters.journal_codec import EventCodec, Unreadable
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.messages.record_faults import EventUnfollowing, EventUnread, Remedy, ToDo
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Entry, Flaw, Inspected


def inspect(codec: EventCodec, path: Path) -> Inspected:
    """Every event that can be read, and everything that is wrong with the others; reads only.

    Raises `JournalUnavailable` where nothing can be read.
    """
    with _reading(path) as database:
        layout.check_structure(path, database)
        entries: list[Entry] = []
        flaws: list[Flaw] = []
        last: dict[str, tuple[int, bytes]] = {}
        for row in database.execute(f"{layout.SELECT} ORDER BY position"):
            _, stream, seq, body, digest = row
            before = last.get(stream, (0, layout.NO_DIGEST))
            last[stream] = (seq, digest)
            if not layout.follows(row, *before):
                flaws.append(Flaw(stream, seq, EventUnfollowing(before[0]), ToDo(Remedy.RESTORE_FILE)))
                continue
            try:
                entries.append(Entry(stream, seq, row[0], codec.decode(body)))
            except Unreadable as error:
                flaws.append(Flaw(stream, seq, EventUnread(error.reason), ToDo(Remedy.NOTHING_LOST)))
        return Inspected(entries, flaws)


def back_up(path: Path, copy: Path) -> None:
    """Copy the journal as it is at one moment to the new file `copy` (0600), by SQLite's own backup.

    A guard may have it open, and goes on meanwhile. Raises `JournalUnavailable`.
    """
    with _reading(path) as database, layout.told(copy, "written"):
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target:
            database.backup(target)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    path = path.absolute()
    with layout.told(path, "read"):
        check_is_there(path)
        layout.check_header(path)
        # As long as anybody has the file open its -wal file is there, empty or not.
        alone = not Path(f"{path}-wal").exists()
        uri = f"{path.as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
            database.text_factory = layout.text
            yield database


def check_is_there(path: Path) -> None:
    """Raise `JournalUnavailable` where there is no file: opening one would make it."""
    if not path.exists():
        raise JournalUnavailable(phrase("fault.no_journal", path=str(path)))
