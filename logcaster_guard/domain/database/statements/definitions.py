"""Statements that define something, and those that say who owns it or may use it."""

from __future__ import annotations

from pglast import ast
from pglast.enums import ObjectType

from logcaster_guard.domain.database.migrating import LockMode
from logcaster_guard.domain.database.statement_findings import Doubt, LossKind, Refusal
from logcaster_guard.domain.database.statements.alter_table import referenced
from logcaster_guard.domain.database.statements.functions import is_harmless
from logcaster_guard.domain.database.statements.judge import Judge
from logcaster_guard.domain.database.statements.names import TEMPORARY
from logcaster_guard.domain.database.statements.tree import below, words_of

_SHARED = frozenset(
    {
        *(ObjectType.OBJECT_DATABASE, ObjectType.OBJECT_TABLESPACE, ObjectType.OBJECT_PARAMETER_ACL),
        *(ObjectType.OBJECT_LANGUAGE, ObjectType.OBJECT_FDW, ObjectType.OBJECT_FOREIGN_SERVER),
        *(ObjectType.OBJECT_LARGEOBJECT, ObjectType.OBJECT_EVENT_TRIGGER, ObjectType.OBJECT_PUBLICATION),
        *(ObjectType.OBJECT_SUBSCRIPTION, ObjectType.OBJECT_ROLE),
    }
)
"""What reaches beyond the schemas of one database."""

_COMPILED = frozenset({"c", "internal"})


def create_table(node: ast.CreateStmt, on: Judge) -> None:
    """The name is another table's from now on; its parents and those that it refers to are locked."""
    table = on.names.made(node.relation)
    on.spare(table)
    for parent in node.inhRelations or ():
        mode = LockMode.SHARE_UPDATE_EXCLUSIVE if node.partbound is None else LockMode.ACCESS_EXCLUSIVE
        on.lock(on.names.read(parent), mode)
    referenced(node, on)
    if not node.if_not_exists or table.schema == TEMPORARY:
        on.names.make(table)


def create_table_as(node: ast.CreateTableAsStmt, on: Judge) -> None:
    """What the query does is found in it."""
    if isinstance(node.query, ast.ExecuteStmt):
        on.refuse(Refusal.PREPARED)
    if node.into is not None and not node.if_not_exists:
        select_into(node.into, on)


def select_into(node: ast.IntoClause, on: Judge) -> None:
    """A new table, of a query."""
    table = on.names.made(node.rel)
    on.spare(table)
    on.names.make(table)


def create_view(node: ast.ViewStmt, on: Judge) -> None:
    """The query is not run before somebody reads from the view."""
    view = on.names.made(node.view)
    on.spare(view)
    calls = [words_of(part.funcname) for part in below(node.query) if isinstance(part, ast.FuncCall)]
    # What it reads may be a view of the files, too.
    read = [on.names.read(part) for part in below(node.query) if isinstance(part, ast.RangeVar)]
    on.names.make_view(view, (*calls, *(words for table in read for words in on.names.calls_of(table))))


def create_index(node: ast.IndexStmt, on: Judge) -> None:
    """Its expressions are run for each row."""
    if node.concurrent:
        on.refuse(Refusal.OUTSIDE)
        return
    table = on.names.read(node.relation)
    on.lock(table, LockMode.SHARE)
    if node.idxname and not node.if_not_exists:
        on.names.make(on.names.written(table.schema, node.idxname))


def create_sequence(node: ast.CreateSeqStmt, on: Judge) -> None:
    """A new one, unless there is one."""
    if not node.if_not_exists:
        on.names.make(on.names.made(node.sequence))


def alter_sequence(node: ast.AlterSeqStmt, on: Judge) -> None:
    """Only a new start, or a bound that it has passed, loses how far it has counted."""
    sequence = on.names.read(node.sequence)
    on.spare(sequence)
    if any(option.defname == "restart" for option in node.options or ()):
        on.lose(LossKind.SEQUENCE_RESET, str(sequence))


def create_schema(node: ast.CreateSchemaStmt, on: Judge) -> None:
    """Statements within it would mean other names."""
    if node.schemaElts:
        on.refuse(Refusal.UNLISTED)
    on.names.change(node.schemaname or "")


def create_type(
    node: ast.CreateEnumStmt | ast.CreateDomainStmt | ast.CompositeTypeStmt | ast.CreateRangeStmt, on: Judge
) -> None:  # fmt: skip
    """A new one."""
    match node:
        case ast.CompositeTypeStmt():
            on.names.make(on.names.made(node.typevar))
        case ast.CreateDomainStmt():
            on.names.change(*words_of(node.domainname))
        case _:
            on.names.change(*words_of(node.typeName))


def create_function(node: ast.CreateFunctionStmt, on: Judge) -> None:
    """It is not run now, unless it is a library, which runs code when it is loaded.

    Under the name of one of PostgreSQL's own it may be called in that one's place.
    """
    if is_harmless(words_of(node.funcname)[-1:]):
        on.doubt(Doubt.CODE, ".".join(words_of(node.funcname)))
    for option in node.options or ():
        if option.defname == "language" and (words_of(option.arg) or ("",))[0].lower() in _COMPILED:
            on.doubt(Doubt.CODE, ".".join(words_of(node.funcname)))


def create_trigger(node: ast.CreateTrigStmt, on: Judge) -> None:
    """It fires on what later statements change."""
    table = on.names.read(node.relation)
    on.lock(table, LockMode.SHARE_ROW_EXCLUSIVE)
    on.names.arm(table)


def create_policy(node: ast.CreatePolicyStmt | ast.AlterPolicyStmt, on: Judge) -> None:
    """It decides who sees which rows from now on."""
    on.lock(on.names.read(node.table), LockMode.ACCESS_EXCLUSIVE)


def create_statistics(node: ast.CreateStatsStmt, on: Judge) -> None:
    """It is filled by the next ANALYZE."""
    for relation in node.relations or ():
        on.lock(on.names.read(relation), LockMode.SHARE_UPDATE_EXCLUSIVE)


def comment(node: ast.CommentStmt, on: Judge) -> None:
    """It changes a text."""
    if node.objtype in _SHARED:
        on.refuse(Refusal.CLUSTER)
    elif node.objtype in {ObjectType.OBJECT_TABLE, ObjectType.OBJECT_COLUMN}:
        words = words_of(node.object)
        table = words if node.objtype == ObjectType.OBJECT_TABLE else words[:-1]
        on.lock(on.names.written(*table), LockMode.SHARE_UPDATE_EXCLUSIVE)


def grant(node: ast.GrantStmt, on: Judge) -> None:
    """Who may do what with objects of this database."""
    if node.objtype in _SHARED:
        on.refuse(Refusal.CLUSTER)
    for relation in below(node.objects):
        if isinstance(relation, ast.RangeVar):
            on.spare(on.names.read(relation))


def owner(node: ast.AlterOwnerStmt, on: Judge) -> None:
    """Whose an object is."""
    if node.objectType in _SHARED:
        on.refuse(Refusal.CLUSTER)
    elif node.objectType == ObjectType.OBJECT_SCHEMA:
        on.spare_schema((words_of(node.object) or ("",))[-1])


def analyze(node: ast.VacuumStmt, on: Judge) -> None:
    """ANALYZE alone can run in a transaction."""
    if node.is_vacuumcmd:
        on.refuse(Refusal.OUTSIDE)
        return
    for part in below(node.rels):
        if isinstance(part, ast.RangeVar):
            on.lock(on.names.read(part), LockMode.SHARE_UPDATE_EXCLUSIVE)


def refresh(node: ast.RefreshMatViewStmt, on: Judge) -> None:
    """It runs the view's query, which is not in the file."""
    view = on.names.read(node.relation)
    on.spare(view)
    on.doubt(Doubt.REFRESH, str(view))


def nothing(node: ast.Node, on: Judge) -> None:
    """Its parts tell everything that it does."""
