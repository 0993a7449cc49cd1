"""Reads signals as PromQL through `prometheus_api_client.PrometheusConnect`.

Each query has a session, a connection and a thread of its own: a kept connection that the server closes at the wrong
moment looks like a failing server, and a thread that hangs must not be waited for.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from prometheus_api_client import PrometheusConnect

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.adapters.per_target import by_target, in_parts
from logcaster_guard.adapters.plugin_types import SourceServices
from logcaster_guard.adapters.skew import ClockSkew
from logcaster_guard.adapters.sources.prometheus.answers import partial_of, points_of, reading_of, stale
from logcaster_guard.adapters.sources.prometheus.freshness import Freshness, age_question
from logcaster_guard.adapters.sources.prometheus.questions import (
    Question,
    Span,
    Unasked,
    joined,
    joins,
    needs_roster,
    question,
)
from logcaster_guard.adapters.sources.prometheus.section import PrometheusSection
from logcaster_guard.adapters.sources.prometheus.series import series_of
from logcaster_guard.adapters.sources.prometheus.session import BoundedSession, Bounds, Failed, PromAnswer
from logcaster_guard.adapters.sources.prometheus.workers import Line, Workers
from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.domain.ownership import PodGroup, Roster
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
from logcaster_guard.messages.exchange_faults import AnswerPartial, NoAnswer, NoAnswerInTime, NoThread, TokenUnusable
from logcaster_guard.messages.reading_faults import LabelsAre, OwnQueryUnsplit
from logcaster_guard.ports import Answer, Request

MAX_POINTS = 11_000  # per series, in Prometheus' web/api/v1
_MOST_HALVINGS = 4
_MOST_JOINED = 32
"""Targets that one query asks for."""
_LONGEST_JOINED = 4_000
"""Characters of such a query: it is part of a URL, which proxies cut."""
_OF_SIZE = frozenset({Fault.TOO_LARGE, Fault.CLIENT_ERROR, Fault.MALFORMED})
"""Faults that may be gone, or be one target's alone, if less is asked for at once."""
_MOST_LABELS = 12
_PRESENT = {"nocache": "1", "latency_offset": "1s"}
"""VictoriaMetrics answers with data of 30 s ago, stamped with the present, unless it is asked not to."""
_EPOCH = datetime.fromtimestamp(0, UTC)

Query = Callable[[PrometheusConnect], object]


class PrometheusSource:
    """Instant and range queries of one Prometheus; implements `ports.Source` and `ports.Divisible`.

    `workers` bounds the threads: those of all queries, and those that serve one target.
    """

    def __init__(
        self,
        section: PrometheusSection,
        services: SourceServices,
        *,
        proxy: str | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._url = (section.url or "").rstrip("/")
        self._clock = services.clock
        self._bounds = Bounds(section.timeout, section.max_bytes)
        self._staleness = services.staleness
        self._max_series = section.max_series
        self._rosters = services.rosters
        self._token = None if section.token is None else section.token.read
        self._ca_file = section.ca_file
        self._proxy = proxy
        self._workers = workers or Workers(total=32, per_lane=4)
        self._freshness = Freshness(self._staleness)
        self._skew = ClockSkew()
        self._joined = _MOST_JOINED

    @property
    def name(self) -> SourceName:
        """`prometheus`."""
        return SourceName.PROMETHEUS

    def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """All is asked at the same time; `at` of a reading is when the query was sent.

        What several signals are made of is asked for once, and for many targets of a namespace where they are only
        watched. Where there are values, one more query tells the age of their samples.
        """
        several = Counter(r.target.namespace for r, *_ in by_target(requests))
        alone, together = list[Request](), defaultdict[str, list[Request]](list)
        for request in requests:
            if request.shared and joins(request.signal) and several[request.target.namespace] > 1:
                together[request.target.namespace].append(request)
            else:
                alone.append(request)
        parts = [self._answers(found) for found in by_target(alone)]
        size = self._joined = min(_MOST_JOINED, 2 * self._joined)
        for targets in map(by_target, together.values()):
            parts += [self._together(targets[n : n + size]) for n in range(0, len(targets), size)]
        return in_parts(parts)

    async def _answers(self, requests: Sequence[Request]) -> Sequence[Answer]:
        first = requests[0]
        readings = await self._read(first.target, [r.signal for r in requests], shared=first.shared)
        return [(request, readings[request.signal.name]) for request in requests]

    async def _together(self, requests: Sequence[Sequence[Request]]) -> Sequence[Answer]:
        """The answers to requests for several targets of one namespace, target by target."""
        rosters = await asyncio.gather(*(self._rosters(of_one[0].target, True) for of_one in requests))
        answers: list[Answer] = []
        asked: list[Sequence[tuple[Request, Question]]] = []
        for of_one, roster in zip(requests, rosters, strict=True):
            at, questions = self._clock.monotonic(), [(r, question(r.target, r.signal, roster)) for r in of_one]
            answers += [(r, _at(q, at)) for r, q in questions if not isinstance(q, Question)]
            asked.append([(r, q) for r, q in questions if isinstance(q, Question)])
        return answers + await self._joint([found for found in asked if found])

    async def _joint(self, asked: Sequence[Sequence[tuple[Request, Question]]]) -> list[Answer]:
        """The answers to questions that can be joined; in halves where they are too many for one query."""
        if not asked:
            return []
        questions = joined([q for of_one in asked for _, q in of_one])
        at, promqls = self._clock.monotonic(), list(dict.fromkeys(q.promql for q in questions))
        halves = asked[: len(asked) // 2], asked[len(asked) // 2 :]
        if len(asked) > 1 and max(map(len, promqls)) > _LONGEST_JOINED:
            return [answer for half in halves for answer in await self._joint(half)]
        found = await asyncio.gather(*(self._instant(questions[0].target, promql) for promql in promqls))
        faults = {answer.fault for answer in found if isinstance(answer, Failure)}
        if len(asked) > 1 and faults & {*_OF_SIZE, Fault.TIMED_OUT}:
            self._joined = max(1, len(asked) // 2)
        if len(asked) > 1 and faults & _OF_SIZE:
            return [answer for half in halves for answer in await self._joint(half)]
        answers = dict(zip(promqls, found, strict=True))
        readings = await asyncio.gather(*(self._reading(q, answers[q.promql], at) for q in questions))
        return await self._joint_dated(asked, questions, readings)

    async def _joint_dated(
        self,
        asked: Sequence[Sequence[tuple[Request, Question]]],
        questions: Sequence[Question],
        readings: Sequence[Reading],
    ) -> list[Answer]:
        valued = {q.promql for q, r in zip(questions, readings, strict=True) if isinstance(r, Value)}
        ages, at = age_question(valued, by_pod=True), self._clock.monotonic()
        answer = None if ages is None else await self._instant(questions[0].target, ages.promql)
        series = ages.series(answer, self._max_series) if ages and isinstance(answer, PromAnswer) else ()
        answers, left = list[Answer](), iter(zip(questions, readings, strict=True))
        for of_one in asked:
            mine = list(islice(left, len(of_one)))
            found = {q.signal.name: reading for q, reading in mine}
            if ages is not None:
                own = ages.ages(one for one in series if mine[0][0].finds(one.pod))
                queries = {q.signal.name: q.promql for q, _ in mine}
                found = dict(self._freshness.dated(mine[0][0].target, found, queries, own, at))
            answers += [(request, found[request.signal.name]) for request, _ in of_one]
        return answers

    async def _read(self, target: Target, signals: Sequence[Signal], shared: bool) -> Mapping[str, Reading]:
        roster = await self._roster(target, signals, shared=shared)
        answers: dict[str, asyncio.Task[PromAnswer | Failure]] = {}
        queries: dict[str, str] = {}

        async def reading(signal: Signal) -> Reading:
            at, asked = self._clock.monotonic(), question(target, signal, roster)
            if not isinstance(asked, Question):
                return _at(asked, at)
            queries[signal.name] = asked.promql
            if asked.promql not in answers:
                answers[asked.promql] = asyncio.create_task(self._instant(target, asked.promql))
            return await self._reading(asked, await answers[asked.promql], at)

        try:
            readings = await asyncio.gather(*(reading(s) for s in signals))
        finally:
            for answer in answers.values():
                answer.cancel()
        return await self._dated(target, {s.name: r for s, r in zip(signals, readings, strict=True)}, queries)

    async def _dated(
        self, target: Target, readings: Mapping[str, Reading], queries: Mapping[str, str]
    ) -> Mapping[str, Reading]:
        """The values with the instants of their samples, as far as the backend tells them."""
        asked = age_question(queries[name] for name, r in readings.items() if isinstance(r, Value))
        if asked is None:
            return readings
        at, answer = self._clock.monotonic(), await self._instant(target, asked.promql)
        if isinstance(answer, Failure):
            return readings
        ages = asked.ages(asked.series(answer, len(asked.selectors)))
        return self._freshness.dated(target, readings, queries, ages, at)

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        """Range data from `start` to `end` or now; where there is no number, there is no point.

        Prometheus gives at most 11,000 points: a longer range has a wider step, which the Series tells. Instants are
        converted with the wall clock of this moment, both ways, so a jump of it during the query does no harm. A range
        whose answer is too large is asked for in parts.
        """
        now = self._clock.monotonic()
        offset = now - self._epoch()
        end = min(end, now)
        if end < start:
            return Series((), step)
        step = math.ceil(1000 * max(step, 0.001, (end - start) / (MAX_POINTS - 1)) - 1e-6) / 1000
        asked = question(target, signal, await self._roster(target, [signal]))
        if not isinstance(asked, Question):
            reading = _at(asked, now)
            return reading if isinstance(reading, SourceError) else Series((), step)
        points = await self._points(asked, Span(start, end, step, offset), _MOST_HALVINGS)
        return points.reading(now) if isinstance(points, Failure) else Series(points, step)

    async def portion(self, target: Target, signal: Signal, group: PodGroup, start: float, end: float) -> Reading:
        """The signal over the window, of these pods alone; no data for an operator's own query."""
        if signal.by_pod is None or end <= start:
            return NoData(end, Gap.NOT_BY_POD, OwnQueryUnsplit())
        window = replace(signal, lookback=end - start if signal.lookback else 0.0, min_requests=0)
        asked = question(target, window, await self._roster(target, [window]))
        if not isinstance(asked, Question):
            return _at(asked, end)
        epoch = self._epoch() - (self._clock.monotonic() - end)
        answer = await self._instant(target, asked.promql, {"time": f"{epoch:.3f}"})
        if isinstance(answer, Failure):
            return answer.reading(end)
        return self._number(asked, answer, at=end, epoch=epoch, group=group)

    async def aclose(self) -> None:
        """Cut what is under way."""
        await self._workers.aclose()

    def ahead(self) -> float:
        """By how many seconds the server's clock is ahead of the guard's, at most; 0: it may not differ."""
        return self._skew.ahead

    def _epoch(self) -> float:
        """The present second since the epoch, by the server's clock."""
        return (self._clock.now() - _EPOCH).total_seconds() + self._skew.likely

    async def _roster(
        self, target: Target, signals: Iterable[Signal], *, shared: bool = False
    ) -> Roster | NoData | SourceError:
        """Who owns which pods, if a signal needs to know."""
        return await self._rosters(target, shared) if any(map(needs_roster, signals)) else Roster()

    async def _reading(self, asked: Question, answer: PromAnswer | Failure, at: float) -> Reading:
        if isinstance(answer, Failure):
            return answer.reading(at)
        epoch = self._epoch()
        if asked.signal.by_pod is None:
            return reading_of(answer, at=at, epoch=epoch, staleness=self._staleness, max_series=self._max_series)
        reading = self._number(asked, answer, at=at, epoch=epoch)
        if isinstance(reading, NoData) and reading.gap is Gap.NO_STATUS:
            return replace(reading, detail=LabelsAre(reading.detail, await self._labels(asked)))
        return reading

    def _number(
        self,
        asked: Question,
        answer: PromAnswer,
        *,
        at: float,
        epoch: float,
        group: PodGroup | None = None,
    ) -> Reading:
        """The number of an answer by pod, as read at monotonic second `at` when the wall clock showed `epoch`."""
        partial = partial_of(answer, at)
        if partial is not None:
            return partial
        series = series_of(answer, offset=0.0, max_series=self._max_series)
        if isinstance(series, Failure):
            return series.reading(at)
        found = asked.numbers(series, group)
        if not found:
            return NoData(at, Gap.EMPTY)
        return stale(at, found[-1].at, epoch, self._staleness) or replace(found[-1], at=at)

    async def _labels(self, asked: Question) -> tuple[str, ...]:
        """Which labels a series has as it was scraped; none where that is unknown."""
        answer = await self._instant(asked.target, asked.example)
        series = answer if isinstance(answer, Failure) else series_of(answer, offset=0.0, max_series=1)
        names = [] if isinstance(series, Failure) else sorted(n for s in series for n in s.labels if n != "__name__")
        return tuple(n[:60] for n in names[:_MOST_LABELS])

    async def _points(self, asked: Question, span: Span, halvings: int) -> tuple[tuple[float, float], ...] | Failure:
        params = {
            "start": f"{span.start - span.offset:.3f}",
            "end": f"{span.end - span.offset:.3f}",
            "timeout": f"{self._bounds.timeout:g}",
        }

        def query(client: PrometheusConnect) -> object:
            return client.custom_query_range(asked.promql, _EPOCH, _EPOCH, f"{span.step:.3f}", params=params)

        answer = await self._ask(asked.target, query)
        if isinstance(answer, Failure):
            if answer.fault is not Fault.TOO_LARGE or not halvings or span.end - span.start <= span.step:
                return answer
            early, late = [await self._points(asked, half, halvings - 1) for half in span.halves()]
            return early if isinstance(early, Failure) else late if isinstance(late, Failure) else early + late
        if asked.signal.by_pod is None:
            return points_of(answer, offset=span.offset, max_series=self._max_series)
        if answer.warnings:
            return Failure(Fault.MALFORMED, AnswerPartial(answer.warnings[0]))
        series = series_of(answer, offset=span.offset, max_series=self._max_series)
        if isinstance(series, Failure):
            return series
        return tuple((r.at, r.number) for r in asked.numbers(series) if isinstance(r, Value))

    async def _instant(
        self, target: Target, promql: str, params: Mapping[str, str] | None = None
    ) -> PromAnswer | Failure:  # fmt: skip
        asked = {"timeout": f"{self._bounds.timeout:g}", **(params or {})}
        return await self._ask(target, lambda client: client.custom_query(promql, params=asked))

    async def _ask(self, target: Target, query: Query) -> PromAnswer | Failure:
        try:
            return await self._workers.run(target.key, lambda line: self._exchange(line, query), self._bounds.timeout)
        except TimeoutError:
            return Failure(Fault.TIMED_OUT, NoAnswerInTime(self._bounds.timeout))
        except OSError:
            return Failure(Fault.UNREACHABLE, NoThread())

    def _exchange(self, line: Line, query: Query) -> PromAnswer | Failure:
        """Runs in a thread of its own."""
        headers = self._headers()
        if isinstance(headers, Failure):
            return headers
        with BoundedSession(
            line, self._bounds, now=self._clock.now, ca_file=self._ca_file, proxy=self._proxy, skew=self._skew
        ) as session:
            client = PrometheusConnect(url=self._url, headers=headers, session=session)
            session.mount(self._url, session.adapter())
            session.params = _PRESENT
            try:
                query(client)
            except Failed as failed:
                return failed.failure
            return session.answer or Failure(Fault.MALFORMED, NoAnswer())

    def _headers(self) -> dict[str, str] | Failure:
        if self._token is None:
            return {}
        try:
            token = self._token().strip()
        except SecretUnreadable as error:
            return Failure(Fault.SECRET, error.reason, local=True)
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            return Failure(Fault.SECRET, TokenUnusable(), local=True)
        return {"Authorization": f"Bearer {token}"}


def _at(unasked: Unasked, at: float) -> Reading:
    return unasked.reading(at) if isinstance(unasked, Failure) else replace(unasked, at=at)
