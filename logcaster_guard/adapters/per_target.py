"""Answers many requests in parts, all at the same time: as a rule each target by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from logcaster_guard.domain.signals import Reading, Signal, Target
from logcaster_guard.ports import Answer, Request

Read = Callable[[Target, Sequence[Signal], bool], Awaitable[Mapping[str, Reading]]]
"""Reads signals of one target, by name; the last argument is the requests' `shared`."""


def each_target(requests: Sequence[Request], read: Read) -> AsyncIterator[Answer]:
    """The answers of each target as soon as `read` has given them; neighbouring requests of one target go together."""

    async def answers(of_one: Sequence[Request]) -> Sequence[Answer]:
        readings = await read(of_one[0].target, [r.signal for r in of_one], of_one[0].shared)
        return [(request, readings[request.signal.name]) for request in of_one]

    return in_parts([answers(of_one) for of_one in by_target(requests)])


def by_target(requests: Iterable[Request]) -> Sequence[Sequence[Request]]:
    """Neighbouring requests of one target."""
    return [list(found) for _, found in groupby(requests, key=lambda r: (r.target, r.shared))]


async def in_parts(parts: Sequence[Coroutine[Any, Any, Sequence[Answer]]]) -> AsyncIterator[Answer]:
    """The answers of each part as soon as it has them."""
    if len(parts) == 1:
        for answer in await parts[0]:
            yield answer
        return
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        for done in asyncio.as_completed(tasks):
            for answer in await done:
                yield answer
    finally:
        for task in tasks:
            task.cancel()
