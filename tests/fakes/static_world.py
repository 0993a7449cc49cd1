"""A world in which nothing moves: a Kubernetes API of one object, and a source that answers what a test put in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from logcaster_guard.domain.errors import NotFound, Unavailable
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.signals import (
    Fault,
    History,
    NoHistory,
    Reading,
    Signal,
    SourceError,
    SourceName,
    Target,
    Value,
)
from logcaster_guard.ports import Clock, Json, Kind
from tests.fakes.source import TargetByTarget


class AnsweringSource(TargetByTarget):
    """Implements `ports.Source`: a number, a `Fault`, or (`hangs`) nothing until it is `woken`; or a `defect`."""

    def __init__(self, name: SourceName, clock: Clock, answer: float | Fault = 0.0) -> None:
        self.name = name
        self.answer = answer
        self.hangs = asyncio.Event()
        self.woken = asyncio.Event()
        self.defect: Exception | None = None
        self._clock = clock

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        del target
        if self.hangs.is_set():
            await self.woken.wait()
        if self.defect is not None:
            raise self.defect
        now = self._clock.monotonic()
        if isinstance(self.answer, Fault):
            fault = self.answer
            return {s.name: SourceError(now, fault, "told so by https://user:hunter22@prometheus/") for s in signals}
        return {s.name: Value(now, self.answer) for s in signals}

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        del target, signal, start, end, step
        return NoHistory()

    async def aclose(self) -> None:
        pass


class StaticCluster:
    """Implements the reading half of `ports.Cluster`: one Deployment, nothing else; a write is a defect.

    Its clock is `skew` seconds ahead.
    """

    def __init__(self, deployment: Json) -> None:
        self.deployment = deployment
        self.away = False
        self.skew = 0.0

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        del namespace
        if self.away:
            raise Unavailable("the API server is away")
        if kind is not Kind.DEPLOYMENT:
            raise NotFound(f"{kind} {name} does not exist")
        return self.deployment

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        del kind, namespace, selector
        return []

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        raise AssertionError(f"{kind} {namespace}/{name} is written by {manager}: {operations}")

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        raise AssertionError(f"{kind} {namespace}/{name} is applied by {manager}: {body}, {force}")

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        raise AssertionError(f"{kind} is created in {namespace}: {body}")

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        raise AssertionError(f"{kind} {namespace}/{name} is deleted: {uid}, {resource_version}")

    def ahead(self) -> float:
        return self.skew

    async def aclose(self) -> None:
        pass
