"""Why a database is not migrated, and why a migration of it did not happen, as messages. Seconds are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class OtherMajor(Message):
    """The server is of a major version that was not tested."""

    found: int
    needed: int
    kind: Literal["database.other_major"] = "database.other_major"


@dataclass(frozen=True, slots=True)
class PoolerBetween(Message):
    """A connection pooler stands between the guard and the server."""

    kind: Literal["database.pooler"] = "database.pooler"


@dataclass(frozen=True, slots=True)
class NotWritable(Message):
    """The server takes no writes."""

    standby: bool
    kind: Literal["database.not_writable"] = "database.not_writable"


@dataclass(frozen=True, slots=True)
class NoMigrationTool(Message):
    """No tool's table of versions is there."""

    kind: Literal["database.no_tool"] = "database.no_tool"


@dataclass(frozen=True, slots=True)
class ToolReadOnly(Message):
    """The versions are kept by a tool whose table the guard only reads."""

    tool: str
    table: str
    kind: Literal["database.tool_read_only"] = "database.tool_read_only"


@dataclass(frozen=True, slots=True)
class SeveralVersions(Message):
    """golang-migrate's table has more than one row."""

    table: str
    rows: int
    kind: Literal["database.several_versions"] = "database.several_versions"


@dataclass(frozen=True, slots=True)
class DirtyVersion(Message):
    """A migration of the tool's own failed half-way."""

    table: str
    version: str
    kind: Literal["database.dirty"] = "database.dirty"


@dataclass(frozen=True, slots=True)
class VersionMoved(Message):
    """The version is another than the plan was made for; a version is empty where there is none."""

    table: str
    found: str
    expected: str
    kind: Literal["database.version_moved"] = "database.version_moved"


@dataclass(frozen=True, slots=True)
class ToolAtWork(Message):
    """A migration tool holds its lock."""

    lock: int
    kind: Literal["database.tool_at_work"] = "database.tool_at_work"


@dataclass(frozen=True, slots=True)
class OfOldLeader(Message):
    """A newer leader has been there."""

    epoch: int
    newer: int
    kind: Literal["database.old_leader"] = "database.old_leader"


@dataclass(frozen=True, slots=True)
class LocksNotHad(Message):
    """The locks could not be had within the deadline; `waited_for` is what the last attempt waited for."""

    seconds: float
    attempts: int
    waited_for: str
    kind: Literal["database.locks_not_had"] = "database.locks_not_had"


@dataclass(frozen=True, slots=True)
class AttemptTooLong(Message):
    """An attempt was given up because the server did not answer; `at` is the file or the table that it was at."""

    seconds: float
    at: str
    kind: Literal["database.attempt_too_long"] = "database.attempt_too_long"


@dataclass(frozen=True, slots=True)
class OperationOfAnotherPlan(Message):
    """The operation was carried out with another plan."""

    operation: str
    kind: Literal["database.operation_of_another_plan"] = "database.operation_of_another_plan"


@dataclass(frozen=True, slots=True)
class ScriptFailed(Message):
    """A file failed; `line` counts from 1 and is 0 where the server names none."""

    file: str
    line: int
    sqlstate: str
    words: Reason
    kind: Literal["database.script_failed"] = "database.script_failed"


@dataclass(frozen=True, slots=True)
class ScriptEndedTransaction(Message):
    """A file ended the transaction in which it was run."""

    file: str
    kind: Literal["database.script_ended_transaction"] = "database.script_ended_transaction"


@dataclass(frozen=True, slots=True)
class VersionNotWritten(Message):
    """Writing the version after a file changed another number of rows than one."""

    file: str
    table: str
    rows: int
    kind: Literal["database.version_not_written"] = "database.version_not_written"


@dataclass(frozen=True, slots=True)
class InvariantBroken(Message):
    """What a query counts changed by more than it may."""

    query: str
    before: int
    after: int
    may_lose: int
    may_gain: int
    kind: Literal["database.invariant_broken"] = "database.invariant_broken"
