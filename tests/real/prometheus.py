"""A real Prometheus server for one test, in a temporary folder, on a free loopback port."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.real.processes import NotStarted, free_port
from tests.real.waiting import until

START_WITHIN = 30.0
LOG_TAIL = 2000
Json = dict[str, Any]


class Prometheus:
    """The server at `url`; `folder` is where file_sd files, if any, may be put."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.url = ""
        self.folder = folder
        self._binary = binary
        self._output = folder / "prometheus.log"
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, scrape_configs: Sequence[Mapping[str, Any]], *, interval: str = "1s") -> None:
        """Start scraping and wait until queries are answered; raises `NotStarted`."""
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "scrape_configs": list(scrape_configs),
        }
        path = self.folder / "prometheus.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        self._port = self._port or free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        await self._launch(path)

    async def restart(self) -> None:
        """Start again after `stop`, on the same port and data."""
        await self._launch(self.folder / "prometheus.yml")

    async def _launch(self, path: Path) -> None:
        with self._output.open("wb") as sink:
            self._process = await asyncio.create_subprocess_exec(
                self._binary,
                f"--config.file={path}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={},
                start_new_session=True,
            )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        try:
            await until(self._ready, START_WITHIN)
        except TimeoutError:
            raise NotStarted(f"Prometheus was not ready within {START_WITHIN:.0f} s: {self._tail()}") from None

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                self._process.kill()
        await self._process.wait()

    async def query(self, expression: str) -> list[Json]:
        """The vector that an instant query answers with."""
        assert self._session is not None
        async with self._session.get(f"{self.url}/api/v1/query", params={"query": expression}) as response:
            body = await response.json()
        assert body["status"] == "success", body
        result = body["data"]["result"]
        assert isinstance(result, list)
        return result

    async def value(self, expression: str) -> float | None:
        """The single number that an instant query answers with; None for an empty vector."""
        result = await self.query(expression)
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    async def until_value(self, expression: str, *, above: float, within: float = 30.0) -> float:
        """Wait until the query's single number exceeds `above`; raises `TimeoutError`."""

        async def exceeds() -> list[float]:
            value = await self.value(expression)
            return [] if value is None or value <= above else [value]

        return (await until(exceeds, within))[0]

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._session is not None
        if self._process.returncode is not None:
            raise NotStarted(f"Prometheus ended with code {self._process.returncode}: {self._tail()}")
        try:
            async with self._session.get(f"{self.url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _tail(self) -> str:
        return self._output.read_text(errors="replace")[-LOG_TAIL:]


def pods_job(network_url: str) -> Json:
    """A scrape job for every pod behind the sandbox's network, found and reached through it."""
    return {
        "job_name": "pods",
        "proxy_url": network_url,
        "http_sd_configs": [{"url": f"{network_url}/targets", "refresh_interval": "1s"}],
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"source_labels": ["__meta_kubernetes_pod_label_app"], "target_label": "app"},
        ],
    }


def static_job(addresses: Sequence[str], proxy_url: str | None = None) -> Json:
    """A scrape job for `host:port` addresses."""
    job: Json = {"job_name": "static", "static_configs": [{"targets": list(addresses)}]}
    return job if proxy_url is None else {**job, "proxy_url": proxy_url}
