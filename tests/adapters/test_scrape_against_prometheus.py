"""The scrape source's numbers against a real Prometheus that holds the same samples.

Both take the same increases between samples, counter resets included. They differ at a window's edges: Prometheus
extrapolates each series' increase over its samples' span to the edges of the window, by at most 1.1 times the mean
distance of its samples on either side (promql/functions.go, extrapolatedRate), so by a factor from 1 to

    reach = min(window, span + 2.2 · distance) / span

The scrape source does not extrapolate. Hence theirs / ours lies, for a rate, between span/window and reach ·
span/window; for the odds of a share (failed : not failed, below : above a latency) between 1/reach and reach, with the
largest reach of the pods. Where every pod was scraped through the whole window the factor is the same for all and
everything agrees exactly.

Two things Prometheus does not count and the scrape source does are kept out of the samples: the first value of a series
that a known pod did not have before, and a restart after which a counter is higher than it was before.
"""

from __future__ import annotations

import asyncio
import math
import random
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from logcaster_guard.adapters.sources.scrape.counters import increase
from logcaster_guard.adapters.sources.scrape.exposition import parse
from logcaster_guard.adapters.sources.scrape.metrics import PodScrape, pod_scrape, series_names
from logcaster_guard.adapters.sources.scrape.past import Limits, Past, Round
from logcaster_guard.config.settings import default_settings
from logcaster_guard.domain import ownership
from logcaster_guard.domain.fold import Enough, PodSeries, Scope, folded, quantile
from logcaster_guard.domain.promql import render
from logcaster_guard.domain.signals import Value
from logcaster_guard.fields.metrics import MetricsSection
from tests.real import presence
from tests.real.prometheus import Prometheus

pytestmark = pytest.mark.slow

STEP = 15
END = 1_500
WINDOW = 300
NAMES = MetricsSection()
SIGNALS = ("error_rate", "request_rate", "p95_latency")
STEADY = range(300, 390, STEP)
"""Instants whose window saw every pod of the time at each of its scrapes, and no restart."""
RESTARTED_ONLY = range(420, 495, STEP)
AT_SCRAPES = range(STEP, END, 3 * STEP)
BETWEEN_SCRAPES = range(STEP + 7, END, 4 * STEP)
BOUNDS = ("0.1", "0.5", "1", "2.5", "+Inf")


@dataclass
class Pod:
    """A pod that lives from `born` to `gone`, restarts at `restarts` and misses the scrapes at `missed`.

    `dated`: it tells when its process started, so that a restart is known by more than falling counters.
    """

    name: str
    failing: float
    slow: float
    born: int = 0
    gone: int = END
    restarts: tuple[int, ...] = ()
    missed: tuple[int, ...] = ()
    ok: int = 40_000
    failed: int = 3_000
    started: int = 0
    dated: bool = True
    buckets: list[int] = field(default_factory=lambda: [20_000, 30_000, 40_000, 42_000, 43_000])

    def serve(self, at: int, chance: random.Random) -> None:
        if at in self.restarts:
            self.ok, self.failed, self.started, self.buckets = 0, 0, at, [0] * len(BOUNDS)
        served = chance.randint(150, 450)
        failed = int(served * self.failing)
        self.ok += served - failed
        self.failed += failed
        below = [int(served * share) for share in (0.3, 0.7, 1 - 2 * self.slow, 1 - self.slow, 1.0)]
        self.buckets = [old + new for old, new in zip(self.buckets, below, strict=True)]

    def lines(self) -> Iterator[tuple[str, str, int]]:
        """Metric, labels, value."""
        yield "http_requests_total", 'status="200"', self.ok
        yield "http_requests_total", 'status="500"', self.failed
        if self.dated:
            yield "process_start_time_seconds", "", self.started
        for bound, count in zip(BOUNDS, self.buckets, strict=True):
            yield "http_request_duration_seconds_bucket", f'le="{bound}"', count


ROSTER = ownership.of_deployment("logcaster-prod", {"logcaster-prod-6d5f7c9b8": "t"}, {})


def pods() -> list[Pod]:
    return [
        Pod("a", failing=0.02, slow=0.01),
        Pod("b", failing=0.10, slow=0.04, restarts=(405, 1_200, 1_260)),
        Pod("c", failing=0.05, slow=0.08, missed=(600, 615, 840)),
        Pod("d", failing=0.30, slow=0.20, born=900),
        Pod("e", failing=0.01, slow=0.02, gone=1_050),
        Pod("f", failing=0.20, slow=0.10, restarts=(450, 1_125), dated=False),
    ]


class Samples:
    """What every scrape found: in the guard's memory, and as lines for Prometheus' importer."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.past = Past(NAMES, Limits(min_requests=1.0, staleness=60.0, keep=1e9, max_samples=10_000, max_pods=100))
        self.lines: list[str] = []
        chance, fleet = random.Random(11), pods()  # noqa: S311 - any numbers will do, the same each time
        for at in range(0, END + 1, STEP):
            living = [p for p in fleet if p.born <= at <= p.gone]
            for pod in living:
                pod.serve(at, chance)
            found = [p for p in living if at not in p.missed]
            self.past.add(
                Round(float(at), len(living), len(living) - len(found)),
                {(p.name, "t"): (self._scraped(p), None) for p in found},
            )
            self.lines += [line for p in found for line in self._imported(p, at)]

    @staticmethod
    def _scraped(pod: Pod) -> PodScrape:
        text = "".join(f"{metric}{{{labels}}} {value}\n" for metric, labels, value in pod.lines())
        return pod_scrape(parse(text.encode(), series_names(NAMES), max_series=100), NAMES, client_errors=True)

    def _imported(self, pod: Pod, at: int) -> Iterator[str]:
        own = f'namespace="logcaster",pod="logcaster-prod-6d5f7c9b8-{pod.name * 5}"'
        for metric, labels, value in pod.lines():
            yield f"{metric}{{{own}{',' if labels else ''}{labels}}} {value} {self.base + at}"

    def reach(self, at: float) -> tuple[float, float]:
        """The bound of the factor by which Prometheus extrapolates, and the span that a rate is divided by."""
        reaches, edges = [1.0], []
        for track in self.past.tracks.values():
            times = [s.at for s in track.within(at - WINDOW, at)]
            if len(times) > 1:
                span = times[-1] - times[0]
                reaches.append(min(WINDOW, span + 2.2 * span / (len(times) - 1)) / span)
                edges += [times[0], times[-1]]
        return max(reaches), max(edges) - min(edges)


class Both:
    def __init__(self, samples: Samples, prometheus: Prometheus) -> None:
        self.samples = samples
        self._prometheus = prometheus

    def ours(self, signal: str, at: float) -> float:
        reading = self.samples.past.at(signal, at, float(WINDOW))
        assert isinstance(reading, Value), reading
        return reading.number

    async def theirs(self, signal: str, at: float) -> float:
        settings = default_settings()
        wanted = settings.signals[signal]
        assert wanted.query is not None
        assert wanted.by_pod is not None
        rendered = render(wanted.query, settings.targets[0], WINDOW)
        found = await self._prometheus.query(rendered.replace("[5m]", f"[5m] @ {self.samples.base + at}"))
        series = [PodSeries(one["metric"], ((at, float(one["value"][1])),)) for one in found]
        [reading] = folded(wanted.by_pod, series, Scope("logcaster", ROSTER), Enough(1, WINDOW))
        assert isinstance(reading, Value), reading
        return reading.number


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    binary, promtool = presence.required("prometheus"), presence.required("promtool")
    samples = Samples(base=int(time.time()) // STEP * STEP - 2 * 86_400)
    (tmp_path / "samples.txt").write_text("\n".join([*samples.lines, "# EOF\n"]))
    imported = ["tsdb", "create-blocks-from", "openmetrics", "-q", "samples.txt", "data"]
    await asyncio.to_thread(
        subprocess.run, [promtool, *imported], cwd=tmp_path, check=True, capture_output=True, timeout=50
    )
    prometheus = Prometheus(binary, tmp_path)
    await prometheus.start([])
    yield Both(samples, prometheus)
    await prometheus.stop()


def odds(share: float) -> float:
    return share / (1 - share) if share < 1 else math.inf


def within(theirs: float, low: float, high: float) -> bool:
    return low * (1 - 1e-9) <= theirs <= high * (1 + 1e-9)


async def test_the_same_samples_give_the_same_numbers(both: Both) -> None:
    await _agree_exactly_where_every_pod_was_scraped_throughout(both)
    for at in (*AT_SCRAPES, *BETWEEN_SCRAPES):
        await _agree_within_the_extrapolation(both, float(at))


async def _agree_exactly_where_every_pod_was_scraped_throughout(both: Both) -> None:
    for at in (*STEADY, *RESTARTED_ONLY):
        for signal in SIGNALS:
            assert both.ours(signal, at) == pytest.approx(await both.theirs(signal, at), rel=1e-9), (signal, at)


async def _agree_within_the_extrapolation(both: Both, at: float) -> None:
    reach, span = both.samples.reach(at)
    rate = both.ours("request_rate", at) * span / WINDOW
    assert within(await both.theirs("request_rate", at), rate, rate * reach), at

    failing = odds(both.ours("error_rate", at))
    assert within(odds(await both.theirs("error_rate", at)), failing / reach, failing * reach), at

    counted = increase(both.samples.past.tracks.values(), at - WINDOW, at)
    low, high = ((o / (1 + o)) for o in (odds(0.95) / reach, odds(0.95) * reach))
    latency = await both.theirs("p95_latency", at)
    assert within(latency, quantile(low, counted.buckets), quantile(high, counted.buckets)), at


def test_the_tolerance_is_tight_where_nothing_begins_or_ends_in_the_window() -> None:
    samples = Samples(base=0)
    assert max(samples.reach(float(at))[0] for at in range(315, 885, STEP)) < 1.12
