"""What a guard of some version has left behind: its journal in both stores, its releases, and the cluster around it.

`python -m tests.versions VERSION` writes it with the code of this checkout, once, when that version is released. What
an earlier version has written is never written anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.ports import Entry, Journal
from logcaster_guard.stores import CODEC
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.journal import MemoryJournal
from tests.fakes.secrets import Secrets
from tests.versions.world import Services

FOLDER = Path(__file__).parent
VERSIONS = sorted(p.parent.name for p in FOLDER.glob("*/journal.sql"))
PLACE = Place("guards", "logcaster-guard")
_HEADER = ("application_id", "user_version")


def write(folder: Path) -> None:
    """Play the services up to the death of their guard, and keep what is there then in `folder`."""
    played, blobs = MemoryJournal(), MemoryBlobs()
    services = Services(played, blobs)
    asyncio.run(services.play())
    folder.mkdir()
    (folder / "journal.sql").write_text(asyncio.run(_as_sql(played.entries)))
    _write_json(folder / "secrets.json", asyncio.run(_as_secrets(played.entries)).objects)
    _write_json(folder / "blobs.json", sorted(content.decode() for content in blobs.contents))
    _write_json(folder / "cluster.json", {"now": str(services.clock.now()), "objects": services.cluster.dump()})


async def _as_sql(entries: Sequence[Entry]) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "journal.db")
        kept = await SqliteJournal.open(CODEC, path)
        await _copy(entries, kept)
        await kept.aclose()
        with contextlib.closing(sqlite3.connect(path)) as database:
            header = [f"PRAGMA {name} = {database.execute(f'PRAGMA {name}').fetchone()[0]};" for name in _HEADER]
            return "\n".join([*header, *database.iterdump(), "PRAGMA journal_mode = WAL;"]) + "\n"


async def _as_secrets(entries: Sequence[Entry]) -> Secrets:
    secrets = Secrets()
    await _copy(entries, KubernetesJournal(CODEC, secrets, PLACE, now=lambda: 1))
    return secrets


async def _copy(entries: Sequence[Entry], journal: Journal) -> None:
    for entry in entries:
        await journal.append(entry.stream, [entry.event], entry.seq - 1)


async def taken_over(version: str, backend: str, scratch: Path) -> Services:
    """The services as the guard of this version has left them, and its journal as this version reads it."""
    folder, played, blobs = FOLDER / version, MemoryJournal(), MemoryBlobs()
    for content in _read_json(folder / "blobs.json"):
        await blobs.put(content.encode())
    kept: Journal = KubernetesJournal(CODEC, secrets_of(version), PLACE)
    if backend == "sqlite":
        kept = await SqliteJournal.open(CODEC, sqlite_file(version, scratch / "journal.db"))
    # The clock of the services waits for no thread.
    await _copy(await kept.read_all(), played)
    await kept.aclose()
    cluster = _read_json(folder / "cluster.json")
    services = Services(played, blobs, datetime.fromisoformat(cluster["now"]))
    services.traffic = 50.0
    services.load(cluster["objects"])
    services.cluster.follows = True
    return services


def sqlite_file(version: str, path: Path) -> Path:
    """The file as it was, at `path`."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript((FOLDER / version / "journal.sql").read_text())
    return path


def secrets_of(version: str) -> Secrets:
    """The Secrets as they were."""
    secrets = Secrets()
    secrets.objects = _read_json(FOLDER / version / "secrets.json")
    secrets._version = 10_000
    return secrets


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
