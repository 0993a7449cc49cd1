"""The built-in signals, read of a real Prometheus that holds more than the target's own series."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.config.settings import default_settings
from logcaster_guard.domain import ownership
from logcaster_guard.domain.ownership import PodGroup, Roster
from logcaster_guard.domain.signals import Gap, NoData, Reading, Series, Target, Value
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Request
from tests.fakes.services import prometheus as prometheus_at
from tests.real import presence
from tests.real.prometheus import Prometheus

pytestmark = pytest.mark.slow

SIGNALS = default_settings().signals
STEP, PAST, AHEAD = 10, 900, 300
LONG = "logcaster-relay-of-the-second-region-with-a-name-of-its-own"
OLD, NEW, HOOK = "web-4444444444-bbbbb", "web-5555555555-ccccc", "web-migrate-x8k2p"
WEB = ownership.of_deployment("web", {"web-4444444444": "v1", "web-5555555555": "v2"}, {OLD: "v1", NEW: "v2"})
CUT = f"{LONG}-444"[:58]

Lines = dict[str, float]
"""Series by metric and labels less the namespace, with what they grow by a second, or for gauges what they are."""


def requests(pod: str, labels: str = "", **statuses: float) -> Lines:
    return {f'http_requests{{pod="{pod}",{labels}status="{s[1:]}"}}': n for s, n in statuses.items()}


def buckets(pod: str, labels: str = "", **counts: float) -> Lines:
    bounds = {"half": "0.5", "one": "1", "all": "+Inf"}
    return {f'h{{pod="{pod}",{labels}le="{bounds[b]}"}}': n for b, n in counts.items()}


def memory(pod: str, container: str, used: float, limit: float | None) -> Lines:
    labels = f'pod="{pod}",container="{container}"'
    asked = {} if limit is None else {f'limit{{{labels},resource="memory"}}': limit}
    return {f"used{{{labels}}}": used, **asked}


def both(*pods: Lines) -> Lines:
    return {series.replace("{", f'{{replica="{r}",', 1): n for r in "ab" for p in pods for series, n in p.items()}


WORLDS: dict[str, Lines] = {
    "hook": {
        **requests(OLD, _200=2.0),
        **requests(NEW, _200=1.0, _503=1.0),
        **requests(HOOK, _500=50.0),
        **buckets(OLD, half=1, one=2, all=2),
        **buckets(NEW, half=0, one=1, all=2),
        **buckets(HOOK, half=0, one=0, all=90),
        **memory(OLD, "app", 40, 100),
        **memory(HOOK, "app", 97, 100),
    },
    "sidecar": {
        **memory(OLD, "app", 97, 100),
        **memory(OLD, "istio-proxy", 30, 300),
        **memory(OLD, "", 127, None),
        **requests(OLD, 'path="/a",', _200=1.0),
    },
    "replicas": {
        **both(requests(OLD, _200=1.0, _500=1.0), buckets(OLD, half=1, one=2, all=2)),
        **both({f'gauge{{pod="{OLD}"}}': 97.0, f'limit{{pod="{OLD}",container="app",resource="memory"}}': 100.0}),
    },
    "long": {
        **requests(f"{CUT}bbbbb", _200=2.0, _404=2.0),
        **requests(f"{CUT}zzzzz", _500=9.0),  # of another workload that is called nearly so
    },
    "set": {**requests("web-0", _200=3.0), **requests("web-1", _500=1.0), **requests("web-0-x", _500=90.0)},
    "code": {f'http_requests{{pod="{OLD}",code="500"}}': 5.0},
    "classes": requests(OLD, _5=5.0),
    "few": requests(OLD, _200=38 / 300, _404=4 / 300),
}
ROSTERS: dict[str, Roster] = {
    "long": ownership.of_deployment(LONG, {f"{LONG}-4444444444": "v1"}, {f"{CUT}bbbbb": "v1"}),
    "set": ownership.of_stateful_set("web", {"web-0": "v1", "web-1": "v1"}),
}
MIGRATION = ownership.of_daemon_set("web-migrate", {HOOK: "v1"})
NAMES = {
    "http_requests": ("http_requests_total", "counter"),
    "h": ("http_request_duration_seconds_bucket", "counter"),
    "used": ("container_memory_working_set_bytes", "gauge"),
    "limit": ("kube_pod_container_resource_limits", "gauge"),
    "gauge": ("process_resident_memory_bytes", "gauge"),
}


def exposition(now: int) -> Iterator[str]:
    for short, (name, kind) in NAMES.items():
        for namespace, lines in WORLDS.items():
            for series, number in lines.items():
                metric, labels = series.split("{", 1)
                if metric != short:
                    continue
                for at in range(now - PAST, now + AHEAD, STEP):
                    value = number * (at - now + PAST) if kind == "counter" else number
                    yield f'{name}{{namespace="{namespace}",{labels} {value} {at}'
    yield "# EOF\n"


class Reader:
    """Reads the built-in signals of a namespace's workload."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.clock = SystemClock()
        self.source = prometheus_at(prometheus.url, self.clock, rosters=self._roster)

    async def _roster(self, target: Target, __: bool) -> Roster:
        return MIGRATION if target.deployment == "web-migrate" else ROSTERS.get(target.namespace, WEB)

    async def read(self, namespace: str, name: str) -> Reading:
        target = Target(namespace, namespace, LONG if namespace == "long" else "web")
        return (await read_now(self.source, target, [SIGNALS[name]]))[name]

    async def number(self, namespace: str, name: str) -> float:
        reading = await self.read(namespace, name)
        assert isinstance(reading, Value), reading
        return reading.number

    async def gap(self, namespace: str, name: str) -> tuple[Gap, str]:
        reading = await self.read(namespace, name)
        assert isinstance(reading, NoData), reading
        return reading.gap, english().text(reading.detail)


async def test_the_signals_are_those_of_the_targets_own_pods(tmp_path: Path) -> None:
    binary, promtool = presence.required("prometheus"), presence.required("promtool")
    (tmp_path / "samples.txt").write_text("\n".join(exposition(int(time.time()) // STEP * STEP)))
    imported = ["tsdb", "create-blocks-from", "openmetrics", "-q", "samples.txt", "data"]
    await asyncio.to_thread(
        subprocess.run, [promtool, *imported], cwd=tmp_path, check=True, capture_output=True, timeout=50
    )
    async with Prometheus(binary, tmp_path) as prometheus:
        await prometheus.start([])
        reader = Reader(prometheus)
        await _what_others_do_does_not_count(reader)
        await _releases_are_told_apart(reader)
        await _each_series_counts_once(reader)
        await _what_tells_no_status_is_no_data(reader)
        await _several_targets_read_together_what_each_reads_alone(reader)
        await reader.source.aclose()


async def _what_others_do_does_not_count(reader: Reader) -> None:
    assert await reader.number("hook", "error_rate") == pytest.approx(0.25)
    assert await reader.number("hook", "request_rate") == pytest.approx(4.0)
    assert await reader.number("hook", "memory_usage") == 0.4
    own = f'http_request_duration_seconds_bucket{{namespace="hook",pod=~"{OLD}|{NEW}"}}'
    theirs = await reader.prometheus.value(f"histogram_quantile(0.95, sum by (le) (rate({own}[5m])))")
    assert await reader.number("hook", "p95_latency") == pytest.approx(theirs)
    assert await reader.number("sidecar", "memory_usage") == 0.97
    assert await reader.number("long", "error_rate") == pytest.approx(0.5)
    assert await reader.number("set", "error_rate") == pytest.approx(0.25)


async def _several_targets_read_together_what_each_reads_alone(reader: Reader) -> None:
    names = ("error_rate", "request_rate", "p95_latency", "memory_usage")
    targets = [Target(name, "hook", name) for name in ("web", "web-migrate")]
    requests = [Request(target, SIGNALS[name], shared=True) for target in targets for name in names]
    together = {(r.target.name, r.signal.name): reading async for r, reading in reader.source.read(requests)}
    for target in targets:
        for name, alone in (await read_now(reader.source, target, [SIGNALS[name] for name in names])).items():
            joint = together[target.name, name]
            assert isinstance(alone, Value)
            assert isinstance(joint, Value)
            assert joint.number == pytest.approx(alone.number)
            assert joint.sampled == pytest.approx(alone.sampled, abs=STEP)
    assert isinstance(worst := together["web-migrate", "error_rate"], Value)
    assert worst.number == 1.0


async def _releases_are_told_apart(reader: Reader) -> None:
    now = reader.clock.monotonic()
    target = Target("hook", "hook", "web")
    for release, expected in (("v1", 0.0), ("v2", 0.5)):
        found = await reader.source.portion(
            target, SIGNALS["error_rate"], PodGroup(frozenset({release})), now - 60, now
        )
        assert isinstance(found, Value), found
        assert found.number == pytest.approx(expected)
    past = await reader.source.history(target, SIGNALS["error_rate"], now - 300, now, 30.0)
    assert isinstance(past, Series)
    assert len(past.points) >= 10
    assert [number for _, number in past.points] == pytest.approx([0.25] * len(past.points))


async def _each_series_counts_once(reader: Reader) -> None:
    assert await reader.number("replicas", "request_rate") == pytest.approx(2.0)
    assert await reader.number("replicas", "error_rate") == pytest.approx(0.5)
    assert await reader.number("replicas", "memory_usage") == 0.97


async def _what_tells_no_status_is_no_data(reader: Reader) -> None:
    gap, detail = await reader.gap("code", "error_rate")
    assert gap is Gap.NO_STATUS
    assert detail == "http_requests_total has no label status; its labels are code, namespace, pod"
    gap, detail = await reader.gap("classes", "error_rate")
    assert gap is Gap.NO_STATUS
    assert detail.startswith("the label status of http_requests_total holds no HTTP status: 5; its labels are ")
    assert (await reader.gap("few", "error_rate")) == (Gap.TOO_FEW, "42 requests in 300 s; 100 are needed")
    assert (await reader.gap("set", "p95_latency"))[0] is Gap.EMPTY
