"""Why migration files cannot be undone, as messages. `file` is a file's name, `version` a schema version."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message


class BadContent(StrEnum):
    """What is wrong with a file before anything in it is read as SQL."""

    EMPTY = "empty"
    BYTE_ORDER_MARK = "byte order mark"
    NOT_TEXT = "not text"
    NUL = "NUL"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class NoDownFile(Message):
    """A version has an up file alone, so nothing undoes it."""

    version: int
    file: str
    kind: Literal["migration.no_down_file"] = "migration.no_down_file"


@dataclass(frozen=True, slots=True)
class PresentWithoutFile(Message):
    """The database is at a version that no file has, so the files are another release's."""

    version: int
    kind: Literal["migration.present_without_file"] = "migration.present_without_file"


@dataclass(frozen=True, slots=True)
class NoSuchVersion(Message):
    """The destination is no version of the files; `known` are those below the present one."""

    version: str
    known: tuple[str, ...]
    kind: Literal["migration.no_such_version"] = "migration.no_such_version"


@dataclass(frozen=True, slots=True)
class DestinationAbove(Message):
    """The destination is above the present version: that is no way down. `present` is `none` before the first one."""

    version: int
    present: str
    kind: Literal["migration.destination_above"] = "migration.destination_above"


@dataclass(frozen=True, slots=True)
class VersionTwice(Message):
    """Several files have the same version and direction; the migration tool refuses all of them."""

    version: int
    files: tuple[str, ...]
    kind: Literal["migration.version_twice"] = "migration.version_twice"


@dataclass(frozen=True, slots=True)
class VersionTooLarge(Message):
    """The version does not fit into the column that holds it (bigint)."""

    version: int
    file: str
    kind: Literal["migration.version_too_large"] = "migration.version_too_large"


@dataclass(frozen=True, slots=True)
class NoMigrations(Message):
    """No file is a migration; `others` are SQL files with other names."""

    others: tuple[str, ...]
    kind: Literal["migration.none"] = "migration.none"


@dataclass(frozen=True, slots=True)
class UnusableFile(Message):
    """A file that would have to be run cannot be read as text; `most` is the largest size in bytes."""

    file: str
    content: BadContent
    most: int
    kind: Literal["migration.unusable_file"] = "migration.unusable_file"
