from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.adapters.sources.scrape import ScrapeSection, ScrapeSource
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import (
    BUILT_IN_UNITS,
    Aggregate,
    Fault,
    Gap,
    Gauge,
    NoData,
    Reading,
    Series,
    Signal,
    SourceError,
    SourceName,
    Target,
    Unit,
    Value,
)
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Endpoint
from tests.adapters import sources_server as server
from tests.adapters.in_english import in_english
from tests.adapters.sources_server import Exchange, RawServer, Script, serving
from tests.fakes.clock import FakeClock
from tests.fakes.services import source_services

TARGET = Target("shop", "prod", "web")
MIB = 1024 * 1024


def signal(name: str, lookback: float = 300.0) -> Signal:
    return Signal(name, BUILT_IN_UNITS[name], SourceName.SCRAPE, 0.0 if name == "memory_usage" else lookback)


SIGNALS = [signal(n) for n in ("error_rate", "request_rate", "p95_latency", "memory_usage")]


class App:
    """A pod whose counters a test moves; `script` replaces its answer."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {"200": 0}
        self.buckets: dict[str, int] = {"0.5": 0, "1": 0, "+Inf": 0}
        self.memory: float | None = 50 * MIB
        self.queue: list[float] = []
        self.script: Script | None = None

    def serve(self, ok: int, failed: int = 0, status: str = "500", fast: float = 1.0) -> None:
        self.counts["200"] += ok
        if failed:
            self.counts[status] = self.counts.get(status, 0) + failed
        self.buckets["0.5"] += int(fast * (ok + failed))
        for bound in ("1", "+Inf"):
            self.buckets[bound] += ok + failed

    def restart(self) -> None:
        self.counts, self.buckets = {"200": 0}, dict.fromkeys(self.buckets, 0)

    async def __call__(self, exchange: Exchange) -> None:
        lines = [f'http_requests_total{{path="/",status="{k}"}} {n}' for k, n in self.counts.items()]
        lines += [f'http_request_duration_seconds_bucket{{le="{k}"}} {n}' for k, n in self.buckets.items()]
        lines += [] if self.memory is None else [f"process_resident_memory_bytes {self.memory}"]
        lines += [f'queue{{shard="{n}"}} {number}' for n, number in enumerate(self.queue)]
        await (self.script or server.answer("\n".join(lines) + "\n"))(exchange)


class Pods:
    """Pods of one target on 127.0.0.1, 127.0.0.2, …, and the source that scrapes them."""

    def __init__(self, apps: Sequence[App], servers: Sequence[RawServer], **options: Any) -> None:
        self.apps = list(apps)
        self.servers = servers
        self.clock = FakeClock(monotonic=1000.0)
        self.endpoints: Sequence[Endpoint] | SourceError = [
            Endpoint(f"web-{n}", f"127.0.0.{n}", "abc", 100.0 * MIB) for n in range(1, len(apps) + 1)
        ]
        defaults: dict[str, Any] = {
            "port": servers[0].port,
            "timeout": 30.0,
            "max_bytes": 100_000,
            "min_requests": 10,
            "max_series": 5_000,
        }
        section = defaults | options
        outside = {"keep": section.pop("keep", 3_600.0), "metrics": section.pop("metrics", None)}
        outside["gauges"] = section.pop("gauges", frozenset())
        services = source_services(self.clock, endpoints=self._list, **outside)
        bounds = {key: section.pop(key) for key in ("max_samples", "max_pods") if key in section}
        self.source = ScrapeSource(ScrapeSection.model_construct(**section), services, **bounds)

    async def _list(self, _: Target, __: bool) -> Sequence[Endpoint] | SourceError:
        return self.endpoints

    async def read(self, *signals: Signal) -> Mapping[str, Reading]:
        return await read_now(self.source, TARGET, signals or SIGNALS)

    async def one(self, name: str) -> Reading:
        return (await self.read(signal(name)))[name]

    async def over(self, seconds: float, work: Callable[[], None] | None = None) -> Mapping[str, Reading]:
        """What is read `seconds` later, after `work`."""
        if work is not None:
            work()
        self.clock.skip(seconds)
        return await self.read()


@asynccontextmanager
async def pods(count: int = 1, **options: Any) -> AsyncIterator[Pods]:
    apps = [App() for _ in range(count)]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(apps[0], host="127.0.0.1"))]
        for n, app in enumerate(apps[1:], 2):
            host, port = f"127.0.0.{n}", servers[0].port
            servers.append(await stack.enter_async_context(serving(app, host=host, port=port)))
        made = Pods(apps, servers, **options)
        stack.push_async_callback(made.source.aclose)
        yield made


async def test_the_built_in_signals_over_a_window() -> None:
    async with pods(2) as world:
        first = await world.read()
        assert {n: getattr(r, "gap", None) for n, r in first.items()} == {
            "error_rate": Gap.TOO_FEW,
            "request_rate": Gap.TOO_FEW,
            "p95_latency": Gap.TOO_FEW,
            "memory_usage": None,
        }
        world.apps[0].serve(90, 10)
        world.apps[1].serve(100, fast=0.0)
        world.apps[1].memory = 80 * MIB
        second = await world.over(30)
    assert second["error_rate"] == Value(1030.0, 10 / 200)
    assert second["request_rate"] == Value(1030.0, 200 / 30)
    assert second["p95_latency"] == Value(1030.0, 0.5 + 0.5 * 90 / 100)
    assert second["memory_usage"] == Value(1030.0, 0.8)


async def test_old_and_new_pods_are_measured_each_alone() -> None:
    async with pods(2) as world:
        listed = world.endpoints
        assert not isinstance(listed, SourceError)
        world.endpoints = [replace(e, template=t) for e, t in zip(listed, ("old", "new"), strict=True)]
        world.apps[0].serve(1_000, 900)
        await world.read()
        world.apps[1].memory = 80 * MIB
        for _ in range(4):
            world.apps[0].serve(99, 1)
            world.apps[1].serve(60, 40)
            await world.over(30)
        found = {
            (release, name): await world.source.portion(
                TARGET, signal(name), PodGroup(frozenset({release})), 1_030.0, 1_090.0
            )
            for release in ("old", "new", "none")
            for name in ("error_rate", "request_rate", "memory_usage")
        }
    assert found["old", "error_rate"] == Value(1_090.0, 0.01)
    assert found["new", "error_rate"] == Value(1_090.0, 0.4)
    assert found["old", "request_rate"] == Value(1_090.0, 200 / 60)
    assert found["old", "memory_usage"] == Value(1_090.0, 0.5)
    assert found["new", "memory_usage"] == Value(1_090.0, 0.8)
    assert all(isinstance(found["none", name], NoData) for name in ("error_rate", "request_rate", "memory_usage"))


@pytest.mark.parametrize(
    ("status", "client_errors", "rate"),
    [
        ("503", False, 0.5),
        ("5xx", False, 0.5),
        ("404", True, 0.5),
        ("404", False, 0.0),
        ("301", True, 0.0),
        ("200 OK", True, 0.0),
    ],
)
async def test_what_is_a_failed_request(status: str, client_errors: bool, rate: float) -> None:
    async with pods(metrics=MetricsSection(client_errors_count=client_errors)) as world:
        await world.read()
        reading = (await world.over(30, lambda: world.apps[0].serve(50, 50, status)))["error_rate"]
    assert reading == Value(1030.0, rate)


async def test_no_traffic_and_too_little_are_no_data() -> None:
    async with pods() as world:
        await world.read()
        idle = await world.over(30)
        few = await world.over(30, lambda: world.apps[0].serve(4, 5))
        enough = await world.over(30, lambda: world.apps[0].serve(1))
    assert in_english(idle["error_rate"]) == NoData(1030.0, Gap.EMPTY, "no traffic in 30 s")
    assert in_english(idle["p95_latency"]) == NoData(1030.0, Gap.EMPTY, "no traffic in 30 s")
    assert idle["request_rate"] == Value(1030.0, 0.0)
    assert in_english(few["error_rate"]) == NoData(1060.0, Gap.TOO_FEW, "9 requests in 60 s; 10 are needed")
    assert enough["error_rate"] == Value(1090.0, 0.5)


async def test_a_perfect_service_has_an_error_rate_of_zero() -> None:
    async with pods() as world:
        await world.read()
        assert (await world.over(30, lambda: world.apps[0].serve(100)))["error_rate"] == Value(1030.0, 0.0)


async def test_a_restarted_pod_gives_no_spike_and_no_negative_rate() -> None:
    async with pods() as world:
        world.apps[0].serve(10_000, 5_000)
        await world.read()
        await world.over(30, lambda: world.apps[0].serve(80))
        world.apps[0].restart()
        readings = await world.over(30, lambda: world.apps[0].serve(15, 5))
    assert readings["error_rate"] == Value(1060.0, 5 / 100)
    assert readings["request_rate"] == Value(1060.0, 100 / 60)


async def test_a_pod_that_is_gone_counts_until_its_samples_leave_the_window() -> None:
    async with pods(2) as world:
        await world.read()
        world.apps[0].serve(50)
        world.apps[1].serve(0, 50)
        await world.over(30)
        assert not isinstance(world.endpoints, SourceError)
        world.endpoints = world.endpoints[:1]
        soon = await world.over(30, lambda: world.apps[0].serve(100))
        await world.over(260, lambda: world.apps[0].serve(100))
        late = await world.over(30, lambda: world.apps[0].serve(100))
    assert soon["error_rate"] == Value(1060.0, 50 / 200)
    assert late["error_rate"] == Value(1350.0, 0.0)


async def test_old_counts_leave_the_window() -> None:
    async with pods() as world:
        await world.read()
        world.apps[0].serve(0, 100)
        for _ in range(11):
            last = await world.over(30, lambda: world.apps[0].serve(100))
    assert last["error_rate"] == Value(1330.0, 0.0)


FAULTS: dict[str, tuple[Script, Fault, str]] = {
    "hangs": (server.hang, Fault.TIMED_OUT, ""),
    "drips its body": (server.drip_body, Fault.TIMED_OUT, ""),
    "drips its headers": (server.drip_headers, Fault.TIMED_OUT, ""),
    "cut by length": (server.cut_length, Fault.TRUNCATED, ""),
    "cut chunked": (server.cut_chunked, Fault.TRUNCATED, ""),
    "cut without a length": (server.raw(b"HTTP/1.0 200 OK\r\n\r\nhttp_requests_total 1"), Fault.TRUNCATED, ""),
    "closes at once": (server.close_silently, Fault.TRUNCATED, ""),
    "resets": (server.reset, Fault.TRUNCATED, ""),
    "not HTTP": (server.garbage, Fault.MALFORMED, ""),
    "redirects": (server.redirect, Fault.REDIRECTED, "302"),
    "endless": (server.endless, Fault.TOO_LARGE, "100000 bytes"),
    "bomb": (server.bomb, Fault.TOO_LARGE, "100000 bytes"),
    "not gzip": (server.answer("x\n", Content_Encoding="gzip"), Fault.MALFORMED, ""),
    "half a gzip": (server.half_a_bomb, Fault.TOO_LARGE, ""),
    "unknown encoding": (server.answer("x\n", Content_Encoding="br"), Fault.MALFORMED, ""),
    "a page": (server.answer("<html>\n"), Fault.MALFORMED, "line 1"),
    "not found": (server.answer("", 404), Fault.CLIENT_ERROR, "404"),
    "throttled": (server.answer("", 429, Retry_After="7"), Fault.THROTTLED, "429"),
    "server error": (server.answer("", 503, Retry_After="7"), Fault.SERVER_ERROR, "503"),
    "too many series": (
        server.answer("".join(f'http_requests_total{{a="{n}"}} 1\n' for n in range(200))),
        Fault.TOO_LARGE,
        "100 series",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_each_fault_is_told_apart(case: str) -> None:
    script, fault, detail = FAULTS[case]
    async with pods(max_series=100, timeout=0.3 if fault is Fault.TIMED_OUT else 30.0) as world:
        world.apps[0].script = script
        readings = await world.read()
    assert len(readings) == len(SIGNALS)
    for reading in readings.values():
        assert isinstance(reading, SourceError)
        assert reading.fault is fault
        assert detail in english().text(reading.detail)
        assert reading.retry_after == (7.0 if case in {"throttled", "server error"} else None)


async def test_nobody_listens() -> None:
    async with pods(port=server.refusing_port()) as world:
        reading = await world.one("error_rate")
    assert in_english(reading) == SourceError(
        1000.0, Fault.REFUSED, "none of 1 pods could be scraped: connection refused"
    )


@pytest.mark.parametrize("ip", ["", "none", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0"])  # noqa: S104
async def test_addresses_that_no_pod_has_are_not_asked(ip: str) -> None:
    async with pods() as world:
        world.endpoints = [Endpoint("web-1", ip, "abc")]
        reading = await world.one("error_rate")
    assert isinstance(reading, SourceError)
    assert reading.fault is Fault.UNREACHABLE


async def test_some_lost_pods_are_left_out_and_a_lost_majority_is_partial() -> None:
    async with pods(3) as world:
        await world.read()
        for app in world.apps:
            app.serve(50, 50)
        world.apps[0].script = server.answer("", 500)
        one_lost = await world.over(30)
        world.apps[1].script = server.answer("", 500)
        two_lost = await world.over(30, lambda: world.apps[2].serve(10))
        world.apps[0].script = world.apps[1].script = None
        back = await world.over(30)
    assert one_lost["error_rate"] == Value(1030.0, 0.5)
    assert one_lost["memory_usage"] == Value(1030.0, 0.5)
    assert {getattr(r, "gap", None) for r in two_lost.values()} == {Gap.PARTIAL}
    assert in_english(two_lost["error_rate"]) == NoData(1060.0, Gap.PARTIAL, "2 of 3 pods could not be scraped")
    assert back["error_rate"] == Value(1090.0, 150 / 310)


async def test_pods_are_scraped_at_the_same_time_and_a_hanging_one_delays_none() -> None:
    both = asyncio.Barrier(2)
    async with pods(3, timeout=2.0) as world:
        for app in world.apps[:2]:
            app.script = _after(both)
        world.apps[2].script = server.hang
        reading = await world.one("error_rate")
    assert isinstance(reading, NoData)
    assert reading.gap is Gap.EMPTY


def _after(barrier: asyncio.Barrier) -> Script:
    async def script(exchange: Exchange) -> None:
        await barrier.wait()
        await server.answer("up 1\n")(exchange)

    return script


async def test_no_pods_and_a_failing_list_of_them() -> None:
    async with pods() as world:
        world.endpoints = []
        assert in_english(await world.one("error_rate")) == NoData(1000.0, Gap.EMPTY, "the target has no pods")
        world.endpoints = SourceError(1000.0, Fault.SERVER_ERROR, "no list")
        assert await world.one("error_rate") == world.endpoints


async def test_what_an_application_does_not_tell_is_no_data() -> None:
    async with pods() as world:
        world.apps[0].script = server.answer("up 1\n")
        await world.read()
        readings = await world.over(30)
        assert {getattr(r, "gap", None) for r in readings.values()} == {Gap.EMPTY}

        world.apps[0].script = server.answer("http_requests_total 10\n")
        await world.over(30)
        world.apps[0].script = server.answer("http_requests_total 1000\n")
        untold = (await world.over(30))["error_rate"]
    assert in_english(untold) == NoData(
        1090.0, Gap.NO_STATUS, "no series of http_requests_total has an HTTP status in status on 1 of 1 pods"
    )


async def test_a_pod_that_tells_no_status_makes_the_error_rate_unknown() -> None:
    async with pods(2) as world:
        world.apps[1].script = server.answer("http_requests_total 10\n")
        await world.read()
        world.apps[0].serve(100, 0)
        world.apps[1].script = server.answer("http_requests_total 1000\n")
        untold = (await world.over(30))["error_rate"]
    assert isinstance(untold, NoData)
    assert untold.gap is Gap.NO_STATUS


async def test_memory_needs_a_limit_and_sums_the_pods_processes() -> None:
    async with pods() as world:
        body = 'process_resident_memory_bytes{p="1"} 10\nprocess_resident_memory_bytes{p="2"} 20\n'
        world.apps[0].script = server.answer(body)
        world.endpoints = [Endpoint("web-1", "127.0.0.1", "abc", 120.0)]
        assert await world.one("memory_usage") == Value(1000.0, 0.25)
        world.endpoints = [Endpoint("web-1", "127.0.0.1", "abc", None)]
        world.clock.skip(1)
        reading = await world.one("memory_usage")
    assert isinstance(reading, NoData)
    assert reading.gap is Gap.EMPTY


async def test_metrics_may_have_other_names() -> None:
    names = MetricsSection(requests="hits", status_label="code")
    async with pods(metrics=names) as world:
        world.apps[0].script = server.answer('hits{code="500"} 0\nhits{code="200"} 0\n')
        await world.read()
        world.apps[0].script = server.answer('hits{code="500"} 25\nhits{code="200"} 75\n')
        assert (await world.over(30))["error_rate"] == Value(1030.0, 0.25)


async def test_signals_that_it_cannot_read_are_errors_of_their_own() -> None:
    async with pods() as world:
        unknown = Signal("restart_count", BUILT_IN_UNITS["restart_count"], SourceName.SCRAPE)
        readings = await world.read(unknown, signal("error_rate", 0.0), signal("memory_usage"))
        assert isinstance(await world.source.history(TARGET, unknown, 0, 1, 1), SourceError)
    assert isinstance(readings["restart_count"], SourceError)
    assert isinstance(readings["error_rate"], SourceError)
    assert isinstance(readings["memory_usage"], Value)


async def test_history_tells_what_was_read_then_and_leaves_holes_where_nothing_was_known() -> None:
    async with pods() as world:
        told: dict[float, float] = {}
        for n in range(12):
            world.apps[0].serve(80, 2 * n)
            world.apps[0].script = server.answer("", 500) if n in {5, 6, 7} else None
            reading = (await world.over(30))["error_rate"]
            if isinstance(reading, Value):
                told[reading.at] = reading.number
        past = await world.source.history(TARGET, signal("error_rate"), 940.0, 5000.0, 10.0)
    assert isinstance(past, Series)
    assert {at: n for at, n in past.points if at in told} == told
    instants = [at for at, _ in past.points]
    assert instants == sorted(instants)
    assert min(instants) == 1060.0  # the first scrape was at 1030: one sample is no rate
    assert max(instants) <= 1360.0
    assert not [at for at in instants if 1180.0 <= at < 1270.0]  # nothing was seen from 1180 to 1240
    assert past.step == 10.0


async def test_history_behind_the_last_scrape_ends_with_staleness() -> None:
    async with pods(staleness=60.0) as world:
        await world.read()
        await world.over(30, lambda: world.apps[0].serve(100))
        world.clock.skip(600)
        past = await world.source.history(TARGET, signal("error_rate"), 1030.0, 1630.0, 15.0)
    assert isinstance(past, Series)
    assert [at for at, _ in past.points] == [1030.0, 1045.0, 1060.0, 1075.0, 1090.0]


async def test_history_is_empty_before_the_first_scrape_and_bounded_in_points() -> None:
    async with pods() as world:
        assert await world.source.history(TARGET, signal("error_rate"), 0.0, 1000.0, 10.0) == Series((), 10.0)
        await world.read()
        wide = await world.source.history(TARGET, signal("memory_usage"), 0.0, 1e9, 0.001)
    assert isinstance(wide, Series)
    assert math.floor(1000.0 / wide.step) + 1 <= 11_000


async def test_what_is_kept_is_bounded() -> None:
    async with pods(keep=100.0, max_samples=5, max_pods=2) as world:
        for n in range(20):
            world.endpoints = [Endpoint(f"web-{n}-{k}", "127.0.0.1", "abc") for k in range(3)]
            await world.over(10)
        (past,) = world.source._pasts.values()
        assert len(past.tracks) <= 2
        assert len(past.rounds) <= 5
        world.clock.skip(1000)
        world.endpoints = []
        await read_now(world.source, Target("other", "prod", "api"), SIGNALS)
        assert list(world.source._pasts) == ["prod/api"]


def own(aggregate: Aggregate) -> Signal:
    return Signal(f"queue_{aggregate}", Unit.COUNT, SourceName.SCRAPE, gauge=Gauge("queue", aggregate))


@pytest.mark.parametrize(("aggregate", "number"), [("sum", 10.0), ("max", 9.0), ("min", -2.0), ("avg", 2.5)])
async def test_an_operators_own_gauge_is_made_of_every_series_of_every_pod(aggregate: str, number: float) -> None:
    signal = own(Aggregate(aggregate))
    async with pods(2, gauges=frozenset({"queue"})) as world:
        world.apps[0].queue, world.apps[1].queue = [9.0, -2.0], [1.0, 2.0]
        assert (await world.read(signal))[signal.name] == Value(1000.0, number)
        world.clock.skip(30)
        past = await world.source.history(TARGET, signal, 1000.0, 1000.0, 1.0)
        assert isinstance(past, Series)
        assert past.points == ((1000.0, number),)
        portion = await world.source.portion(TARGET, signal, PodGroup(frozenset({"abc"})), 990.0, 1010.0)
    assert portion == Value(1010.0, number)


async def test_a_gauge_that_no_pod_has_is_no_data() -> None:
    signal = own(Aggregate.SUM)
    async with pods(gauges=frozenset({"queue"})) as world:
        reading = (await world.read(signal))[signal.name]
    assert in_english(reading) == NoData(1000.0, Gap.EMPTY, "no pod has queue")


async def test_an_own_metric_may_be_one_of_the_built_in_ones() -> None:
    signal = Signal(
        "memory", Unit.BYTES, SourceName.SCRAPE, gauge=Gauge("process_resident_memory_bytes", Aggregate.MAX)
    )
    async with pods(gauges=frozenset({"process_resident_memory_bytes"})) as world:
        readings = await world.read(signal, *SIGNALS)
    assert readings["memory"] == Value(1000.0, 50.0 * MIB)
    assert readings["memory_usage"] == Value(1000.0, 0.5)
