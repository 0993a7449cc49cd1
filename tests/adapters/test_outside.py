"""What comes from outside to hurt the guard itself: being led elsewhere, floods, words that forge, time that jumps."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from logcaster_guard.domain.notices import TryLater
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
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Channel, Source
from tests.adapters import sources_server as server
from tests.adapters.receiver import NOTICE
from tests.adapters.sources_server import Script, serving
from tests.fakes.clock import FakeClock
from tests.fakes.services import probe, prometheus, scrape, slack, webhook

MIB = 1 << 20
OF_A_SOURCE = {
    SourceName.PROMETHEUS: "error_rate",
    SourceName.SCRAPE: "request_rate",
    SourceName.HTTP: "health_check_fails",
}
HOSTILE = "\r\nlevel=error\x1b[31m <script>alert(1)</script>\u202e\x00 \u2028@channel"


def signal(source: SourceName, name: str | None = None) -> Signal:
    chosen = name or OF_A_SOURCE[source]
    return Signal(chosen, BUILT_IN_UNITS[chosen], source, 300.0, "up")


@asynccontextmanager
async def asking(name: SourceName, port: int, clock: FakeClock, within: float = 30.0) -> AsyncIterator[Source]:
    made: Source
    if name is SourceName.PROMETHEUS:
        made = prometheus(f"http://127.0.0.1:{port}", clock, timeout=within)
    elif name is SourceName.SCRAPE:
        made = scrape(clock, port=port, timeout=within, min_requests=1)
    else:
        made = probe(clock, timeout=within)
    yield made
    await made.aclose()


def target(port: int) -> Target:
    return Target("t", "ns", "d", health_url=f"http://127.0.0.1:{port}/", traffic_url=f"http://127.0.0.1:{port}/")


async def read(name: SourceName, script: Script, clock: FakeClock | None = None) -> Reading:
    asked = signal(name)
    async with serving(script) as outside, asking(name, outside.port, clock or FakeClock()) as source:
        return (await read_now(source, target(outside.port), [asked]))[asked.name]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", sorted(OF_A_SOURCE))
async def test_a_source_is_not_led_to_another_host(name: SourceName, status: int) -> None:
    async with serving(server.answer("http_requests_total 1\n")) as elsewhere:
        reading = await read(name, server.answer("", status, Location=f"{elsewhere.url}/latest/meta-data"))
        assert elsewhere.exchanges == []
    if name is not SourceName.HTTP:
        assert isinstance(reading, SourceError)
        assert reading.fault is Fault.REDIRECTED


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "file:///etc/passwd", "//127.0.0.1:1/"]
)
@pytest.mark.parametrize("name", sorted(OF_A_SOURCE))
async def test_a_source_is_not_led_to_where_clouds_keep_credentials(name: SourceName, location: str) -> None:
    reading = await read(name, server.answer("root:x:0", 302, Location=location))
    assert isinstance(reading, SourceError | Value)
    assert "root" not in str(reading)


@pytest.mark.parametrize("make", [webhook, slack])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_channel_is_not_led_to_another_host(make: Callable[..., Channel], status: int) -> None:
    async with serving(server.answer("")) as elsewhere, serving(server.hang) as receiver:
        receiver.script = server.answer("", status, Location=f"{elsewhere.url}/")
        channel = make("w", lambda: f"{receiver.url}/hook", timeout=30.0)
        await channel.deliver(NOTICE)
        await channel.aclose()
        assert len(receiver.exchanges) == 1
        assert elsewhere.exchanges == []


def _series(count: int) -> str:
    return "".join(f'http_requests_total{{path="/{n}",status="200"}} 1\n' for n in range(count))


def _vector(count: int) -> Script:
    result = [{"metric": {"n": str(n)}, "value": [0, "1"]} for n in range(count)]
    return server.json_answer({"status": "success", "data": {"resultType": "vector", "result": result}})


FLOODS: dict[str, tuple[SourceName, Callable[[], Script]]] = {
    "series of Prometheus": (SourceName.PROMETHEUS, lambda: _vector(100_000)),
    "series of a pod": (SourceName.SCRAPE, lambda: server.answer(_series(100_000))),
    "metrics of others": (SourceName.SCRAPE, lambda: server.answer("other 1\n" * 400_000)),
    "one line": (SourceName.SCRAPE, lambda: server.answer('http_requests_total{a="' + "x" * 3 * MIB + '"} 1\n')),
    "endless to Prometheus": (SourceName.PROMETHEUS, lambda: server.endless),
    "endless to the scrape": (SourceName.SCRAPE, lambda: server.endless),
    "bomb to Prometheus": (SourceName.PROMETHEUS, lambda: server.bomb),
    "bomb to the scrape": (SourceName.SCRAPE, lambda: server.bomb),
}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_is_refused_in_bounded_memory(what: str) -> None:
    name, script = FLOODS[what][0], FLOODS[what][1]()
    server.packed_bomb()  # what the server sends is made before memory is counted
    tracemalloc.start()
    try:
        reading = await read(name, script)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(reading, SourceError)
    assert reading.fault in {Fault.TOO_LARGE, Fault.MALFORMED}
    assert peak < 100 * MIB


@pytest.mark.parametrize(
    "script",
    [
        server.json_answer({"status": "error", "errorType": HOSTILE, "error": HOSTILE}, 422),
        server.json_answer(
            {"status": "success", "warnings": [HOSTILE], "data": {"resultType": "vector", "result": []}}
        ),
        server.json_answer({"status": "success", "data": {"resultType": HOSTILE, "result": []}}),
        server.answer(HOSTILE, 500),
        server.answer(f'http_requests_total{{path="{HOSTILE}"}} x\n'),
    ],
)
@pytest.mark.parametrize("name", sorted(OF_A_SOURCE))
async def test_words_of_others_stay_on_one_printable_line(name: SourceName, script: Script) -> None:
    reading = await read(name, script)
    detail = "" if isinstance(reading, Value) else english().text(reading.detail)
    assert detail.isprintable()
    assert len(detail) <= 500


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0])
async def test_windows_of_the_scrape_do_not_feel_the_wall_clock(jump: float) -> None:
    clock, served = FakeClock(), iter(range(0, 10_000, 100))

    async def exporter(exchange: server.Exchange) -> None:
        await server.answer(f'http_requests_total{{status="200"}} {next(served)}\n')(exchange)

    asked = signal(SourceName.SCRAPE)
    async with serving(exporter) as pod, asking(SourceName.SCRAPE, pod.port, clock) as source:
        rates = []
        for _ in range(6):
            rates.append((await read_now(source, target(pod.port), [asked]))[asked.name])
            clock.skip(10)
            clock.jump_wall(jump)
    assert isinstance(rates[0], NoData)
    assert rates[0].gap is Gap.TOO_FEW
    assert [r.number for r in rates[1:] if isinstance(r, Value)] == [10.0] * 5


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0])
async def test_answers_are_timed_whatever_the_wall_clock_does(jump: float) -> None:
    clock = FakeClock()

    async def slow(exchange: server.Exchange) -> None:
        clock.skip(3.0)
        clock.jump_wall(jump)
        await server.answer("ok")(exchange)

    asked = signal(SourceName.HTTP, "response_time")
    async with serving(slow) as service, asking(SourceName.HTTP, service.port, clock) as source:
        reading = (await read_now(source, target(service.port), [asked]))["response_time"]
    assert isinstance(reading, Value)
    assert reading.number == pytest.approx(3.0)


async def test_a_clock_set_wrong_makes_prometheus_stale_and_not_bad() -> None:
    clock = FakeClock()
    clock.jump_wall(3_600)
    at = FakeClock().now().timestamp()
    data = {"resultType": "vector", "result": [{"metric": {}, "value": [at, "0.5"]}]}
    reading = await read(SourceName.PROMETHEUS, server.json_answer({"status": "success", "data": data}), clock)
    assert isinstance(reading, NoData)
    assert reading.gap is Gap.LAGGING


@pytest.mark.parametrize("bad", [server.hang, server.drip_body, server.drip_headers])
async def test_a_source_that_drips_or_hangs_leaves_the_others_on_time(bad: Script) -> None:
    clock = FakeClock()
    async with (
        serving(bad) as stuck,
        serving(server.answer("http_requests_total 1\n")) as well,
        asking(SourceName.PROMETHEUS, stuck.port, clock, within=2.0) as prometheus,
        asking(SourceName.HTTP, well.port, clock) as probe,
        asking(SourceName.SCRAPE, well.port, clock) as scrape,
    ):
        stuck_read = asyncio.create_task(read_now(prometheus, target(stuck.port), [signal(SourceName.PROMETHEUS)]))
        others = [
            await read_now(source, target(well.port), [signal(source.name)])
            for _ in range(5)
            for source in (probe, scrape)
        ]
        assert len(others) == 10
        assert not stuck_read.done()
        (reading,) = (await stuck_read).values()
    assert isinstance(reading, SourceError)
    assert reading.fault is Fault.TIMED_OUT


@pytest.fixture
def led_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that somebody who can write DNS records has pointed at a metadata service."""
    there = socket.getaddrinfo

    def resolve(host: str | bytes | None, port: int, *arguments: int, **named: int) -> list[Any]:
        if host == "metrics.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]
        return list(there(host, port, *arguments, **named))

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("led_astray")
@pytest.mark.parametrize("name", [SourceName.PROMETHEUS, SourceName.HTTP])
async def test_no_source_is_asked_where_a_name_leads_to_a_metadata_service(name: SourceName) -> None:
    clock, asked = FakeClock(), signal(name)
    made: Source = (
        prometheus("http://metrics.example:80", clock, timeout=5)
        if name is SourceName.PROMETHEUS
        else probe(clock, timeout=5)
    )
    where = Target("t", "ns", "d", health_url="http://metrics.example/", traffic_url="http://metrics.example/")
    reading = (await read_now(made, where, [asked]))[asked.name]
    await made.aclose()
    assert isinstance(reading, SourceError)
    assert "the name leads to 169.254.169.254, a link-local or metadata address" in english().text(reading.detail)


@pytest.mark.usefixtures("led_astray")
async def test_no_channel_is_told_where_a_name_leads_to_a_metadata_service() -> None:
    channel = webhook("hook", lambda: "http://metrics.example/hook", timeout=5)
    delivery = await channel.deliver(NOTICE)
    await channel.aclose()
    assert isinstance(delivery, TryLater)
    assert "the name leads to 169.254.169.254" in english().text(delivery.detail)


@pytest.mark.parametrize(
    "url",
    [
        "http://[2002:a9fe:a9fe::1]/x",
        "http://[64:ff9b::a9fe:a9fe]/x",
        "http://100.100.100.200/x",
        "http://[fd00:ec2::254]/",
    ],
)
async def test_no_channel_is_told_at_a_metadata_address_that_a_secret_names(url: str) -> None:
    channel = webhook("hook", lambda: url, timeout=5)
    delivery = await channel.deliver(NOTICE)
    await channel.aclose()
    assert isinstance(delivery, TryLater)
    assert "a link-local or metadata address, which is refused" in english().text(delivery.detail)
