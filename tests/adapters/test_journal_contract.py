"""What every journal does, whatever it is kept in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.errors import JournalConflict, JournalUnavailable
from logcaster_guard.domain.events import Event, SignalSeen
from logcaster_guard.ports import Journal
from logcaster_guard.stores import CODEC
from tests.fakes.journal import MemoryJournal
from tests.fakes.secrets import Secrets

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def seen(*signals: str) -> list[Event]:
    return [SignalSeen(NOW, signal) for signal in signals]


@pytest.fixture(params=["memory", "sqlite", "kubernetes"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    made: Journal = MemoryJournal()
    if request.param == "sqlite":
        made = await SqliteJournal.open(CODEC, tmp_path / "j.db")
    if request.param == "kubernetes":
        made = KubernetesJournal(CODEC, Secrets(), Place("guards", "logcaster-guard"))
    yield made
    await made.aclose()


async def test_a_stream_is_read_in_the_order_of_its_appends(journal: Journal) -> None:
    assert await journal.append("run/1", seen("a", "b"), 0) == 2
    assert await journal.append("run/1", seen("c"), 2) == 3
    entries = await journal.read("run/1")
    assert [(e.stream, e.seq, e.event) for e in entries] == [
        ("run/1", n, event) for n, event in enumerate(seen("a", "b", "c"), start=1)
    ]


async def test_an_unknown_stream_is_empty(journal: Journal) -> None:
    assert list(await journal.read("run/none")) == []
    assert list(await journal.read_all()) == []


@pytest.mark.parametrize("expected", [0, 1, 3, -1])
async def test_a_stale_or_future_seq_is_a_conflict_and_changes_nothing(journal: Journal, expected: int) -> None:
    await journal.append("run/1", seen("a", "b"), 0)
    with pytest.raises(JournalConflict):
        await journal.append("run/1", seen("x", "y"), expected)
    assert [e.event for e in await journal.read("run/1")] == seen("a", "b")


async def test_appending_nothing_still_checks_the_seq(journal: Journal) -> None:
    assert await journal.append("run/1", [], 0) == 0
    with pytest.raises(JournalConflict):
        await journal.append("run/1", [], 1)


async def test_read_all_follows_positions_over_streams_of_the_prefix(journal: Journal) -> None:
    await journal.append("target/a", seen("1"), 0)
    await journal.append("run/1", seen("2"), 0)
    await journal.append("target/a", seen("3"), 1)
    await journal.append("target%", seen("4"), 0)
    every = await journal.read_all()
    assert [e.event for e in every] == seen("1", "2", "3", "4")
    assert [e.position for e in every] == sorted({e.position for e in every})
    assert [e.event for e in await journal.read_all("target/")] == seen("1", "3")
    assert [e.event for e in await journal.read_all("target%")] == seen("4")
    assert list(await journal.read_all("Target")) == []


async def test_of_concurrent_appends_at_one_seq_exactly_one_wins(journal: Journal) -> None:
    results = await asyncio.gather(
        *(journal.append("run/1", seen(str(n)), 0) for n in range(20)), return_exceptions=True
    )
    assert results.count(1) == 1
    assert sum(isinstance(r, JournalConflict) for r in results) == 19
    assert len(await journal.read("run/1")) == 1


async def test_after_closing_every_call_says_so(journal: Journal) -> None:
    await journal.aclose()
    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.read("run/1")
    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.append("run/1", seen("a"), 0)
    await journal.aclose()


async def test_a_stream_is_read_from_where_the_reader_is(journal: Journal) -> None:
    for n, name in enumerate("abcd"):
        await journal.append("run/1", seen(name), n)
    await journal.append("run/2", seen("x"), 0)
    assert [(e.seq, e.event) for e in await journal.read("run/1", 2)] == [(3, *seen("c")), (4, *seen("d"))]
    assert [list(await journal.read("run/1", after)) for after in (4, 9)] == [[], []]
    assert await journal.append("run/1", seen("e"), 4) == 5


async def test_what_stays_of_a_compacted_stream_keeps_its_place_and_the_stream_goes_on(journal: Journal) -> None:
    for n, name in enumerate("abcdef"):
        await journal.append("run/1", seen(name), n)
        await journal.append("run/2", seen(name.upper()), n)
    before = {e.seq: e for e in await journal.read("run/1")}
    await journal.compact({("run/1", seq) for seq in (1, 3, 4, 6)})
    expected = [before[2], before[5], before[6]]
    assert list(await journal.read("run/1")) == expected
    assert list(await journal.read("run/1", 3)) == expected[1:]
    assert [e.event for e in await journal.read("run/2")] == seen(*"ABCDEF")
    assert await journal.append("run/1", seen("g"), 6) == 7
    await journal.compact({("run/1", 2), ("run/1", 6), ("run/3", 1)})
    assert [(e.seq, e.event) for e in await journal.read("run/1")] == [(5, *seen("e")), (7, *seen("g"))]
    every = await journal.read_all()
    assert [e.position for e in every] == sorted(e.position for e in every)
    assert await journal.append("run/1", seen("h"), 7) == 8


async def test_a_journal_tells_its_size_and_takes_less_when_it_was_compacted(journal: Journal) -> None:
    await journal.append("run/1", seen(*(str(n) * 100 for n in range(500))), 0)
    before = await journal.size()
    await journal.compact({("run/1", n) for n in range(500)})
    after = await journal.size()
    assert 0 < after.used < before.used / 10 < before.limit
