from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from logcaster_guard.sandbox.traffic import Traffic
from tests.sandbox_world.stub import StubApi

WITHIN = 20.0
URL = "http://logcaster:9999/"


def answering(*statuses: int) -> StubApi:
    stub = StubApi()
    turns = iter(range(10**6))

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=statuses[next(turns) % len(statuses)])

    stub.answer_instead = answer
    return stub


async def test_it_counts_every_answer_and_each_kind_of_failure() -> None:
    async with answering(200, 302, 500, 503) as stub:
        traffic = Traffic(URL, lambda: stub.url, rate=200)
        assert traffic.window(10).error_share is None
        await traffic.start()
        await traffic.until(lambda t: t.total >= 40, WITHIN)
        await traffic.stop()
    seen = traffic.window(60)
    assert (seen.total, seen.failed) == (traffic.total, traffic.failed)
    assert set(seen.failures) == {"500", "503"}
    assert abs(seen.failed - seen.total / 2) <= 4
    assert sum(b.total for b in traffic.buckets(60)) == seen.total
    assert seen.mean_latency is not None
    assert seen.p95_latency is not None


async def test_nobody_there_and_no_answer_in_time_are_failures() -> None:
    async with StubApi() as stub:
        gone = stub.url
    traffic = Traffic(URL, lambda: gone, rate=200)
    await traffic.start()
    await traffic.until(lambda t: t.failed >= 5, WITHIN)
    await traffic.stop()
    assert set(traffic.window(60).failures) == {"connection"}

    release = asyncio.Event()

    async def hang(_: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with StubApi() as stub:
        stub.answer_instead = hang
        traffic = Traffic(URL, lambda: stub.url, rate=20, timeout=0.1)
        await traffic.start()
        await traffic.until(lambda t: t.failed >= 2, WITHIN)
        await traffic.stop()
        release.set()
    assert set(traffic.window(60).failures) == {"timeout"}


async def test_windows_are_told_by_the_clock() -> None:
    now = 100.5
    traffic = Traffic(URL, lambda: "", clock=lambda: now)
    for second, failure in [(100.1, None), (101.2, "500"), (101.9, None), (102.0, None), (103.5, "connection")]:
        traffic._count(second, second - 0.5, failure)
    now = 103.9
    assert (traffic.window(1).total, traffic.window(1).failed) == (1, 1)
    assert (traffic.window(3).total, traffic.window(3).failed) == (4, 2)
    assert traffic.window(3).failures == {"500": 1, "connection": 1}
    assert (traffic.since(101.5).total, traffic.since(101.5).failed) == (2, 1)
    assert [b.second for b in traffic.buckets(3)] == [101, 102, 103]
    assert traffic.window(3).mean_latency == pytest.approx(0.5)


async def test_waiting_for_what_never_comes_ends() -> None:
    traffic = Traffic(URL, lambda: "")
    with pytest.raises(TimeoutError):
        await traffic.until(lambda t: t.total > 0, 0.05)
