"""A real Prometheus server over the sandbox, in a folder of its own, on a free loopback port."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from logcaster_guard.domain.errors import GuardError
from logcaster_guard.sandbox.client import Json
from logcaster_guard.sandbox.container_metrics import CADVISOR_PATH, KUBE_STATE_PATH

PROGRAM = "prometheus"
START_WITHIN = 30.0
STOP_WITHIN = 10.0
LOG_TAIL = 2000


class PrometheusNotStarted(GuardError):
    """The server did not come up; the message holds the end of what it said."""


class PrometheusServer:
    """The program `binary` at `url` (known after `start`); its configuration, log and data are in `folder`."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.url = ""
        self.folder = folder
        self._binary = binary
        self._output = folder / "prometheus.log"
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, scrape_configs: Sequence[Mapping[str, object]], *, interval: str = "1s") -> None:
        """Start scraping and wait until queries are answered; raises `PrometheusNotStarted`."""
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "scrape_configs": list(scrape_configs),
        }
        path = self.folder / "prometheus.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        self._port = self._port or _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        await self._launch(path)

    async def restart(self) -> None:
        """Start again after `stop`, on the same port and data; raises `PrometheusNotStarted`."""
        await self._launch(self.folder / "prometheus.yml")

    async def stop(self) -> None:
        """End the process; what it stored stays in the folder."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_WITHIN)
            except TimeoutError:
                process.kill()
        await process.wait()
        self._process = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _launch(self, path: Path) -> None:
        try:
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
        except OSError as error:
            raise PrometheusNotStarted(f"{self._binary} could not be run: {error.strerror}") from None
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        try:
            async with asyncio.timeout(START_WITHIN):
                while not await self._ready(self._process, self._session):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise PrometheusNotStarted(
                f"Prometheus was not ready within {START_WITHIN:.0f} s: {self._tail()}"
            ) from None

    async def _ready(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> bool:
        if process.returncode is not None:
            raise PrometheusNotStarted(f"Prometheus ended with code {process.returncode}: {self._tail()}")
        try:
            async with session.get(f"{self.url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _tail(self) -> str:
        return self._output.read_text(errors="replace")[-LOG_TAIL:].strip()


def cluster_jobs(network_url: str) -> list[Json]:
    """What a Prometheus of a cluster scrapes: the pods, the kubelet's container metrics and kube-state-metrics."""
    return [pods_job(network_url), containers_job(network_url), kube_state_job(network_url)]


def pods_job(network_url: str) -> Json:
    """The job for every pod behind the sandbox's network, found and reached through it."""
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


def containers_job(network_url: str) -> Json:
    """The job for cAdvisor's metrics of the containers, with the settings that kube-prometheus gives it."""
    # cAdvisor stamps its samples: honoured, a container that is gone would be seen for five minutes more.
    return _page_job("cadvisor", network_url, CADVISOR_PATH) | {"honor_timestamps": False}


def kube_state_job(network_url: str) -> Json:
    """The job for the metrics of kube-state-metrics."""
    return _page_job("kube-state-metrics", network_url, KUBE_STATE_PATH)


def _page_job(name: str, network_url: str, path: str) -> Json:
    return {
        "job_name": name,
        "honor_labels": True,
        "metrics_path": path,
        "static_configs": [{"targets": [urlsplit(network_url).netloc]}],
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
