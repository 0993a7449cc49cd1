"""The webhook over real sockets: what is sent, what each answer means, and what never leaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from logcaster_guard.adapters.webhook import ANSWER_CAP, Webhook, document
from logcaster_guard.domain.notices import Delivered, Notice, Severity, TryLater, Undeliverable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "s3cr3t-path"  # noqa: S105 # made up
TOKEN = "t0k3n-value"  # noqa: S105 # made up
NOTICE = Notice(
    id="run-1/opened",
    at=NOW,
    event="run.opened",
    severity=Severity.CRITICAL,
    title='Rolling back "api"\n',
    text="오류율 30 %",
    target="api",
    namespace="shop",
    deployment="api",
    run="run-1",
    facts={"error_rate": "30 %"},
)

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """A TCP server that keeps each request whole and answers with raw bytes."""

    reply: Reply
    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{SECRET}?key={SECRET}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
                    body = await reader.readexactly(int(headers["content-length"]))
                    self.requests.append((head[0], headers, body))
                    await self.reply(writer)
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def answers(raw: bytes, *, close: bool = False) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        if close:
            writer.close()

    return reply


def status(line: str, *headers: str, body: bytes = b"") -> Reply:
    head = "\r\n".join([f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers])
    return answers(f"{head}\r\n\r\n".encode() + body)


@asynccontextmanager
async def receiver(reply: Reply) -> AsyncIterator[Receiver]:
    made = Receiver(reply)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in made.open:
            task.cancel()
        await asyncio.gather(*made.open, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def hook(
    url: str | Callable[[], str], *, within: float = 10.0, token: str | None = TOKEN
) -> AsyncIterator[Webhook]:
    made = Webhook(
        "ops",
        url if callable(url) else lambda: url,
        None if token is None else lambda: token,
        timeout=within,
        now=lambda: NOW,
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


@pytest.mark.parametrize(
    ("line", "header", "after"),
    [
        ("429 Too Many Requests", "Retry-After: 17", 17.0),
        ("503 Service Unavailable", "Retry-After: Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("503 Service Unavailable", "Retry-After: Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("503 Service Unavailable", "Retry-After: soon", None),
        ("503 Service Unavailable", "Retry-After: -5", None),
        ("503 Service Unavailable", "Retry-After: 99999999999999999999", 999_999_999.0),
        ("503 Service Unavailable", "Retry-After: Fri, 02 Jan 99999 03:00:00 GMT", None),
        ("500 Internal Server Error", "X: y", None),
        ("502 Bad Gateway", "X: y", None),
        ("408 Request Timeout", "X: y", None),
    ],
)
async def test_trouble_at_the_receiver_is_tried_later(line: str, header: str, after: float | None) -> None:
    async with receiver(status(line, header)) as to, hook(to.url) as webhook:
        assert await webhook.deliver(NOTICE) == TryLater(f"HTTP {line[:3]}", after)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("301 Moved", "redirects are not followed"),
        ("307 Temporary Redirect", "redirects are not followed"),
        ("400 Bad Request", "refuses the notice"),
        ("401 Unauthorized", "token"),
        ("403 Forbidden", "token"),
        ("404 Not Found", "refuses the notice"),
        ("410 Gone", "refuses the notice"),
    ],
)
async def test_a_refusal_is_final_and_says_what_to_do(line: str, says: str) -> None:
    async with (
        receiver(status("200 OK")) as other,
        receiver(status(line, f"Location: http://127.0.0.1:{other.port}/", body=SECRET.encode())) as to,
        hook(to.url) as webhook,
    ):
        delivery = await webhook.deliver(NOTICE)
    assert isinstance(delivery, Undeliverable)
    assert delivery.detail.startswith(f"HTTP {line[:3]}: ")
    assert says in delivery.detail
    assert SECRET not in delivery.detail
    assert other.requests == []


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for n in range(1_000):
        writer.write(f"X-{n}: y\r\n".encode())
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("reply", [hang, drip], ids=["hung", "drip-fed"])
async def test_the_deadline_is_for_the_whole_exchange(reply: Reply) -> None:
    async with receiver(reply) as to, hook(to.url, within=0.3) as webhook:
        assert await webhook.deliver(NOTICE) == TryLater("no answer within 0.3 s")


async def slow_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
    await writer.drain()
    await asyncio.Event().wait()


async def test_an_endless_answer_is_cut_and_the_status_counts() -> None:
    sent = 0

    async def counted(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with receiver(counted) as to, hook(to.url) as webhook:
        assert await webhook.deliver(NOTICE) == Delivered()
    assert sent < 200 * ANSWER_CAP


async def test_a_body_that_never_ends_does_not_undo_the_status() -> None:
    async with receiver(slow_body) as to, hook(to.url, within=0.3) as webhook:
        assert await webhook.deliver(NOTICE) == Delivered()


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = status("200 OK", "Content-Encoding: gzip", body=b"\x1f\x8b not gzip at all")
    async with receiver(bomb) as to, hook(to.url) as webhook:
        assert await webhook.deliver(NOTICE) == Delivered()


@pytest.mark.parametrize(
    "reply",
    [answers(b"", close=True), answers(b"SSH-2.0-OpenSSH\r\n", close=True), answers(b"HTTP/1.1 200", close=True)],
    ids=["closed", "not HTTP", "cut off"],
)
async def test_a_broken_exchange_is_tried_later(reply: Reply) -> None:
    async with receiver(reply) as to, hook(to.url) as webhook:
        assert isinstance(await webhook.deliver(NOTICE), TryLater)


async def test_a_refused_connection_is_tried_later_and_the_url_is_not_told() -> None:
    async with receiver(status("200 OK")) as to:
        url = to.url
    async with hook(url) as webhook:
        assert await webhook.deliver(NOTICE) == TryLater("the receiver cannot be reached")


async def test_a_server_without_tls_is_told_apart() -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"plain text\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server, hook(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/{SECRET}") as webhook:
        assert await webhook.deliver(NOTICE) == TryLater("TLS failure")


@pytest.mark.parametrize(
    "url",
    [
        "",
        SECRET,
        f"file:///{SECRET}",
        f"ftp://host/{SECRET}",
        f"http:///{SECRET}",
        f"http://[{SECRET}/",
        f"http://host\n/{SECRET}",
        f"http://169.254.169.254/{SECRET}",
        f"http://[fe80::1]/{SECRET}",
        f"http://[::ffff:169.254.169.254]/{SECRET}",
        f"http://0.0.0.0/{SECRET}",
        f"http://host:99999/{SECRET}",
    ],
)
async def test_a_url_that_cannot_be_used_is_named_without_being_quoted(url: str) -> None:
    async with hook(url) as webhook:
        delivery = await webhook.deliver(NOTICE)
    assert isinstance(delivery, TryLater)
    assert "URL" in delivery.detail
    assert SECRET not in delivery.detail


@pytest.mark.parametrize("token", ["", "a\r\nX: y", "토큰", "\x00abc"])
async def test_a_token_that_a_header_cannot_carry_is_not_sent(token: str) -> None:
    async with receiver(status("200 OK")) as to, hook(to.url, token=token) as webhook:
        delivery = await webhook.deliver(NOTICE)
    assert isinstance(delivery, TryLater)
    assert "token" in delivery.detail
    assert to.requests == []


async def test_secrets_are_read_each_time_and_a_missing_one_is_tried_later() -> None:
    async with receiver(status("200 OK")) as to:
        readings = iter([OSError(SECRET), ValueError(SECRET), to.url])

        def read() -> str:
            reading = next(readings)
            if isinstance(reading, Exception):
                raise reading
            return f"{reading}\n"

        async with hook(read) as webhook:
            for _ in range(2):
                delivery = await webhook.deliver(NOTICE)
                assert isinstance(delivery, TryLater)
                assert SECRET not in delivery.detail
            assert await webhook.deliver(NOTICE) == Delivered()


async def test_a_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(status("500 No")) as proxy, receiver(status("200 OK")) as to:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        async with hook(to.url) as webhook:
            assert await webhook.deliver(NOTICE) == Delivered()
    assert proxy.requests == []


async def test_a_proxy_of_the_settings_is_used() -> None:
    async with receiver(status("200 OK")) as proxy:
        webhook = Webhook("ops", lambda: "http://hooks.invalid/x", proxy=f"http://127.0.0.1:{proxy.port}")
        assert await webhook.deliver(NOTICE) == Delivered()
        await webhook.aclose()
    assert proxy.requests[0][0] == "POST http://hooks.invalid/x HTTP/1.1"


async def test_a_cancelled_delivery_ends_at_once() -> None:
    asked = asyncio.Event()

    async def held(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await hang(writer)

    async with receiver(held) as to, hook(to.url) as webhook:
        task = asyncio.create_task(webhook.deliver(NOTICE))
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_private_authority_can_be_trusted() -> None:
    context = ssl.create_default_context()
    webhook = Webhook("ops", lambda: "https://x/", tls=context)
    asyncio.run(webhook.aclose())
