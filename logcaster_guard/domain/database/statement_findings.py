"""What the statements of a file were found to do, as values and messages. `file` and `line` tell where one begins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.database.migrating import TableLock
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.message import Message


class Refusal(StrEnum):
    """Why a statement is never run."""

    TRANSACTION = "transaction"
    SETTING = "setting"
    OUTSIDE = "outside"
    CLUSTER = "cluster"
    LOCK = "lock"
    COPY = "copy"
    PREPARED = "prepared"
    SESSIONS = "sessions"
    OWN = "own"
    FUNCTION = "function"
    UNLISTED = "unlisted"


class Doubt(StrEnum):
    """Why nobody can tell from the file what a statement does."""

    CODE = "code"
    FUNCTION = "function"
    OPERATOR = "operator"
    EXTENSION = "extension"
    RULE = "rule"
    SWITCHED_OFF = "switched off"
    REFRESH = "refresh"
    TRIGGERS = "triggers"
    FOREIGN_KEYS = "foreign keys"
    RULES = "rules"


class LossKind(StrEnum):
    """What a statement destroys."""

    TABLE = "table"
    COLUMN = "column"
    MATERIALIZED_VIEW = "materialized view"
    SCHEMA = "schema"
    TYPE = "type"
    EXTENSION = "extension"
    SEQUENCE = "sequence"
    SEQUENCE_RESET = "sequence reset"
    DELETE = "delete"
    UPDATE = "update"
    TRUNCATE = "truncate"
    TYPE_CHANGE = "type change"
    PARTITION = "partition"
    DEPENDENTS = "dependents"


class Counted(StrEnum):
    """What the number of a loss counts."""

    ROWS = "rows"
    VALUES = "values"
    COLUMNS = "columns"
    TABLES = "tables"
    OBJECTS = "objects"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a statement begins, and by which words."""

    file: str
    line: int
    statement: str


@dataclass(frozen=True, slots=True)
class CountQuery:
    """How to count a loss before anything is changed; not `exact`: so many at most.

    `table` is the table or view that it asks, which need not be there: then nothing is lost with it.
    """

    query: str
    counted: Counted
    exact: bool = True
    table: TableName | None = None


Count = CountQuery | Literal[0]
"""How to count a loss; 0 of what the files themselves have made."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a statement destroys of `object`; `count` is None where nothing can be counted.

    `cascade`: and whatever depends on it, which the file does not name.
    """

    place: Place
    kind: LossKind
    object: str
    cascade: bool = False
    count: Count | None = None


@dataclass(frozen=True, slots=True)
class StatementRefused(Message):
    """A statement that the guard runs in no case; `name` is what it calls or touches, or empty."""

    file: str
    line: int
    statement: str
    why: Refusal
    name: str
    kind: Literal["statement.refused"] = "statement.refused"


@dataclass(frozen=True, slots=True)
class StatementUnjudged(Message):
    """A statement whose effect nobody can tell from the file; it needs an approval."""

    file: str
    line: int
    statement: str
    why: Doubt
    name: str
    kind: Literal["statement.unjudged"] = "statement.unjudged"


@dataclass(frozen=True, slots=True)
class StatementLoses(Message):
    """A loss with its number, counted; `count` is None where it could not be. `exact`: it is no bound."""

    file: str
    line: int
    statement: str
    what: LossKind
    object: str
    cascade: bool
    count: int | None
    counted: Counted
    exact: bool
    kind: Literal["statement.loses"] = "statement.loses"


@dataclass(frozen=True, slots=True)
class NotSql(Message):
    """The file is not SQL as PostgreSQL reads it; `words` are its parser's."""

    file: str
    line: int
    column: int
    words: str
    kind: Literal["statement.not_sql"] = "statement.not_sql"


@dataclass(frozen=True, slots=True)
class TooDeep(Message):
    """A statement is nested more deeply than the guard reads; `most` counts the words that may follow in one piece."""

    file: str
    line: int
    most: int
    kind: Literal["statement.too_deep"] = "statement.too_deep"


@dataclass(frozen=True, slots=True)
class NoStatement(Message):
    """The file holds comments alone."""

    file: str
    kind: Literal["statement.none"] = "statement.none"


@dataclass(frozen=True, slots=True)
class Check:
    """A question to the database: where the answer is above 0, the statement cannot be judged, as `doubt` says."""

    query: str
    doubt: StatementUnjudged


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was found in files that run one after the other.

    `locks` are of tables that were there before the files. `indexes` are those whose tables are locked too: no file
    names them. `unqualified` are the names of tables and the like that are written without a schema.
    """

    refused: tuple[Message, ...] = ()
    unjudged: tuple[StatementUnjudged, ...] = ()
    losses: tuple[Loss, ...] = ()
    checks: tuple[Check, ...] = ()
    locks: tuple[TableLock, ...] = ()
    indexes: tuple[TableName, ...] = ()
    unqualified: frozenset[str] = frozenset()
