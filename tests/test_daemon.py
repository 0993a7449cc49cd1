"""The process of `logcaster-guard run`: the signals it obeys, and what becomes of edits of its files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from logcaster_guard.adapters import logs
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.config.loading import load
from logcaster_guard.daemon import Daemon
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.notices import Notice
from logcaster_guard.messages.guard_headlines import ConfigurationRefused
from logcaster_guard.stores import CODEC
from tests.real.control_plane import write_kubeconfig

SETTINGS = """\
targets:
  - {{name: web, namespace: shop, deployment: web, service: web}}
  - {{name: till, namespace: shop, deployment: till, service: till}}
sources: {{prometheus: {{url: null}}, kubernetes: {{kubeconfig: {folder}/access/kubeconfig, timeout: 1s}}}}
journal: {{path: {folder}/journal.db, blobs: {folder}/blobs}}
web: {{listen: null}}
notify: {{events: false}}
log: {{format: json}}
"""
RULES = """\
rollback_triggers:
  - {name: high_error_rate, condition: "error_rate > 5%", duration: 5m, action: alert_only, targets: [web]}
  - {name: crash_loop, condition: "restart_count > 5", duration: 5m, action: alert_only}
"""


class Running:
    """A daemon in this process, over files in a folder."""

    def __init__(self, folder: Path, output: io.StringIO) -> None:
        self._output = output
        self.settings, self.rules = folder / "guard.yaml", folder / "rollback-rules.yaml"
        self.journal = folder / "journal.db"
        self.lines: list[dict[str, Any]] = []
        self.task: asyncio.Task[None] | None = None

    async def until(self, event: str, **fields: object) -> Mapping[str, Any]:
        """The next line with this event and these fields; lines before it are forgotten."""
        async with asyncio.timeout(20):
            while True:
                self.lines += [json.loads(line) for line in self._output.getvalue().splitlines()]
                self._output.truncate(0)
                self._output.seek(0)
                while self.lines:
                    line = self.lines.pop(0)
                    if line["event"] == event and fields.items() <= line.items():
                        return line
                await asyncio.sleep(0.02)

    async def notices(self) -> list[Notice]:
        """What people were told of the configuration; the daemon has ended."""
        journal = await SqliteJournal.open(CODEC, self.journal)
        try:
            told = [e.event.notice for e in await journal.read_all() if isinstance(e.event, NoticeQueued)]
        finally:
            await journal.aclose()
        return [n for n in told if n.event.startswith("config.")]


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    output = io.StringIO()
    monkeypatch.setattr(logs, "configure", partial(logs.configure, stream=output))
    (tmp_path / "access").mkdir()
    write_kubeconfig(tmp_path / "access" / "kubeconfig", "http://127.0.0.1:9", None, "none")
    made = Running(tmp_path, output)
    made.settings.write_text(SETTINGS.format(folder=tmp_path))
    made.rules.write_text(RULES)
    paths = (made.settings, made.rules)
    loaded = load(*paths)
    assert not isinstance(loaded, list), loaded
    made.task = asyncio.create_task(Daemon(paths).serve(loaded))
    await made.until("guard.started")
    yield made
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await made.task


def send(number: int) -> None:
    os.kill(os.getpid(), number)


async def stopped(made: Running, number: int = signal.SIGTERM) -> None:
    assert made.task is not None
    send(number)
    await asyncio.wait_for(made.task, 20)
    await made.until("guard.stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda n: n.name)
async def test_it_stops_in_order_and_says_by_which_signal(running: Running, number: signal.Signals) -> None:
    await stopped(running, number)


async def test_a_signal_without_a_meaning_is_told_and_a_hangup_reads_the_files_again(running: Running) -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        send(number)
        await running.until("signal.received", signal=number.name)
    send(signal.SIGHUP)
    await running.until("signal.received", signal="SIGHUP")
    await running.until("config.unchanged")
    await stopped(running)


async def test_an_edit_is_told_once_with_the_targets_that_it_concerns(running: Running) -> None:
    running.rules.write_text(RULES.replace("5%", "6%"))
    await running.until("config.reloaded", changed=["high_error_rate"])
    running.rules.write_text(RULES.replace('> 5"', '> 6"'))
    await running.until("config.reloaded", changed=["high_error_rate", "crash_loop"])
    running.rules.write_text(RULES.replace("restart_count", "restart_cuont"))
    await running.until("notice.queued", about="config.refused")
    await stopped(running)
    told = [(n.event, n.target, n.deployment, n.facts["targets"]) for n in await running.notices()]
    assert told == [
        ("config.reloaded", "shop/web", "web", "shop/web"),
        ("config.reloaded", "", "web", "shop/web, shop/till"),
        ("config.refused", "", "web", "shop/web, shop/till"),
    ]


async def test_answers_and_a_refused_edit_are_told_in_the_language_of_the_settings_in_force(running: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    korean = running.settings.read_text().replace("{events: false}", "{events: false, language: ko}")
    running.settings.write_text(korean.replace("listen: null", f'listen: "{address}"'))
    await running.until("config.settings_changed")
    await running.until("guard.started")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://{address}/x")).json() == {"error": "여기에는 아무것도 없습니다."}
    running.rules.write_text(RULES.replace("restart_count", "restart_cuont"))
    refused = await running.until("config.refused")
    assert 'found the unknown signal "restart_cuont"; allowed the signals ' in refused["faults"][0]
    await running.until("notice.queued", about="config.refused")
    await stopped(running)
    *_, notice = await running.notices()
    assert isinstance(notice.message, ConfigurationRefused)
    assert '발견: 알 수 없는 신호 "restart_cuont"; 허용: 신호 ' in notice.message.faults


async def test_settings_that_change_are_told_by_their_keys(running: Running) -> None:
    text = running.settings.read_text().replace("timeout: 1s", "timeout: 2s")
    running.settings.write_text(text + "limits: {cooldown: 40m}\nsignals: {error_rate: {lookback: 7m}}\n")
    changed = ["limits.cooldown", "sources.kubernetes.timeout", "signals.error_rate"]
    await running.until("config.settings_changed", changed=changed)
    await running.until("guard.started")
    await stopped(running)
    (notice,) = await running.notices()
    assert notice.event == "config.settings_changed"
    assert notice.text.startswith(f"Changed: {', '.join(changed)}.")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("/kubeconfig,", "/elsewhere,", "no kubeconfig"),
        ("/journal.db,", "/guard.yaml,", "guard.yaml"),
    ],
    ids=["kubeconfig", "journal"],
)
async def test_settings_that_cannot_be_used_are_refused_and_the_guard_goes_on(
    running: Running, before: str, after: str, words: str
) -> None:
    running.settings.write_text(running.settings.read_text().replace(before, after))
    refused = await running.until("config.refused")
    assert words in refused["faults"][0]
    running.settings.write_text(running.settings.read_text().replace(after, before))
    running.rules.write_text(RULES.replace("5%", "6%"))
    await running.until("notice.queued", about="config.reloaded")
    await stopped(running)
    assert [n.event for n in await running.notices()] == ["config.refused", "config.reloaded"]


def test_a_closed_standard_error_is_no_defect(tmp_path: Path) -> None:
    rules = tmp_path / "rollback-rules.yaml"
    rules.write_text(RULES.replace(", targets: [web]", ""))
    program = Path(sys.executable).with_name("logcaster-guard")
    ended = subprocess.run(
        [program, "run", rules],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "none")},
        preexec_fn=lambda: os.close(2),
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2  # there is no kubeconfig
