"""Compares building a tree with rsync: `python -m bench.file_trees [--files 100000] [--sparse-gib 5] [--rounds 3]`.

A tree of many small files, with links, attributes, ACLs and one sparse file, is copied in turn by the guard and by
`rsync -aHAXS --delete --checksum`; each ends with one syncfs. Printed are the medians of the times and the peaks of
memory (of the largest process) as ratios, for the copy alone and for the copy with its comparison by hash, which
rsync has no equal of; and the guard's peak for a tenth of the files, which shows whether memory is flat.
"""

from __future__ import annotations

import argparse
import os
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
from typing import TypeVar

from logcaster_guard.adapters.files import linux
from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.file_trees import Order, Progress

T = TypeVar("T")
WAYS = ("rsync", "guard", "guard, compared")


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


def copy(way: str, source: Path, production: Path) -> None:
    """Copy the tree to beside production, as the process that is measured."""
    if way == "rsync":
        target = production.with_name("target")
        target.mkdir()
        command = ["rsync", "-aHAXS", "--delete", "--checksum", f"{source}/", f"{target}/"]
        subprocess.run(command, check=True)  # noqa: S603 - paths of the benchmark's own
        handle = os.open(target, os.O_RDONLY)
        linux.sync_file_system(handle)
        os.close(handle)
        return
    beside = finished(build(source, production, Order("bench", 1))).beside
    if way != "guard":
        compared = finished(compare(source, production.parent / beside))
        if not compared.same:
            raise SystemExit(f"the copy differs: {compared.differences[:5]}")


def finished(work: Generator[Progress, None, T]) -> T:
    """The result of the work."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def measured(way: str, source: Path, folder: Path) -> tuple[float, float]:
    """Seconds, and MiB of the largest process, of one copy in a process of its own."""
    place = folder / "place"
    (place / "data").mkdir(parents=True)
    os.sync()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        copy(way, source, place / "data")
        peak = max(resource.getrusage(who).ru_maxrss for who in PEAKS[way])
        (folder / "peak").write_text(str(peak))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    spent = time.perf_counter() - began
    if status:
        raise SystemExit(f"{way} failed")
    shutil.rmtree(place)
    return spent, int((folder / "peak").read_text()) / 1_024


PEAKS = {
    "rsync": (resource.RUSAGE_CHILDREN,),
    "guard": (resource.RUSAGE_SELF,),
    "guard, compared": (resource.RUSAGE_SELF,),
}


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
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                found[way].append(measured(way, source, folder))
        few = Path(made, "few")
        make(few, given.files // 10, 0)
        tenth = measured("guard, compared", few, folder)[1]
    seconds = {way: statistics.median(spent for spent, _ in of) for way, of in found.items()}
    peaks = {way: max(peak for _, peak in of) for way, of in found.items()}
    print(f"{given.files:,} files and {given.sparse_gib} GiB sparse, {given.rounds} rounds in turn")
    for way in WAYS:
        time_ratio, peak_ratio = seconds[way] / seconds["rsync"], peaks[way] / peaks["rsync"]
        print(f"{way:<16} {seconds[way]:6.1f} s  {time_ratio:4.2f} x  {peaks[way]:5.0f} MiB  {peak_ratio:4.2f} x")
    print(f"peak for a tenth of the files: {tenth:.0f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
