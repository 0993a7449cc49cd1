"""A whole rollback as Slack shows it, while another Slack channel answers nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from logcaster_guard.adapters.translated_channel import Translated
from logcaster_guard.domain import runs
from logcaster_guard.messages.texts import Language, Texts
from logcaster_guard.ports import Channel
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.sandbox import objects
from tests.adapters.receiver import Receiver, hang, receiver, status
from tests.cluster.case import BAD, GOOD
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene
from tests.fakes.services import channel_services, slack
from tests.real.waiting import until

Json = dict[str, Any]
DEPLOY = Path(__file__).parents[2] / "deploy"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def rights() -> Sequence[Json]:
    documents = yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text())
    rules: Sequence[Json] = next(d for d in documents if d["kind"] == "Role")["rules"]
    return rules


def titles(to: Receiver) -> list[str]:
    found = [json.loads(body)["blocks"][0]["text"]["text"] for _, _, body in to.requests]
    return [title.partition(" ")[2] for title in found]


def fields(body: bytes) -> dict[str, str]:
    """The message's fields, by label."""
    texts = [f["text"] for b in json.loads(body)["blocks"] for f in b.get("fields", ())]
    return {label.strip("*"): value for label, _, value in (t.partition("\n") for t in texts)}


async def test_a_channel_that_hangs_is_in_no_rollbacks_way(
    cluster: Cluster, api: ClusterPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    async with (
        receiver(hang) as dead,
        receiver(status("200 OK", body=b"ok")) as alive,
        Scene.set_up(cluster, api, rights(), None) as scene,
    ):
        korean = Texts(Language.KOREAN)
        channels: list[Channel] = [
            slack("dead", lambda: dead.url, timeout=600),
            Translated(slack("alive", lambda: alive.url, services=channel_services(texts=korean)), korean),
        ]
        scene.channels = channels
        life = asyncio.create_task(scene.life(None))
        try:

            async def told() -> bool:
                return len(alive.requests) == 3

            await until(told, 60)
            await life
        finally:
            life.cancel()
            for channel in channels:
                await channel.aclose()
        facts = await scene.facts()
        target = f"{scene.cluster.namespace}/{objects.DEPLOYMENT}"
    assert [r.closed.outcome for r in facts.runs if r.closed] == [runs.RECOVERED]
    good, bad = objects.image(GOOD), objects.image(BAD)
    assert titles(alive) == [
        f"{target} 롤백 시작",
        f"{target}: 이전 버전 {good} 복원 완료",
        f"{target} 롤백 종료: 회복됨",
    ]
    opened = fields(alive.requests[0][2])
    assert opened["조건"] == "error_rate &gt; 5%"
    assert opened["측정값"] == "error_rate 30%"
    assert (opened["문제 버전"], opened["되돌릴 버전"]) == (bad, good)
    assert [fields(body)["상태"] for _, _, body in alive.requests] == ["롤백 진행 중", "복원 완료, 확인 중", "회복됨"]
    assert len(dead.requests) == 1
