"""What a migration is asked to do, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.message import Reason

LONGEST_LOCK_TIMEOUT = 2.0
"""Seconds that the locks of one attempt may wait together: whoever reads a table waits behind them."""


_EXCHANGES = 30.0
"""Seconds for all that an attempt does beside files and counts."""


class LockMode(StrEnum):
    """PostgreSQL's table locks, weakest first."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class TableLock:
    """A table that is locked before the first file."""

    table: TableName
    mode: LockMode = LockMode.ACCESS_EXCLUSIVE


@dataclass(frozen=True, slots=True)
class Script:
    """A file to run, and the version that it leaves behind; None: none, as before the first migration."""

    name: str
    text: str
    leaves: int | None


@dataclass(frozen=True, slots=True)
class Invariant:
    """A query that answers with one whole number, and by how much the migration may change it."""

    query: str
    may_lose: int = 0
    may_gain: int = 0

    def holds(self, before: int, after: int) -> bool:
        """Whether the migration may do that."""
        return -self.may_lose <= after - before <= self.may_gain


@dataclass(frozen=True, slots=True)
class MigrationOrder:
    """A migration as it was approved; `plan` is the digest that the approval is bound to.

    `operation` is the same in every attempt: it is carried out once. `present` is the version that the database must
    have. Seconds: `lock_timeout` for all locks of one attempt, `statement_timeout` for each file and each count,
    `deadline` for all attempts to get the locks.
    """

    operation: str
    epoch: int
    plan: str
    present: int
    scripts: Sequence[Script]
    locks: Sequence[TableLock]
    invariants: Sequence[Invariant]
    search_path: Sequence[str]
    lock_timeout: float = LONGEST_LOCK_TIMEOUT
    statement_timeout: float = 600.0
    deadline: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what no plan can mean; raises `ValueError`."""
        if not self.scripts:
            raise ValueError("a migration has at least one file")
        if not 0 < self.lock_timeout <= LONGEST_LOCK_TIMEOUT:
            raise ValueError(f"lock_timeout is above 0 and at most {LONGEST_LOCK_TIMEOUT} s")

    @property
    def destination(self) -> int | None:
        """The version that the last file leaves behind."""
        return self.scripts[-1].leaves

    @property
    def longest(self) -> float:
        """Seconds that one attempt may take, COMMIT left out; a server that hangs keeps to no timeout of its own."""
        return _EXCHANGES + self.statement_timeout * (len(self.scripts) + 2 * len(self.invariants))


@dataclass(frozen=True, slots=True)
class Backend:
    """A session at the server: its process, and when that began. A later process may have the same number."""

    pid: int
    started: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the journal keeps of a migration before its first file is run, so that its outcome can be asked for.

    `transaction` is that in which the files are run; None: none had been begun.
    """

    operation: str
    plan: str
    present: int
    destination: int | None
    backend: Backend
    transaction: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """The database is at the destination: what the invariants counted under the locks, before and after.

    `repeated`: an earlier attempt of the same operation did it.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Nothing has changed, and nothing of this attempt will."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class CommitUnknown:
    """Nobody was told whether it committed: ask for the outcome."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """The attempt has ended and changed nothing."""


@dataclass(frozen=True, slots=True)
class StillOpen:
    """Something goes on that may change the answer, such as a backend that does not end: ask again."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class OutcomeUnclear:
    """The traces of the attempt do not agree, or one cannot be read: a person has to look."""

    reason: Reason


Migrated = Committed | RolledBack | CommitUnknown
Outcome = Committed | NotCommitted | StillOpen | OutcomeUnclear
