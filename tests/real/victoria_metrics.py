"""A real VictoriaMetrics at its default flags, in a folder of its own, on a free loopback port."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.real.processes import Program
from tests.real.prometheus import Prometheus

START_WITHIN = 30.0


class VictoriaMetrics(Prometheus):
    """Configured, scraping and asked as a Prometheus is."""

    _program: Program | None = None

    async def _launch(self, path: Path) -> None:
        flags = {
            "httpListenAddr": f"127.0.0.1:{self._port}",
            "storageDataPath": str(self.folder / "data"),
            "promscrape.config": str(path),
            "promscrape.config.strictParse": "false",
            "retentionPeriod": "1",
        }
        arguments = [self._binary, *(f"-{name}={value}" for name, value in flags.items())]
        self._program = Program("victoria-metrics", arguments, self.folder)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        async with asyncio.timeout(START_WITHIN):
            while not await self._answers(self._program, self._session):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    async def _answers(self, program: Program, session: aiohttp.ClientSession) -> bool:
        program.check()
        try:
            async with session.get(f"{self.url}/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def stop(self) -> None:
        """End the process."""
        await super().stop()
        if self._program is not None:
            self._program.stop()
            self._program = None
