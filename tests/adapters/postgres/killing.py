"""Guards that migrate in processes of their own, so that they can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from logcaster_guard.domain.database.migrating import Attempt, Backend, Script
from tests.adapters.postgres.twelve import BACK_TO_9
from tests.real.postgresql import RealDatabase
from tests.real.waiting import until


class Killable:
    """Processes that migrate; `journal` holds what the last one told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self.journal: dict[str, Any] = {}

    async def migrate(self, raw: RealDatabase, port: int, scripts: Sequence[Script] = BACK_TO_9) -> None:
        """Begin one through `port`; it is known as a process afterwards."""
        texts = [(script.name, script.text, script.leaves) for script in scripts]
        self._input.write(json.dumps({"port": port, "name": raw.name, "scripts": texts}).encode() + b"\n")
        self.journal = {}
        await self.hear("forked")

    async def hear(self, key: str) -> None:
        """Take in what it says, until that."""
        while key not in self.journal:
            self.journal |= json.loads(await self._output.readline())

    async def kill(self) -> None:
        """Kill it; whatever it told before is in `journal` then."""
        process = self.journal["process"]
        os.kill(process, signal.SIGKILL)

        async def gone() -> bool:
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return True
            return False

        await until(gone)
        self._input.write(b"\n")
        await self.hear("answered")

    @property
    def attempt(self) -> Attempt | None:
        """As a restarted guard reads it; None: it had not got as far as a backend."""
        if "backend" not in self.journal:
            return None
        backend = Backend(self.journal["backend"], datetime.fromisoformat(self.journal["started"]))
        return Attempt("op-1", "plan", 12, 9, backend, self.journal.get("transaction"))


@asynccontextmanager
async def killable() -> AsyncIterator[Killable]:
    arguments = (sys.executable, "-m", "tests.adapters.postgres.killable")
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Killable(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
