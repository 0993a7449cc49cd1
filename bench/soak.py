"""Watches a guard's process grow, or not: `python -m bench.soak --minutes 30`.

A guard runs as operators start it, over the demo's embedded cluster and its shortened times. Every few seconds a
dependency fails and mends, so that five rules fire and clear without end; now and then a person freezes the target and
lifts that. Printed are CPU (of one core), memory, open files, log lines and the size of the journal. It ends with 1 if
the memory of the second half of the time grew by more than a tenth, so that a leak is not left to whoever reads along.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from logcaster_guard.cli.stage import NAMESPACE, Stage, staged, written
from logcaster_guard.sandbox.objects import DEPLOYMENT
from logcaster_guard.sandbox.release import Releases

THRESHOLDS = (5, 10, 15, 20, 25)
RULES = "rollback_triggers:\n" + "".join(
    f'  - {{name: errors_{n}, condition: "error_rate > {n}%", duration: 2s, action: immediate_rollback}}\n'
    for n in THRESHOLDS
)
FAILING, WELL = 8.0, 8.0
"""Seconds for which the dependency fails, and then does not."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process has used: seconds of CPU, bytes, and open files."""

    at: float
    cpu: float
    memory: int
    files: int


def sampled(pid: int) -> Sample:
    """The process as proc(5) tells it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Sample(
        time.monotonic(),
        ticks / os.sysconf("SC_CLK_TCK"),
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


async def flapping(stage: Stage, releases: Releases) -> None:
    """Break and mend what every release depends on, and freeze the target each tenth time, until cancelled."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{DEPLOYMENT}"
    for turn in itertools.count(1):
        releases.dependency_failure = 0.3
        await asyncio.sleep(FAILING)
        releases.dependency_failure = 0.0
        if turn % 10 in {0, 5}:
            said = "a look" if turn % 10 else f"false: {turn}"
            await stage.world.client.patch(path, {"metadata": {"annotations": {"guard.logcaster.io/freeze": said}}})
        await asyncio.sleep(WELL)


@contextlib.asynccontextmanager
async def guard_over(files: tuple[Path, Path], log: Path) -> AsyncIterator[int]:
    """The process id of a guard over these files, which is ended at last."""
    program = str(Path(sys.executable).with_name("logcaster-guard"))
    with log.open("wb") as lines:
        process = await asyncio.create_subprocess_exec(program, "run", *map(str, files), stderr=lines)
        try:
            yield process.pid
        finally:
            process.terminate()
            await process.wait()


async def soak(minutes: float, every: float) -> int:
    """Run it; the exit code."""
    releases = Releases()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="logcaster-guard-soak-")))
        quiet = Console(quiet=True)
        stage = await stack.enter_async_context(
            staged(quiet, releases, RULES, guarded=False, prometheus=None, switching=False)
        )
        await stage.install()
        log = folder / "log"
        pid = await stack.enter_async_context(guard_over(written(folder, stage, RULES, None), log))
        turning = asyncio.create_task(flapping(stage, releases))
        stack.callback(turning.cancel)
        return await watched(pid, folder, log, minutes * 60.0, every)


def written_so_far(folder: Path, log: Path) -> tuple[int, int]:
    """Bytes of the journal's files, and lines of the log."""
    return sum(p.stat().st_size for p in folder.glob("journal.db*")), log.read_bytes().count(b"\n")


async def watched(pid: int, folder: Path, log: Path, seconds: float, every: float) -> int:
    """Print what the process uses until the time is up; the exit code."""
    samples = [sampled(pid)]
    begun = samples[0].at
    print(f"{'s':>7} {'CPU %':>6} {'RSS MiB':>8} {'files':>6} {'journal KiB':>12} {'log lines':>10}", flush=True)
    while samples[-1].at - begun < seconds:
        await asyncio.sleep(every)
        before, now = samples[-1], sampled(pid)
        samples.append(now)
        kept, lines = written_so_far(folder, log)
        cpu = 100.0 * (now.cpu - before.cpu) / (now.at - before.at)
        print(
            f"{now.at - begun:7.0f} {cpu:6.1f} {now.memory / 2**20:8.1f} {now.files:6} {kept / 1024:12.0f} {lines:10}",
            flush=True,
        )
    middle, last = samples[len(samples) // 2], samples[-1]
    print(f"whole: {100.0 * (last.cpu - samples[0].cpu) / (last.at - begun):.1f} % of a core")
    return int(last.memory > 1.1 * middle.memory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition(":")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two lines")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(soak(arguments.minutes, arguments.every)))
