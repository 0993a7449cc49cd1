"""A raw HTTP server on loopback that answers exactly as badly as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[["Exchange"], Awaitable[None]]
DRIPS = 200


class Exchange:
    """One request, and the connection to answer on."""

    def __init__(self, head: str, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self._writer = writer

    @property
    def path(self) -> str:
        return self.head.split(" ", 2)[1]

    def header(self, name: str) -> str | None:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return next((value.strip() for key, _, value in lines if key.lower() == name.lower()), None)

    async def send(self, raw: bytes) -> None:
        self._writer.write(raw)
        await self._writer.drain()

    def reset(self) -> None:
        """End the connection with RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._writer.transport.abort()


class RawServer:
    """Answers every request with `script`; `heads` are the request heads seen so far."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.exchanges: list[Exchange] = []
        self.port = 0
        self.scheme = "http"
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            exchange = Exchange(head.decode(), writer)
            self.exchanges.append(exchange)
            await self.script(exchange)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    server = RawServer(script)
    server.scheme = "https" if tls else "http"
    listening = await asyncio.start_server(server.handle, host, port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.end()
        await listening.wait_closed()


def refusing_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answer(body: str | bytes = b"", status: int = 200, **headers: str) -> Script:
    content = body.encode() if isinstance(body, str) else body
    extra = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(content)}\r\n{extra}\r\n"
    return raw(head.encode() + content)


def raw(content: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(content)

    return script


async def hang(_: Exchange) -> None:
    await asyncio.Event().wait()


async def drip_body(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    await _drip(exchange, b"#")


async def drip_headers(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await _drip(exchange, b"x")


async def _drip(exchange: Exchange, what: bytes) -> None:
    for _ in range(DRIPS):
        await exchange.send(what)
        await asyncio.sleep(0.05)


async def cut_length(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n# cut\n")


async def cut_chunked(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n# cut\n\r\n")


async def close_silently(_: Exchange) -> None:
    return


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10_000):
        await exchange.send(b"10000\r\n" + b"#" * 65535 + b"\n\r\n")


@functools.cache
def packed_bomb() -> bytes:
    return gzip.compress(b"#" * (64 << 20))


async def bomb(exchange: Exchange) -> None:
    await answer(packed_bomb(), Content_Encoding="gzip")(exchange)


async def half_a_bomb(exchange: Exchange) -> None:
    await answer(packed_bomb()[:500], Content_Encoding="gzip")(exchange)


garbage = raw(b"220 mail.example ESMTP\r\n\r\n")
redirect = answer(status=302, Location="http://169.254.169.254/latest/meta-data")


def json_answer(document: object, status: int = 200, **headers: str) -> Script:
    return answer(json.dumps(document), status, Content_Type="application/json", **headers)
