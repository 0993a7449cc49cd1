"""A tree with everything that is kept, and what is done with trees in the tests."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.adapters.files.exchange import exchange
from logcaster_guard.file_trees import Built, Comparison, Exchange, Exchanged, Order, Progress, TreeDigest
from tests.real.file_systems import may_mount

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FIRST = Order("first", 3)
# A root that may not mount may not give `trusted` attributes either.
ROOT = os.geteuid() == 0 and may_mount()
"""Only root may give files away, or keep what belongs to others."""

MIB = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """A folder on a file system, with a tree to build from and the one that serves."""

    kind: str
    folder: Path

    def __post_init__(self) -> None:
        for made in (self.source, self.production):
            made.mkdir()
        (self.production / "present").write_text("now")

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def production(self) -> Path:
        return self.folder / "data"

    @property
    def others(self) -> set[str]:
        """What stands there beside the two, and the guard's marker and lock."""
        own = {"source", "data", ".data.guard-json", ".data.guard-lock"}
        return {path.name for path in self.folder.iterdir()} - own

    def build(self, order: Order = FIRST) -> Built:
        return finished(build(self.source, self.production, order))

    def compare(self, beside: str) -> Comparison:
        return finished(compare(self.source, self.folder / beside))

    def exchange(self, beside: str, order: Order = FIRST, new: str = "digest") -> Exchanged:
        return exchange(self.production, Exchange(beside, new), order, NOW)


def finished(work: Generator[Progress, None, T]) -> T:
    """The result of work that nobody watches."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def small(tree: Path) -> None:
    """A few entries of each common kind."""
    (tree / "below" / "further").mkdir(parents=True)
    for n in range(12):
        (tree / "below" / f"{n}.txt").write_text(f"file {n}")
    (tree / "link").symlink_to("below/1.txt")
    os.link(tree / "below" / "2.txt", tree / "below" / "further" / "again")


def whole(tree: Path) -> None:
    """An entry of every kind, and with every attribute, that is kept."""
    small(tree)
    (tree / "empty").touch()
    (tree / "large").write_bytes(os.urandom(MIB + 4_097))
    with (tree / "sparse").open("wb") as file:
        file.truncate(5 * MIB + 17)
        os.pwrite(file.fileno(), b"in the middle" * 1_000, 3 * MIB + 5)
    with (tree / "all hole").open("wb") as file:
        file.truncate(3 * MIB)
    os.link(tree / "large", tree / "below" / "large too")
    (tree / "below" / "up and down").symlink_to("../below")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "alone").mkdir()
    (tree / "alone" / "inside").write_text("alone")
    os.link(tree / "dangling", tree / "dangling too", follow_symlinks=False)
    for name in (b"not \xff utf-8", b"two\nlines", b"n" * 255, b" ' \" $(true)"):
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_text("odd")
    _attributes(tree)


def _attributes(tree: Path) -> None:
    os.setxattr(tree / "empty", "user.note", b"a\0b")
    os.setxattr(tree / "below", "user.note", b"")
    give_acl(tree / "below" / "6.txt", "access")
    give_acl(tree / "below" / "further", "default")
    if ROOT:
        os.setxattr(tree / "below" / "3.txt", "security.capability", struct.pack("<IIIII", 0x2000001, 1 << 10, 0, 0, 0))
        os.setxattr(tree / "link", "trusted.note", b"of the link", follow_symlinks=False)
        os.chown(tree / "below" / "4.txt", 1_234, 5_678)
        os.chown(tree / "below", 1_234, 5_678)
        os.chown(tree / "link", 4_321, 8_765, follow_symlinks=False)
    for name, mode in {"below/4.txt": 0o6755, "below/5.txt": 0o000, "below/further": 0o3571, "empty": 0o640}.items():
        (tree / name).chmod(mode)
    for n, name in enumerate(["large", "sparse", "below/further", "below", "link", "."]):
        os.utime(tree / name, ns=(10**18 + n, 1_500_000_000_123_456_789 + n), follow_symlinks=False)


def give_acl(path: Path, kind: Literal["access", "default"]) -> None:
    """`user:1234:r--`, as `setfacl` writes it; a default one is for what is made in a folder."""
    entries = [(1, 6, -1), (2, 4, 1_234), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, f"system.posix_acl_{kind}", acl)


def names_of(tree: Path) -> dict[str, os.stat_result]:
    """Every entry below a tree, by its path."""
    found = {}
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(folder) / name
            found[str(path.relative_to(tree))] = path.lstat()
    return found


def in_tree(tree: Path) -> TreeDigest:
    """What the tree tells of itself by its digest."""
    return finished(compare(tree, tree)).first


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)
