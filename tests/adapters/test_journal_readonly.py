"""A journal on a volume that is mounted read-only: nothing can be told, so nothing is done."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from logcaster_guard import app
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.config.sections import JournalSection
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import SignalSeen
from logcaster_guard.messages.texts import english
from logcaster_guard.stores import CODEC
from tests.fakes.secrets import Secrets

EVENT = SignalSeen(datetime(2026, 1, 1, tzinfo=UTC), "error_rate")


def mount(*arguments: str) -> bool:
    program = shutil.which("mount")
    if program is None or os.geteuid() != 0:
        return False
    return subprocess.run([program, *arguments], capture_output=True, timeout=30, check=False).returncode == 0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "volume"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)):
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], timeout=30, check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("path", ["journal.db", "new.db", "folder/new.db"])
async def test_it_cannot_be_opened_and_nothing_changes(volume: Path, path: str) -> None:
    journal = await SqliteJournal.open(CODEC, volume / "journal.db")
    await journal.append("target/a", [EVENT], 0)
    await journal.aclose()
    assert mount("-o", "remount,ro", str(volume))
    before = contents(volume)
    with pytest.raises(JournalUnavailable, match=r"(?i)read-?only"):
        await SqliteJournal.open(CODEC, volume / path)
    assert contents(volume) == before


async def test_the_guard_then_only_watches_and_says_so(volume: Path) -> None:
    assert mount("-o", "remount,ro", str(volume))
    with capture_logs() as logs:
        journal, fault = await app._journal(JournalSection(path=str(volume / "journal.db")), Secrets())
    assert journal is None
    assert "read-only" in english().text(fault).lower()
    [line] = [entry for entry in logs if entry["event"] == "journal.unavailable"]
    assert line["effect"] == "the guard only watches"
