"""Answers many requests by reading each target by itself, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import groupby

from logcaster_guard.domain.signals import Reading, Signal, Target
from logcaster_guard.ports import Answer, Request

Read = Callable[[Target, Sequence[Signal], bool], Awaitable[Mapping[str, Reading]]]
"""Reads signals of one target, by name; the last argument is the requests' `shared`."""


async def each_target(requests: Sequence[Request], read: Read) -> AsyncIterator[Answer]:
    """The answers of each target as soon as `read` has given them; neighbouring requests of one target go together."""

    async def group(of_one: Sequence[Request]) -> Sequence[Answer]:
        readings = await read(of_one[0].target, [r.signal for r in of_one], of_one[0].shared)
        return [(request, readings[request.signal.name]) for request in of_one]

    groups = [list(found) for _, found in groupby(requests, key=lambda r: (r.target, r.shared))]
    if len(groups) == 1:
        for answer in await group(groups[0]):
            yield answer
        return
    tasks = [asyncio.ensure_future(group(of_one)) for of_one in groups]
    try:
        for done in asyncio.as_completed(tasks):
            for answer in await done:
                yield answer
    finally:
        for task in tasks:
            task.cancel()
