"""Plays the matrices: `python -m tests.matrix [--seconds N] [--plane real]`, and what `MATRIX` asks for.

Every cell of every board is one rollback with one thing gone wrong. They stand in one order that mixes all boards
(`order`). Played are those of `MATRIX=offset:count`, one that `MATRIX` names, or else those from an offset on that
follows from the commit: all, or as many as are begun within `--seconds`, or before Ctrl-C. What fails is played once
more by itself, when nothing else runs: a defect fails again, and both are told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster import planes
from tests.matrix.boards import BOARDS
from tests.matrix.order import PLACES, CellName, Stretch, digest, from_commit, wanted
from tests.matrix.players import Players, Told
from tests.matrix.summary import Summary
from tests.real import control_plane, presence

PROGRESS = 60.0
"""Seconds between two lines about how far it is."""


def main() -> int:
    """The exit code: 0 where every cell ended as it has to, 1 where one did not, 2 for what cannot be played."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description="Play the matrices.")
    parser.add_argument("--seconds", type=float, help="begin no cell later than this after the start")
    parser.add_argument("--plane", choices=["sandbox", "real"], default="sandbox")
    asked = parser.parse_args()
    try:
        cells = wanted(os.environ["MATRIX"]) if os.environ.get("MATRIX") else None
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        if asked.plane == "sandbox":
            return asyncio.run(play(Path(folder), cells, asked.seconds, None))
        plane = presence.real_plane()
        if plane.way != "assets":
            sys.stderr.write("--plane real needs KUBEBUILDER_ASSETS: the cells are judged by the audit log.\n")
            return 2
        running = control_plane.start(plane.path, Path(folder))
        try:
            return asyncio.run(play(Path(folder), cells, asked.seconds, planes.way_into(running)))
        finally:
            running.stop()


async def play(folder: Path, asked: Stretch | CellName | None, seconds: float | None, way: planes.Way | None) -> int:
    """Play what is asked for and print how it ended."""
    began = time.monotonic()
    boards = [b for b in BOARDS if not isinstance(asked, CellName) or b.name == asked.board]
    if not boards:
        sys.stderr.write(f"MATRIX names {asked}, and there is no such board: {', '.join(b.name for b in BOARDS)}\n")
        return 2
    async with Players.start(boards, folder, way) as players:
        stretch = asked if isinstance(asked, Stretch) else from_commit(commit())
        cells = [asked] if isinstance(asked, CellName) else stretch.of(players.cells)
        where = f"order {digest(players.cells)}, {PLACES} places from {stretch.offset} on"
        print(f"{len(players.cells)} cells in {where}; API server: {way.version if way else 'embedded'}", flush=True)
        until = began + seconds if seconds is not None and asked is None else None
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, players.stop)
        async with _progress(players, len(cells)):
            told = await players.play(cells, until)
        again = {t.name: t for t in [await players.play_alone(t.name) for t in told if t.faults]}
    summary = Summary(told, again, players.unset)
    print(summary.text(asked or _played(stretch, told, cells), players.cpu, time.monotonic() - began))
    return 1 if summary.faults else 0


@asynccontextmanager
async def _progress(players: Players, count: int) -> AsyncIterator[None]:
    """A line each minute: a whole run takes an hour and more, and can be cut."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS)
            failed = [str(t.name) for t in players.told if t.faults]
            print(f"{len(players.told)} of {count} cells played, failed: {'; '.join(failed) or 'none'}", flush=True)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()


def _played(stretch: Stretch, told: Sequence[Told], cells: Sequence[CellName]) -> Stretch:
    """The stretch that was played; all of it where no time bounded it."""
    whole = not told or len(told) == len(cells)
    return stretch if whole else Stretch(stretch.offset, stretch.distance(told[-1].name) + 1)


def commit() -> str:
    """The present commit; empty outside a repository."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
