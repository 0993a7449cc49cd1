"""Slack and the webhook behind the outbox, over real sockets: order, waits, and a dead channel in nobody's way."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from logcaster_guard.adapters.channels.slack import Slack
from logcaster_guard.adapters.channels.webhook import Webhook
from logcaster_guard.adapters.translated_channel import Translated
from logcaster_guard.domain.events import NoticeQueued, NoticeSettled
from logcaster_guard.domain.guardrails.refusal_messages import CoolingDown
from logcaster_guard.domain.message import Headline
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.reasons import RuleMet, TakesOver
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.messages import GIVEN_UP
from logcaster_guard.messages.run_headlines import RollbackBegins, RunHindered, TriggerRefused
from logcaster_guard.messages.texts import Language, Texts
from logcaster_guard.messages.words import told as told_as
from logcaster_guard.ports import Channel
from logcaster_guard.stores import CODEC
from tests.adapters.receiver import Receiver, hang, receiver, status
from tests.fakes.clock import FakeClock
from tests.fakes.journal import MemoryJournal
from tests.fakes.services import channel_services
from tests.fakes.services import slack as slack_to
from tests.fakes.services import webhook as webhook_to
from tests.real.waiting import until

STREAM = "run/1"
OK = status("200 OK", body=b"ok")


def notice(clock: FakeClock, name: str) -> Notice:
    return Notice(
        f"run-1/{name}", clock.now(), "run.opened", Severity.INFO, name, "text", target="shop/web", run="run-1"
    )


@asynccontextmanager
async def delivering(
    journal: MemoryJournal, clock: FakeClock, channels: Sequence[Channel], *names: str
) -> AsyncIterator[Outbox]:
    """An outbox that carries the named notices while the block runs."""
    events = [NoticeQueued(clock.now(), notice(clock, name)) for name in names]
    await journal.append(STREAM, events, 0)
    box = Outbox(journal, channels, clock, jitter=lambda: 0.0)
    task = asyncio.create_task(box.run())
    async with AsyncExitStack() as stack:
        for channel in channels:
            stack.push_async_callback(channel.aclose)
        try:
            yield box
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def settled(journal: MemoryJournal, channel: str) -> list[tuple[str, str]]:
    events = [e.event for e in await journal.read_all()]
    return [(e.notice, e.outcome) for e in events if isinstance(e, NoticeSettled) and e.channel == channel]


def shown(to: Receiver) -> list[str]:
    """The titles that Slack was asked to show, in order."""
    titles = [json.loads(body)["blocks"][0]["text"]["text"] for _, _, body in to.requests]
    return [t.partition(" ")[2] for t in titles]


def slack(to: Receiver, name: str = "slack", within: float = 10.0) -> Slack:
    return slack_to(name, lambda: to.url, timeout=within)


def webhook(to: Receiver) -> Webhook:
    return webhook_to("hook", lambda: to.url)


async def test_notices_stand_in_slack_in_order_and_once() -> None:
    journal, clock = MemoryJournal(), FakeClock()
    async with receiver(OK) as to, delivering(journal, clock, [slack(to)], "a", "b", "c"):

        async def done() -> bool:
            return len(await settled(journal, "slack")) == 3

        await until(done)
    assert shown(to) == ["a", "b", "c"]


async def test_retry_after_holds_the_channel_back_and_no_later_notice_overtakes() -> None:
    journal, clock = MemoryJournal(), FakeClock()
    busy = status("429 Too Many Requests", "Retry-After: 30", body=b"rate_limited")
    async with receiver(busy) as to, delivering(journal, clock, [slack(to)], "a", "b"):

        async def asked() -> bool:
            # What it sleeps for before the answer has arrived is its own timeout.
            return clock.next_wake == clock.monotonic() + 30.0

        await until(asked)
        to.reply = OK
        await clock.advance(29.0)
        assert shown(to) == ["a"]
        await clock.advance(1.0)

        async def done() -> bool:
            return len(await settled(journal, "slack")) == 2

        await until(done)
    assert shown(to) == ["a", "a", "b"]


async def test_a_channel_that_hangs_delays_no_other() -> None:
    journal, clock = MemoryJournal(), FakeClock()
    async with (
        receiver(hang) as dead,
        receiver(OK) as alive,
        delivering(journal, clock, [slack(dead), webhook(alive)], "a", "b"),
    ):

        async def done() -> bool:
            return len(await settled(journal, "hook")) == 2

        await until(done)
        assert await settled(journal, "slack") == []
    assert [json.loads(body)["title"] for _, _, body in alive.requests] == ["a", "b"]


async def test_a_dead_channel_is_reported_through_another() -> None:
    journal, clock = MemoryJournal(), FakeClock()
    gone = status("404 Not Found", body=b"no_service")
    async with (
        receiver(gone) as dead,
        receiver(OK) as alive,
        delivering(journal, clock, [slack(dead), Translated(webhook(alive), Texts(Language.KOREAN))], "a", "b"),
    ):

        async def done() -> bool:
            return len(await settled(journal, "hook")) == 3 and len(await settled(journal, "slack")) == 3

        await until(done)
    documents = [json.loads(body) for _, _, body in alive.requests]
    (report,) = [d for d in documents if d["event"] == GIVEN_UP]
    assert report["title"] == "알림 채널 slack: 알림을 보내지 못했습니다"
    assert "no_service" in report["facts"]["detail"]
    assert shown(dead) == ["a", "b"]


async def test_a_restart_after_an_unanswered_request_sends_again_and_nothing_else() -> None:
    journal, clock = MemoryJournal(), FakeClock()
    async with receiver(hang) as to:
        async with delivering(journal, clock, [slack(to)], "a"):

            async def asked() -> bool:
                return len(to.requests) == 1

            await until(asked)
        to.reply = OK
        channel = slack(to)
        box = Outbox(journal, [channel], clock)
        task = asyncio.create_task(box.run())

        async def done() -> bool:
            return len(await settled(journal, "slack")) == 1

        await until(done)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await channel.aclose()
    assert shown(to) == ["a", "a"]


async def test_what_the_journal_keeps_is_told_in_korean_in_full_and_what_an_earlier_version_wrote_as_it_is() -> None:
    journal, clock = MemoryJournal(), FakeClock()
    reason = TakesOver(RuleMet("high_error_rate", "error_rate > 5%", 300.0), "web-1")
    told = [
        of_message(RollbackBegins("shop/web", "high_error_rate", reason, ("web:2",), ("web:1",), None), clock),
        of_message(TriggerRefused("shop/web", "r", (CoolingDown("shop/web", clock.now(), clock.now()),), None), clock),
        of_message(RunHindered("shop/web", "restore_template", "deployments is forbidden"), clock),
        notice(clock, "Rolling back shop/web"),
    ]
    events = [CODEC.decode(CODEC.encode(NoticeQueued(n.at, n))) for n in told]
    korean = Texts(Language.KOREAN, {"run.hindered": {"title": "[긴급] {{ target }} 확인 필요"}})
    async with (
        receiver(OK) as to,
        receiver(OK) as chat,
        delivering(journal, clock, [Translated(c, korean) for c in (webhook(to), slack_in(chat, korean))]) as box,
    ):
        await journal.append(STREAM, events, 0)
        box.wake(STREAM)

        async def done() -> bool:
            return {len(await settled(journal, c)) for c in ("hook", "slack")} == {4}

        await until(done)
    documents = [json.loads(body) for _, _, body in to.requests]
    assert [d["title"] for d in documents] == [
        "shop/web 롤백 시작",
        "shop/web: 규칙 r 발동, 롤백하지 않음",
        "[긴급] shop/web 확인 필요",
        "Rolling back shop/web",
    ]
    assert documents[0]["text"] == (
        "규칙 high_error_rate의 조건(error_rate > 5%)이 5분 동안 계속 충족되었습니다. 더 느린 롤백 작업 web-1을 "
        "이어받습니다. 이전 버전으로 되돌립니다. 현재 버전: web:2, 되돌릴 버전: web:1."
    )
    assert "까지는 다시 롤백하지 않습니다." in documents[1]["text"]
    assert "원인: “deployments is forbidden”" in documents[2]["text"]
    assert shown(chat) == [d["title"] for d in documents]
    assert "진행하지 못함" in str(json.loads(chat.requests[2][2]))


def of_message(message: Headline, clock: FakeClock) -> Notice:
    return told_as(message, Severity.WARNING, id=f"run-1/{message.kind}", at=clock.now(), target="shop/web")


def slack_in(to: Receiver, texts: Texts) -> Slack:
    return slack_to("slack", lambda: to.url, services=channel_services(texts=texts))
