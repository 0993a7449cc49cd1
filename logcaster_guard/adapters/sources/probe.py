"""Source `http`: the guard's own GETs of a target's health and traffic URLs.

| what happened | `health_check_fails` | `response_time` | `slow_responses` |
|---|---|---|---|
| complete 2xx or 3xx | back to 0 | its seconds | back to 0, or one more if slower than `slow_after` |
| complete 4xx or 5xx | one more | its seconds | as above: errors are another signal's matter |
| timed out | one more | no data | one more |
| refused, cut off, not HTTP, TLS broken by the server | one more | no data | no data, count kept |
| the guard could not look | source error, count kept | source error | source error, count kept |

The guard could not look: the name does not resolve, there is no route, the certificate is not trusted, the proxy
fails, or the answer passes the cap. That says nothing about the release. A redirect is an answer and is not followed.
Counts are of the GETs that this process made, and start at 0 with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field, model_validator

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.adapters.fetch import Answer, Fetcher
from logcaster_guard.adapters.per_target import each_target
from logcaster_guard.adapters.plugin_types import SourcePlugin, SourceServices
from logcaster_guard.domain.signals import (
    Fault,
    Gap,
    History,
    NoData,
    NoHistory,
    Reading,
    Signal,
    SourceError,
    SourceName,
    Target,
    Value,
)
from logcaster_guard.fields.durations import two_values, value_of
from logcaster_guard.fields.faults import Refused
from logcaster_guard.fields.section import BaseUrl, Duration, Section, Size
from logcaster_guard.messages.reading_faults import NoSuchSignal, NoUrl, OfUrl
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Answer as SourceAnswer
from logcaster_guard.ports import Request

HEALTH = "health_check_fails"
RESPONSE_TIME = "response_time"
SLOW = "slow_responses"


class HttpSection(Section):
    """The guard's own requests to the health and traffic addresses."""

    timeout: Duration = Field(default=5.0, description="for a whole answer")
    slow_after: Duration = Field(default=2.0, description="an answer that takes longer is slow; shorter than `timeout`")
    proxy: BaseUrl | None = Field(default=None, description="proxy for these requests")
    max_bytes: Size = Field(default=1 << 20, description="larger answers are refused")

    @model_validator(mode="after")
    def _slow_answers_arrive(self) -> HttpSection:
        if self.slow_after >= self.timeout:
            found = two_values(value_of("slow_after", self.slow_after), value_of("timeout", self.timeout))
            raise Refused(found, phrase("allowed.shorter_than_timeout"), key=("slow_after",))
        return self


@dataclass(slots=True)
class _Counts:
    """Consecutive outcomes of one target."""

    failed: int = 0
    slow: int = 0


class ProbeSource:
    """Probes targets over HTTP; implements `ports.Source`.

    `ca_file` replaces the public certificate authorities.
    """

    def __init__(self, section: HttpSection, services: SourceServices, *, ca_file: str | None = None) -> None:
        self._clock = services.clock
        self._slow_after = section.slow_after
        self._counts: dict[str, _Counts] = {}
        self._fetcher = Fetcher(
            monotonic=self._clock.monotonic,
            timeout=section.timeout,
            max_bytes=section.max_bytes,
            proxy=section.proxy,
            ca_file=ca_file,
        )

    @property
    def name(self) -> SourceName:
        """`http`."""
        return SourceName.HTTP

    def read(self, requests: Sequence[Request]) -> AsyncIterator[SourceAnswer]:
        """Signals of one URL share one GET, and all URLs are asked at the same time."""
        return each_target(requests, self._read)

    async def _read(self, target: Target, signals: Sequence[Signal], shared: bool) -> Mapping[str, Reading]:  # noqa: ARG002 - `per_target.Read`
        at = self._clock.monotonic()
        wanted = {s.name for s in signals}
        counts = self._counts.setdefault(target.key, _Counts())
        health, traffic = await asyncio.gather(
            self._get(target.health_url if HEALTH in wanted else None),
            self._get(target.traffic_url if wanted & {RESPONSE_TIME, SLOW} else None),
        )
        readings: dict[str, Reading] = {}
        if HEALTH in wanted:
            readings[HEALTH] = _health(at, health, counts)
        if wanted & {RESPONSE_TIME, SLOW}:
            readings[RESPONSE_TIME] = _response_time(at, traffic)
            readings[SLOW] = _slow(at, traffic, counts, self._slow_after)
        return {name: readings.get(name) or _unknown(at, name) for name in wanted}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:  # noqa: ARG002 - the port's
        """A probe keeps no past."""
        return NoHistory()

    async def aclose(self) -> None:
        """Close the client."""
        await self._fetcher.aclose()

    async def _get(self, url: str | None) -> Answer | Failure | None:
        return None if url is None else await self._fetcher.get(url, decode=False)


def _blind(outcome: Answer | Failure) -> bool:
    return isinstance(outcome, Failure) and (outcome.local or outcome.fault is Fault.TOO_LARGE)


def _unknown(at: float, name: str) -> SourceError:
    return SourceError(at, Fault.CLIENT_ERROR, NoSuchSignal("http", name, ()))


def _health(at: float, outcome: Answer | Failure | None, counts: _Counts) -> Reading:
    if outcome is None:
        return NoData(at, Gap.EMPTY, NoUrl("health_url"))
    if isinstance(outcome, Failure) and _blind(outcome):
        return _of("health_url", outcome).reading(at)
    well = isinstance(outcome, Answer) and 200 <= outcome.status < 400
    counts.failed = 0 if well else counts.failed + 1
    return Value(at, float(counts.failed))


def _response_time(at: float, outcome: Answer | Failure | None) -> Reading:
    if outcome is None:
        return NoData(at, Gap.EMPTY, NoUrl("traffic_url"))
    if isinstance(outcome, Answer):
        return Value(at, outcome.elapsed)
    return _of("traffic_url", outcome).reading(at) if _blind(outcome) else _unanswered(at, outcome)


def _slow(at: float, outcome: Answer | Failure | None, counts: _Counts, slow_after: float) -> Reading:
    if outcome is None:
        return NoData(at, Gap.EMPTY, NoUrl("traffic_url"))
    if isinstance(outcome, Failure) and _blind(outcome):
        return _of("traffic_url", outcome).reading(at)
    if isinstance(outcome, Failure) and outcome.fault is not Fault.TIMED_OUT:
        return _unanswered(at, outcome)
    is_slow = isinstance(outcome, Failure) or outcome.elapsed > slow_after
    counts.slow = counts.slow + 1 if is_slow else 0
    return Value(at, float(counts.slow))


def _of(key: str, failure: Failure) -> Failure:
    return replace(failure, detail=OfUrl(key, failure.detail))


def _unanswered(at: float, failure: Failure) -> NoData:
    return NoData(at, Gap.EMPTY, OfUrl("traffic_url", failure.detail))


PLUGIN = SourcePlugin(
    name=SourceName.HTTP,
    section=HttpSection,
    meaning="the guard's own requests to `health_url` and `traffic_url`",
    make=ProbeSource,
    answers=frozenset({HEALTH, RESPONSE_TIME, SLOW}),
)
