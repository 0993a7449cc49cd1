"""What is answered over HTTP is in the language of the operators: sentences, never keys or the values of enums."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.texts import Language, Texts
from tests.fakes.guarded import INTERVAL, RULE, TARGET, Guarded

KOREAN = Texts(Language.KOREAN)
ENGLISH = re.compile(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}")
"""A sentence, where two words may be the value of an enum, such as `good, unmeasured`."""


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(part)


async def test_readiness_and_each_refusal_are_korean() -> None:
    async with Guarded.serving(texts=KOREAN) as scene:
        assert (await scene.get("/readyz")).text.splitlines() == [
            "저널을 아직 읽지 않았습니다.",
            "logcaster/logcaster-prod: 워크로드를 아직 확인하지 않았습니다.",
            "logcaster/logcaster-prod: prometheus를 아직 읽지 않았습니다.",
        ]
        for method, path, said in (
            ("GET", "/nothing", "여기에는 아무것도 없습니다."),
            ("GET", "/api/v1/history?limit=0", "limit은 1부터 1000까지의 수입니다."),
            ("GET", "/api/v1/history?target=a/b", f"해당하는 대상이 없습니다. 있는 대상: {TARGET.key}."),
            ("POST", "/api/v1/status", "여기서는 GET만 사용할 수 있습니다."),
            (
                "POST",
                "/api/v1/freeze",
                "여기서는 HTTP로 변경할 수 없습니다. web.auth를 설정하거나 명령줄을 사용해 주세요.",
            ),
        ):
            assert (await scene.ask(method, path)).json() == {"error": said}


async def test_status_history_and_explanations_are_korean() -> None:
    async with Guarded.serving(texts=KOREAN, runs=True) as scene:
        scene.source.answer = Fault.TIMED_OUT
        async with scene.running():
            await scene.clock.advance(20 * INTERVAL)
            asked = [f"/api/v1/explain?rule={RULE.name}", "/api/v1/status", "/api/v1/history"]
            answers = [(await scene.get(path)).json() for path in asked]
            degraded = (await scene.get("/readyz")).text
    assert [answer["language"] for answer in answers] == ["ko"] * 3
    [why], status = answers[0]["triggers"], answers[1]
    assert why["phase"] == "blind"
    assert why["summary"].startswith("발동하지 않음: error_rate을(를) 읽을 수 없음(")
    assert "소스 오류: 시간 초과" in why["readings"]["error_rate"]
    assert status["problems"][0]["sentence"].startswith("소스 prometheus")
    assert degraded.splitlines()[1].startswith("degraded: 소스 prometheus")
    told = [re.sub("“[^”]*”", "", text) for answer in answers[:2] for text in texts_in(answer)]
    assert [text for text in told if ENGLISH.search(text)] == []
