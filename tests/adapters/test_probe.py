from __future__ import annotations

import asyncio
import gc
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters.sources.probe import HttpSection, ProbeSource
from logcaster_guard.domain.signals import (
    BUILT_IN_UNITS,
    Fault,
    Gap,
    NoData,
    Reading,
    Signal,
    SourceError,
    SourceName,
    Target,
    Value,
)
from logcaster_guard.engine.sampling import read_now
from tests.adapters import sources_server as server
from tests.adapters.in_english import in_english
from tests.adapters.sources_server import Exchange, Script, serving
from tests.fakes.clock import FakeClock
from tests.fakes.services import probe, source_services

NAMES = ("health_check_fails", "response_time", "slow_responses")
SIGNALS = [Signal(name, BUILT_IN_UNITS[name], SourceName.HTTP) for name in NAMES]
OK = server.answer("well")
SHORT, LONG = 0.2, 30.0  # seconds: where the deadline must come, and where it must not


def target(url: str) -> Target:
    return Target("shop", "prod", "web", health_url=url + "/health", traffic_url=url + "/")


async def read_often(url: str, times: int, clock: FakeClock | None = None, **options: Any) -> list[dict[str, Reading]]:
    section = {"timeout": LONG, "max_bytes": 100_000, **options}
    services, authority = source_services(clock or FakeClock()), section.pop("ca_file", None)
    source = ProbeSource(HttpSection.model_construct(**section), services, ca_file=authority)
    try:
        return [dict(await read_now(source, target(url), SIGNALS)) for _ in range(times)]
    finally:
        await source.aclose()


def numbers(readings: Sequence[dict[str, Reading]], name: str) -> list[float | type[Reading]]:
    found = [reading[name] for reading in readings]
    return [r.number if isinstance(r, Value) else type(r) for r in found]


FAILING: dict[str, tuple[Script, type[Reading], bool]] = {
    # what the traffic URL's signals become, and whether it counts as slow
    "client error": (server.answer("", 404), Value, False),
    "throttled": (server.answer("", 429, Retry_After="1"), Value, False),
    "server error": (server.answer("", 503), Value, False),
    "hangs": (server.hang, NoData, True),
    "drips its body": (server.drip_body, NoData, True),
    "drips its headers": (server.drip_headers, NoData, True),
    "cut by length": (server.cut_length, NoData, False),
    "cut chunked": (server.cut_chunked, NoData, False),
    "closes at once": (server.close_silently, NoData, False),
    "resets": (server.reset, NoData, False),
    "not HTTP": (server.garbage, NoData, False),
}


@pytest.mark.parametrize("case", FAILING)
async def test_every_way_to_fail_counts_against_the_target(case: str) -> None:
    script, timed, slow = FAILING[case]
    async with serving(script) as app:
        readings = await read_often(app.url, 2, timeout=SHORT if slow else LONG)
    assert numbers(readings, "health_check_fails") == [1.0, 2.0]
    assert {type(r["response_time"]) for r in readings} == {timed}
    expected: list[float | type[Reading]] = [1.0, 2.0] if slow else [0.0, 0.0] if timed is Value else [NoData, NoData]
    assert numbers(readings, "slow_responses") == expected


async def test_nobody_listens() -> None:
    readings = await read_often(f"http://127.0.0.1:{server.refusing_port()}", 2)
    assert numbers(readings, "health_check_fails") == [1.0, 2.0]
    assert in_english(readings[0]["response_time"]) == NoData(1000.0, Gap.EMPTY, "traffic_url: connection refused")


@pytest.mark.parametrize(
    "script", [OK, server.redirect, server.answer("", 204), server.bomb, server.raw(b"HTTP/1.0 200 OK\r\n\r\nold")]
)
async def test_a_complete_answer_ends_the_count(script: Script) -> None:
    answers = iter([server.answer("", 500), server.answer("", 500), script, server.answer("", 500)])

    async def health(exchange: Exchange) -> None:
        await (next(answers) if exchange.path == "/health" else OK)(exchange)

    async with serving(health) as app:
        readings = await read_often(app.url, 4)
    assert numbers(readings, "health_check_fails") == [1.0, 2.0, 0.0, 1.0]


async def blind(url: str, **options: Any) -> set[Fault]:
    """Every signal must be a source error."""
    (readings,) = await read_often(url, 1, **options)
    assert all(isinstance(r, SourceError) for r in readings.values()), readings
    return {r.fault for r in readings.values() if isinstance(r, SourceError)}


@pytest.mark.usefixtures("no_names")
async def test_a_name_that_does_not_resolve_says_nothing_about_the_target() -> None:
    assert await blind("http://logcaster.example:9998") == {Fault.NAME_NOT_FOUND}


async def test_trust_of_our_own_says_nothing_about_the_target(certificate: tuple[Path, ssl.SSLContext]) -> None:
    authority, context = certificate
    async with serving(OK, tls=context) as app:
        assert await blind(app.url) == {Fault.TLS}
        (trusted,) = await read_often(app.url, 1, ca_file=str(authority))
    assert trusted["health_check_fails"] == Value(1000.0, 0.0)


async def test_a_target_that_speaks_no_tls_fails() -> None:
    async def plain_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain_http, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        readings = await read_often(f"https://127.0.0.1:{port}", 1)
    assert numbers(readings, "health_check_fails") == [1.0]


async def test_a_handshake_that_hangs_is_a_failure_and_leaves_no_socket_open() -> None:
    async with serving(server.hang) as app:
        readings = await read_often(app.url.replace("http:", "https:"), 1, timeout=SHORT)
        gc.collect()  # a socket that was left open warns here, and not in one of the tests that follow
    assert numbers(readings, "health_check_fails") == [1.0]


async def test_a_read_that_is_cancelled_in_a_handshake_leaves_no_socket_open() -> None:
    async with serving(server.hang) as app:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read_often(app.url.replace("http:", "https:"), 1), SHORT)
        gc.collect()


async def test_a_broken_proxy_says_nothing_about_the_target() -> None:
    assert await blind("http://app.example", proxy=f"http://127.0.0.1:{server.refusing_port()}") == {Fault.REFUSED}


async def test_an_answer_above_the_cap_is_not_judged() -> None:
    async with serving(server.endless) as app:
        assert await blind(app.url) == {Fault.TOO_LARGE}


async def test_a_url_that_cannot_be_used_says_nothing_about_the_target() -> None:
    assert await blind("ftp://127.0.0.1") == {Fault.UNREACHABLE}


async def test_counts_are_kept_while_the_guard_cannot_look() -> None:
    async with serving(server.answer("", 500)) as app:
        source = probe(FakeClock())
        await read_now(source, target(app.url), SIGNALS)
        seen = [
            dict(await read_now(source, target("http://[::bad"), SIGNALS)),
            dict(await read_now(source, target(app.url), SIGNALS)),
        ]
        await source.aclose()
    assert numbers(seen, "health_check_fails") == [SourceError, 2.0]


async def test_answers_are_timed_and_slow_ones_in_a_row_counted() -> None:
    clock = FakeClock()
    seconds = iter([2.5, 3.0, 2.0, 2.1])

    async def traffic(exchange: Exchange) -> None:
        if exchange.path == "/":
            clock.skip(next(seconds))
        await OK(exchange)

    async with serving(traffic) as app:
        source = probe(clock)
        signals = [s for s in SIGNALS if s.name != "health_check_fails"]
        readings = [dict(await read_now(source, target(app.url), signals)) for _ in range(4)]
        await source.aclose()
    assert numbers(readings, "response_time") == pytest.approx([2.5, 3.0, 2.0, 2.1])
    assert numbers(readings, "slow_responses") == [1.0, 2.0, 0.0, 1.0]


async def test_signals_of_one_url_share_one_request() -> None:
    async with serving(OK) as app:
        await read_often(app.url, 1)
        assert sorted(e.path for e in app.exchanges) == ["/", "/health"]


async def test_counts_belong_to_their_target() -> None:
    async with serving(server.answer("", 500)) as app:
        source = probe(FakeClock())
        for deployment in ("a", "a", "b"):
            last = await read_now(source, Target("t", "ns", deployment, health_url=app.url), SIGNALS[:1])
        await source.aclose()
    assert last == {"health_check_fails": Value(1000.0, 1.0)}


async def test_a_target_without_urls_is_no_data() -> None:
    source = probe(FakeClock())
    readings = await read_now(source, Target("t", "ns", "d"), SIGNALS)
    await source.aclose()
    assert {name: in_english(reading) for name, reading in readings.items()} == {
        "health_check_fails": NoData(1000.0, Gap.EMPTY, "the target has no health_url"),
        "response_time": NoData(1000.0, Gap.EMPTY, "the target has no traffic_url"),
        "slow_responses": NoData(1000.0, Gap.EMPTY, "the target has no traffic_url"),
    }


async def test_every_request_has_a_connection_of_its_own_and_no_cookies() -> None:
    async with serving(server.answer("", 200, Set_Cookie="session=1; Path=/")) as app:
        await read_often(app.url, 3)
        assert len(app.exchanges) == 6
        assert {e.header("Cookie") for e in app.exchanges} == {None}


async def test_logs_hold_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(server.cut_length) as app:
        readings = await read_often(app.url.replace("//", "//user:hunter2@"), 1)
    assert "hunter2" not in caplog.text + repr(readings)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.refusing_port()}")
    async with serving(OK) as app:
        assert numbers(await read_often(app.url, 1), "health_check_fails") == [0.0]
