"""What a journal's file looks like inside, and how its content is believed.

Each row carries a SHA-256 over itself and the row before it in its stream, so a changed, swapped or missing row is
found; where compaction has let rows go, the next one vouches for the gap.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

from logcaster_guard.adapters.journal_codec import EventCodec, Unreadable
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.messages.journal_faults import (
    EventUnreadable,
    JournalAltered,
    JournalBroken,
    JournalCut,
    JournalDamaged,
    JournalNoFile,
    JournalOfVersion,
    JournalRefused,
    NoJournalOfGuard,
    SqliteFault,
    StreamDamaged,
)
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Entry

APPLICATION_ID = 0x4C434731
"""SQLite's `application_id` of a journal: "LCG1"."""

FORMAT = 1
"""SQLite's `user_version`: the layout of the table and of the digests. Another one is refused, never guessed at."""

SCHEMA = """
CREATE TABLE events (
  position INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  body TEXT NOT NULL,
  digest BLOB NOT NULL,
  UNIQUE (stream, seq)
) STRICT
"""
SELECT = "SELECT position, stream, seq, body, digest FROM events"
NO_DIGEST = bytes(32)
"""What the first row of a stream is chained to."""

_HEADER_SIZE = 100
_NOTHING: Mapping[str, tuple[int, bytes]] = {}

Row = tuple[int, str, int, str, bytes]
"""Position, stream, seq, body and digest."""

_FAULTS = {
    sqlite3.SQLITE_FULL: SqliteFault.FULL,
    sqlite3.SQLITE_BUSY: SqliteFault.LOCKED,
    sqlite3.SQLITE_LOCKED: SqliteFault.LOCKED,
    sqlite3.SQLITE_READONLY: SqliteFault.READ_ONLY,
    sqlite3.SQLITE_PERM: SqliteFault.NO_PERMISSION,
    sqlite3.SQLITE_CANTOPEN: SqliteFault.CANNOT_OPEN,
    sqlite3.SQLITE_CORRUPT: SqliteFault.CORRUPT,
    sqlite3.SQLITE_NOTADB: SqliteFault.CORRUPT,
    sqlite3.SQLITE_IOERR: SqliteFault.DISK,
}


@contextlib.contextmanager
def told(path: Path, verb: str) -> Iterator[None]:
    """Failures of the disk and of SQLite as a `JournalUnavailable` of one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        fault = _FAULTS.get(code & 0xFF, SqliteFault.OTHER)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise failure(JournalUnavailable, JournalBroken(str(path), verb, fault, name)) from error
    except UnicodeDecodeError as error:
        # Python's binding fails so when SQLite's own message quotes a damaged schema.
        raise failure(JournalUnavailable, JournalBroken(str(path), verb, SqliteFault.CORRUPT, "")) from error
    except OSError as error:
        refused = JournalRefused(str(path), verb, str(error.strerror or error))
        raise failure(JournalUnavailable, refused) from error


def check_header(path: Path) -> None:
    """Identity and format from the plain bytes: SQLite, which may write on opening, never sees a foreign file.

    Raises `JournalUnavailable`.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise failure(JournalUnavailable, JournalNoFile(str(path)))
    with path.open("rb") as file:
        header = file.read(_HEADER_SIZE)
    if len(header) < _HEADER_SIZE:
        raise failure(JournalUnavailable, JournalCut(str(path), len(header)))
    identity = int.from_bytes(header[68:72], "big")
    if not header.startswith(b"SQLite format 3\0") or identity != APPLICATION_ID:
        raise failure(JournalUnavailable, NoJournalOfGuard(str(path)))
    version = int.from_bytes(header[60:64], "big")
    if version != FORMAT:
        of_version = JournalOfVersion(str(path), version > FORMAT, str(version), FORMAT)
        raise failure(JournalUnavailable, of_version)


def check_structure(path: Path, database: sqlite3.Connection) -> None:
    """Raise `JournalUnavailable` if SQLite finds damage, or anything in it that no guard made."""
    # Not quick_check: it passes by an index that does not fit its table, and appends go by the index.
    found = database.execute("PRAGMA integrity_check(1)").fetchone()
    if found != ("ok",):
        raise failure(JournalUnavailable, JournalDamaged(str(path), f"{found[0]!r:.200}"))
    objects = database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    if [" ".join(sql.split()) for (sql,) in objects] != [" ".join(SCHEMA.split())]:
        raise failure(JournalUnavailable, JournalAltered(str(path)))


def verified(path: Path, rows: Iterable[Row], known: Mapping[str, tuple[int, bytes]] = _NOTHING) -> Iterator[Row]:
    """The rows as they are, each checked against the one before it in its stream; `known` are those before them.

    Raises `JournalUnavailable`.
    """
    last = dict(known)
    for row in rows:
        _, stream, seq, _, found = row
        if not follows(row, *last.get(stream, (0, NO_DIGEST))):
            raise failure(JournalUnavailable, StreamDamaged(str(path), f"{stream!r}", seq))
        last[stream] = (seq, found)
        yield row


def follows(row: Row, before: int, chained: bytes) -> bool:
    """Whether the row is as it was written after seq `before` of its stream, whose digest is `chained`."""
    _, stream, seq, body, found = row
    return seq > before and found == digest(chained, stream, seq, body, before)


def digest(chained: bytes, stream: str, seq: int, body: str, before: int) -> bytes:
    """Of a row that follows seq `before`: a gap, which compaction leaves, is vouched for as any content is."""
    gap = "" if seq == before + 1 else f", {before}"
    # As `json.dumps` of a list, which takes three times as long.
    content = f"[{_quoted(stream)}, {seq}, {_quoted(body)}{gap}]"
    return hashlib.sha256(chained + content.encode()).digest()


def entry_of(codec: EventCodec, path: Path, row: Row) -> Entry:
    """The row's event; raises `JournalUnavailable` for one that this version cannot read."""
    position, stream, seq, body, _ = row
    try:
        return Entry(stream=stream, seq=seq, position=position, event=codec.decode(body))
    except Unreadable as error:
        raise failure(JournalUnavailable, EventUnreadable(str(path), stream, seq, error.reason)) from error


def text(raw: bytes) -> str:
    """Damaged text as text that its digest will not fit."""
    return raw.decode("utf-8", "replace")
