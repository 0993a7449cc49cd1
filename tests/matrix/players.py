"""The processes that play cells, and who plays which."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.cluster.planes import Way
from tests.matrix.board import AT_ONCE, Board, Constant
from tests.matrix.order import CellName

LINE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """How a cell ended."""

    name: CellName
    end: str
    faults: Sequence[str]
    seconds: float


@dataclass
class Player:
    """One process and what it is playing."""

    process: asyncio.subprocess.Process
    boards: Sequence[Board]
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    waiting: dict[CellName, asyncio.Future[Told]] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    heard: int = 0


class Players:
    """All processes. `cells` are the names of all cells; `unset` tells why a board could not be set up.

    `told` is how the cells ended that have been played so far.
    """

    def __init__(self) -> None:
        self.cells: list[CellName] = []
        self.unset: dict[str, str] = {}
        self.told: list[Told] = []
        self.cpu = 0.0
        self._stopped = False
        self._players: list[Player] = []
        self._owner: dict[str, Player] = {}

    @classmethod
    @asynccontextmanager
    async def start(cls, boards: Sequence[Board], folder: Path, way: Way | None) -> AsyncIterator[Self]:
        """Start them; they end with the context, and then `cpu` tells the seconds that they have used."""
        made = cls()
        listeners = []
        for number, part in enumerate(divided(boards, os.cpu_count() or 1)):
            own = folder / str(number)
            own.mkdir()
            order = {"folder": str(own), "boards": [b.name for b in part], "way": way and _sent(way)}
            command = [sys.executable, "-m", "tests.matrix.worker", json.dumps(order)]
            pipe = asyncio.subprocess.PIPE
            # In a group of its own: a Ctrl-C is for the parent, which lets cells that have begun come to their end.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, limit=LINE, process_group=0
            )
            player = Player(process, part)
            made._players.append(player)
            made._owner |= {b.name: player for b in part}
            listeners.append(asyncio.create_task(made._listen(player)))
        try:
            await asyncio.gather(*(p.ready.wait() for p in made._players))
            yield made
            for player in made._players:
                assert player.process.stdin is not None
                player.process.stdin.close()
            await asyncio.gather(*listeners)
        finally:
            for player in made._players:
                if player.process.returncode is None:
                    player.process.terminate()
                await player.process.wait()

    async def play(self, cells: Sequence[CellName], until: float | None) -> Sequence[Told]:
        """Play them in order, beginning none after `until`, in monotonic seconds of the loop."""
        loop = asyncio.get_running_loop()
        tasks = []
        for name in cells:
            player = self._owner[name.board]
            await player.slots.acquire()
            if self._stopped or (until is not None and loop.time() >= until):
                player.slots.release()
                break
            task = asyncio.create_task(self.play_alone(name))
            task.add_done_callback(lambda _, player=player: player.slots.release())  # type: ignore[misc] # bound early
            tasks.append(task)
        return await asyncio.gather(*tasks)

    def stop(self) -> None:
        """Begin no further cell of `play`."""
        self._stopped = True

    async def play_alone(self, name: CellName) -> Told:
        """Play one."""
        player = self._owner[name.board]
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        player.waiting[name] = future
        assert player.process.stdin is not None
        player.process.stdin.write(json.dumps({"board": name.board, "cell": name.cell}).encode() + b"\n")
        return await future

    async def _listen(self, player: Player) -> None:
        assert player.process.stdout is not None
        while line := await player.process.stdout.readline():
            self._hear(player, json.loads(line))
        code = await player.process.wait()
        player.ready.set()
        for name, future in player.waiting.items():
            if not future.done():
                future.set_result(Told(name, "never ended", [f"its process ended with {code}"], 0.0))
        for board in player.boards[player.heard :] if player.heard < len(player.boards) else ():
            self.unset.setdefault(board.name, f"its process ended with {code}")

    def _hear(self, player: Player, told: Mapping[str, Any]) -> None:
        if "cpu" in told:
            self.cpu += told["cpu"]
        elif "cell" in told:
            name = CellName(told["board"], told["cell"])
            self.told.append(Told(name, told["end"], told["faults"], told["seconds"]))
            player.waiting.pop(name).set_result(self.told[-1])
        else:
            player.heard += 1
            if "error" in told:
                self.unset[told["board"]] = told["error"]
            self.cells += [CellName(told["board"], cell) for cell in told.get("cells", ())]
            if player.heard == len(player.boards):
                player.ready.set()


def divided(boards: Sequence[Board], cores: int) -> Sequence[Sequence[Board]]:
    """The boards of each process: those with equal constants are shared out over as many processes as there are cores.

    Those with others wait most of the time, and have a process of their own.
    """
    kinds: dict[tuple[Constant, ...], list[Board]] = {}
    for board in boards:
        kinds.setdefault(board.constants, []).append(board)
    parts = []
    for kind in kinds.values():
        wanted = cores if len(kinds) == 1 or len(kind) > len(boards) / 2 else 1
        parts += [part for n in range(wanted) if (part := kind[n::wanted])]
    return parts


def _sent(way: Way) -> Mapping[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(way).items()}
