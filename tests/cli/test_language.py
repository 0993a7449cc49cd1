"""The command line speaks the daemon's language in what that tells, else the settings' or the terminal's."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.texts import Language, Texts
from tests.cli.test_asking import run
from tests.fakes.guarded import INTERVAL, RULE, TARGET, Guarded

KOREAN = Texts(Language.KOREAN)
ENGLISH = re.compile(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}")


async def test_what_the_daemon_tells_is_shown_in_its_language() -> None:
    async with Guarded.serving(texts=KOREAN, runs=True) as scene:
        scene.source.answer = Fault.TIMED_OUT
        async with scene.running():
            await scene.clock.advance(20 * INTERVAL)
            status = (await run("status", "--address", scene.url)).stdout
            explained = (await run("explain", RULE.name, "--address", scene.url)).stdout
            history = (await run("history", "--address", scene.url)).stdout
    assert re.search(r"^  현재 +logcaster/logcaster-c:1.0.0 \(리비전 7, 미확인\)$", status, re.MULTILINE)
    assert "  복원 대상  없음: 정상으로 확인된 다른 릴리스가 없음" in status
    assert re.search(r"^high_error_rate +확인 불가 +0s +5m +error_rate 소스 오류: 시간 초과", status, re.MULTILINE)
    assert "  판정         알 수 없음 (읽지 못함: error_rate)" in explained
    assert "회복되지 않음" in history
    told = re.sub("“[^”]*”", "", status + explained)
    assert [line for line in told.splitlines() if ENGLISH.search(line)] == []


@pytest.mark.parametrize(("locale", "words"), [("ko_KR.UTF-8", "오류: "), ("", "error: no daemon answers at ")])
async def test_without_a_daemon_it_speaks_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, locale: str, words: str
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.delenv("LANG", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    assert (await run("status", "--address", address)).stderr.startswith(words)


async def test_what_is_asked_for_is_refused_in_the_language_of_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "guard.yaml"
    settings.write_text("notify: {language: ko}\n")
    refused = await run("rollback", str(settings), "--target", "other")
    assert refused.exit_code == 2
    assert refused.stderr == f"오류: --target: 발견: other; 허용: logcaster ({TARGET.key}) 중 하나\n"
