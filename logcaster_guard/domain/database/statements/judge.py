"""What is found in statements that run one after the other, as they are gone through."""

from __future__ import annotations

from pglast import ast

from logcaster_guard.domain.database.migrating import LockMode, TableLock
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statement_findings import (
    Check,
    Count,
    Counted,
    CountQuery,
    Doubt,
    Findings,
    Loss,
    LossKind,
    Place,
    Refusal,
    StatementRefused,
    StatementUnjudged,
)
from logcaster_guard.domain.database.statements import queries
from logcaster_guard.domain.database.statements.names import TableNames
from logcaster_guard.domain.message import Message

OWN_SCHEMA = "logcaster_guard"
"""Where the guard keeps what it has done in a database."""

_CATALOGS = frozenset({"pg_catalog", "information_schema", "pg_toast"})
_STRENGTH = {mode: strength for strength, mode in enumerate(LockMode)}


class Judge:
    """Collects findings. `versions` is the tool's table."""

    def __init__(self, versions: TableName, names: TableNames) -> None:
        self.names = names
        self.place = Place("", 0, "")
        self.ctes: frozenset[str] = frozenset()
        self._versions = versions
        self._refused: dict[Message, None] = {}
        self._unjudged: dict[StatementUnjudged, None] = {}
        self._losses: list[Loss] = []
        self._checks: dict[Check, None] = {}
        self._locks: dict[TableName, LockMode] = {}
        self._indexes: dict[TableName, None] = {}

    @property
    def findings(self) -> Findings:
        """Everything so far; locks are in the order in which they are to be taken."""
        by_name = sorted(self._locks.items(), key=lambda lock: (lock[0].schema, lock[0].name))
        return Findings(
            tuple(self._refused),
            tuple(self._unjudged),
            tuple(self._losses),
            tuple(self._checks),
            tuple(TableLock(table, mode) for table, mode in by_name),
            tuple(self._indexes),
            frozenset(self.names.unqualified),
        )

    def refuse(self, why: Refusal, name: str = "") -> None:
        """The statement is never run."""
        place = self.place
        self._refused[StatementRefused(place.file, place.line, place.statement, why, name)] = None

    def refuse_file(self, fault: Message) -> None:
        """A file cannot be read."""
        self._refused[fault] = None

    def doubt(self, why: Doubt, name: str = "") -> None:
        """Nobody can tell what the statement does."""
        self._unjudged[self._doubted(why, name)] = None

    def ask(self, query: str, why: Doubt, name: str) -> None:
        """Nobody can tell what the statement does where the query's answer is above 0."""
        self._checks[Check(query, self._doubted(why, name))] = None

    def _doubted(self, why: Doubt, name: str) -> StatementUnjudged:
        return StatementUnjudged(self.place.file, self.place.line, self.place.statement, why, name)

    def lose(self, kind: LossKind, name: str, count: Count | None = None, *, cascade: bool = False) -> None:
        """The statement destroys something of the object `name`."""
        self._losses.append(Loss(self.place, kind, name, cascade, count))

    def lock(self, table: TableName, mode: LockMode) -> None:
        """The statement locks the table, if it is there before the files."""
        self.spare(table)
        if _STRENGTH[mode] > _STRENGTH[LockMode.ROW_SHARE] and (
            table.schema in _CATALOGS or table.name.startswith("pg_")
        ):
            self.refuse(Refusal.CLUSTER, str(table))
        origin = self.names.origin(table)
        if origin is not None and _STRENGTH[mode] >= _STRENGTH[self._locks.get(origin, LockMode.ACCESS_SHARE)]:
            self._locks[origin] = mode

    def lock_of_index(self, index: TableName) -> None:
        """The statement locks the table of an index."""
        if self.names.origin(index) is not None:
            self._indexes[index] = None

    def spare(self, table: TableName) -> None:
        """Refuse what touches the tool's table, or the guard's own: the guard alone writes there."""
        if table.schema == OWN_SCHEMA or table == self._versions:
            self.refuse(Refusal.OWN, str(table))

    def spare_schema(self, schema: str) -> None:
        """Refuse what touches the schema of one of these tables as a whole."""
        if schema in {OWN_SCHEMA, self._versions.schema}:
            self.refuse(Refusal.OWN, schema)

    def rows_of(self, table: TableName, *, exact: bool = True) -> Count | None:
        """How to count all rows of a table; 0 if the files made it, None if they made it as a view of others."""
        if self.names.is_view(table):
            return None
        origin = self.names.origin(table)
        if origin is None:
            return 0
        return CountQuery(queries.rows(origin), Counted.ROWS, exact, origin)

    def is_cte(self, relation: ast.RangeVar) -> bool:
        """Whether this names a part of the statement itself."""
        return not relation.schemaname and relation.relname in self.ctes
