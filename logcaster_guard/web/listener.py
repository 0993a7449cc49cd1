"""A listening socket whose connections are bounded in number, in what they may send, and in time.

aiohttp's own sites bound none of these, and whoever reaches a port could take the guard's memory and file descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

import structlog
from aiohttp import web

_AFTER_FAILURE = 1.0
"""Seconds until the next attempt to accept a connection after one that failed, as where file descriptors are short."""

_SILENT = 60.0
"""Seconds after one that is told in which further ones are not."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many `connections` there are at once, and the `received` bytes of each that are read.

    A request must have come within `asked_within` seconds, and its answer must be taken within `answered_within`.
    """

    connections: int
    received: int = 64 << 10
    asked_within: float = 10.0
    answered_within: float = 60.0


@contextlib.asynccontextmanager
async def listening(runner: web.AppRunner, host: str, port: int, bounds: Bounds) -> AsyncIterator[int]:
    """Serve a runner that is set up on an IP address; yields the port. Raises `OSError` if it cannot be had."""
    if runner.server is None:
        raise RuntimeError("the runner is not set up")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=128) as opened:
        opened.setblocking(False)
        accepting = asyncio.create_task(_Listener(opened, runner.server, bounds).accept())
        try:
            yield opened.getsockname()[1]
        finally:
            accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await accepting


def request_began(request: web.BaseRequest) -> None:
    """Give the connection of this request, whose head has come, the time for an answer."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    if isinstance(protocol, _Connection):
        protocol.request_began()


class _Listener:
    def __init__(self, opened: socket.socket, protocol: Callable[[], asyncio.Protocol], bounds: Bounds) -> None:
        self._opened = opened
        self._protocol = protocol
        self._bounds = bounds
        self._connections: dict[_Connection, None] = {}
        self._freed = asyncio.Event()
        self._log = structlog.get_logger().bind(port=opened.getsockname()[1])

    async def accept(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        told, silent_until = False, loop.time()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._opened)
            except OSError as error:
                if loop.time() >= silent_until:
                    self._log.error("web.not_accepting", detail=str(error), effect="nobody is answered")
                    told, silent_until = True, loop.time() + _SILENT
                await asyncio.sleep(_AFTER_FAILURE)
                continue
            if told:
                self._log.info("web.accepting")
                told = False
            try:
                while not self._made_room():
                    self._freed.clear()
                    await self._freed.wait()
                await loop.connect_accepted_socket(self._connection, accepted)
            except BaseException as error:
                accepted.close()
                if not isinstance(error, OSError):
                    raise

    def _connection(self) -> _Connection:
        connection = _Connection(self._protocol(), self._bounds, self._lost)
        self._connections[connection] = None
        return connection

    def _lost(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)
        self._freed.set()

    def _made_room(self) -> bool:
        """Whether one more fits; the oldest connection that has not asked for anything yet gives way to it."""
        if len(self._connections) < self._bounds.connections:
            return True
        oldest = next((c for c in self._connections if not c.asked), None)
        if oldest is None:
            return False
        self._lost(oldest)
        oldest.abort()
        return True


class _Connection(asyncio.Protocol):
    """Passes on to aiohttp's protocol what is within the bounds."""

    def __init__(self, inner: asyncio.Protocol, bounds: Bounds, lost: Callable[[_Connection], None]) -> None:
        self._inner = inner
        self._bounds = bounds
        self._lost = lost
        self._left = bounds.received
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None
        self.asked = False

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def request_began(self) -> None:
        """Its request is there."""
        self.asked = True
        self._end_within(self._bounds.answered_within)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._end_within(self._bounds.asked_within)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        self._lost(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What is over the bound is dropped: a body that is too large is answered with 413, a head never ends.
        taken = data[: self._left]
        self._left -= len(taken)
        if taken:
            self._inner.data_received(taken)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _end_within(self, seconds: float) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(seconds, self.abort)
