"""DROP: what goes, and with what."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pglast import ast
from pglast.enums import DropBehavior, ObjectType

from logcaster_guard.domain.database.migrating import LockMode
from logcaster_guard.domain.database.statement_findings import Counted, CountQuery, LossKind, Refusal
from logcaster_guard.domain.database.statements import queries
from logcaster_guard.domain.database.statements.judge import Judge
from logcaster_guard.domain.database.statements.tree import words_of

Words = tuple[str, ...]


def drop(node: ast.DropStmt, on: Judge) -> None:
    """Each object that it names, and with CASCADE what depends on it."""
    if node.concurrent:
        on.refuse(Refusal.OUTSIDE)
        return
    cascade = node.behavior == DropBehavior.DROP_CASCADE
    lossy, lossless = _LOSSY.get(node.removeType), _LOSSLESS.get(node.removeType)
    for dropped in node.objects or ():
        words = words_of(dropped)
        if lossy is not None:
            lossy(words, cascade, on)
        elif lossless is not None:
            lossless(words, on)
            if cascade:
                on.lose(LossKind.DEPENDENTS, ".".join(words), cascade=True)
        else:
            on.refuse(Refusal.UNLISTED)


def _table(words: Words, cascade: bool, on: Judge) -> None:
    table = on.names.written(*words)
    on.lock(table, LockMode.ACCESS_EXCLUSIVE)
    on.lose(LossKind.TABLE, str(table), on.rows_of(table), cascade=cascade)
    on.names.drop(table)


def _materialized_view(words: Words, cascade: bool, on: Judge) -> None:
    view = on.names.written(*words)
    on.spare(view)
    on.lose(LossKind.MATERIALIZED_VIEW, str(view), on.rows_of(view), cascade=cascade)
    on.names.drop(view)


def _sequence(words: Words, cascade: bool, on: Judge) -> None:
    sequence = on.names.written(*words)
    on.spare(sequence)
    on.lose(LossKind.SEQUENCE, str(sequence), cascade=cascade)
    on.names.drop(sequence)


def _schema(words: Words, cascade: bool, on: Judge) -> None:
    on.spare_schema(words[-1])
    count = CountQuery(queries.tables_in(words[-1]), Counted.TABLES) if on.names.is_untouched(words[-1]) else None
    on.lose(LossKind.SCHEMA, words[-1], count, cascade=cascade)
    on.names.change(words[-1])


def _type(words: Words, cascade: bool, on: Judge) -> None:
    count = CountQuery(queries.columns_of_type(*words), Counted.COLUMNS) if on.names.is_untouched(words[-1]) else None
    on.lose(LossKind.TYPE, ".".join(words), count, cascade=cascade)
    on.names.change(words[-1])


def _extension(words: Words, cascade: bool, on: Judge) -> None:
    on.lose(LossKind.EXTENSION, words[-1], CountQuery(queries.members_of(words[-1]), Counted.OBJECTS), cascade=cascade)


def _view(words: Words, on: Judge) -> None:
    view = on.names.written(*words)
    on.spare(view)
    on.names.drop(view)


def _index(words: Words, on: Judge) -> None:
    index = on.names.written(*words)
    on.lock_of_index(index)
    on.names.drop(index)


def _of_table(words: Words, on: Judge) -> None:
    """A trigger, rule or policy: its name stands behind that of its table."""
    on.lock(on.names.written(*words[:-1]), LockMode.ACCESS_EXCLUSIVE)


def _nothing_else(words: Words, on: Judge) -> None:
    """What holds no data, and locks no table."""
    on.names.change(words[-1])


_LOSSY: Mapping[ObjectType | None, Callable[[Words, bool, Judge], None]] = {
    ObjectType.OBJECT_TABLE: _table,
    ObjectType.OBJECT_MATVIEW: _materialized_view,
    ObjectType.OBJECT_SEQUENCE: _sequence,
    ObjectType.OBJECT_SCHEMA: _schema,
    ObjectType.OBJECT_TYPE: _type,
    ObjectType.OBJECT_DOMAIN: _type,
    ObjectType.OBJECT_EXTENSION: _extension,
}
_LOSSLESS: Mapping[ObjectType | None, Callable[[Words, Judge], None]] = {
    ObjectType.OBJECT_VIEW: _view,
    ObjectType.OBJECT_INDEX: _index,
    ObjectType.OBJECT_TRIGGER: _of_table,
    ObjectType.OBJECT_RULE: _of_table,
    ObjectType.OBJECT_POLICY: _of_table,
    ObjectType.OBJECT_FUNCTION: _nothing_else,
    ObjectType.OBJECT_PROCEDURE: _nothing_else,
    ObjectType.OBJECT_ROUTINE: _nothing_else,
    ObjectType.OBJECT_AGGREGATE: _nothing_else,
    ObjectType.OBJECT_STATISTIC_EXT: _nothing_else,
}
