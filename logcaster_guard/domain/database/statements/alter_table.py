"""ALTER TABLE, command by command, and what else changes a table, its name or its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pglast import ast
from pglast.enums import AlterTableType as Alter
from pglast.enums import ConstrType, DropBehavior, ObjectType

from logcaster_guard.domain.database.migrating import LockMode
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statement_findings import Count, Counted, CountQuery, Doubt, LossKind, Refusal
from logcaster_guard.domain.database.statements import queries
from logcaster_guard.domain.database.statements.judge import Judge
from logcaster_guard.domain.database.statements.tree import below, words_of

_HOLDS_ANY_TEXT = frozenset({("text",), ("pg_catalog", "varchar"), ("varchar",)})
"""Types that take over the text of any value, where they have no length."""

_MODES: Mapping[Alter | None, LockMode] = {
    Alter.AT_ValidateConstraint: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Alter.AT_SetStatistics: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Alter.AT_SetOptions: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Alter.AT_ResetOptions: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Alter.AT_AttachPartition: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Alter.AT_EnableTrig: LockMode.SHARE_ROW_EXCLUSIVE,
    Alter.AT_EnableTrigUser: LockMode.SHARE_ROW_EXCLUSIVE,
    Alter.AT_DisableTrig: LockMode.SHARE_ROW_EXCLUSIVE,
    Alter.AT_DisableTrigUser: LockMode.SHARE_ROW_EXCLUSIVE,
}
"""How a command locks its table; ACCESS EXCLUSIVE where nothing stands here."""

_HARMLESS = frozenset(
    {
        *(Alter.AT_ColumnDefault, Alter.AT_DropNotNull, Alter.AT_SetNotNull, Alter.AT_DropExpression),
        *(Alter.AT_SetStatistics, Alter.AT_SetOptions, Alter.AT_ResetOptions, Alter.AT_SetStorage),
        *(Alter.AT_SetCompression, Alter.AT_AddIndexConstraint, Alter.AT_AlterConstraint, Alter.AT_ValidateConstraint),
        *(Alter.AT_ChangeOwner, Alter.AT_SetRelOptions, Alter.AT_ResetRelOptions, Alter.AT_ReplicaIdentity),
        *(Alter.AT_EnableRowSecurity, Alter.AT_DisableRowSecurity, Alter.AT_ForceRowSecurity),
        *(Alter.AT_NoForceRowSecurity, Alter.AT_AddIdentity),
    }
)
"""Commands that lose nothing and say all that they do."""

_OF_OTHERS = frozenset({Alter.AT_ChangeOwner, Alter.AT_SetRelOptions, Alter.AT_ResetRelOptions, Alter.AT_ColumnDefault})
"""Those that may change a view, an index or a sequence."""


def alter_table(node: ast.AlterTableStmt, on: Judge) -> None:
    """Each command by itself."""
    table = on.names.read(node.relation)
    # PostgreSQL adds columns last, wherever that stands: a column of the same name is dropped before.
    for command in sorted(node.cmds or (), key=lambda c: c.subtype == Alter.AT_AddColumn):
        if node.objtype == ObjectType.OBJECT_TABLE:
            on.lock(table, _mode(command))
            _command(command, table, on)
        elif node.objtype == ObjectType.OBJECT_TYPE:
            _of_type(command, table, on)
        elif command.subtype not in _OF_OTHERS:
            _refuse(command, on)


def _mode(command: ast.AlterTableCmd) -> LockMode:
    added = command.def_
    if isinstance(added, ast.Constraint) and added.contype == ConstrType.CONSTR_FOREIGN:
        return LockMode.SHARE_ROW_EXCLUSIVE
    return _MODES.get(command.subtype, LockMode.ACCESS_EXCLUSIVE)


def _command(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    handler = _COMMANDS.get(command.subtype)
    if handler is not None:
        handler(command, table, on)
    elif command.subtype not in _HARMLESS:
        _refuse(command, on)


def _refuse(command: ast.AlterTableCmd, on: Judge) -> None:
    on.refuse(Refusal.UNLISTED, "" if command.subtype is None else Alter(command.subtype).name.removeprefix("AT_"))


def _of_type(command: ast.AlterTableCmd, type_: TableName, on: Judge) -> None:
    """A composite type, whose values stand in columns of any table."""
    on.names.change(type_.name)
    if command.subtype in {Alter.AT_DropColumn, Alter.AT_AlterColumnType}:
        kind = LossKind.COLUMN if command.subtype == Alter.AT_DropColumn else LossKind.TYPE_CHANGE
        on.lose(kind, f"{type_}.{command.name}", cascade=_cascades(command))
    elif command.subtype != Alter.AT_AddColumn and command.subtype not in _OF_OTHERS:
        _refuse(command, on)


def _cascades(command: ast.AlterTableCmd) -> bool:
    return bool(command.behavior == DropBehavior.DROP_CASCADE)


def _add_column(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    column = command.def_
    if isinstance(column, ast.ColumnDef) and column.colname and not command.missing_ok:
        on.names.make_column(table, column.colname)
    referenced(command, on)


def _drop_column(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    name = command.name or ""
    on.lose(LossKind.COLUMN, f"{table}.{name}", _values(table, name, on), cascade=_cascades(command))
    on.names.make_column(table, name)


def _values(table: TableName, column: str, on: Judge, *, exact: bool = True) -> Count:
    origin, was = on.names.origin(table), on.names.column_origin(table, column)
    if origin is None or was is None:
        return 0
    return CountQuery(queries.values(origin, was), Counted.VALUES, exact, origin)


def _change_type(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    """Values that the new type cannot hold are cut or rounded, or the file fails."""
    column, name = command.def_, command.name or ""
    if not isinstance(column, ast.ColumnDef) or column.typeName is None:
        raise TypeError("the grammar asks for a type here")
    type_, using = column.typeName, column.raw_default
    holds_any_text = words_of(type_) in _HOLDS_ANY_TEXT and not type_.typmods and not type_.arrayBounds
    if using is not None or not holds_any_text:
        count = _changed_values(type_, table, name, on) if using is None else _values(table, name, on, exact=False)
        on.lose(LossKind.TYPE_CHANGE, f"{table}.{name}", count)


def _changed_values(type_: ast.TypeName, table: TableName, name: str, on: Judge) -> Count:
    origin, was = on.names.origin(table), on.names.column_origin(table, name)
    if origin is None or was is None or words_of(type_)[:1] != ("pg_catalog",):
        return _values(table, name, on, exact=False)
    return CountQuery(queries.changed_values(origin, was, type_), Counted.VALUES, table=origin)


def _add_constraint(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    del table
    referenced(command, on)


def referenced(node: ast.Node, on: Judge) -> None:
    """The tables that foreign keys below the node refer to are locked with the one that gets them."""
    for part in below(node):
        if isinstance(part, ast.Constraint) and part.pktable is not None:
            on.lock(on.names.read(part.pktable), LockMode.SHARE_ROW_EXCLUSIVE)


def _drop_constraint(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    if _cascades(command):
        on.lose(LossKind.DEPENDENTS, f"{table}.{command.name}", cascade=True)


def _attach(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    del table
    if isinstance(command.def_, ast.PartitionCmd):
        on.lock(on.names.read(command.def_.name), LockMode.ACCESS_EXCLUSIVE)


def _detach(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    detached = command.def_
    if not isinstance(detached, ast.PartitionCmd) or detached.concurrent:
        on.refuse(Refusal.OUTSIDE)
        return
    partition = on.names.read(detached.name)
    on.lock(partition, LockMode.ACCESS_EXCLUSIVE)
    on.lose(LossKind.PARTITION, f"{table}: {partition}", on.rows_of(partition))


def _identity(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    kind = LossKind.SEQUENCE if command.subtype == Alter.AT_DropIdentity else LossKind.SEQUENCE_RESET
    on.lose(kind, f"{table}.{command.name}")


def _enable(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    del command
    on.names.arm(table)


def _disable(command: ast.AlterTableCmd, table: TableName, on: Judge) -> None:
    on.doubt(Doubt.SWITCHED_OFF, command.name or str(table))


_COMMANDS: Mapping[Alter | None, Callable[[ast.AlterTableCmd, TableName, Judge], None]] = {
    Alter.AT_AddColumn: _add_column,
    Alter.AT_DropColumn: _drop_column,
    Alter.AT_AlterColumnType: _change_type,
    Alter.AT_AddConstraint: _add_constraint,
    Alter.AT_DropConstraint: _drop_constraint,
    Alter.AT_AttachPartition: _attach,
    Alter.AT_DetachPartition: _detach,
    Alter.AT_DropIdentity: _identity,
    Alter.AT_SetIdentity: _identity,
    Alter.AT_EnableTrig: _enable,
    Alter.AT_EnableTrigUser: _enable,
    Alter.AT_DisableTrig: _disable,
    Alter.AT_DisableTrigUser: _disable,
}


def rename(node: ast.RenameStmt, on: Judge) -> None:
    """Nothing is lost; later statements mean something else by the names."""
    to = node.newname or ""
    if node.missing_ok and node.renameType in _NAMED_LIKE_TABLES:
        # Whether the name means another table afterwards would depend on what is there.
        on.refuse(Refusal.UNLISTED, _IF_EXISTS)
        return
    match node.renameType:
        case ObjectType.OBJECT_TABLE:
            table = on.names.read(node.relation)
            on.lock(table, LockMode.ACCESS_EXCLUSIVE)
            on.names.rename(table, TableName(table.schema, to))
        case ObjectType.OBJECT_COLUMN if node.relationType == ObjectType.OBJECT_TABLE:
            table = on.names.read(node.relation)
            on.lock(table, LockMode.ACCESS_EXCLUSIVE)
            on.names.rename_column(table, node.subname or "", to)
        case ObjectType.OBJECT_TABCONSTRAINT | ObjectType.OBJECT_TRIGGER | ObjectType.OBJECT_POLICY:
            on.lock(on.names.read(node.relation), LockMode.ACCESS_EXCLUSIVE)
        case named if named in _NAMED_LIKE_TABLES:
            relation = on.names.read(node.relation)
            on.spare(relation)
            on.names.rename(relation, TableName(relation.schema, to))
        case renamed if renamed in _RENAMED:
            on.names.change(to, *words_of(node.object), node.subname or "")
        case _:
            on.refuse(Refusal.UNLISTED)


_IF_EXISTS = "IF EXISTS"
_NAMED_LIKE_TABLES = frozenset(
    {
        *(ObjectType.OBJECT_TABLE, ObjectType.OBJECT_VIEW, ObjectType.OBJECT_MATVIEW),
        *(ObjectType.OBJECT_SEQUENCE, ObjectType.OBJECT_INDEX),
    }
)
_RENAMED = frozenset(
    {
        *(ObjectType.OBJECT_TYPE, ObjectType.OBJECT_DOMAIN, ObjectType.OBJECT_ATTRIBUTE, ObjectType.OBJECT_FUNCTION),
        *(ObjectType.OBJECT_PROCEDURE, ObjectType.OBJECT_ROUTINE, ObjectType.OBJECT_AGGREGATE),
        *(ObjectType.OBJECT_DOMCONSTRAINT, ObjectType.OBJECT_STATISTIC_EXT, ObjectType.OBJECT_COLUMN),
    }
)


def set_schema(node: ast.AlterObjectSchemaStmt, on: Judge) -> None:
    """The object is in another schema from now on."""
    to = node.newschema or ""
    if node.missing_ok and node.relation is not None:
        on.refuse(Refusal.UNLISTED, _IF_EXISTS)
    elif node.relation is not None:
        relation = on.names.read(node.relation)
        if node.objectType == ObjectType.OBJECT_TABLE:
            on.lock(relation, LockMode.ACCESS_EXCLUSIVE)
        on.spare(relation)
        on.names.rename(relation, TableName(to, relation.name))
    elif node.objectType in _RENAMED:
        on.names.change(*words_of(node.object))
    else:
        on.refuse(Refusal.UNLISTED)
