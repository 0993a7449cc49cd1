"""Statements that change rows."""

from __future__ import annotations

from pglast import ast
from pglast.enums import CmdType, DropBehavior, OnConflictAction

from logcaster_guard.domain.database.migrating import LockMode
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statement_findings import Count, Counted, CountQuery, Doubt, LossKind
from logcaster_guard.domain.database.statements import functions, queries
from logcaster_guard.domain.database.statements.judge import Judge
from logcaster_guard.domain.database.statements.tree import below, words_of


def insert(node: ast.InsertStmt, on: Judge) -> None:
    """It adds rows, and overwrites some only where it says so."""
    table = _changed(node.relation, on)
    if node.onConflictClause is not None and node.onConflictClause.action == OnConflictAction.ONCONFLICT_UPDATE:
        _ask_foreign_keys(table, queries.ON_UPDATE, on)
        on.lose(LossKind.UPDATE, str(table), on.rows_of(table, exact=False))


def update(node: ast.UpdateStmt, on: Judge) -> None:
    """It overwrites values."""
    table = _changed(node.relation, on)
    _ask_foreign_keys(table, queries.ON_UPDATE, on)
    on.lose(LossKind.UPDATE, str(table), _matching(node, node.fromClause, table, on))


def delete(node: ast.DeleteStmt, on: Judge) -> None:
    """It deletes rows, and through foreign keys those of other tables."""
    table = _changed(node.relation, on)
    _ask_foreign_keys(table, queries.ON_DELETE, on)
    on.lose(LossKind.DELETE, str(table), _matching(node, node.usingClause, table, on))


def merge(node: ast.MergeStmt, on: Judge) -> None:
    """It inserts, overwrites and deletes, as each of its clauses says."""
    table = _changed(node.relation, on)
    commands = {clause.commandType for clause in node.mergeWhenClauses or ()}
    for command, kind, column in (
        (CmdType.CMD_UPDATE, LossKind.UPDATE, queries.ON_UPDATE),
        (CmdType.CMD_DELETE, LossKind.DELETE, queries.ON_DELETE),
    ):
        if command in commands:
            _ask_foreign_keys(table, column, on)
            on.lose(kind, str(table), on.rows_of(table, exact=False))


def truncate(node: ast.TruncateStmt, on: Judge) -> None:
    """It empties tables, and with CASCADE those that refer to them."""
    cascade = node.behavior == DropBehavior.DROP_CASCADE
    for relation in node.relations or ():
        table = on.names.read(relation)
        on.lock(table, LockMode.ACCESS_EXCLUSIVE)
        _ask_triggers(table, on)
        on.lose(LossKind.TRUNCATE, str(table), on.rows_of(table), cascade=cascade)
        if node.restart_seqs:
            on.lose(LossKind.SEQUENCE_RESET, str(table))


def _changed(relation: ast.RangeVar | None, on: Judge) -> TableName:
    table = on.names.read(relation)
    on.lock(table, LockMode.ROW_EXCLUSIVE)
    _ask_triggers(table, on)
    return table


def _ask_triggers(table: TableName, on: Judge) -> None:
    """Triggers and rules run with a change, and no file need show them."""
    if on.names.is_view(table):
        on.doubt(Doubt.RULES, str(table))
    if on.names.is_armed(table):
        on.doubt(Doubt.TRIGGERS, str(table))
    origin = on.names.origin(table)
    if origin is not None:
        on.ask(queries.triggers_on(origin), Doubt.TRIGGERS, str(table))
        on.ask(queries.rules_on(origin), Doubt.RULES, str(table))


def _ask_foreign_keys(table: TableName, column: str, on: Judge) -> None:
    """Whether rows of other tables go or change with those of this one."""
    origin = on.names.origin(table)
    if origin is not None:
        on.ask(queries.foreign_keys_to(origin, column), Doubt.FOREIGN_KEYS, str(table))


def _matching(
    node: ast.UpdateStmt | ast.DeleteStmt, others: object, table: TableName, on: Judge
) -> Count | None:  # fmt: skip
    """How to count the rows that the condition finds; all of them where it cannot be asked now as it stands."""
    where = node.whereClause
    if others or (where is not None and (node.withClause is not None or not _can_be_asked(where, node, on))):
        return on.rows_of(table, exact=False)
    origin = on.names.origin(table)
    if where is None or node.relation is None or origin is None:
        return on.rows_of(table)
    return CountQuery(queries.matching_rows(node.relation, where), Counted.ROWS, table=origin)


def _can_be_asked(where: ast.Node, node: ast.UpdateStmt | ast.DeleteStmt, on: Judge) -> bool:
    """Whether the condition changes nothing, and names only what is now as it will be then."""
    return all(_is_as_now(part, on) for part in below(where, node.relation))


def _is_as_now(part: ast.Node, on: Judge) -> bool:
    match part:
        case ast.FuncCall():
            return functions.is_harmless(words_of(part.funcname))
        case ast.A_Expr():
            return not functions.is_own_operator(words_of(part.name))
        case ast.RangeVar():
            return not on.is_cte(part) and on.names.is_untouched(part.relname or "")
        case ast.ColumnRef():
            return on.names.is_untouched(*words_of(part.fields))
        case ast.CurrentOfExpr():
            return False
        case _:
            return True
