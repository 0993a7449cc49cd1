"""The `FileTrees` port on the file systems of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.adapters.files.exchange import exchange, fence, look, prune
from logcaster_guard.adapters.files.stepwise import stepwise
from logcaster_guard.adapters.files.unpack import unpack
from logcaster_guard.file_trees import (
    Built,
    Comparison,
    Exchange,
    Exchanged,
    Order,
    Progress,
    Pruned,
    Surroundings,
    UnpackPolicy,
)


class LocalTrees:
    """All work is done on threads. It needs /proc, and the rights over what it reads and makes: see each failure."""

    def build(self, source: Path, production: Path, order: Order) -> AsyncGenerator[Progress | Built, None]:
        """Copy a tree to beside production; see the port."""
        return stepwise(build(source, production, order))

    def unpack(
        self, archive: Path, production: Path, order: Order, policy: UnpackPolicy
    ) -> AsyncGenerator[Progress | Built, None]:
        """Unpack an archive to beside production; see the port."""
        return stepwise(unpack(archive, production, order, policy))

    def compare(self, first: Path, second: Path) -> AsyncGenerator[Progress | Comparison, None]:
        """Read both trees whole; see the port."""
        return stepwise(compare(first, second))

    async def look(self, production: Path) -> Surroundings:
        """What stands at production; see the port."""
        return await asyncio.to_thread(look, production)

    async def fence(self, production: Path, epoch: int) -> None:
        """Refuse every leader before `epoch`; see the port."""
        await asyncio.to_thread(fence, production, epoch)

    async def exchange(self, production: Path, wanted: Exchange, order: Order, now: datetime) -> Exchanged:
        """Put a tree into the place of production; see the port."""
        return await asyncio.to_thread(exchange, production, wanted, order, now)

    def prune(self, production: Path, epoch: int, before: datetime) -> AsyncGenerator[Progress | Pruned, None]:
        """Remove what was replaced long ago; see the port."""
        return stepwise(prune(production, epoch, before))
