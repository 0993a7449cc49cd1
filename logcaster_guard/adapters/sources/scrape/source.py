"""Scrapes every pod of a target at each read and computes the built-in signals from the samples that it keeps.

| signal | formula over the window `[at - lookback, at]`, pods that are gone included |
|---|---|
| `error_rate` | failed / all, each the sum of the pods' increases |
| `request_rate` | the sum of increases / seconds between the window's oldest and newest sample |
| `p95_latency` | Prometheus' `histogram_quantile(0.95, …)` on the increases, summed by `le` |
| `memory_usage` | the largest gauge / memory limit of the pods just scraped |
| an operator's own | sum, max, min or avg over all series of its metric, of the pods just scraped |

A window that is not yet covered whole gives a number as soon as a pod has two samples in it and, for `error_rate` and
`p95_latency`, `min_requests` were counted; until then it is `TOO_FEW`, without any request `EMPTY`. Pods that could
not be scraped are left out as long as they are not more than half; beyond that it is `PARTIAL`, and with no pod left
the error.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

from logcaster_guard.adapters.failures import Failure, status_failure
from logcaster_guard.adapters.fetch import Fetcher
from logcaster_guard.adapters.per_target import each_target
from logcaster_guard.adapters.plugin_types import SourceServices
from logcaster_guard.adapters.sources.scrape.exposition import Unreadable, parse
from logcaster_guard.adapters.sources.scrape.metrics import PodScrape, pod_scrape, series_names
from logcaster_guard.adapters.sources.scrape.past import MEMORY_USAGE, SIGNALS, Limits, Past, Round
from logcaster_guard.adapters.sources.scrape.section import ScrapeSection
from logcaster_guard.domain.addresses import refusal
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import (
    Fault,
    Gap,
    History,
    NoData,
    Reading,
    Series,
    Signal,
    SourceError,
    SourceName,
    Target,
    Value,
)
from logcaster_guard.messages.reading_faults import IpForbidden, NeedsLookback, NoIp, NoneOfPodsScraped, NoSuchSignal
from logcaster_guard.ports import Answer, Endpoint, Request

MAX_POINTS = 11_000
CONCURRENT = 20


class ScrapeSource:
    """Reads the pods' metrics; implements `ports.Source` and `ports.Divisible`.

    The section's `timeout` bounds one read of all pods, its `max_bytes` and `max_series` one scrape. At most
    `max_samples` of a pod and `max_pods` of a target are kept; history holds no instant that lies more than the
    services' `staleness` behind a scrape.
    """

    def __init__(
        self, section: ScrapeSection, services: SourceServices, *, max_samples: int = 4_000, max_pods: int = 500
    ) -> None:
        self._section = section
        self._pods = services.endpoints
        self._clock = services.clock
        self._names = services.metrics
        self._own = services.gauges
        self._limits = Limits(float(section.min_requests), services.staleness, services.keep, max_samples, max_pods)
        self._pasts: dict[str, Past] = {}
        self._fetcher = Fetcher(
            monotonic=self._clock.monotonic,
            timeout=section.timeout,
            max_bytes=section.max_bytes,
            proxy=section.proxy,
            headers={"Accept": "text/plain;version=0.0.4"},
        )

    @property
    def name(self) -> SourceName:
        """`scrape`."""
        return SourceName.SCRAPE

    def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """All signals of a target are read from one scrape of every pod."""
        return each_target(requests, self._read)

    async def _read(self, target: Target, signals: Sequence[Signal], shared: bool) -> Mapping[str, Reading]:
        at = self._clock.monotonic()
        pods = await self._pods(target, shared)
        if isinstance(pods, SourceError):
            return {s.name: pods for s in signals}
        outcomes = await self._scrape_all(pods)
        failures = [o for o in outcomes.values() if isinstance(o, Failure)]
        past = self._past(target, at)
        past.add(
            Round(at, len(outcomes), len(failures)),
            {(e.pod, e.template): (o, e.memory_limit) for e, o in outcomes.items() if not isinstance(o, Failure)},
        )
        if failures and len(failures) == len(outcomes):
            error = _common(failures, len(outcomes)).reading(at)
            return {s.name: error for s in signals}
        return {s.name: _unusable(s, at) or past.at(s.name, at, s.lookback, s.gauge) for s in signals}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        """The signal at `start`, `start + step`, … as `read` would have told it then; at most 11,000 points.

        Before the first scrape, behind a gap of scrapes and where a reading would be no data, there is a hole.
        """
        now = self._clock.monotonic()
        error = _unusable(signal, now)
        if error is not None:
            return error
        end = min(end, now)
        past = self._pasts.get(target.key)
        step = max(step, 0.001, (end - start) / (MAX_POINTS - 1))
        if past is None or not past.rounds:
            return Series((), step)
        points: list[tuple[float, float]] = []
        first = max(0, math.ceil((past.rounds[0].at - start) / step))
        for n in range(first, math.floor((end - start) / step + 1e-9) + 1):
            reading = past.at(signal.name, start + n * step, signal.lookback, signal.gauge)
            if isinstance(reading, Value):
                points.append((reading.at, reading.number))
            if n % 500 == 499:
                await asyncio.sleep(0)
        return Series(tuple(points), step)

    async def portion(self, target: Target, signal: Signal, group: PodGroup, start: float, end: float) -> Reading:
        """The signal over the window, of these pods alone, out of the samples that are kept."""
        unusable = _unusable(signal, end)
        past = self._pasts.get(target.key)
        if unusable is not None or past is None:
            return unusable or NoData(end, Gap.NOT_READ)
        return past.portion(signal.name, group, start, end, signal.gauge)

    async def aclose(self) -> None:
        """Close the client."""
        await self._fetcher.aclose()

    def _past(self, target: Target, at: float) -> Past:
        """The target's past; targets that were not read for `keep` seconds are forgotten."""
        oldest = at - self._limits.keep
        self._pasts = {k: p for k, p in self._pasts.items() if not p.rounds or p.rounds[-1].at >= oldest}
        return self._pasts.setdefault(target.key, Past(self._names, self._limits))

    async def _scrape_all(self, pods: Sequence[Endpoint]) -> dict[Endpoint, PodScrape | Failure]:
        places = asyncio.Semaphore(CONCURRENT)
        until = asyncio.get_running_loop().time() + self._section.timeout

        async def scrape(endpoint: Endpoint) -> PodScrape | Failure:
            async with places:
                return await self._scrape(endpoint, until)

        outcomes = await asyncio.gather(*(scrape(e) for e in pods))
        return dict(zip(pods, outcomes, strict=True))

    async def _scrape(self, endpoint: Endpoint, until: float) -> PodScrape | Failure:
        host = _host(endpoint.ip)
        if isinstance(host, Failure):
            return host
        answer = await self._fetcher.get(f"http://{host}:{self._section.port}{self._section.path}", until=until)
        if isinstance(answer, Failure):
            return answer
        failure = status_failure(answer.status, answer.headers.get("Retry-After"), self._clock.now())
        if failure is not None:
            return failure
        try:
            samples = parse(answer.body, series_names(self._names) | self._own, max_series=self._section.max_series)
        except Unreadable as unreadable:
            return unreadable.failure
        return pod_scrape(samples, self._names, self._own, client_errors=self._names.client_errors_count)


def _host(ip: str) -> str | Failure:
    """The address as it stands in a URL; pods have no link-local ones, where clouds keep their credentials."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return Failure(Fault.UNREACHABLE, NoIp(), local=True)
    if (why := refusal(ip)) is not None:
        return Failure(Fault.UNREACHABLE, IpForbidden(str(address), why), local=True)
    return f"[{address}]" if address.version == 6 else str(address)


def _unusable(signal: Signal, at: float) -> SourceError | None:
    if signal.gauge is not None:
        return None
    if signal.name not in SIGNALS:
        return SourceError(at, Fault.CLIENT_ERROR, NoSuchSignal("scrape", signal.name, tuple(sorted(SIGNALS))))
    if signal.name != MEMORY_USAGE and signal.lookback <= 0:
        return SourceError(at, Fault.CLIENT_ERROR, NeedsLookback(signal.name))
    return None


def _common(failures: Sequence[Failure], pods: int) -> Failure:
    """The most frequent failure, with the longest wait that any pod asked for."""
    fault, _ = Counter(f.fault for f in failures).most_common(1)[0]
    detail = next(f.detail for f in failures if f.fault is fault)
    waits = [f.retry_after for f in failures if f.retry_after is not None]
    return Failure(fault, NoneOfPodsScraped(pods, detail), retry_after=max(waits, default=None))
