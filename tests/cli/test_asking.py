"""status, history and explain against a running guard, over a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from logcaster_guard.cli.main import app
from logcaster_guard.domain.signals import Fault
from tests.fakes.guarded import CALM, INTERVAL, RULE, TARGET, Guarded

WIDE = {"COLUMNS": "200"}


@pytest.fixture
async def scene() -> AsyncIterator[Guarded]:
    async with Guarded.serving(run=True, runs=True) as scene:
        await scene.clock.advance(INTERVAL)
        yield scene


async def run(*arguments: str, **env: str) -> Result:
    """The command in a thread of its own, as it brings an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env={**WIDE, **env})


async def test_status_shows_release_triggers_and_sources(scene: Guarded) -> None:
    result = await run("status", "--address", scene.url)
    assert result.exit_code == 0, result.output
    for part in (TARGET.key, "logcaster/logcaster-c:1.0.0 (revision 7, unproven)", RULE.name, "inactive", "prometheus"):
        assert part in result.stdout


async def test_status_says_in_red_what_the_guard_cannot_see(scene: Guarded) -> None:
    scene.source.answer = Fault.REFUSED
    await scene.clock.advance(RULE.duration + 2 * INTERVAL)
    result = await run("status", "--address", scene.url, FORCE_COLOR="1")
    red = "\x1b[1;31m"
    [line] = [text for text in result.stdout.splitlines() if "source prometheus: connection refused" in text]
    assert red in line
    assert "since 2026-01-01 00:0" in line
    assert f"{red}blind" in result.stdout
    explained = (await run("explain", RULE.name, "--address", scene.url)).stdout
    assert "blind since  2026-01-01 00:0" in explained


async def test_a_clock_that_differs_is_shown_by_status_and_by_the_probe(scene: Guarded) -> None:
    scene.cluster.skew = 42.0
    await scene.clock.advance(2 * INTERVAL)
    sentence = "clock of the API server: 42 s ahead of the guard's."
    assert sentence in (await run("status", "--address", scene.url)).stdout
    assert f"degraded: {sentence}" in (await scene.get("/readyz")).text
    scene.cluster.skew = 0.0
    await scene.clock.advance(2 * INTERVAL)
    assert sentence not in (await run("status", "--address", scene.url)).stdout


async def test_the_address_may_come_from_the_environment_without_a_scheme(scene: Guarded) -> None:
    result = await run("status", LOGCASTER_GUARD_ADDRESS=scene.url.removeprefix("http://"))
    assert result.exit_code == 0, result.output


async def test_names_are_shown_as_they_are_never_as_markup(scene: Guarded) -> None:
    assert CALM.name in (await run("status", "--address", scene.url)).stdout
    assert CALM.name in (await run("explain", CALM.name, "--address", scene.url)).stdout


async def test_history_shows_how_each_run_ended(scene: Guarded) -> None:
    result = await run("history", "--address", scene.url, "--target", TARGET.key)
    assert result.exit_code == 0, result.output
    assert "not recovered (still bad)" in result.stdout
    assert "logcaster/logcaster-c:2.0.0 → logcaster/logcaster-c:1.0.0" in result.stdout
    assert "1m30s" in result.stdout


@pytest.mark.parametrize("trigger", [RULE.name, f"logcaster/{RULE.name}", f"{TARGET.key}/{RULE.name}"])
async def test_explain_tells_why_a_trigger_did_not_fire(scene: Guarded, trigger: str) -> None:
    scene.source.answer = 0.3
    await scene.clock.advance(150.0)
    result = await run("explain", trigger, "--address", scene.url)
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:2] == [
        f"{TARGET.key}/{RULE.name}",
        "Not firing yet: error_rate > 5% is proven met for 120 s of 300 s.",
    ]
    for line in ("phase pending", "verdict met", "onset 2026-01-01 00:01:00Z", "proven met 2m of 5m"):
        assert line in lines
    assert "readings error_rate: 30%" in lines
    assert [line for line in lines if line.startswith("guardrails rollout_unknown: ")]
    assert [line for line in lines if line.startswith("no_good_revision: ")]


async def test_explain_tells_a_blind_rule_from_a_quiet_one(scene: Guarded) -> None:
    scene.source.answer = Fault.REFUSED
    await scene.clock.advance(INTERVAL)
    result = await run("explain", RULE.name, "--address", scene.url)
    assert "error_rate cannot be read, and blind is not bad" in result.stdout
    assert "unknown (blind: error_rate)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "key"),
    [(["status"], "targets"), (["history"], "runs"), (["explain", RULE.name], "triggers")],
)
async def test_json_is_the_daemons_whole_answer(scene: Guarded, arguments: list[str], key: str) -> None:
    result = await run(*arguments, "--json", "--address", scene.url)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)[key]) == 1


async def test_no_color_is_honoured(scene: Guarded) -> None:
    arguments = ("status", "--address", scene.url)
    assert "\x1b[" in (await run(*arguments, FORCE_COLOR="1")).stdout
    coloured = (await run(*arguments, FORCE_COLOR="1", NO_COLOR="1")).stdout
    assert not [code for code in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m") if code in coloured]
    assert "\x1b[" not in (await run(*arguments)).stdout


async def test_an_unknown_trigger_is_bad_input_and_the_known_ones_are_named(scene: Guarded) -> None:
    result = await run("explain", "high_eror_rate", "--address", scene.url)
    assert result.exit_code == 2
    assert f"{TARGET.key}/{RULE.name}" in result.stderr


@pytest.mark.parametrize("command", [["status"], ["history"], ["explain", "x"]])
async def test_where_no_daemon_listens_one_sentence_says_so(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    result = await run(*command, "--address", address)
    assert (result.exit_code, result.stdout) == (3, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: no daemon answers at http://{address} (connection refused)")


@pytest.mark.parametrize("address", ["", "user:secret@guard", "ftp://guard", "guard?x=1", "169.254.169.254:80", "a b"])
async def test_an_address_that_cannot_be_one_is_bad_input(address: str) -> None:
    result = await run("status", "--address", address)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(text="<html>hello</html>"),
        lambda: web.json_response([1]),
        lambda: web.json_response({"error": "boom"}, status=500),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: web.Response(body=b"\xff" * 100),
        lambda: web.Response(body=b" " * (17 << 20)),
    ],
)
async def test_another_server_is_told_from_a_daemon(answer: Any) -> None:
    async def handle(_: web.Request) -> web.Response:
        response: web.Response = answer()
        return response

    server = web.Application()
    server.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        result = await run("status", "--address", f"127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


async def test_hostile_words_are_not_obeyed_by_the_terminal() -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"error": "no such\x1b]0;owned\x07 trigger"}, status=404)

    server = web.Application()
    server.router.add_get("/api/v1/explain", handle)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        result = await run("explain", "x", "--address", f"127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()
    assert result.exit_code == 2
    assert "\x1b" not in result.output


async def test_the_installed_command_completes_itself() -> None:
    command = Path(sys.executable).with_name("logcaster-guard")
    words = {"_LOGCASTER_GUARD_COMPLETE": "complete_bash", "COMP_WORDS": "logcaster-guard ex", "COMP_CWORD": "1"}
    process = await asyncio.create_subprocess_exec(
        command, env={**os.environ, **words}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert out.decode().split() == ["explain"], err.decode()
