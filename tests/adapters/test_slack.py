"""Slack's incoming webhooks: the message and its limits, and what Slack's own answers mean."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.channels.slack import Slack
from logcaster_guard.adapters.channels.slack.messages import (
    BLOCKS,
    FIELD_LENGTH,
    FIELDS,
    HEADER_LENGTH,
    TEXT_LENGTH,
    header,
    message,
    mrkdwn,
)
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.messages.run_headlines import RollbackBegins, RollbackEnded
from logcaster_guard.messages.texts import Language, Texts
from tests.adapters.in_english import in_english
from tests.adapters.receiver import NOW, SECRET, Receiver, Reply, answers, hang, receiver, status
from tests.fakes.services import channel_services
from tests.fakes.services import slack as slack_to

OPENED = Notice(
    id="web-20260102t030405-ab12/opened",
    at=NOW,
    event="run.opened",
    severity=Severity.WARNING,
    title="Rolling back shop/web",
    text="Rule high_error_rate (error_rate > 5%) has been met for 5m. Rolling back from web:2 to web:1.",
    target="shop/web",
    namespace="shop",
    deployment="web",
    run="web-20260102t030405-ab12",
    facts={
        "error_rate": "30%",
        "rule": "high_error_rate",
        "condition": "error_rate > 5%",
        "from": "web:2",
        "to": "web:1",
        "since": "2026-01-02T02:59:00+00:00",
        "strategy": "immediate",
        "plan": "0123456789ab",
    },
    message=RollbackBegins(
        "shop/web",
        "high_error_rate",
        "Rule high_error_rate (error_rate > 5%) has been met for 5m.",
        ("web:2",),
        ("web:1",),
        None,
    ),
)
FOREIGN = st.text(alphabet=st.characters(codec=None), max_size=200)


def fields_of(sent: Mapping[str, Any]) -> dict[str, str]:
    """The message's fields, by label."""
    texts = [f["text"] for b in sent["blocks"] for f in b.get("fields", ())]
    return dict(re.fullmatch(r"\*(.+?)\*\n(.*)", t, re.DOTALL).groups() for t in texts)  # type: ignore[union-attr,misc]


def texts_of(sent: Mapping[str, Any]) -> list[str]:
    """Every text of the message."""
    found = [str(sent["text"])]
    for block in sent["blocks"]:
        parts = [block["text"]] if "text" in block else []
        found += [p["text"] for p in (*parts, *block.get("fields", ()), *block.get("elements", ()))]
    return found


def test_a_message_tells_cause_value_and_threshold_versions_state_and_times() -> None:
    sent: Any = message(OPENED)
    assert sent["blocks"][0]["text"] == {
        "type": "plain_text",
        "text": "\N{LARGE ORANGE CIRCLE} Rolling back shop/web",
        "emoji": False,
    }
    assert sent["blocks"][1]["text"]["text"].startswith("Rule high_error_rate (error_rate &gt; 5%) has been met")
    assert fields_of(sent) == {
        "Rule": "high_error_rate",
        "Condition": "error_rate &gt; 5%",
        "Measured": "error_rate 30%",
        "From": "web:2",
        "To": "web:1",
        "State": "rolling back",
        "Breach since": "<!date^1767322740^{date_num} {time_secs}|2026-01-02 02:59:00 UTC>",
        "Target": "shop/web",
        "Strategy": "immediate",
    }
    (last,) = sent["blocks"][-1]["elements"]
    assert last["text"].startswith("<!date^1767323045^")
    assert last["text"].endswith(OPENED.id)
    assert sent["text"].startswith("\N{LARGE ORANGE CIRCLE} Rolling back shop/web: Rule high_error_rate")


def test_labels_and_words_are_korean_where_that_is_asked_for() -> None:
    korean = Texts(Language.KOREAN)
    sent: Any = message(korean.notice(OPENED), korean)
    assert sent["blocks"][0]["text"]["text"] == "\N{LARGE ORANGE CIRCLE} shop/web 롤백 시작"
    told = fields_of(sent)
    assert told["상태"] == "롤백 진행 중"
    assert (told["문제 버전"], told["되돌릴 버전"]) == ("web:2", "web:1")
    assert not any("상세" in t for t in texts_of(sent))


@pytest.mark.parametrize(
    ("outcome", "shown"), [("recovered", "recovered"), ("not recovered", "not recovered"), ("failed", "failed")]
)
def test_the_state_of_a_closed_run_is_its_outcome(outcome: str, shown: str) -> None:
    ended = RollbackEnded("shop/web", outcome, "quiet", None, frozen=False, resume_command="", resume="", leftover=None)
    closed = replace(OPENED, event="run.closed", message=ended)
    assert fields_of(message(closed))["State"] == shown


HOSTILE = "<!here> <@U1> @channel @Everyone <https://x|y> &amp; a\x00b\x1b[31m\u202e @here"


def test_foreign_text_is_shown_as_it_is_and_calls_nobody() -> None:
    odd = replace(
        OPENED, title=HOSTILE, text=HOSTILE, target=HOSTILE, id=HOSTILE, facts={"rule": HOSTILE, HOSTILE: "x"}
    )
    sent: Any = message(odd)
    for text in texts_of(sent):
        ours = re.sub(r"<!date\^\d+\^\{date_num\} \{time_secs\}\|[0-9:\- ]+ UTC>", "", text)
        assert not set("<>") & set(ours)
        assert not re.search(r"@(channel|here|everyone|group)", ours, re.IGNORECASE)
        assert not set("\x00\x1b\u202e") & set(ours)
    assert "&amp;amp;" in sent["blocks"][1]["text"]["text"]
    assert all(t["verbatim"] for b in sent["blocks"] for t in (*b.get("fields", ()), *b.get("elements", ())))


def test_an_image_with_a_digest_stays_whole() -> None:
    assert mrkdwn("registry:5000/web@sha256:abc", 100) == "registry:5000/web@sha256:abc"


@given(FOREIGN, st.integers(1, 60))
def test_escaped_text_is_never_longer_than_allowed_nor_cut_inside_an_entity(text: str, longest: int) -> None:
    shown = mrkdwn(text, longest)
    assert len(shown.encode("utf-16-le")) // 2 <= longest
    assert not set("<>") & set(shown)
    assert re.sub(r"&(amp|lt|gt);", "", shown).count("&") == 0


@given(FOREIGN, FOREIGN, st.dictionaries(FOREIGN, FOREIGN, max_size=30), st.sampled_from(Severity))
def test_every_notice_fits_slacks_limits(title: str, text: str, facts: dict[str, str], severity: Severity) -> None:
    long = Notice("i", NOW, "run.opened", severity, title * 9, text * 40, target=title * 50, facts=facts)
    check_limits(message(long, repeated=True))


def test_the_longest_notice_fits_slacks_limits() -> None:
    facts = {f"signal_{n}": "&" * 5_000 for n in range(200)} | dict.fromkeys(OPENED.facts, "<" * 5_000)
    sent = message(replace(OPENED, title="<" * 9_999, text="&" * 99_999, target=">" * 9_999, facts=facts))
    check_limits(sent)
    assert "180 more in the guard's log" in "".join(texts_of(sent)) or "181 more" in "".join(texts_of(sent))


def check_limits(sent: Mapping[str, Any]) -> None:
    assert len(sent["blocks"]) <= BLOCKS
    assert len(sent["text"]) <= TEXT_LENGTH
    for block in sent["blocks"]:
        assert len(block.get("fields", ())) <= FIELDS
        assert all(0 < len(f["text"]) <= FIELD_LENGTH for f in block.get("fields", ()))
        if "text" in block:
            most = HEADER_LENGTH if block["type"] == "header" else TEXT_LENGTH
            assert 0 < len(block["text"]["text"].encode("utf-16-le")) // 2 <= most
    json.dumps(sent).encode()


def test_a_header_is_one_line_within_its_length() -> None:
    assert header("a\nb\t<c> & d") == "a b \u2039c\u203a & d"
    assert header("롤" * 400) == "롤" * (HEADER_LENGTH - 1) + "…"


@asynccontextmanager
async def slack(to: Receiver | str, within: float = 10.0) -> AsyncIterator[Slack]:
    url = to if isinstance(to, str) else to.url
    made = slack_to("ops", lambda: url, timeout=within, services=channel_services(now=lambda: NOW))
    try:
        yield made
    finally:
        await made.aclose()


async def test_what_is_sent_is_the_message() -> None:
    async with receiver(status("200 OK", body=b"ok\n")) as to, slack(to) as channel:
        assert await channel.deliver(OPENED) == Delivered()
    line, headers, body = to.requests[0]
    assert line == f"POST /hook/{SECRET}?key={SECRET} HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == message(OPENED)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (status("200 OK", body=b'{"ok": true}'), Delivered()),
        (
            status("200 OK", body=b'{"ok": false, "error": "not_authed"}'),
            Undeliverable("HTTP 200 and not ok: set the URL of an incoming webhook"),
        ),
        (
            status("200 OK", body=b"<html>Please log in</html>"),
            TryLater('HTTP 200 without Slack\'s "ok": is the URL that of an incoming webhook?'),
        ),
        (
            status("404 Not Found", body=b"no_service"),
            Undeliverable(
                "HTTP 404 no_service: the webhook was removed or switched off: make a new one and set its URL"
            ),
        ),
        (
            status("410 Gone", body=b"channel_is_archived"),
            Undeliverable("HTTP 410 channel_is_archived: the webhook's channel is archived: choose another one"),
        ),
        (
            status("403 Forbidden", body=b"action_prohibited"),
            Undeliverable("HTTP 403 action_prohibited: an administrator forbids this webhook to post here"),
        ),
        (
            status("400 Bad Request", body=b"invalid_payload"),
            Undeliverable("HTTP 400 invalid_payload: Slack cannot read the message"),
        ),
        (status("429 Too Many Requests", "Retry-After: 30", body=b"rate_limited"), TryLater("HTTP 429", 30.0)),
        (status("500 Internal Server Error", body=b"rollup_error"), TryLater("HTTP 500")),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\no", close=True), Delivered()),
    ],
)
async def test_slacks_answers_are_taken_by_status_and_body(reply: Reply, expected: Delivery) -> None:
    async with receiver(reply) as to, slack(to) as channel:
        assert in_english(await channel.deliver(OPENED)) == expected


async def test_a_time_out_after_sending_is_said_to_be_ambiguous_and_the_repeat_says_that_it_is_one() -> None:
    async with receiver(hang) as to, slack(to, within=0.3) as channel:
        delivery = await channel.deliver(OPENED)
        assert in_english(delivery) == TryLater("no answer within 0.3 s; Slack may show the message all the same")
        to.reply = status("200 OK", body=b"ok")
        assert await channel.deliver(OPENED) == Delivered()
        assert await channel.deliver(OPENED) == Delivered()
    first, second, third = [json.loads(body) for _, _, body in to.requests]
    assert second == message(OPENED, repeated=True)
    assert "Sent again" in texts_of(second)[-2]
    assert first == third == message(OPENED)


async def test_a_request_that_never_left_is_no_reason_for_doubt() -> None:
    async with receiver(hang) as to:
        url = to.url
    async with slack(url) as channel:
        assert in_english(await channel.deliver(OPENED)) == TryLater("the receiver cannot be reached")
