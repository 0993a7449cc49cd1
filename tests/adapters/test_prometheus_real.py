"""The source and the formulas of the built-in signals, against a real Prometheus."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.domain.fold import quantile
from logcaster_guard.domain.signals import (
    Fault,
    Gap,
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
from logcaster_guard.messages.texts import english
from tests.adapters import sources_server as server
from tests.adapters.sources_server import Exchange, serving
from tests.fakes.services import prometheus as prometheus_at
from tests.real.prometheus import Prometheus, static_job
from tests.real.victoria_metrics import VictoriaMetrics

pytestmark = pytest.mark.slow

ALL = 'sum(rate(http_requests_total{job="$label_job"}[$lookback]))'
FAILED = ALL.replace("{", '{status=~"[45]..",')
ERROR_RATE = f"({FAILED} or 0 * {ALL}) / ({ALL} > 0)"
HISTOGRAMS: list[dict[float, int]] = [
    {1.0: 0, 2.0: 100, math.inf: 100},
    {0.1: 3, 0.5: 90, 1.0: 94, math.inf: 100},
    {0.1: 3, 0.5: 5, math.inf: 100},
    {-2.0: 1, 0.0: 99, 4.0: 100, math.inf: 100},
    {0.25: 17, 0.5: 17, 0.75: 18, math.inf: 18},
]
Start = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Prometheus]]


class Exporter:
    """A perfect service: each scrape finds 100 requests more, none of them failed, until `bad` is set."""

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.bad = False

    async def __call__(self, exchange: Exchange) -> None:
        self.ok += 100
        lines = [f'http_requests_total{{status="200"}} {self.ok}']
        if self.bad:
            self.failed += 100
            lines.append(f'http_requests_total{{status="500"}} {self.failed}')
        for n, buckets in enumerate(HISTOGRAMS):
            bounds = ((("+Inf" if math.isinf(b) else str(b)), count) for b, count in buckets.items())
            lines += [f'h_bucket{{n="{n}",le="{bound}"}} {count}' for bound, count in bounds]
        await server.answer("\n".join(lines) + "\n", Content_Type="text/plain")(exchange)


def signal(query: str) -> Signal:
    return Signal("s", Unit.RATIO, SourceName.PROMETHEUS, 60.0, query)


class Asking:
    """A source on a Prometheus that scrapes an exporter every second."""

    def __init__(self, prometheus: Prometheus, exporter: Exporter) -> None:
        self.prometheus = prometheus
        self.exporter = exporter
        self.clock = SystemClock()
        self.source = prometheus_at(prometheus.url, self.clock)
        self.target = Target("t", "ns", "d", labels={"job": "static"})

    async def read(self, query: str) -> Reading:
        return (await read_now(self.source, self.target, [signal(query)]))["s"]


@pytest.fixture
async def asking(start_backend: Start) -> AsyncIterator[Asking]:
    exporter = Exporter()
    async with serving(exporter) as app:
        prometheus = await start_backend([static_job([f"127.0.0.1:{app.port}"])])
        await prometheus.until_value("sum(rate(http_requests_total[1m] offset 1s))", above=0.0)
        made = Asking(prometheus, exporter)
        yield made
        await made.source.aclose()
        await prometheus.stop()  # it keeps connections to the exporter


async def test_a_perfect_service_reads_zero_then_and_now(asking: Asking) -> None:
    reading = await asking.read(ERROR_RATE)
    assert isinstance(reading, Value)
    assert reading.number == 0.0
    # VictoriaMetrics would answer with the state of 30 s ago.
    assert reading.sampled is not None
    assert reading.at - reading.sampled < 15.0

    now = asking.clock.monotonic()
    past = await asking.source.history(asking.target, signal(ERROR_RATE), now - 30.25, now, 0.5)
    assert isinstance(past, Series)
    # Of the last 30 s VictoriaMetrics has no range data of its own.
    assert past.points or isinstance(asking.prometheus, VictoriaMetrics)
    assert {number for _, number in past.points} <= {0.0}
    assert all(now - 30.25 <= at <= now + 0.001 for at, _ in past.points)

    asking.exporter.bad = True
    await asking.prometheus.until_value('sum(rate(http_requests_total{status="500"}[1m]))', above=0.0)
    worse = await asking.read(ERROR_RATE)
    assert isinstance(worse, Value)
    assert 0.0 < worse.number < 1.0


@pytest.mark.parametrize("start_backend", ["prometheus"], indirect=True)
async def test_answers_are_what_a_real_server_gives(asking: Asking) -> None:
    await _answers_of_every_kind(asking)
    await _our_quantile_is_its_own(asking)
    await _a_long_range_is_within_its_limit(asking)
    await asking.prometheus.stop()
    gone = await asking.read("42")
    assert isinstance(gone, SourceError)
    assert gone.fault is Fault.REFUSED


async def _answers_of_every_kind(asking: Asking) -> None:
    assert await _kind(asking, ERROR_RATE.replace("http_requests_total", "nothing")) is Gap.EMPTY
    assert await _kind(asking, "0 / 0") is Gap.NOT_A_NUMBER
    assert await _kind(asking, "vector(1) / 0") is Gap.INFINITE
    assert await _kind(asking, "h_bucket") is Gap.WRONG_TYPE
    assert await _kind(asking, '"text"') is Gap.WRONG_TYPE
    assert await _kind(asking, "h_bucket[1m]") is Gap.WRONG_TYPE
    assert await _kind(asking, "42") == 42.0
    refused = await asking.read("sum(")
    assert isinstance(refused, SourceError)
    assert refused.fault is Fault.CLIENT_ERROR
    assert "parse error" in english().text(refused.detail)


async def _kind(asking: Asking, query: str) -> float | Gap | Fault:
    match await asking.read(query):
        case Value(number=number):
            return number
        case NoData(gap=gap):
            return gap
        case SourceError(fault=fault):
            return fault


async def _our_quantile_is_its_own(asking: Asking) -> None:
    for n, buckets in enumerate(HISTOGRAMS):
        theirs = await asking.read(f'histogram_quantile(0.95, h_bucket{{n="{n}"}})')
        assert isinstance(theirs, Value)
        assert quantile(0.95, {b: float(count) for b, count in buckets.items()}) == pytest.approx(theirs.number)


async def _a_long_range_is_within_its_limit(asking: Asking) -> None:
    now = asking.clock.monotonic()
    past = await asking.source.history(asking.target, signal("42"), now - 50_000.3, now, 1.0)
    assert isinstance(past, Series)
    assert 9_000 < len(past.points) <= 11_000
    assert max(b[0] - a[0] for a, b in zip(past.points, past.points[1:], strict=False)) <= past.step + 0.001
