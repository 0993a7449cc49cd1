"""A wire between a client and a PostgreSQL server that can lose what it is given, by what the client says."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from enum import Enum

_ANSWERED = b"Z"
"""ReadyForQuery, with which the server ends each answer."""


class Fate(Enum):
    """What becomes of a message of the client's."""

    PASS = "pass"  # noqa: S105 - goes on
    LOSE_IT = "lose it"
    """The server never gets it and waits; the client is cut off."""
    HOLD = "hold"
    """Nothing goes on, and nobody is cut off."""
    LOSE_REPLY = "lose the reply"
    """The server does it; the client is cut off when it is done."""
    CUT_BEFORE = "cut before"
    """The server never gets it; both are cut off."""
    CUT_AFTER = "cut after"
    """The server gets it; both are cut off."""


Judge = Callable[[str], Awaitable[Fate]]
"""Says what becomes of a message with this SQL."""


class Wire:
    """Between a loopback port of its own and that of the server."""

    def __init__(self, server_port: int, judge: Judge) -> None:
        self._server_port = server_port
        self._judge = judge
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: list[asyncio.StreamWriter] = []
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Wire:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._kept:
            writer.close()

    @property
    def port(self) -> int:
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._kept += [writer, up_writer]
        down = asyncio.create_task(self._down(up_reader, writer))
        self._tasks.add(down)
        try:
            await self._up(reader, up_writer, up_reader, down)
        except (asyncio.IncompleteReadError, ConnectionError):
            up_writer.close()
        finally:
            down.cancel()
            writer.close()

    async def _up(
        self,
        reader: asyncio.StreamReader,
        up: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        down: asyncio.Task[None],
    ) -> None:
        length = await reader.readexactly(4)
        up.write(length + await reader.readexactly(struct.unpack("!i", length)[0] - 4))
        while True:
            kind, length = await reader.readexactly(1), await reader.readexactly(4)
            body = await reader.readexactly(struct.unpack("!i", length)[0] - 4)
            fate = await self._judge(_sql(kind, body)) if kind in b"QP" else Fate.PASS
            if fate is Fate.HOLD:
                await asyncio.Event().wait()
            if fate is Fate.CUT_BEFORE:
                up.close()
            if fate in {Fate.LOSE_IT, Fate.CUT_BEFORE}:
                return
            if fate is Fate.LOSE_REPLY:
                down.cancel()
                await asyncio.gather(down, return_exceptions=True)
            up.write(kind + length + body)
            await up.drain()
            if fate is Fate.CUT_AFTER:
                up.close()
                return
            if fate is Fate.LOSE_REPLY:
                await _answered(answers)
                return

    async def _down(self, up: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await up.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


async def _answered(answers: asyncio.StreamReader) -> None:
    while await answers.readexactly(1) != _ANSWERED:
        await answers.readexactly(struct.unpack("!i", await answers.readexactly(4))[0] - 4)


def _sql(kind: bytes, body: bytes) -> str:
    text = body if kind == b"Q" else body.split(b"\0", 1)[1]
    return text.split(b"\0", 1)[0].decode()
