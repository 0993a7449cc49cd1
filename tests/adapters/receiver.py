"""Receivers of notices on loopback: they keep each request whole and answer with the bytes of a script."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from logcaster_guard.domain.notices import Notice, Severity
from tests import canary

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
                    canary.note("what a receiver was sent", body)
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


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for n in range(1_000):
        writer.write(f"X-{n}: y\r\n".encode())
        await writer.drain()
        await asyncio.sleep(0.01)


async def slow_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
    await writer.drain()
    await asyncio.Event().wait()
