"""What every source that asks over HTTP owes the engine, whatever the other side does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from logcaster_guard.domain.signals import (
    BUILT_IN_UNITS,
    NoData,
    NoHistory,
    Series,
    Signal,
    SourceError,
    SourceName,
    Target,
    Unit,
    Value,
)
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock, Request, Source
from tests.adapters import sources_server as server
from tests.adapters.sources_server import Script, serving
from tests.fakes.clock import FakeClock
from tests.fakes.services import probe, prometheus, scrape

Make = Callable[[Clock, int], Source]


def make_prometheus(clock: Clock, port: int) -> Source:
    return prometheus(f"http://127.0.0.1:{port}", clock, timeout=0.3, max_bytes=50_000)


def make_probe(clock: Clock, port: int) -> Source:  # noqa: ARG001 - the target holds the port
    return probe(clock, timeout=0.3, max_bytes=50_000)


def make_scrape(clock: Clock, port: int) -> Source:
    return scrape(clock, port=port, timeout=0.3, max_bytes=50_000)


MAKERS: dict[SourceName, Make] = {
    SourceName.PROMETHEUS: make_prometheus,
    SourceName.HTTP: make_probe,
    SourceName.SCRAPE: make_scrape,
}
SCRIPTS: dict[str, Script] = {
    "well": server.answer("http_requests_total 1\n"),
    "redirect": server.redirect,
    "hang": server.hang,
    "drip": server.drip_body,
    "drip headers": server.drip_headers,
    "cut": server.cut_length,
    "cut chunked": server.cut_chunked,
    "closed": server.close_silently,
    "reset": server.reset,
    "garbage": server.garbage,
    "endless": server.endless,
    "bomb": server.bomb,
    "500": server.answer("no", 500, Retry_After="3"),
    "429": server.answer("no", 429, Retry_After="3"),
    "nothing": server.answer(""),
    "zeros": server.answer(b"\0" * 5000),
    "bad length": server.raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
    "bad chunk": server.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "bad status": server.raw(b"HTTP/1.1 2OO OK\r\n\r\n"),
    "long header": server.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"),
    "many headers": server.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n"),
    "odd location": server.answer("", 301, Location="http://[::bad"),
    "non-ASCII header": server.raw(b"HTTP/1.1 503 \xff\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n"),
}


def signals(source: Source) -> list[Signal]:
    names = [*BUILT_IN_UNITS, "made_up"]
    return [Signal(n, BUILT_IN_UNITS.get(n, Unit.COUNT), source.name, 300.0, "up") for n in names]


@pytest.fixture(params=list(MAKERS), ids=[m.value for m in MAKERS])
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


@pytest.mark.parametrize("case", SCRIPTS)
async def test_there_is_one_reading_for_each_signal_and_nothing_is_raised(make: Make, case: str) -> None:
    clock = FakeClock()
    async with serving(SCRIPTS[case]) as other:
        source = make(clock, other.port)
        target = Target("t", "ns", "d", health_url=other.url, traffic_url=other.url)
        asked = signals(source)
        readings = await read_now(source, target, asked)
        past = await source.history(target, asked[0], 900.0, 1000.0, 10.0)
        await source.aclose()
    assert readings.keys() == {s.name for s in asked}
    for reading in readings.values():
        assert isinstance(reading, Value | NoData | SourceError)
        assert reading.at == 1000.0
        assert isinstance(reading, Value) or (english().text(reading.detail) + " ").isprintable()
    assert isinstance(past, NoHistory if source.name is SourceName.HTTP else Series | SourceError)


async def test_each_request_for_many_targets_is_answered_once_and_none_waits_for_another(make: Make) -> None:
    async with serving(server.hang) as slow, serving(SCRIPTS["well"]) as other:
        source = make(FakeClock(), other.port)
        urls = {"slow": slow.url, "well": other.url, "also": other.url}
        targets = [Target(n, "ns", n, health_url=url, traffic_url=url) for n, url in urls.items()]
        requests = [Request(target, signal) for target in targets for signal in signals(source)]
        answered = [request async for request, _ in source.read(requests)]
        await source.aclose()
    assert set(answered) == set(requests)
    assert len(answered) == len(requests)
    if source.name is SourceName.HTTP:
        assert {r.target.name for r in answered[-len(signals(source)) :]} == {"slow"}


async def test_no_signals_are_no_readings(make: Make) -> None:
    async with serving(server.hang) as other:
        source = make(FakeClock(), other.port)
        readings: Any = await read_now(source, Target("t", "ns", "d"), [])
        await source.aclose()
    assert dict(readings) == {} or source.name is SourceName.SCRAPE


async def test_a_read_that_is_cancelled_ends_and_leaves_the_source_usable(make: Make) -> None:
    async with serving(server.hang) as other:
        source = make(FakeClock(), other.port)
        target = Target("t", "ns", "d", health_url=other.url, traffic_url=other.url)
        reading = asyncio.create_task(read_now(source, target, signals(source)))
        for _ in range(500):
            if other.exchanges:
                break
            await asyncio.sleep(0.002)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        other.script = server.answer("", 404)
        assert await read_now(source, target, signals(source))
        await source.aclose()
