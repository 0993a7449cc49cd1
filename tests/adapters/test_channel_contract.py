"""What every channel that POSTs holds to, over real sockets: the webhook and Slack."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from logcaster_guard.adapters.posting import ANSWER_CAP
from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.domain.notices import Delivered, TryLater, Undeliverable
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Channel
from tests.adapters.in_english import in_english
from tests.adapters.receiver import NOTICE, NOW, SECRET, Reply, answers, drip, hang, receiver, slow_body, status
from tests.fakes.services import channel_services, slack, webhook

Hook = Callable[..., AbstractAsyncContextManager[Channel]]
OK = status("200 OK", body=b"ok")


@pytest.fixture(params=["webhook", "slack"])
def hook(request: pytest.FixtureRequest) -> Hook:
    """Makes the channel under test: `hook(url)`, where `url` is a text or gives one."""

    @asynccontextmanager
    async def made(
        url: str | Callable[[], str], *, within: float = 10.0, proxy: str | None = None
    ) -> AsyncIterator[Channel]:
        read = url if callable(url) else lambda: url
        services = channel_services(proxy=proxy, now=lambda: NOW)
        channel: Channel = (
            webhook("ops", read, timeout=within, services=services)
            if request.param == "webhook"
            else slack("ops", read, timeout=within, services=services)
        )
        try:
            yield channel
        finally:
            await channel.aclose()

    return made


async def test_a_channel_has_the_name_of_the_settings(hook: Hook) -> None:
    async with hook("http://x/") as channel:
        assert channel.name == "ops"


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
async def test_trouble_at_the_receiver_is_tried_later(hook: Hook, line: str, header: str, after: float | None) -> None:
    async with receiver(status(line, header)) as to, hook(to.url) as channel:
        assert in_english(await channel.deliver(NOTICE)) == TryLater(f"HTTP {line[:3]}", after)


@pytest.mark.parametrize("reply", [hang, drip], ids=["hung", "drip-fed"])
async def test_the_deadline_is_for_the_whole_exchange(hook: Hook, reply: Reply) -> None:
    async with receiver(reply) as to, hook(to.url, within=0.3) as channel:
        delivery = await channel.deliver(NOTICE)
        assert isinstance(delivery, TryLater)
        assert english().text(delivery.detail).startswith("no answer within 0.3 s")


async def test_an_endless_answer_is_cut_and_the_status_counts(hook: Hook) -> None:
    sent = 0

    async def counted(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with receiver(counted) as to, hook(to.url) as channel:
        assert await channel.deliver(NOTICE) == Delivered()
    assert sent < 200 * ANSWER_CAP


async def test_a_body_that_never_ends_does_not_undo_the_status(hook: Hook) -> None:
    async with receiver(slow_body) as to, hook(to.url, within=0.3) as channel:
        assert await channel.deliver(NOTICE) == Delivered()


@pytest.mark.parametrize(
    "reply",
    [answers(b"", close=True), answers(b"SSH-2.0-OpenSSH\r\n", close=True), answers(b"HTTP/1.1 200", close=True)],
    ids=["closed", "not HTTP", "cut off"],
)
async def test_a_broken_exchange_is_tried_later(hook: Hook, reply: Reply) -> None:
    async with receiver(reply) as to, hook(to.url) as channel:
        assert isinstance(await channel.deliver(NOTICE), TryLater)


async def test_a_refused_connection_is_tried_later_and_the_url_is_not_told(hook: Hook) -> None:
    async with receiver(OK) as to:
        url = to.url
    async with hook(url) as channel:
        assert in_english(await channel.deliver(NOTICE)) == TryLater("the receiver cannot be reached")


async def test_a_server_without_tls_is_told_apart(hook: Hook) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"plain text\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server, hook(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/{SECRET}") as channel:
        assert in_english(await channel.deliver(NOTICE)) == TryLater("TLS failure")


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
async def test_a_url_that_cannot_be_used_is_named_without_being_quoted(hook: Hook, url: str) -> None:
    async with hook(url) as channel:
        delivery = await channel.deliver(NOTICE)
    assert isinstance(delivery, TryLater)
    assert "URL" in english().text(delivery.detail)
    assert SECRET not in english().text(delivery.detail)


async def test_secrets_are_read_each_time_and_a_missing_one_is_tried_later(hook: Hook) -> None:
    async with receiver(OK) as to:
        readings = iter([SecretUnreadable("the secret in file /run/url is empty"), to.url])

        def read() -> str:
            reading = next(readings)
            if isinstance(reading, Exception):
                raise reading
            return f"{reading}\n"

        async with hook(read) as channel:
            delivery = await channel.deliver(NOTICE)
            assert isinstance(delivery, TryLater)
            assert english().text(delivery.detail) == "the secret in file /run/url is empty"
            assert await channel.deliver(NOTICE) == Delivered()


async def test_a_proxy_of_the_environment_is_ignored(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(status("500 No")) as proxy, receiver(OK) as to:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        async with hook(to.url) as channel:
            assert await channel.deliver(NOTICE) == Delivered()
    assert proxy.requests == []


async def test_a_proxy_of_the_settings_is_used(hook: Hook) -> None:
    async with (
        receiver(OK) as proxy,
        hook("http://hooks.invalid/x", proxy=f"http://127.0.0.1:{proxy.port}") as channel,
    ):
        assert await channel.deliver(NOTICE) == Delivered()
    assert proxy.requests[0][0] == "POST http://hooks.invalid/x HTTP/1.1"


async def test_a_cancelled_delivery_ends_at_once(hook: Hook) -> None:
    asked = asyncio.Event()

    async def held(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await hang(writer)

    async with receiver(held) as to, hook(to.url) as channel:
        task = asyncio.create_task(channel.deliver(NOTICE))
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


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
async def test_a_refusal_is_final_and_says_what_to_do(hook: Hook, line: str, says: str) -> None:
    async with (
        receiver(OK) as other,
        receiver(status(line, f"Location: http://127.0.0.1:{other.port}/", body=SECRET.encode())) as to,
        hook(to.url) as channel,
    ):
        delivery = await channel.deliver(NOTICE)
    assert isinstance(delivery, Undeliverable)
    assert english().text(delivery.detail).startswith(f"HTTP {line[:3]}: ")
    assert says in english().text(delivery.detail)
    assert SECRET not in english().text(delivery.detail)
    assert other.requests == []
