"""Slack's Web API: a notice is shown once, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from logcaster_guard.adapters.channels.slack import SlackApp, SlackSection
from logcaster_guard.adapters.channels.slack.messages import message
from logcaster_guard.domain.notices import Delivered, Delivery, TryLater, Undeliverable
from logcaster_guard.messages.texts import english
from tests.adapters.in_english import in_english
from tests.adapters.receiver import NOTICE, NOW, TOKEN
from tests.adapters.workspace import Workspace, workspace
from tests.fakes.services import channel_services

POST, HISTORY = "chat.postMessage", "conversations.history"
LATER = replace(NOTICE, at=NOW + timedelta(seconds=60))
"""Queued while the process under test runs; `NOTICE` is older than it."""


@asynccontextmanager
async def app(to: Workspace, within: float = 10.0, token: str = TOKEN) -> AsyncIterator[SlackApp]:
    started = NOW + timedelta(seconds=30)
    made = SlackApp(
        SlackSection.model_construct(name="ops", api=to.url, timeout=within),
        lambda: token,
        "C0123456789",
        channel_services(now=lambda: started),
    )
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with workspace(TOKEN) as made:
        yield made


async def test_a_new_notice_is_posted_at_once_with_its_id(slack: Workspace) -> None:
    async with app(slack) as channel:
        assert await channel.deliver(LATER) == Delivered()
    assert slack.calls == [POST]
    [shown] = slack.messages
    assert shown.pop("metadata") == {"event_type": "logcaster_guard_notice", "event_payload": {"id": NOTICE.id}}
    assert shown == {"channel": "C0123456789", **message(LATER)}


async def test_a_message_whose_answer_was_lost_is_not_posted_again(slack: Workspace) -> None:
    slack.silent = {POST}
    async with app(slack, within=0.5) as channel:
        delivery = await channel.deliver(LATER)
        assert isinstance(delivery, TryLater)
        assert "looked up first" in english().text(delivery.detail)
        slack.silent = set()
        assert await channel.deliver(LATER) == Delivered()
    assert len(slack.messages) == 1


async def test_a_guard_that_ended_before_it_noted_the_answer_posts_nothing_again(slack: Workspace) -> None:
    async with app(slack) as before:
        assert await before.deliver(LATER) == Delivered()
    async with app(slack) as after:
        assert await after.deliver(replace(LATER, at=NOW)) == Delivered()
    assert len(slack.messages) == 1


@pytest.mark.parametrize("others", [0, 5, 250])
async def test_what_is_owed_since_before_is_posted_where_it_does_not_stand(slack: Workspace, others: int) -> None:
    slack.messages = [{"text": "hello"}] * others
    async with app(slack) as channel:
        assert await channel.deliver(NOTICE) == Delivered()
        assert await channel.deliver(NOTICE) == Delivered()
    assert len(slack.messages) == others + 1


async def test_a_busy_channel_is_looked_through_page_by_page(slack: Workspace) -> None:
    async with app(slack) as channel:
        assert await channel.deliver(NOTICE) == Delivered()
        slack.messages += [{"text": "hello", "metadata": {"event_type": "other"}}] * 250
        assert await channel.deliver(NOTICE) == Delivered()
    assert len(slack.messages) == 251
    assert slack.calls.count(HISTORY) == 4


async def test_where_it_cannot_be_looked_up_now_nothing_is_posted(slack: Workspace) -> None:
    slack.away = {HISTORY}
    async with app(slack) as channel:
        assert in_english(await channel.deliver(NOTICE)) == TryLater(
            "whether Slack shows the message already cannot be looked up: HTTP 503", 7.0
        )
    assert slack.messages == []


async def test_an_app_that_may_not_look_posts_and_says_that_it_may_be_a_repeat(slack: Workspace) -> None:
    slack.refuse = {HISTORY: "missing_scope"}
    async with app(slack) as channel:
        assert await channel.deliver(NOTICE) == Delivered()
    assert "Sent again" in str(slack.messages[0]["blocks"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("channel_not_found", Undeliverable),
        ("is_archived", Undeliverable),
        ("not_in_channel", Undeliverable),
        ("token_revoked", Undeliverable),
        ("internal_error", TryLater),
        ("ratelimited", TryLater),
        ("something <new>", TryLater),
    ],
)
async def test_slacks_errors_are_final_or_not(slack: Workspace, error: str, expected: type[Delivery]) -> None:
    slack.refuse = {POST: error}
    async with app(slack) as channel:
        delivery = await channel.deliver(LATER)
    assert isinstance(delivery, expected)
    assert "<new>" not in str(delivery)


async def test_a_wrong_token_is_final_and_not_shown(slack: Workspace) -> None:
    async with app(slack, token="xoxb-wrong") as channel:  # noqa: S106 # made up
        delivery = await channel.deliver(LATER)
    assert isinstance(delivery, Undeliverable)
    assert "xoxb" not in str(delivery)


async def test_trouble_at_slack_is_tried_later(slack: Workspace) -> None:
    slack.away = {POST}
    async with app(slack) as channel:
        assert in_english(await channel.deliver(LATER)) == TryLater("HTTP 503", 7.0)


async def test_an_address_that_is_not_slacks_is_told(slack: Workspace) -> None:
    slack.url = slack.url.replace("/api", "/nothing")
    async with app(slack) as channel:
        assert isinstance(await channel.deliver(LATER), Undeliverable)
        assert isinstance(await channel.deliver(NOTICE), TryLater)
