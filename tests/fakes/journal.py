"""A journal that forgets everything with the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from logcaster_guard.domain.errors import JournalConflict, JournalUnavailable
from logcaster_guard.domain.events import Event
from logcaster_guard.ports import Entry, JournalSize
from logcaster_guard.stores import CODEC
from tests import canary


class MemoryJournal:
    """Implements `ports.Journal`; `fault` (a sentence) makes every call raise `JournalUnavailable` while it is set."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.fault: str | None = None
        self.limit = 64 * 1024 * 1024

    @property
    def entries(self) -> Sequence[Entry]:
        """Everything, whatever `fault` says."""
        return list(self._entries)

    def rewrite(self, entry: Callable[[Entry], Entry]) -> None:
        """As if another version of the guard had written everything."""
        self._entries = [entry(e) for e in self._entries]

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        self._check()
        seq = next((e.seq for e in reversed(self._entries) if e.stream == stream), 0)
        if seq != expected_seq:
            raise JournalConflict(f"the stream {stream} is at {seq}, not at {expected_seq}: read it again")
        for event in events:
            if canary.in_play:
                canary.note(f"the journal, in {type(event).__name__}", CODEC.encode(event))
            seq += 1
            self._entries.append(Entry(stream, seq, self._entries[-1].position + 1 if self._entries else 1, event))
        return seq

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        self._check()
        return [entry for entry in self._entries if entry.stream == stream and entry.seq > after]

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        self._check()
        return [entry for entry in self._entries if entry.stream.startswith(prefix)]

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        self._check()
        last = {entry.stream: entry.seq for entry in self._entries}
        self._entries = [
            e for e in self._entries if (e.stream, e.seq) not in superfluous or e.seq == last[e.stream]
        ]  # fmt: skip

    async def size(self) -> JournalSize:
        self._check()
        return JournalSize(1_000 * len(self._entries), self.limit)

    async def aclose(self) -> None:
        self.fault = "the journal is closed"

    def _check(self) -> None:
        if self.fault is not None:
            raise JournalUnavailable(self.fault)


class SlowJournal(MemoryJournal):
    """Every call lets others go first, before and after."""

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        await asyncio.sleep(0)
        seq = await super().append(stream, events, expected_seq)
        await asyncio.sleep(0)
        return seq

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        found = await super().read(stream, after)
        await asyncio.sleep(0)
        return found
