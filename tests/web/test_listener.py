"""Whoever reaches the port can take neither the guard's memory nor its file descriptors, nor keep others out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from logcaster_guard.web.listener import Bounds, listening, request_began
from logcaster_guard.web.server import serving
from tests.fakes.guarded import Guarded

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BOUNDS = Bounds(connections=4, received=1_000, asked_within=30.0, answered_within=30.0)
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def answer(request: web.Request) -> web.Response:
    request_began(request)
    if request.path == "/slow":
        await asyncio.Event().wait()
    return web.Response(text=str(len(await request.read())))


class Open:
    """Connections to one port, closed at the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.peers: list[Peer] = []

    async def send(self, data: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.peers.append((reader, writer))
        writer.write(data)
        await asyncio.sleep(0.01)
        return reader

    async def closed(self) -> Sequence[bool]:
        """Which of them the other side has closed, in the order in which they were opened."""
        await asyncio.sleep(0.05)
        return [reader.at_eof() or reader.exception() is not None for reader, _ in self.peers]


@contextlib.asynccontextmanager
async def served(bounds: Bounds = BOUNDS) -> AsyncIterator[Open]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    async with listening(runner, "127.0.0.1", 0, bounds) as port:
        peers = Open(port)
        try:
            yield peers
        finally:
            for _, writer in peers.peers:
                writer.transport.abort()
            await runner.cleanup()


async def test_the_oldest_that_has_not_asked_gives_way_and_the_newest_is_answered() -> None:
    async with served() as peers:
        for _ in range(20):
            await peers.send(HEAD)
        assert await peers.closed() == [True] * 16 + [False] * 4
        reader = await peers.send(HEAD + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_who_is_being_answered_gives_way_to_nobody_and_a_place_that_comes_free_is_taken() -> None:
    async with served() as peers:
        slow = HEAD.replace(b"/", b"/slow", 1) + b"\r\n"
        for _ in range(BOUNDS.connections):
            await peers.send(slow)
        waiting = await peers.send(HEAD + b"\r\n")
        assert await peers.closed() == [False] * 5
        peers.peers[0][1].transport.abort()
        assert (await asyncio.wait_for(waiting.readline(), 5.0)).startswith(b"HTTP/1.1 200")


async def test_a_request_that_does_not_come_in_time_ends_its_connection() -> None:
    async with served(Bounds(4, asked_within=0.05)) as peers:
        reader = await peers.send(HEAD)
        assert await asyncio.wait_for(reader.read(), 5.0) == b""


async def test_an_answer_that_is_not_taken_in_time_ends_its_connection() -> None:
    async with served(Bounds(4, asked_within=30.0, answered_within=0.05)) as peers:
        reader = await peers.send(HEAD.replace(b"/", b"/slow", 1) + b"\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5.0) == b""


async def test_no_more_is_received_than_the_bound() -> None:
    async with served() as peers:
        head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
        whole = await peers.send(head % 900 + b"x" * 900)
        assert (await whole.readuntil(b"900")).startswith(b"HTTP/1.1 200")
        await peers.send(head % 2_000 + b"x" * 2_000)
        await peers.send(HEAD + b"X: " + b"x" * 2_000 + b"\r\n\r\n")
        assert await peers.closed() == [False, False, False]
        for reader, _ in peers.peers[1:]:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)


async def test_no_file_descriptor_is_told_once_and_the_next_attempt_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, fails = loop.sock_accept, 3

    async def failing(sock: socket.socket) -> tuple[socket.socket, object]:
        nonlocal fails
        if fails:
            fails -= 1
            raise OSError(24, "Too many open files")
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", failing)
    monkeypatch.setattr("logcaster_guard.web.listener._AFTER_FAILURE", 0.01)
    with capture_logs() as logs:
        async with served() as peers:
            reader = await peers.send(HEAD + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert [line["event"] for line in logs] == ["web.not_accepting", "web.accepting"]


async def test_probes_are_answered_on_an_address_of_their_own_under_any_name_and_nothing_else_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        probes = f"127.0.0.1:{found.getsockname()[1]}"
    scene = Guarded(None)
    async with serving(scene.guard, None, probes=probes) as url:
        assert url is None
        scene.url = f"http://{probes}"
        assert (await scene.ask("GET", "/healthz", Host="probe.example")).status_code == 200
        assert (await scene.get("/readyz")).status_code == 503
        assert (await scene.get("/api/v1/status")).status_code == 404
        assert (await scene.get("/metrics")).status_code == 404


async def test_the_server_keeps_answering_while_its_connections_are_taken() -> None:
    async with Guarded.serving() as scene, contextlib.AsyncExitStack() as stack:
        port = int(scene.url.rpartition(":")[2])
        for _ in range(100):
            flood = socket.create_connection(("127.0.0.1", port))
            stack.callback(flood.close)
            flood.sendall(HEAD)
            await asyncio.sleep(0)
        assert (await scene.get("/healthz")).status_code == 200


async def test_what_cannot_be_read_is_told_a_few_times_a_minute() -> None:
    with capture_logs() as logs:
        async with Guarded.serving() as scene:
            port = int(scene.url.rpartition(":")[2])
            for _ in range(15):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n")
                assert b"400" in await reader.readline()
                writer.close()
    assert [line["event"] for line in logs].count("web.unreadable") == 10


KNOWN = (
    "127.0.0.1:9997", "10.1.2.3:9997", "10.1.2.3", "[::1]:9997", "[fd00::7]", "localhost", "LOCALHOST:1",
    "guard.logcaster.svc", "Guard.Logcaster.SVC.:9997",
)  # fmt: skip
FOREIGN = (
    "evil.example", "evil.example:9997", "127.0.0.1.evil.example", "localhost.evil", "x@127.0.0.1", "127.1", "",
    "guard", "svc", "[::1]evil",
)  # fmt: skip


async def test_only_who_asks_for_an_address_or_a_listed_name_is_answered() -> None:
    scene = Guarded(None)
    async with serving(scene.guard, "127.0.0.1:0", hosts=["guard.logcaster.svc."]) as url:
        assert url is not None
        scene.url = url
        for host in KNOWN:
            assert (await scene.ask("GET", "/api/v1/status", Host=host)).status_code == 200, host
        for host in FOREIGN:
            found = await scene.ask("GET", "/api/v1/status", Host=host)
            assert (found.status_code, "web.hosts" in found.json()["error"]) == (421, True), host
        for method, path in (("GET", "/healthz"), ("POST", "/api/v1/veto"), ("GET", "/none")):
            assert (await scene.ask(method, path, Host="evil.example")).status_code == 421


async def test_a_second_host_header_is_looked_at_too() -> None:
    async with Guarded.serving() as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(scene.url.rpartition(":")[2]))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n")
        assert (await reader.readline()).split()[1] in {b"400", b"421"}
        writer.close()
