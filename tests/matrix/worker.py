"""A process that plays cells: it sets up its boards, then plays what it is told to, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import time
import warnings
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import structlog

from tests import canary
from tests.cluster import planes
from tests.cluster.matrix import unless_crash
from tests.cluster.roles import OF_TARGETS
from tests.matrix.board import Board, Ground, Play, Result
from tests.matrix.boards import BOARDS

WITHIN = 240.0
"""Seconds that a cell may take on a busy machine."""
SET_UP_AT_ONCE = 4
LEAK = "a Secret's value stands in what is wrong with it"
DEFECTS = frozenset({"run.crashed", "watch.crashed"})

_defects: ContextVar[list[str]] = ContextVar("defects", default=[])  # noqa: B039 - what no cell did is nobody's


@asynccontextmanager
async def ground(way: planes.Way | None, folder: Path) -> AsyncIterator[Ground]:
    """The embedded API server, or a real control plane where there is a way into one."""
    async with planes.sandbox(folder) if way is None else planes.real(way, folder) as cluster:
        api = await cluster.guard_api()
        try:
            yield Ground(cluster, api, OF_TARGETS)
        finally:
            await api.aclose()


class Worker:
    """Plays the cells of some boards; `tell` sends one line to whoever started it."""

    def __init__(self, boards: Mapping[str, Board], where: Ground) -> None:
        self._boards = boards
        self._ground = where
        self._plays: dict[str, Mapping[str, Play]] = {}
        self._slots = {name: asyncio.Semaphore(board.at_once) for name, board in boards.items()}

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Record every board's undisturbed rollback, and tell its cells."""
        slots = asyncio.Semaphore(SET_UP_AT_ONCE)

        async def make(board: Board) -> None:
            async with slots:
                try:
                    plays = await stack.enter_async_context(board.set_up(self._ground))
                except Exception as error:  # noqa: BLE001 - a board that cannot be set up is told as that
                    tell({"board": board.name, "error": f"{type(error).__name__}: {error}"})
                    return
            self._plays[board.name] = plays
            tell({"board": board.name, "cells": list(plays)})

        await asyncio.gather(*map(make, self._boards.values()))

    async def play(self, board: str, cell: str) -> None:
        """Play a cell and tell how it ended."""
        async with self._slots[board]:
            began = time.monotonic()
            result = await self._result(self._plays[board].get(cell))
        seconds = round(time.monotonic() - began, 1)
        faults = [LEAK if canary.is_in(fault) else fault for fault in result.faults]
        tell({"board": board, "cell": cell, "end": result.end, "faults": faults, "seconds": seconds})

    async def _result(self, play: Play | None) -> Result:
        if play is None:
            return Result("never played", ["there is no such cell: the undisturbed rollback has no such point today"])
        found: list[str] = []
        _defects.set(found)
        try:
            async with asyncio.timeout(WITHIN):
                result = await play()
        except Exception as error:  # noqa: BLE001 - one cell's failure must not hide how the others end
            result = Result("never ended", [f"{type(error).__name__}: {error}"])
        return Result(result.end, [*result.faults, *found])


def way_of(sent: Mapping[str, Any] | None) -> planes.Way | None:
    """The way into a control plane, as JSON brings it."""
    if sent is None:
        return None
    paths = {name: sent[name] and Path(sent[name]) for name in ("ca_file", "audit_log")}
    return planes.Way(**{**sent, **paths})


def tell(line: Mapping[str, object]) -> None:
    """One line to whoever started this process."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def collected(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what the product logs of a defect of its own, for the cell in which it did; drop all else."""
    if canary.is_in(repr(event)):
        _defects.get().append(f"a Secret's value is logged: {event['event']}")
    if event["event"] in DEFECTS:
        _defects.get().append(f"{event['event']}: {event.get('exception') or event.get('error') or event}")
    raise structlog.DropEvent


async def main(folder: Path, names: list[str], way: planes.Way | None) -> None:
    """Play what standard input asks for, until it ends."""
    asyncio.get_running_loop().set_exception_handler(unless_crash)
    boards = {b.name: b for b in BOARDS if b.name in names}
    for module, name, value in {c for b in boards.values() for c in b.constants}:
        setattr(module, name, value)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with ground(way, folder) as where, AsyncExitStack() as stack:
        worker = Worker(boards, where)
        await worker.set_up(stack)
        async with asyncio.TaskGroup() as tasks:
            while line := await lines.readline():
                asked = json.loads(line)
                tasks.create_task(worker.play(asked["board"], asked["cell"]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    tell({"cpu": used.ru_utime + used.ru_stime})


if __name__ == "__main__":
    warnings.simplefilter("error")
    structlog.configure(processors=[collected], cache_logger_on_first_use=False)
    order: dict[str, Any] = json.loads(sys.argv[1])
    asyncio.run(main(Path(order["folder"]), order["boards"], way_of(order["way"])))
    shutil.rmtree(order["folder"], ignore_errors=True)
