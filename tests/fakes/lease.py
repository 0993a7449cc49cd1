"""One lease in memory, and what each guard sees of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from logcaster_guard.domain.errors import Conflict, NotFound, Unavailable
from logcaster_guard.domain.leadership import Record


@dataclass
class Shelf:
    """Where the record lies; `writes` counts those that took effect."""

    record: Record | None = None
    writes: int = 0

    def put(self, record: Record) -> Record:
        self.writes += 1
        self.record = replace(record, version=f"v{self.writes}")
        return self.record


@dataclass
class MemoryLease:
    """Implements `ports.Lease`.

    `away`: the API does not answer. `unheard`: a write takes effect, and its answer is lost. While `hanging` is set
    nothing comes back at all.
    """

    shelf: Shelf
    name: str = "prod/guard"
    away: bool = False
    unheard: bool = False
    hanging: bool = False
    asked: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> Record | None:
        await self._reached()
        return self.shelf.record

    async def write(self, record: Record) -> Record:
        await self._reached()
        present = self.shelf.record
        if record.version and present is None:
            raise NotFound("it is gone", status=404)
        if ("" if present is None else present.version) != record.version:
            raise Conflict("it has changed", status=409)
        written = self.shelf.put(record)
        if self.unheard:
            raise Unavailable("the answer was lost")
        return written

    async def _reached(self) -> None:
        self.asked += 1
        if self.hanging:
            await self.woken.wait()
        if self.away:
            raise Unavailable("the API server is away")
