"""The SQLite journal against what happens to files, disks and processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.sqlite_layout import APPLICATION_ID, FORMAT
from logcaster_guard.domain.errors import JournalConflict, JournalUnavailable
from logcaster_guard.domain.events import Event, SignalSeen
from logcaster_guard.stores import CODEC

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHILD_LIMIT = 30.0


def seen(*signals: str) -> list[Event]:
    return [SignalSeen(NOW, name) for name in signals]


async def filled(path: Path, count: int = 40) -> None:
    journal = await SqliteJournal.open(CODEC, path)
    for n in range(count):
        await journal.append(f"run/{n % 3}", seen(f"signal-{n}"), n // 3)
    await journal.aclose()


async def content(path: Path) -> list[tuple[str, int, Event]]:
    journal = await SqliteJournal.open(CODEC, path)
    try:
        return [(e.stream, e.seq, e.event) for e in await journal.read_all()]
    finally:
        await journal.aclose()


def files(path: Path) -> dict[str, bytes]:
    """The journal's file and log as they lie there."""
    return {p.name: p.read_bytes() for p in (path, Path(f"{path}-wal")) if p.is_file() and p.stat().st_size}


async def refused(path: Path) -> str:
    """The sentence with which opening fails; file and log are the same before and after."""
    before = files(path)
    with pytest.raises(JournalUnavailable) as caught:
        await SqliteJournal.open(CODEC, path)
    assert files(path) == before
    return str(caught.value)


async def test_events_and_conflicts_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await filled(path)
    assert len(await content(path)) == 40
    journal = await SqliteJournal.open(CODEC, path)
    with pytest.raises(JournalConflict):
        await journal.append("run/0", seen("x"), 0)
    await journal.aclose()


async def test_file_and_new_folders_are_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "guard" / "j.db"
    journal = await SqliteJournal.open(CODEC, path)
    await journal.append("run/1", seen("a"), 0)
    modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.iterdir()}
    await journal.aclose()
    assert modes == {"j.db": 0o600, "j.db.lock": 0o600, "j.db-wal": 0o600, "j.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == path.parent.parent.stat().st_mode & 0o777 == 0o700


async def test_a_path_may_hold_what_a_uri_would_misread(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#%20 guard.db"
    await filled(path, 3)
    assert path.is_file()
    assert len(await content(path)) == 3


async def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    await filled(tmp_path / "j.db", 1)
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db")) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert database.execute("PRAGMA user_version").fetchone() == (FORMAT,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_two_guards_cannot_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = await SqliteJournal.open(CODEC, path)
    with pytest.raises(JournalUnavailable, match="in use by another guard"):
        await SqliteJournal.open(CODEC, path)
    await journal.append("run/1", seen("a"), 0)
    await journal.aclose()
    assert len(await content(path)) == 1


def empty(path: Path) -> None:
    path.write_bytes(b"")


def short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(path: Path) -> None:
    path.write_text("rollback_triggers:\n" * 50)


def foreign(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE logs (id INTEGER)")
        database.commit()


def older(path: Path) -> None:
    of_format(path, FORMAT - 1)


def newer(path: Path) -> None:
    of_format(path, FORMAT + 1)


def of_format(path: Path, number: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {number}")
        # Back from WAL, so that the number is in the file itself as a newer version would leave it after closing.
        database.execute("PRAGMA journal_mode = DELETE")


def index_bytes(path: Path) -> None:
    """In the index alone: the table, its digests and SQLite's quick_check are as before."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'index'").fetchone()
    whole = bytearray(path.read_bytes())
    page = whole[(root - 1) * size : root * size]
    last = page.rindex(b"run/2")
    page[last : last + 5] = b"run/3"
    whole[(root - 1) * size : root * size] = page
    path.write_bytes(whole)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)


def statement(sql: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute(sql)
            database.commit()

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (empty, "cut short"),
        (short, "cut short"),
        (half, "damaged"),
        (text, "not a journal of LogCaster Guard"),
        (foreign, "not a journal of LogCaster Guard"),
        (newer, "a newer version of LogCaster Guard (it has format 2, and this version reads format 1)"),
        (older, "an older version of LogCaster Guard (it has format 0, and this version reads format 1)"),
        (statement("UPDATE events SET body = replace(body, 'signal-7', 'signal-8') WHERE position = 8"), "damaged at"),
        (statement("DELETE FROM events WHERE position = 5"), "damaged at"),
        (statement("UPDATE events SET stream = 'run/9' WHERE stream = 'run/1'"), "damaged at"),
        (statement("DROP TABLE events"), "that no guard made"),
        (statement("CREATE TABLE more (x)"), "that no guard made"),
        (statement("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END"), "that no guard made"),
        (index_bytes, "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_what_cannot_be_trusted_is_refused_untouched(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "j.db"
    await filled(path)
    damage(path)
    assert says in await refused(path)
    # Refused for good, with nothing left locked: the second answer is the first.
    assert says in await refused(path)


async def test_a_changed_byte_anywhere_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path, copy = tmp_path / "j.db", tmp_path / "copy.db"
    await filled(path)
    whole, expected = path.read_bytes(), await content(path)
    for offset in range(0, len(whole), 211):
        copy.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        with contextlib.suppress(JournalUnavailable):
            assert await content(copy) == expected, offset


async def test_an_event_of_an_unknown_type_is_named_by_stream_and_seq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            "logcaster_guard.adapters.journal_codec.EventCodec.encode", lambda *_: '{"type":"FromTheFuture"}'
        )
        journal = await SqliteJournal.open(CODEC, tmp_path / "j.db")
        await journal.append("run/7", seen("a"), 0)
    with pytest.raises(JournalUnavailable, match=r"stream run/7, seq 1: 'FromTheFuture' is no event type"):
        await journal.read("run/7")
    await journal.aclose()


async def test_a_log_without_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.db-wal").write_bytes(b"x" * 100)
    assert "j.db-wal is still there" in await refused(tmp_path / "j.db")
    assert not (tmp_path / "j.db").exists()


async def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in await refused(tmp_path / "folder")
    assert "not a regular file" in await refused(tmp_path / "fifo")
    assert "cannot be opened" in await refused(tmp_path / "fifo" / "j.db")


async def test_a_crash_while_the_file_is_made_is_made_good(tmp_path: Path) -> None:
    (tmp_path / "j.db.new").write_bytes(b"half a file")
    (tmp_path / "j.db.new-journal").write_bytes(b"hot")
    await filled(tmp_path / "j.db", 3)
    assert sorted(os.listdir(tmp_path)) == ["j.db", "j.db.lock"]  # noqa: PTH208 # pathlib would be taken for blocking


async def test_a_file_moved_away_under_the_guard_takes_no_more_appends(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = await SqliteJournal.open(CODEC, path)
    await journal.append("run/1", seen("a"), 0)
    path.rename(tmp_path / "away")
    with pytest.raises(JournalUnavailable):
        await journal.append("run/1", seen("b"), 1)
    (tmp_path / "away").rename(path)
    assert await journal.append("run/1", seen("b"), 1) == 2
    (tmp_path / "j.db.lock").unlink()
    with pytest.raises(JournalUnavailable):
        await journal.append("run/1", seen("c"), 2)
    await journal.aclose()


async def test_an_append_works_again_once_another_program_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logcaster_guard.adapters.journal.BUSY_TIMEOUT", 0.05)
    journal = await SqliteJournal.open(CODEC, tmp_path / "j.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match="another program has it locked"):
            await journal.append("run/1", seen("a"), 0)
        other.execute("ROLLBACK")
    assert await journal.append("run/1", seen("a"), 0) == 1
    await journal.aclose()


async def test_a_cancelled_append_is_whole_or_absent_and_read_tells(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(CODEC, tmp_path / "j.db")
    seq = 0
    for turns in range(30):
        task = asyncio.create_task(journal.append("run/1", seen("a", "b", "c"), seq))
        for _ in range(turns % 6):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        entries = await journal.read("run/1")
        assert len(entries) in {seq, seq + 3}
        seq = len(entries)
    await journal.aclose()
    assert len(await content(tmp_path / "j.db")) == seq


async def test_an_append_that_had_begun_when_cancelled_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    journal = await SqliteJournal.open(CODEC, tmp_path / "j.db")
    append = journal._file.append

    def held(stream: str, bodies: list[str], expected: int) -> int:
        begun.set()
        go_on.wait(CHILD_LIMIT)
        return append(stream, bodies, expected)

    monkeypatch.setattr(journal._file, "append", held)
    first = asyncio.create_task(journal.append("run/1", seen("a"), 0))
    await asyncio.to_thread(begun.wait, CHILD_LIMIT)
    second = asyncio.create_task(journal.append("run/1", seen("never"), 1))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    go_on.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert [e.event for e in await journal.read("run/1")] == seen("a")
    await journal.aclose()


async def test_a_cancelled_opening_leaves_nothing_locked(tmp_path: Path) -> None:
    for turns in range(5):
        task = asyncio.create_task(SqliteJournal.open(CODEC, tmp_path / f"{turns}.db"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await task).aclose()
        for _ in range(200):
            with contextlib.suppress(JournalUnavailable):
                await filled(tmp_path / f"{turns}.db", 1)
                break
            await asyncio.sleep(0.01)  # the cancelled opening lets go in a thread of its own
        assert len(await content(tmp_path / f"{turns}.db")) == 1


PRELUDE = """
import asyncio, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import SignalSeen
from logcaster_guard.stores import CODEC
PATH, NOW = Path(sys.argv[1]), datetime(2026, 1, 1, tzinfo=UTC)
"""

APPENDER = """
async def main():
    journal = await SqliteJournal.open(CODEC, PATH)
    seq = len(await journal.read("run/1"))
    for _ in range(100_000):
        seq = await journal.append("run/1", [SignalSeen(NOW, f"{seq}a"), SignalSeen(NOW, f"{seq}b")], seq)
        print(seq, flush=True)
asyncio.run(main())
"""


async def test_guards_that_take_turns_share_one_file_and_see_each_others_appends(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    first, second = [await SqliteJournal.open(CODEC, path, shared=True) for _ in range(2)]
    await first.append("run/1", seen("a"), 0)
    assert [e.event for e in await second.read("run/1")] == seen("a")
    with pytest.raises(JournalConflict):
        await second.append("run/1", seen("b"), 0)
    await second.append("run/1", seen("b"), 1)
    assert [e.event for e in await first.read_all()] == seen("a", "b")
    await first.aclose()
    await second.append("run/1", seen("c"), 2)
    await second.aclose()
    assert [e for _, _, e in await content(path)] == seen("a", "b", "c")


async def test_at_their_first_start_they_make_one_file(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    made = await asyncio.gather(*(SqliteJournal.open(CODEC, path, shared=True) for _ in range(6)))
    for n, journal in enumerate(made):
        await journal.append("run/1", seen(str(n)), n)
    for journal in made:
        await journal.aclose()
    assert len(await content(path)) == 6


@pytest.mark.parametrize("first", [True, False])
async def test_one_that_shares_and_one_that_does_not_keep_each_other_out(tmp_path: Path, first: bool) -> None:
    path = tmp_path / "j.db"
    await filled(path)
    journal = await SqliteJournal.open(CODEC, path, shared=first)
    with pytest.raises(JournalUnavailable, match="in use by another guard"):
        await SqliteJournal.open(CODEC, path, shared=not first)
    await journal.aclose()
    assert len(await content(path)) == 40


def test_what_was_acknowledged_before_a_sigkill_is_there(tmp_path: Path) -> None:
    acknowledged = 0
    for lines in (1, 7, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + APPENDER, str(tmp_path / "j.db")], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child, child.stdout:
            for _ in range(lines):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().splitlines()
            child.wait(CHILD_LIMIT)
        acknowledged = int(rest[-1]) if rest and rest[-1] else acknowledged
        kept = asyncio.run(content(tmp_path / "j.db"))
        assert len(kept) >= acknowledged
        assert len(kept) % 2 == 0
        assert [seq for _, seq, _ in kept] == list(range(1, len(kept) + 1))


FULL_DISK = """
async def main():
    journal = await SqliteJournal.open(CODEC, PATH)
    seq, limit = 0, 200_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for _ in range(1000):
        try:
            seq = await journal.append("run/1", [SignalSeen(NOW, "x" * 9000)], seq)
        except JournalUnavailable as error:
            print(error)
            break
    assert len(await journal.read("run/1")) == seq
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    seq = await journal.append("run/1", [SignalSeen(NOW, "again")], seq)
    await journal.aclose()
    print(seq)
asyncio.run(main())
"""


def test_a_full_disk_is_told_and_a_later_append_works_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + FULL_DISK, str(tmp_path / "j.db")],
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT,
        check=True,
    )
    sentence, seq = done.stdout.splitlines()
    assert "cannot be written" in sentence
    assert "full" in sentence
    assert int(seq) > 1
    assert len(asyncio.run(content(tmp_path / "j.db"))) == int(seq)


async def test_a_journal_left_by_a_crash_is_checked_without_being_written(tmp_path: Path) -> None:
    live, path = tmp_path / "live.db", tmp_path / "j.db"
    journal = await SqliteJournal.open(CODEC, live)
    await journal.append("run/1", seen("a", "b"), 0)
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{live}{suffix}", f"{path}{suffix}")
    await journal.aclose()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE events SET body = '{}' WHERE position = 1")
        left = files(path)
    # The closing folded the log in; as a crash leaves them, the damage is in the log alone.
    for name, whole in left.items():
        (tmp_path / name).write_bytes(whole)
    assert set(left) == {"j.db", "j.db-wal"}
    assert "damaged at" in await refused(path)
    assert files(path) == left


READ_ONLY = """
async def main():
    try:
        await SqliteJournal.open(CODEC, PATH)
    except JournalUnavailable as error:
        print(error)
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root writes everywhere; needs setpriv")
@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, existing: bool) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    if existing:
        asyncio.run(filled(folder / "j.db", 3))
    # Without CAP_DAC_OVERRIDE root is held to the permission bits like anybody else.
    caps = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"] if os.geteuid() == 0 else []
    folder.chmod(0o500)
    for file in folder.iterdir():
        file.chmod(0o400)
    try:
        done = subprocess.run(
            [*caps, sys.executable, "-c", PRELUDE + READ_ONLY, str(folder / "j.db")],
            capture_output=True,
            text=True,
            timeout=CHILD_LIMIT,
            check=True,
        )
    finally:
        folder.chmod(0o700)
    assert "cannot be opened: Permission denied" in done.stdout
    assert len(done.stdout.splitlines()) == 1


async def test_a_compacted_file_is_trusted_and_a_row_that_is_missing_from_it_is_found(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await filled(path)
    journal = await SqliteJournal.open(CODEC, path)
    await journal.compact({("run/0", seq) for seq in (1, 2, 5, 9)})
    await journal.aclose()
    assert [seq for stream, seq, _ in await content(path) if stream == "run/0"] == [3, 4, 6, 7, 8, 10, 11, 12, 13, 14]
    statement("DELETE FROM events WHERE stream = 'run/0' AND seq = 4")(path)
    assert "damaged at" in await refused(path)
