"""`logcaster-guard journal` over what a guard has left behind, in a file and in the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from logcaster_guard import journal_tools, stores
from logcaster_guard.adapters import journal_codec
from logcaster_guard.adapters import sqlite_layout as layout
from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.cli.main import app
from logcaster_guard.domain.events import Event, SignalSeen, TriggerCleared, TriggerPending
from logcaster_guard.domain.leadership import Record
from logcaster_guard.ports import Entry, Json, Kind
from logcaster_guard.stores import CODEC
from tests.fakes.lease import MemoryLease, Shelf
from tests.fakes.secrets import Secrets
from tests.versions.kept import FOLDER, PLACE, secrets_of, sqlite_file

VERSION = "0.1.0"
CONTENTS: list[str] = json.loads((FOLDER / VERSION / "blobs.json").read_text())
FORGERY = "UPDATE events SET body = replace(body, 'v1', 'v7') WHERE seq = 2"
SETTINGS = """\
journal: {{path: {0}/journal.db, blobs: {0}/blobs}}
targets: [{{name: plain, namespace: default, deployment: plain}}]
"""
IN_CLUSTER = f"journal: {{backend: kubernetes, namespace: {PLACE.namespace}, name: {PLACE.name}}}\n"
LEASED = IN_CLUSTER + "authority: {lease: guard, namespace: guards}\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Journal and blobs as the guard left them, and settings that name them."""
    sqlite_file(VERSION, tmp_path / "journal.db")
    blobs = FolderBlobs(tmp_path / "blobs")
    for content in CONTENTS:
        await blobs.put(content.encode())
    (tmp_path / "guard.yaml").write_text(SETTINGS.format(tmp_path))
    return tmp_path


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """The same in the cluster; settings that name it."""
    secrets = secrets_of(VERSION)
    blobs = KubernetesBlobs(secrets, PLACE)
    for content in CONTENTS:
        await blobs.put(content.encode())

    async def connected(_: object) -> Secrets:
        return secrets

    monkeypatch.setattr(stores, "connected", connected)
    (tmp_path / "guard.yaml").write_text(IN_CLUSTER)
    return secrets


def call(folder: Path, *arguments: str) -> Result:
    found = CliRunner().invoke(app, ["journal", *arguments, "--config", str(folder / "guard.yaml")])
    assert "Traceback" not in found.output
    assert found.exception is None or isinstance(found.exception, SystemExit)
    return found


def edit(folder: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as database:
        database.execute(statement, values)


def rechain(folder: Path, change: Callable[[str, Json], Json | None]) -> None:
    """Another version of the guard writes these events: `change` gets stream and body."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as database:
        last: dict[str, tuple[int, bytes]] = {}
        for position, stream, seq, body, _ in database.execute(f"{layout.SELECT} ORDER BY position").fetchall():
            text = json.dumps(change(stream, json.loads(body)) or json.loads(body))
            before, chained = last.get(stream, (0, layout.NO_DIGEST))
            digest = layout.digest(chained, stream, seq, text, before)
            database.execute("UPDATE events SET body = ?, digest = ? WHERE position = ?", (text, digest, position))
            last[stream] = (seq, digest)


def unknown_step(stream: str, body: Json) -> Json | None:
    if body["type"] != "RunOpened" or "plain" not in stream:
        return None
    body["plan"]["steps"][0] = {"kind": "restore_configuration", "version": 3}
    return body


def unknown_event(_: str, body: Json) -> Json | None:
    return {"type": "ReleasePraised", "at": body["at"]} if body["type"] == "SignalSeen" else None


def of_a_newer_codec(_: str, body: Json) -> Json | None:
    return {"type": body.pop("type"), "codec": journal_codec.VERSION + 1, **body}


def without_its_beginning(stream: str, body: Json) -> Json | None:
    if body["type"] == "RunOpened" and "plain" in stream:
        return {"type": "SignalSeen", "at": body["at"], "signal": "x"}
    return None


def blob_of(folder: Path) -> Path:
    """The release that the plain service's open run puts back."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as database:
        query = "SELECT body FROM events WHERE stream LIKE 'run/plain-%' AND seq = 1"
        digest = str(json.loads(database.execute(query).fetchone()[0])["plan"]["steps"][0]["release"])
    return folder / "blobs" / digest[:2] / digest


def tree(folder: Path) -> list[tuple[str, bytes]]:
    return [(str(p), p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()]


def test_what_is_whole_is_told_so_and_left_as_it_is(folder: Path) -> None:
    before = tree(folder)
    shown = call(folder, "verify")
    assert (shown.exit_code, shown.stdout) == (0, f"OK: {folder}/journal.db: 66 events in 8 streams\n")
    assert tree(folder) == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: edit(f, FORGERY), "stream target/default/plain, seq 2: it does not follow"),
        (lambda f: edit(f, "DELETE FROM events WHERE seq = 2"), "plain, seq 3: it does not follow from seq 1"),
        (lambda f: blob_of(f).unlink(), "stream run/plain-"),
        (lambda f: blob_of(f).write_bytes(b"{}"), "is damaged: restore the folder; restore it from a backup"),
        (lambda f: rechain(f, unknown_step), "'restore_configuration' is no kind of this version; run the"),
        (lambda f: rechain(f, unknown_event), "plain, seq 1: the event cannot be read: 'ReleasePraised' is no event"),
        (lambda f: rechain(f, of_a_newer_codec), f"LogCaster Guard (event codec {journal_codec.VERSION + 1}"),
        (lambda f: rechain(f, without_its_beginning), "which was never opened; an event before it is missing"),
    ],
)  # fmt: skip
def test_each_fault_is_a_line_that_says_where_and_what_to_do(
    folder: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(folder)
    before = tree(folder)
    shown = call(folder, "verify")
    assert (shown.exit_code, says in shown.stdout) == (1, True), shown.output
    assert all(line.startswith("stream ") for line in shown.stdout.splitlines())
    assert shown.stderr.strip().endswith(f"faults in {folder}/journal.db")
    assert tree(folder) == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: edit(f, FORGERY), "plain, 순번 2: 순번 1에 이어서 쓴 그대로가 아님; 파일이 손상되었습니다."),
        (lambda f: rechain(f, unknown_step), "종류임; 그것을 쓴 버전을 실행해 주세요. 잃은 것은 없습니다"),
        (lambda f: rechain(f, without_its_beginning), "단계가 있습니다; 앞의 이벤트가 없거나 다릅니다."),
    ],
)  # fmt: skip
def test_faults_are_told_in_the_language_of_the_settings(
    folder: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(folder)
    settings = folder / "guard.yaml"
    settings.write_text(settings.read_text() + "notify: {language: ko}\n")
    assert says in call(folder, "verify").stdout


def of_format(folder: Path, number: int) -> None:
    edit(folder, f"PRAGMA user_version = {number}")
    edit(folder, "PRAGMA journal_mode = DELETE")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "journal.db").unlink(), "there is no journal"),
        (lambda f: (f / "journal.db").write_text("x" * 200), "is not a journal of LogCaster Guard"),
        (lambda f: of_format(f, 2), "of a newer version of LogCaster Guard (it has format 2, and"),
        (lambda f: of_format(f, 0), "of an older version of LogCaster Guard (it has format 0, and"),
        (lambda f: edit(f, "CREATE INDEX theirs ON events (body)"), "that no guard made"),
        (lambda f: (f / "guard.yaml").write_text("journal: {path: 7}"), "found the number 7; allowed text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["verify", "backup", "export", "compact"])
def test_what_cannot_be_read_is_one_sentence(
    folder: Path, command: str, damage: Callable[[Path], None], says: str
) -> None:
    damage(folder)
    arguments = [str(folder / "copy.tar")] if command == "backup" else []
    shown = call(folder, command, *arguments)
    assert (shown.exit_code, says in shown.stderr) == (2, True), shown.output
    assert not (folder / "copy.tar").exists()


async def test_beside_a_running_guard_it_is_verified_and_backed_up_and_not_compacted(folder: Path) -> None:
    guards = await SqliteJournal.open(CODEC, folder / "journal.db")
    await guards.append(
        "target/default/plain", [SignalSeen(NOW, "late")], len(await guards.read("target/default/plain"))
    )
    shown = [
        await asyncio.to_thread(call, folder, *arguments)
        for arguments in (["verify"], ["backup", str(folder / "copy.tar")], ["compact"])
    ]
    assert [s.exit_code for s in shown] == [0, 0, 1], [s.output for s in shown]
    assert "67 events in 8 streams" in shown[0].stdout
    assert f"a guard has the journal {folder}/journal.db open" in shown[2].stderr
    await guards.append("guard", [SignalSeen(NOW, "still at work")], 0)
    await guards.aclose()


async def entries_of(folder: Path) -> Sequence[Entry]:
    async with contextlib.aclosing(await SqliteJournal.open(CODEC, folder / "journal.db")) as journal:
        return await journal.read_all()


def test_a_backup_is_unpacked_to_be_restored(folder: Path) -> None:
    copy = folder / "copy.tar"
    made = call(folder, "backup", str(copy))
    assert (made.exit_code, "66 events in 8 streams" in made.stdout, copy.stat().st_mode & 0o777) == (0, True, 0o600)
    assert CliRunner().invoke(app, ["journal", "verify", str(copy)]).exit_code == 0
    before = asyncio.run(entries_of(folder))
    (folder / "journal.db").unlink()
    shutil.rmtree(folder / "blobs")
    subprocess.run(["tar", "-xf", str(copy), "-C", str(folder)], check=True, timeout=30)
    assert call(folder, "verify").exit_code == 0
    assert asyncio.run(entries_of(folder)) == before


def test_a_backup_replaces_nothing(folder: Path) -> None:
    (folder / "copy.tar").write_text("dear to somebody")
    shown = call(folder, "backup", str(folder / "copy.tar"))
    assert (shown.exit_code, "never replaces anything" in shown.stderr) == (2, True)
    assert (folder / "copy.tar").read_text() == "dear to somebody"
    shown = call(folder, "backup", str(folder / "nowhere" / "copy.tar"))
    assert (shown.exit_code, "cannot be written: No such file" in shown.stderr) == (2, True)


def test_a_copy_that_cannot_be_trusted_is_no_backup(folder: Path) -> None:
    blob_of(folder).unlink()
    shown = call(folder, "backup", str(folder / "copy.tar"))
    assert (shown.exit_code, "cannot be trusted" in shown.stderr, "stream run/plain-" in shown.stdout) == (
        1,
        True,
        True,
    )
    assert sorted(p.name for p in folder.iterdir()) == ["blobs", "guard.yaml", "journal.db"]


GUARD = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.domain.events import SignalSeen
from logcaster_guard.stores import CODEC

async def main():
    journal, seq = await SqliteJournal.open(CODEC, Path(sys.argv[1])), 0
    while True:
        seq = await journal.append("guard", [SignalSeen(datetime.now(UTC), str(seq))] * 3, seq)
        print(seq, flush=True)

asyncio.run(main())
"""


def written(guard: subprocess.Popen[str], at_least: int) -> None:
    """Wait until the other process has appended so much."""
    assert guard.stdout is not None
    assert any(int(line) >= at_least for line in guard.stdout)


@pytest.mark.slow
def test_a_copy_made_beside_a_process_that_never_stops_writing_is_whole(folder: Path) -> None:
    program = [str(Path(sys.executable).with_name("logcaster-guard")), "journal"]
    arguments = [sys.executable, "-c", GUARD, str(folder / "journal.db")]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        whole = [*program, *command, "--config", str(folder / "guard.yaml")]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)

    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as guard:
        try:
            written(guard, 30)
            done = [run("verify"), run("backup", str(folder / "copy.tar")), run("compact")]
            assert guard.poll() is None
        finally:
            guard.kill()
    assert [d.returncode for d in done] == [0, 0, 1], [d.stdout + d.stderr for d in done]
    assert "stop it first" in done[2].stderr
    count = asyncio.run(copied(folder / "copy.tar"))
    # An append of three is in a copy whole or not at all.
    assert (count >= 30, count % 3) == (True, 0)


async def copied(file: Path) -> int:
    async with journal_tools.backup(file) as copy:
        return sum(entry.stream == "guard" for entry in copy.journal.entries)


@pytest.mark.parametrize("name", ["../escape", "journal.db.lock", "/etc/passwd"])
def test_only_a_backup_is_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "copy.tar", "w") as archive:
        archive.add(tmp_path / "x", name)
    for file in ("copy.tar", "x", "none.tar"):
        shown = CliRunner().invoke(app, ["journal", "verify", str(tmp_path / file)])
        assert (shown.exit_code, "Traceback" in shown.output, shown.stderr[:7]) == (2, False, "error: ")


async def test_by_hand_goes_what_the_guard_lets_go_of(folder: Path) -> None:
    journal = await SqliteJournal.open(CODEC, folder / "journal.db")
    seq = len(await journal.read("target/default/plain"))
    for day in range(40):
        at = datetime.now(UTC) - timedelta(days=40 - day)
        events: list[Event] = [TriggerPending(at, "r", at), TriggerCleared(at, "r", "quiet")]
        seq = await journal.append("target/default/plain", events, seq)
    await journal.aclose()
    shown = await asyncio.to_thread(call, folder, "compact")
    assert (shown.exit_code, shown.stdout.split(" events")[0]) == (0, "26 of 146"), shown.output
    assert (await asyncio.to_thread(call, folder, "verify")).exit_code == 0
    assert "0 of 120 events" in (await asyncio.to_thread(call, folder, "compact")).stdout


def exported(folder: Path, *arguments: str) -> list[Json]:
    shown = call(folder, "export", *arguments)
    assert shown.exit_code == 0
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_events_are_exported_one_a_line_under_names_that_stay(folder: Path) -> None:
    every = exported(folder)
    assert len(every) == 66
    assert {tuple(line) for line in every} == {("position", "stream", "seq", "at", "type", "target", "run", "data")}
    assert {line["target"] for line in every} == {f"default/{n}" for n in ("gradual", "asked", "switched", "plain")}
    run = next(line["run"] for line in every if line["type"] == "RunOpened" and line["target"] == "default/gradual")
    assert {line["stream"] for line in exported(folder, "--run", run)} == {f"run/{run}"}
    of_plain = exported(folder, "--target", "plain")
    assert of_plain == exported(folder, "--target", "default/plain") != []
    assert exported(folder, "--since", "2026-01-01T01:00:00Z") == [e for e in every if e["at"] >= "2026-01-01T01"]
    assert exported(folder, "--since", "1h") == []


def test_no_token_is_exported(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as database:
        (body,) = database.execute('SELECT body FROM events WHERE body LIKE \'%"kind": "helper"%\'').fetchone()
    token = json.loads(body)["hold"]["token"]
    shown = call(folder, "export").stdout
    assert (len(token), token in shown, '"token": "redacted"' in shown) == (32, False, True)


def test_a_since_that_is_none_is_one_sentence(folder: Path) -> None:
    for given in ("yesterday", "-", "9" * 400 + "h"):
        shown = call(folder, "export", "--since", given)
        assert (shown.exit_code, shown.stderr.startswith("error: --since: found")) == (2, True)


def test_what_cannot_be_read_is_left_out_of_an_export_and_told(folder: Path) -> None:
    rechain(folder, unknown_event)
    shown = call(folder, "export")
    assert (shown.exit_code, len(shown.stdout.splitlines()), shown.stderr.count("left out: stream ")) == (1, 62, 4)


def test_the_journal_in_the_cluster_is_verified(tmp_path: Path, cluster: Secrets) -> None:
    before = json.dumps(cluster.objects)
    shown = call(tmp_path, "verify")
    assert (shown.exit_code, "66 events in 8 streams" in shown.stdout, json.dumps(cluster.objects)) == (0, True, before)
    label = next(n for n in cluster.objects if "-journal-" in n)
    cluster.edit(label, lambda item: item["data"].pop("tip"))
    shown = call(tmp_path, "verify")
    assert (shown.exit_code, shown.stdout.startswith("stream "), label in shown.stdout) == (1, True, True), shown.output


async def test_a_backup_of_the_cluster_is_created_again_as_it_was(tmp_path: Path, cluster: Secrets) -> None:
    copy = tmp_path / "copy.tar"
    assert (await asyncio.to_thread(call, tmp_path, "backup", str(copy))).exit_code == 0
    assert (await asyncio.to_thread(call, tmp_path, "verify", str(copy))).exit_code == 0
    before = list(await KubernetesJournal(CODEC, cluster, PLACE).read_all())
    with tarfile.open(copy) as archive:
        member = archive.extractfile("secrets.json")
        assert member is not None
        items: Sequence[dict[str, Any]] = json.loads(member.read())["items"]
    cluster.objects.clear()
    for item in items:
        assert item["metadata"].keys() <= {"name", "namespace", "labels", "annotations"}
        await cluster.create(Kind.SECRET, PLACE.namespace, item)
    restored: list[Entry] = list(await KubernetesJournal(CODEC, cluster, PLACE).read_all())
    assert restored == before
    assert (await asyncio.to_thread(call, tmp_path, "verify")).exit_code == 0


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("settings", "stopped", "age", "says"),
    [
        (IN_CLUSTER, False, 0.0, "stop the guard, and say --stopped"),
        (IN_CLUSTER, True, 0.0, "4 of 66 events went"),
        (LEASED, True, 0.0, "the guard another holds the lease guards/guard"),
        (LEASED, False, 3_600.0, "4 of 66 events went"),
    ],
)
def test_in_the_cluster_nothing_is_compacted_beside_a_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, settings: str, stopped: bool, age: float, says: str
) -> None:
    record = Record("another", 3, 30.0, renewed=datetime.now(UTC) - timedelta(seconds=age), version="v0")
    monkeypatch.setattr(journal_tools, "KubernetesLease", lambda *_: MemoryLease(Shelf(record)))
    (tmp_path / "guard.yaml").write_text(settings)
    shown = call(tmp_path, "compact", *(["--stopped"] if stopped else []))
    assert (shown.exit_code, says in shown.output) == (0 if "went" in says else 1, True), shown.output


def test_the_words_of_an_export_are_those_of_the_journal() -> None:
    entry = Entry("target/a/b", 1, 1, SignalSeen(NOW, "error_rate"))
    (line,) = journal_tools.exported([entry])
    body = json.loads(CODEC.encode(entry.event))
    assert {"type": line["type"], "at": line["at"], **line["data"]} == body
