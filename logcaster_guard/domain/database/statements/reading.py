"""Files of SQL that run one after the other in one transaction: everything that the guard has to say of them before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pglast import ast

from logcaster_guard.domain.database.migrating import LockMode
from logcaster_guard.domain.database.migrations import MigrationFile
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statement_findings import Doubt, Findings, Refusal
from logcaster_guard.domain.database.statements import alter_table, definitions, functions, rows
from logcaster_guard.domain.database.statements.drops import drop
from logcaster_guard.domain.database.statements.judge import Judge
from logcaster_guard.domain.database.statements.names import TableNames
from logcaster_guard.domain.database.statements.parsing import statements_of
from logcaster_guard.domain.database.statements.tree import below, words_of

_REFUSED: Mapping[type[ast.Node], Refusal] = {
    ast.TransactionStmt: Refusal.TRANSACTION,
    ast.VariableSetStmt: Refusal.SETTING,
    ast.DiscardStmt: Refusal.SETTING,
    ast.ConstraintsSetStmt: Refusal.SETTING,
    ast.CopyStmt: Refusal.COPY,
    ast.LockStmt: Refusal.LOCK,
    ast.PrepareStmt: Refusal.PREPARED,
    ast.ExecuteStmt: Refusal.PREPARED,
    ast.DeallocateStmt: Refusal.PREPARED,
    ast.ListenStmt: Refusal.SESSIONS,
    ast.UnlistenStmt: Refusal.SESSIONS,
    ast.NotifyStmt: Refusal.SESSIONS,
    **dict.fromkeys(
        (
            *(ast.CreatedbStmt, ast.DropdbStmt, ast.CreateTableSpaceStmt, ast.DropTableSpaceStmt, ast.ClusterStmt),
            *(ast.AlterSystemStmt, ast.CheckPointStmt, ast.CreateSubscriptionStmt, ast.DropSubscriptionStmt),
        ),
        Refusal.OUTSIDE,
    ),
    **dict.fromkeys(
        (
            *(ast.CreateRoleStmt, ast.AlterRoleStmt, ast.AlterRoleSetStmt, ast.DropRoleStmt, ast.GrantRoleStmt),
            *(ast.DropOwnedStmt, ast.ReassignOwnedStmt, ast.AlterDatabaseStmt, ast.AlterDatabaseSetStmt),
            *(ast.AlterDatabaseRefreshCollStmt, ast.AlterTableSpaceOptionsStmt),
        ),
        Refusal.CLUSTER,
    ),
}
"""What is refused for a reason of its own."""

_DOUBTED: Mapping[type[ast.Node], Doubt] = {
    ast.DoStmt: Doubt.CODE,
    ast.CallStmt: Doubt.CODE,
    ast.CreateExtensionStmt: Doubt.EXTENSION,
    ast.AlterExtensionStmt: Doubt.EXTENSION,
    ast.RuleStmt: Doubt.RULE,
}
"""What hides what it does."""

_JUDGED: Mapping[type[ast.Node], Callable[[Any, Judge], None]] = {
    ast.SelectStmt: definitions.nothing,
    ast.InsertStmt: rows.insert,
    ast.UpdateStmt: rows.update,
    ast.DeleteStmt: rows.delete,
    ast.MergeStmt: rows.merge,
    ast.TruncateStmt: rows.truncate,
    ast.DropStmt: drop,
    ast.AlterTableStmt: alter_table.alter_table,
    ast.RenameStmt: alter_table.rename,
    ast.AlterObjectSchemaStmt: alter_table.set_schema,
    ast.CreateStmt: definitions.create_table,
    ast.CreateTableAsStmt: definitions.create_table_as,
    ast.ViewStmt: definitions.create_view,
    ast.IndexStmt: definitions.create_index,
    ast.CreateSeqStmt: definitions.create_sequence,
    ast.AlterSeqStmt: definitions.alter_sequence,
    ast.CreateSchemaStmt: definitions.create_schema,
    ast.CreateEnumStmt: definitions.create_type,
    ast.CreateDomainStmt: definitions.create_type,
    ast.CreateRangeStmt: definitions.create_type,
    ast.CompositeTypeStmt: definitions.create_type,
    ast.AlterEnumStmt: definitions.nothing,
    ast.AlterDomainStmt: definitions.nothing,
    ast.CreateFunctionStmt: definitions.create_function,
    ast.AlterFunctionStmt: definitions.nothing,
    ast.CreateTrigStmt: definitions.create_trigger,
    ast.CreatePolicyStmt: definitions.create_policy,
    ast.AlterPolicyStmt: definitions.create_policy,
    ast.CreateStatsStmt: definitions.create_statistics,
    ast.CommentStmt: definitions.comment,
    ast.GrantStmt: definitions.grant,
    ast.AlterOwnerStmt: definitions.owner,
    ast.VacuumStmt: definitions.analyze,
    ast.RefreshMatViewStmt: definitions.refresh,
}
"""The allow-list: what is not here is refused."""

_NOT_RUN_NOW = (ast.ViewStmt, ast.CreatePolicyStmt, ast.AlterPolicyStmt, ast.CreateTrigStmt)
"""What holds expressions that are kept, and run by others later."""
_OPAQUE = (ast.CreateFunctionStmt, ast.AlterFunctionStmt, ast.RuleStmt)
"""What holds statements that are kept."""
_CHANGES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


def findings_of(
    files: Sequence[MigrationFile],
    versions: TableName,
    path: Sequence[str],
    homes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Findings:
    """What the files do, all faults at once.

    `versions` is the tool's table of versions. A table that is named without a schema is looked for in those of `path`;
    `homes` tells in which of them a name is, which has to be known where there are several.
    """
    judge = Judge(versions, TableNames(path, homes))
    for file in files:
        found = statements_of(file.name, file.text)
        if not isinstance(found, tuple):
            judge.refuse_file(found)
            continue
        for statement in found:
            judge.place = statement.place
            _judge(statement.node, judge)
    return judge.findings


def _judge(node: ast.Node, on: Judge) -> None:
    refusal, doubt, judged = (table.get(type(node)) for table in (_REFUSED, _DOUBTED, _JUDGED))
    on.ctes = frozenset(part.ctename or "" for part in below(node) if isinstance(part, ast.CommonTableExpr))
    if isinstance(doubt, Doubt):
        on.doubt(doubt)
    elif callable(judged):
        judged(node, on)
    else:
        on.refuse(refusal if isinstance(refusal, Refusal) else Refusal.UNLISTED)
        return
    for part in below(node, but=_OPAQUE):
        if part is not node and isinstance(part, _CHANGES):
            _JUDGED[type(part)](part, on)
        _part(part, on, runs=not isinstance(node, _NOT_RUN_NOW))


def _part(part: ast.Node, on: Judge, *, runs: bool) -> None:
    """What a part of a statement does wherever it stands; `runs`: now, and not later for somebody else."""
    match part:
        case ast.FuncCall() if runs:
            _call(words_of(part.funcname), on)
        case ast.A_Expr(name=operator) | ast.SubLink(operName=operator) | ast.SortBy(useOp=operator) if runs:
            if functions.is_own_operator(words_of(operator)):
                on.doubt(Doubt.OPERATOR, ".".join(words_of(operator)))
        case ast.SelectStmt():
            if part.intoClause is not None:
                definitions.select_into(part.intoClause, on)
            _read(part.fromClause, on, LockMode.ROW_SHARE if part.lockingClause else LockMode.ACCESS_SHARE, runs=runs)
        case ast.UpdateStmt():
            _read(part.fromClause, on)
        case ast.DeleteStmt():
            _read(part.usingClause, on)
        case ast.MergeStmt():
            _read(part.sourceRelation, on)
        case ast.RuleStmt():
            on.lock(on.names.read(part.relation), LockMode.ACCESS_EXCLUSIVE)
        case ast.TableLikeClause():
            on.lock(on.names.read(part.relation), LockMode.ACCESS_SHARE)
        case _:
            pass


def _call(words: tuple[str, ...], on: Judge) -> None:
    name = ".".join(words)
    if functions.reaches_outside(words):
        on.refuse(Refusal.FUNCTION, name)
    elif not functions.is_harmless(words):
        on.doubt(Doubt.FUNCTION, name)


def _read(sources: object, on: Judge, mode: LockMode = LockMode.ACCESS_SHARE, *, runs: bool = True) -> None:
    """The tables of a FROM clause; queries in it are parts of their own."""
    for source in below(sources, but=(ast.RangeSubselect, ast.RangeFunction, ast.SubLink)):
        if isinstance(source, ast.RangeVar) and not on.is_cte(source):
            table = on.names.read(source)
            on.lock(table, mode)
            for words in on.names.calls_of(table) if runs else ():
                _call(words, on)
