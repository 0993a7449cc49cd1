"""The webhook over real sockets: the document that is sent. What answers mean: test_channel_contract.py."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from logcaster_guard.adapters.channels.webhook import Webhook, document
from logcaster_guard.domain.notices import Delivered, Notice, Severity, TryLater
from logcaster_guard.messages.texts import english
from tests.adapters.receiver import NOTICE, NOW, SECRET, TOKEN, receiver, status
from tests.fakes.services import channel_services
from tests.fakes.services import webhook as webhook_to


@asynccontextmanager
async def hook(
    url: str | Callable[[], str], *, within: float = 10.0, token: str | None = TOKEN
) -> AsyncIterator[Webhook]:
    made = webhook_to(
        "ops",
        url if callable(url) else lambda: url,
        None if token is None else lambda: token,
        timeout=within,
        services=channel_services(now=lambda: NOW),
    )
    try:
        yield made
    finally:
        await made.aclose()


async def test_a_notice_is_one_json_document_with_its_id_as_the_idempotency_key() -> None:
    async with receiver(status("204 No Content")) as to, hook(to.url) as webhook:
        assert webhook.name == "ops"
        assert await webhook.deliver(NOTICE) == Delivered()
        assert await webhook.deliver(NOTICE) == Delivered()
    line, headers, body = to.requests[0]
    assert line == f"POST /hook/{SECRET}?key={SECRET} HTTP/1.1"
    assert headers["idempotency-key"] == "run-1/opened"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(body) == {
        "id": "run-1/opened",
        "at": "2026-01-02T03:04:05+00:00",
        "event": "run.opened",
        "severity": "critical",
        "title": 'Rolling back "api"\n',
        "text": "오류율 30 %",
        "target": "api",
        "namespace": "shop",
        "deployment": "api",
        "run": "run-1",
        "facts": {"error_rate": "30 %"},
    }
    assert to.requests[1] == to.requests[0]


async def test_an_id_or_text_that_http_cannot_carry_is_escaped() -> None:
    odd = Notice("a\r\nX: y 롤\ud800", NOW, "e", Severity.INFO, "t", "lone \ud800")
    async with receiver(status("200 OK")) as to, hook(to.url, token=None) as webhook:
        assert await webhook.deliver(odd) == Delivered()
    headers = to.requests[0][1]
    assert headers["idempotency-key"] == "a%0D%0AX:%20y%20%EB%A1%A4?"
    assert "x" not in headers
    assert "authorization" not in headers
    assert json.loads(to.requests[0][2]) == document(odd)


@pytest.mark.parametrize("line", ["200 OK", "201 Created", "202 Accepted", "299 Odd"])
async def test_2xx_is_delivered(line: str) -> None:
    async with receiver(status(line, body=b"thanks")) as to, hook(to.url) as webhook:
        assert await webhook.deliver(NOTICE) == Delivered()


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = status("200 OK", "Content-Encoding: gzip", body=b"\x1f\x8b not gzip at all")
    async with receiver(bomb) as to, hook(to.url) as webhook:
        assert await webhook.deliver(NOTICE) == Delivered()


@pytest.mark.parametrize("token", ["", "a\r\nX: y", "토큰", "\x00abc"])
async def test_a_token_that_a_header_cannot_carry_is_not_sent(token: str) -> None:
    async with receiver(status("200 OK")) as to, hook(to.url, token=token) as webhook:
        delivery = await webhook.deliver(NOTICE)
    assert isinstance(delivery, TryLater)
    assert "token" in english().text(delivery.detail)
    assert to.requests == []


def test_a_private_authority_can_be_trusted() -> None:
    context = ssl.create_default_context()
    webhook = webhook_to("ops", lambda: "https://x/", services=channel_services(tls=context))
    asyncio.run(webhook.aclose())
