"""Trees of files: one is built beside production, compared, and takes its place in one call.

`production` is the path of a folder. What is built for it stands in the same parent, under names that begin with
`.<its name>.guard-`. Each operation has an id, and is found done when it is asked for again; a leader that a later one
has followed is refused. Work that takes long is an async generator: it yields its progress, and last its result.
Closing it ends the work between two files (or two pieces of one) and takes away what was not finished.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Doing(StrEnum):
    """What work on a tree is at."""

    CLEARING = "clearing"
    MEASURING = "measuring"
    COPYING = "copying"
    UNPACKING = "unpacking"
    SYNCING = "syncing"
    COMPARING = "comparing"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: entries and bytes done, of how many (0: nobody knows)."""

    doing: Doing
    entries: int = 0
    size: int = 0
    of_entries: int = 0
    of_size: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """On whose word: the operation's id (at most 64 of letters, digits, `.`, `_` and `-`) and the leader's epoch."""

    operation: str
    epoch: int


@dataclass(frozen=True, slots=True)
class UnpackPolicy:
    """How much an archive may hold, and whether its files may have setuid or setgid."""

    most_members: int = 2_000_000
    most_bytes: int = 1 << 40
    set_id: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """A whole tree beside production, on disk, under the name `beside`; `found`: an earlier call had built it.

    `varied` are the first files that somebody wrote while they were copied, at most 20.
    `archive` is the SHA-256 of the archive that it was unpacked from. What was found has neither.
    """

    beside: str
    found: bool = False
    entries: int = 0
    size: int = 0
    varied: Sequence[str] = ()
    archive: str = ""


class Aspect(StrEnum):
    """In what two trees differ at one name."""

    MISSING = "missing"
    ADDED = "added"
    KIND = "kind"
    CONTENT = "content"
    OWNER = "owner"
    MODE = "mode"
    MODIFIED = "modified"
    XATTRS = "xattrs"
    TARGET = "target"
    LINKS = "links"
    HOLES = "holes"
    VARYING = "varying"


@dataclass(frozen=True, slots=True)
class Difference:
    """A name at which the second tree is not as the first; `VARYING`: a file was written while it was read."""

    path: str
    aspect: Aspect


@dataclass(frozen=True, slots=True)
class TreeDigest:
    """SHA-256 over every name, content and kept attribute of a tree, and how much that was.

    Holes are not part of it (some file systems make them by themselves), nor are times of access.
    """

    sha256: str
    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two trees, and the first differences between them; `more` were found beyond these."""

    first: TreeDigest
    second: TreeDigest
    differences: Sequence[Difference] = ()
    more: int = 0

    @property
    def same(self) -> bool:
        """Nothing differs, and nothing varied while it was read."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Exchange:
    """The tree `beside` is to take the place of production; digests as they were compared (empty: not read)."""

    beside: str
    new: str
    replaced: str = ""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Production is the new tree; the replaced one stands under `replaced`. `found`: it was so already."""

    replaced: str
    found: bool = False


@dataclass(frozen=True, slots=True)
class Replaced:
    """A tree that was production until `at`; `exchange` can bring it back by its name."""

    beside: str
    at: datetime
    operation: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands at a production tree: whole trees by operation, replaced ones by time, names of unfinished ones.

    `operation` was the last that began to exchange, `done`: it has; `epoch` is that of the last leader (0: none).
    """

    ready: Mapping[str, str]
    replaced: Sequence[Replaced]
    unfinished: Sequence[str]
    operation: str
    done: bool
    epoch: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """The replaced trees that were removed, by name."""

    removed: Sequence[str]


class FileTrees(Protocol):
    """Trees of files where the volume is mounted. Failures are `domain.errors.TreeError`s."""

    def build(self, source: Path, production: Path, order: Order) -> AsyncGenerator[Progress | Built, None]:
        """Copy the tree `source` to beside production, on the same file system, and sync it.

        It shares nothing with the source but, where the file system can, blocks until they are written. Content,
        owners, modes, times, links, holes and extended attributes (ACLs among them) are kept.
        """

    def unpack(
        self, archive: Path, production: Path, order: Order, policy: UnpackPolicy
    ) -> AsyncGenerator[Progress | Built, None]:
        """Unpack a `.tar.gz` to beside production, and sync it; one member that may not be refuses all of it."""

    def compare(self, first: Path, second: Path) -> AsyncGenerator[Progress | Comparison, None]:
        """Read both trees whole."""

    async def look(self, production: Path) -> Surroundings:
        """What stands at production."""

    async def fence(self, production: Path, epoch: int) -> None:
        """From here on refuse every leader before `epoch`; raises `TreeSuperseded` if a later one was here."""

    async def exchange(self, production: Path, wanted: Exchange, order: Order, now: datetime) -> Exchanged:
        """Put the tree into the place of production in one call, on disk when it returns."""

    def prune(self, production: Path, epoch: int, before: datetime) -> AsyncGenerator[Progress | Pruned, None]:
        """Remove the trees that were replaced before `before`, and whatever was never finished."""
