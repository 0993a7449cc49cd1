"""Compares building a tree with rsync: `python -m bench.file_trees [--files 100000] [--sparse-gib 5] [--rounds 3]`.

A tree of many small files, with links, attributes, ACLs and one sparse file, is copied in turn by the guard and by
`rsync -aHAXS --delete --checksum`; each ends with one syncfs. Printed are the medians of the times as ratios, for the
copy alone and for the copy with its comparison by hash, which rsync has no equal of: it has three processes that may
run at a time, so seconds of CPU stand beside. Memory is what the copy adds to a guard that is there already, and all
that rsync has; the guard's for a tenth of the files shows whether it is flat.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from logcaster_guard.adapters.files import linux
from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.file_trees import Order, Progress

T = TypeVar("T")
WAYS = ("rsync", "guard", "guard, compared")


class Measured(NamedTuple):
    """What a copy took: seconds, seconds of CPU, and MiB of memory at most."""

    seconds: float
    cpu: float
    peak: float


def make(tree: Path, files: int, sparse_gib: int) -> None:
    """A tree like that of a service that keeps data: a hundred files in a folder, each of a few KiB."""
    entries = [(1, 6, -1), (2, 4, 1_234), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    content = os.urandom(8_192)
    for n in range(files):
        folder = tree / f"{n // 10_000}" / f"{n // 100}"
        if n % 100 == 0:
            folder.mkdir(parents=True)
        path = folder / f"{n}.dat"
        path.write_bytes(content[: n * 37 % 8_192])
        if n % 10 == 0:
            os.setxattr(path, "user.note", b"%d" % n)
        if n % 50 == 0:
            os.setxattr(path, "system.posix_acl_access", acl)
        if n % 20 == 0:
            os.link(path, folder / f"{n}.too")
            (folder / f"{n}.link").symlink_to(f"{n}.dat")
    with (tree / "sparse").open("wb") as file:
        file.truncate(sparse_gib << 30)
        for n in range(sparse_gib):
            os.pwrite(file.fileno(), content, (n << 30) + 12_345)


def copy(way: str, source: Path, production: Path) -> int:
    """Copy the tree to beside production, as the process that is measured; returns the KiB that this took at most."""
    if way == "rsync":
        return copy_by_rsync(source, production.with_name("target"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    beside = finished(build(source, production, Order("bench", 1))).beside
    if way != "guard":
        compared = finished(compare(source, production.parent / beside))
        if not compared.same:
            raise SystemExit(f"the copy differs: {compared.differences[:5]}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def copy_by_rsync(source: Path, target: Path) -> int:
    """The same by rsync, of whose three processes the memory is added up."""
    target.mkdir()
    command = ["rsync", "-aHAXS", "--delete", "--checksum", f"{source}/", f"{target}/"]
    peaks: dict[int, int] = {}
    with subprocess.Popen(command) as running:  # noqa: S603 - paths of the benchmark's own
        while running.poll() is None:
            for pid in family(running.pid):
                peaks[pid] = max(peaks.get(pid, 0), highest_of(pid))
            time.sleep(0.05)
    if running.returncode:
        raise SystemExit("rsync failed")
    handle = os.open(target, os.O_RDONLY)
    linux.sync_file_system(handle)
    os.close(handle)
    return sum(peaks.values())


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in family(int(child)))]


def highest_of(pid: int) -> int:
    """The most memory that a process had, in KiB, which its file no longer tells when it ends."""
    try:
        told = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("utf-8"))
    except OSError:
        return 0
    return int(told[1]) if told else 0


def finished(work: Generator[Progress, None, T]) -> T:
    """The result of the work."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def measured(way: str, source: Path, folder: Path) -> Measured:
    """One copy in a process of its own."""
    place = folder / "place"
    (place / "data").mkdir(parents=True)
    os.sync()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        (folder / "peak").write_text(str(copy(way, source, place / "data")))
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    spent = time.perf_counter() - began
    if status:
        raise SystemExit(f"{way} failed")
    shutil.rmtree(place)
    return Measured(spent, used.ru_utime + used.ru_stime, int((folder / "peak").read_text()) / 1_024)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--sparse-gib", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args(arguments)
    if shutil.which("rsync") is None:
        raise SystemExit("rsync is not on PATH: apt-get install rsync")
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder, source = Path(made), Path(made, "source")
        make(source, given.files, given.sparse_gib)
        found: dict[str, list[Measured]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                found[way].append(measured(way, source, folder))
        few = Path(made, "few")
        make(few, given.files // 10, 0)
        tenth = measured("guard, compared", few, folder).peak
    print(f"{given.files:,} files and {given.sparse_gib} GiB sparse, {given.rounds} rounds in turn")
    middle = {way: Measured(*map(statistics.median, zip(*of, strict=True))) for way, of in found.items()}
    for way, of in middle.items():
        time_ratio, cpu_ratio = of.seconds / middle["rsync"].seconds, of.cpu / middle["rsync"].cpu
        told = f"{of.seconds:6.1f} s {time_ratio:5.2f} x  {of.cpu:6.1f} s of CPU {cpu_ratio:5.2f} x"
        print(f"{way:<16} {told}  {of.peak:5.1f} MiB")
    print(f"the guard, compared, for a tenth of the files: {tenth:.1f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
