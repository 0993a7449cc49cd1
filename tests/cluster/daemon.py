"""`logcaster-guard run` as operators start it: a process of its own, told apart only by its files and its log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests import canary
from tests.cluster.harness import Cluster
from tests.real.waiting import until

Json = dict[str, Any]

RULES = """\
rollback_triggers:
  - name: high_error_rate
    condition: "error_rate > 5%"
    duration: "3s"
    action: immediate_rollback
  - name: health_check_failure
    condition: "health_check_fails > 3"
    duration: "3s"
    action: immediate_rollback
  - name: response_time_degradation
    condition: "p95_latency > 2s"
    duration: "5s"
    action: alert_then_rollback
  - name: memory_leak
    condition: "memory_usage > 90%"
    duration: "5s"
    action: gradual_rollback
  - name: crash_loop
    condition: "restart_count > 5"
    duration: "3s"
    action: immediate_rollback
"""
SETTINGS = """\
targets:
  - {{name: logcaster, namespace: {namespace}, deployment: logcaster-prod, service: logcaster,
     health_url: "http://logcaster:9998/health", traffic_url: "http://logcaster:9999/"}}
sources:
  prometheus: {{url: {prometheus}, timeout: 2s, min_requests: 20}}
  http: {{proxy: {network}, timeout: 3s}}
  scrape: {{proxy: {network}, min_requests: 20}}
  kubernetes: {{kubeconfig: {kubeconfig}}}
signals:
  error_rate: {{lookback: 5s}}
  p95_latency: {{lookback: 5s}}
polling: {{interval: 1s}}
ledger: {{good_after: 4s}}
verify: {{stable_for: 3s, timeout: 40s}}
rollout: {{timeout: 40s}}
limits: {{cooldown: 1s, per_target_per_day: 20, per_cluster_per_hour: 20}}
journal: {{path: {folder}/journal.db, blobs: {folder}/blobs}}
notify:
  webhooks: [{webhooks}]
log: {{format: json}}
"""


class GuardProcess:
    """One process at a time over the same files; every line of its log is kept over restarts."""

    def __init__(self, *files: Path) -> None:
        self._arguments = [str(Path(sys.executable).with_name("logcaster-guard")), "run", *map(str, files)]
        self.environment: dict[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.lines: list[Json] = []

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | self.environment,
        )
        self._reader = asyncio.create_task(self._read())

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; returns its exit code."""
        if self._process is None or self._reader is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(20):
            code = await self._process.wait()
            await self._reader
        self._process = self._reader = None
        return code

    @property
    def pid(self) -> int:
        """The number of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send it a signal that does not end it."""
        assert self._process is not None
        self._process.send_signal(number)

    async def freeze(self) -> None:
        """Stop it, and return when it stands still."""
        assert self._process is not None
        process = self._process
        self.signal(signal.SIGSTOP)

        async def stands() -> bool:
            return state_of(process.pid) == "T"

        await until(stands)

    async def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        async with asyncio.timeout(60):
            await self._process.wait()
        return await self.stop()

    async def until(self, event: str, *, count: int = 1, within: float = 60.0, **fields: object) -> Json:
        """The `count`-th line with this event and these fields; fails with the log's end if it does not come."""

        async def look() -> list[Json]:
            found = self.told(event, **fields)
            return found if len(found) >= count else []

        try:
            return (await until(look, within))[count - 1]
        except TimeoutError:
            tail = "\n".join(json.dumps(line) for line in self.lines[-40:])
            raise AssertionError(f"no {event} {fields} within {within} s; the log ends:\n{tail}") from None

    def told(self, event: str, **fields: object) -> list[Json]:
        wanted = {"event": event, **fields}
        return [line for line in self.lines if all(line.get(k) == v for k, v in wanted.items())]

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            canary.note("the log of a guard", raw)
            text = raw.decode()
            self.lines.append(json.loads(text) if text.startswith("{") else {"event": "", "text": text})


def state_of(pid: int) -> str:
    """The state of a process, as proc(5) tells it: `R`, `S`, `T` for stopped, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Daemon(GuardProcess):
    """The guard with rules and settings made for tests, written into `folder`."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        *,
        network: str,
        prometheus: str | None,
        webhook: str | None = None,
        rules: Path | None = None,
    ) -> None:
        self.settings = folder / "guard.yaml"
        self._namespace = cluster.namespace
        if rules is None:
            rules = folder / "rollback-rules.yaml"
            rules.write_text(RULES)
        self.settings.write_text(
            SETTINGS.format(
                namespace=cluster.namespace,
                prometheus=prometheus or "null",
                network=network,
                kubeconfig=cluster.kubeconfig("guard"),
                folder=folder,
                webhooks="" if webhook is None else f'{{name: people, url: "{webhook}"}}',
            )
        )
        super().__init__(self.settings, rules)

    def take_turns(self, lease: str) -> None:
        """It shares this Lease with others over the same files."""
        text = self.settings.read_text().replace("kubernetes: {kubeconfig", "kubernetes: {timeout: 2s, kubeconfig")
        self.settings.write_text(f"{text}authority: {{lease: {lease}, duration: 6s, renew_every: 1s}}\n")

    def keep_in_cluster(self) -> None:
        """Journal and blobs go into Secrets of the target's own namespace."""
        text = self.settings.read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("journal:")]
        kept = f"journal: {{backend: kubernetes, namespace: {self._namespace}}}"
        self.settings.write_text(text.replace(line, kept))
