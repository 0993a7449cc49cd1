"""Migration files by their names, as golang-migrate reads them, and the way down from one version to another.

A file is `<version>_<title>.up.sql` or `….down.sql`. Versions are whole numbers of 64 bits that need not be
consecutive; zeros may lead (`0007` is 7). Below the lowest version is none, which is `None`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from logcaster_guard.domain.database.migration_faults import (
    BadContent,
    DestinationAbove,
    NoDownFile,
    NoMigrations,
    NoSuchVersion,
    PresentWithoutFile,
    UnusableFile,
    VersionTooLarge,
    VersionTwice,
)
from logcaster_guard.domain.message import Message

NONE = "none"
"""How people write the version before the first migration."""
MAX_FILE_BYTES = 256 << 10
"""A file to run; its parser's time and memory grow with it."""

_NAME = re.compile(r"([0-9]+)_(.*)\.(down|up)\.(.*)", re.ASCII)
_ABOVE_COUNTED = 1 << 64
"""What the tool counts no further than: a larger number is no version to it."""
_ABOVE_STORED = 1 << 63
"""What the tool's table (bigint) cannot hold."""
_SHOWN = 5


class Direction(StrEnum):
    """Whether a file makes a version or undoes it."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class MigrationName:
    """A file's name, read."""

    name: str
    version: int
    title: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """A file with what it holds; `sha256` is that of its bytes, in hex."""

    name: str
    version: int
    title: str
    direction: Direction
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Undo:
    """A down file to run, and the version that it leaves behind; None: none."""

    file: MigrationName
    leaves: int | None


@dataclass(frozen=True, slots=True)
class WayDown:
    """The down files from one version to another, in their order, and everything that keeps them from being run."""

    present: int | None
    destination: int | None
    undone: tuple[Undo, ...] = ()
    faults: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class MigrationSet:
    """The migrations of one folder. `others` are SQL files that the tool passes over for their names."""

    names: tuple[MigrationName, ...]
    others: tuple[str, ...] = ()

    @property
    def versions(self) -> Sequence[int]:
        """Every version that some file has, the lowest first."""
        return sorted({n.version for n in self.names})

    def of(self, version: int, direction: Direction) -> Sequence[MigrationName]:
        """The files of one version and direction: one, unless there is a fault."""
        return [n for n in self.names if (n.version, n.direction) == (version, direction)]

    @property
    def faults(self) -> Sequence[Message]:
        """What is wrong with the files wherever the way goes."""
        if not self.names:
            return [NoMigrations(self.others[:_SHOWN])]
        by_key: dict[tuple[int, Direction], list[str]] = defaultdict(list)
        for name in self.names:
            by_key[name.version, name.direction].append(name.name)
        large = [VersionTooLarge(n.version, n.name) for n in self.names if n.version >= _ABOVE_STORED]
        twice = [VersionTwice(key[0], tuple(files)) for key, files in sorted(by_key.items()) if len(files) > 1]
        return [*large, *twice]


def parsed_name(name: str) -> MigrationName | None:
    """The name as golang-migrate reads it; None for a file that it passes over."""
    found = _NAME.fullmatch(name)
    digits = "" if found is None else found[1].lstrip("0") or "0"
    # The length first: Python refuses to count thousands of digits.
    if found is None or len(digits) > 20 or int(digits) >= _ABOVE_COUNTED:
        return None
    return MigrationName(name, int(digits), found[2], Direction(found[3]))


def migration_set(names: Iterable[str]) -> MigrationSet:
    """The migrations among the files of a folder, in the order of their versions."""
    found, others = list[MigrationName](), list[str]()
    for name in names:
        parsed = parsed_name(name)
        if parsed is not None:
            found.append(parsed)
        elif name.lower().endswith(".sql"):
            others.append(name)
    return MigrationSet(tuple(sorted(found, key=lambda n: (n.version, n.direction, n.name))), tuple(sorted(others)))


def destination_of(version: int, migrations: MigrationSet) -> int | None:
    """What is meant by a version to go to: 0 is none, unless some file has that version."""
    return None if version == 0 and 0 not in migrations.versions else version


def way_down(migrations: MigrationSet, present: int | None, destination: int | None) -> WayDown:
    """How to get from the present version to the destination, or everything that is in the way of it.

    Without a fault the files are those of every version above the destination, up to the present one, from the top.
    """
    above = [v for v in migrations.versions if present is not None and _below(destination, v) and v <= present]
    undone = tuple(
        Undo(name, leaves)
        for version, leaves in zip(reversed(above), [*above[-2::-1], destination], strict=False)
        for name in migrations.of(version, Direction.DOWN)[:1]
    )
    gaps = (
        NoDownFile(version, migrations.of(version, Direction.UP)[0].name)
        for version in reversed(above)
        if not migrations.of(version, Direction.DOWN)
    )
    return WayDown(
        present, destination, undone, (*migrations.faults, *_astray(migrations, present, destination), *gaps)
    )


def _astray(migrations: MigrationSet, present: int | None, destination: int | None) -> Iterator[Message]:
    """What is wrong with the two ends."""
    known = set(migrations.versions)
    if not known:
        return
    if present is not None and present not in known:
        yield PresentWithoutFile(present)
    if destination is None:
        return
    if not _below(destination, present):
        if destination != present:
            yield DestinationAbove(destination, shown_version(present))
    elif destination not in known:
        below = [str(v) for v in known if _below(v, present)]
        yield NoSuchVersion(str(destination), tuple(sorted(below, key=int, reverse=True)[:_SHOWN]))


def _below(version: int | None, other: int | None) -> bool:
    return other is not None and (version is None or version < other)


def shown_version(version: int | None) -> str:
    """A version as people write it."""
    return NONE if version is None else str(version)


def read_file(name: MigrationName, content: bytes) -> MigrationFile | UnusableFile:
    """The file, or why it cannot be read as text that PostgreSQL takes as it stands."""
    bad = _bad_content(content)
    if bad is not None:
        return UnusableFile(name.name, bad, MAX_FILE_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    return MigrationFile(name.name, name.version, name.title, name.direction, content.decode("utf-8"), digest)


def _bad_content(content: bytes) -> BadContent | None:
    if len(content) > MAX_FILE_BYTES:
        return BadContent.TOO_LARGE
    if not content.strip():
        return BadContent.EMPTY
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return BadContent.BYTE_ORDER_MARK
    if b"\0" in content:
        return BadContent.NUL
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return BadContent.NOT_TEXT
    return None
