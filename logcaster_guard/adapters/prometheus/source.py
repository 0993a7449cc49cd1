"""Reads signals as PromQL through `prometheus_api_client.PrometheusConnect`.

Each query has a session, a connection and a thread of its own: a kept connection that the server closes at the wrong
moment looks like a failing server, and a thread that hangs must not be waited for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_api_client import PrometheusConnect

from logcaster_guard.adapters.faults import Failure
from logcaster_guard.adapters.prometheus.answers import points_of, reading_of
from logcaster_guard.adapters.prometheus.session import BoundedSession, Bounds, Failed, PromAnswer
from logcaster_guard.adapters.prometheus.workers import Line, Workers
from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.domain.promql import TemplateFault, render
from logcaster_guard.domain.signals import Fault, Gap, History, NoData, Reading, Series, Signal, SourceName, Target
from logcaster_guard.ports import Clock, Pods

MAX_POINTS = 11_000  # per series, in Prometheus' web/api/v1
_EPOCH = datetime.fromtimestamp(0, UTC)

Query = Callable[[PrometheusConnect], object]


class PrometheusSource:
    """Instant and range queries of one Prometheus; implements `ports.Source` and `ports.Divisible`.

    `timeout` (seconds) bounds a query as a whole. `max_bytes` and `max_series` bound its answer. A sample whose
    timestamp is more than `staleness` seconds from the guard's clock is no data. `token` is called for each query and
    gives the bearer token; it may raise `SecretUnreadable`. `workers` bounds the threads, `workers_per_target` those
    that serve one target.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        timeout: float = 10.0,
        staleness: float = 60.0,
        max_bytes: int = 4 << 20,
        max_series: int = 1_000,
        token: Callable[[], str] | None = None,
        ca_file: str | None = None,
        proxy: str | None = None,
        workers: int = 32,
        workers_per_target: int = 4,
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._bounds = Bounds(timeout, max_bytes)
        self._staleness = staleness
        self._max_series = max_series
        self._token = token
        self._ca_file = ca_file
        self._proxy = proxy
        self._workers = Workers(total=workers, per_lane=workers_per_target)

    @property
    def name(self) -> SourceName:
        """`prometheus`."""
        return SourceName.PROMETHEUS

    async def read(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        """One reading for each signal, all asked at the same time; `at` is when the query was sent."""
        readings = await asyncio.gather(*(self._read(target, s) for s in signals))
        return {s.name: r for s, r in zip(signals, readings, strict=True)}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        """Range data from `start` to `end` or now; NaN and infinite points are left out.

        Prometheus gives at most 11,000 points: a longer range has a wider step, which the Series tells. Instants are
        converted with the wall clock of this moment, both ways, so a jump of it during the query does no harm.
        """
        now = self._clock.monotonic()
        offset = now - (self._clock.now() - _EPOCH).total_seconds()
        end = min(end, now)
        if end < start:
            return Series((), step)
        step = math.ceil(1000 * max(step, 0.001, (end - start) / (MAX_POINTS - 1)) - 1e-6) / 1000
        prepared = _prepared(target, signal)
        if isinstance(prepared, Failure):
            return prepared.reading(now)
        params = {
            "start": f"{start - offset:.3f}",
            "end": f"{end - offset:.3f}",
            "timeout": f"{self._bounds.timeout:g}",
        }

        def query(client: PrometheusConnect) -> object:
            return client.custom_query_range(prepared, _EPOCH, _EPOCH, f"{step:.3f}", params=params)

        answer = await self._ask(target, query)
        if isinstance(answer, PromAnswer):
            points = points_of(answer, offset=offset, max_series=self._max_series)
            if not isinstance(points, Failure):
                return Series(points, step)
            answer = points
        return answer.reading(now)

    async def portion(self, target: Target, signal: Signal, pods: Pods, start: float, end: float) -> Reading:
        """The signal over the window, of the pods with these marks alone; no data for an operator's own query."""
        if signal.by_release is None or not pods.marks or end <= start:
            return NoData(end, Gap.NOT_READ, "it cannot be read of some pods alone")
        narrowed = replace(signal, query=signal.by_release, lookback=end - start if signal.lookback else 0.0)
        prepared = _prepared(target, narrowed, pods.marks)
        if isinstance(prepared, Failure):
            return prepared.reading(end)
        epoch = (self._clock.now() - _EPOCH).total_seconds() - (self._clock.monotonic() - end)
        params = {"time": f"{epoch:.3f}", "timeout": f"{self._bounds.timeout:g}"}
        answer = await self._ask(target, lambda client: client.custom_query(prepared, params=params))
        if isinstance(answer, Failure):
            return answer.reading(end)
        return reading_of(answer, at=end, epoch=epoch, staleness=self._staleness, max_series=self._max_series)

    async def aclose(self) -> None:
        """Cut what is under way."""
        await self._workers.aclose()

    async def _read(self, target: Target, signal: Signal) -> Reading:
        at = self._clock.monotonic()
        prepared = _prepared(target, signal)
        if isinstance(prepared, Failure):
            return prepared.reading(at)
        params = {"timeout": f"{self._bounds.timeout:g}"}
        answer = await self._ask(target, lambda client: client.custom_query(prepared, params=params))
        if isinstance(answer, Failure):
            return answer.reading(at)
        epoch = (self._clock.now() - _EPOCH).total_seconds()
        return reading_of(answer, at=at, epoch=epoch, staleness=self._staleness, max_series=self._max_series)

    async def _ask(self, target: Target, query: Query) -> PromAnswer | Failure:
        try:
            return await self._workers.run(target.key, lambda line: self._exchange(line, query), self._bounds.timeout)
        except TimeoutError:
            return Failure(Fault.TIMED_OUT, f"no complete answer in {self._bounds.timeout:g} s")
        except OSError:
            return Failure(Fault.UNREACHABLE, "no thread can be started for the query")

    def _exchange(self, line: Line, query: Query) -> PromAnswer | Failure:
        """Runs in a thread of its own."""
        headers = self._headers()
        if isinstance(headers, Failure):
            return headers
        with BoundedSession(
            line, self._bounds, now=self._clock.now, ca_file=self._ca_file, proxy=self._proxy
        ) as session:
            client = PrometheusConnect(url=self._url, headers=headers, session=session)
            session.mount(self._url, session.adapter())
            try:
                query(client)
            except Failed as failed:
                return failed.failure
            return session.answer or Failure(Fault.MALFORMED, "no answer")

    def _headers(self) -> dict[str, str] | Failure:
        if self._token is None:
            return {}
        try:
            token = self._token().strip()
        except SecretUnreadable as error:
            return Failure(Fault.SECRET, str(error), local=True)
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            return Failure(Fault.SECRET, "the bearer token is empty or holds characters that none may", local=True)
        return {"Authorization": f"Bearer {token}"}


def _prepared(target: Target, signal: Signal, pods: Collection[str] = ()) -> str | Failure:
    if not signal.query:
        return Failure(Fault.CLIENT_ERROR, f"the signal {signal.name} has no query", local=True)
    try:
        return render(signal.query, target, signal.lookback, pods)
    except TemplateFault as fault:
        return Failure(Fault.CLIENT_ERROR, str(fault), local=True)
