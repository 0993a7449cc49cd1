"""The questions that a database is asked before anything is changed: each answers with one whole number.

Names of a file stand in them quoted, and expressions of a file as its parser printed them. They are asked in a
transaction that can change nothing.
"""

from __future__ import annotations

from pglast import ast
from pglast.stream import RawStream

from logcaster_guard.domain.database.questions import literal, oid_of, quoted, quoted_table
from logcaster_guard.domain.database.server import TableName

ON_DELETE, ON_UPDATE = "confdeltype", "confupdtype"
"""Where the catalog keeps what a foreign key does to the rows that refer to one."""


def rows(table: TableName) -> str:
    """The rows of a table, a partitioned one's partitions included."""
    return f"SELECT count(*) FROM {quoted_table(table)}"


def matching_rows(relation: ast.Node, where: ast.Node) -> str:
    """The rows that a condition finds."""
    return f"SELECT count(*) FROM {RawStream()(relation)} WHERE {RawStream()(where)}"


def values(table: TableName, column: str) -> str:
    """The values in a column; where there is none, there is none to lose."""
    return f"SELECT count({quoted(column)}) FROM {quoted_table(table)}"


def changed_values(table: TableName, column: str, type_: ast.Node) -> str:
    """The values of a column that another type shows otherwise."""
    value = quoted(column)
    there = f"({value}::{RawStream()(type_)})::pg_catalog.text"
    return f"SELECT count(*) FROM {quoted_table(table)} WHERE {value}::pg_catalog.text IS DISTINCT FROM {there}"


def tables_in(schema: str) -> str:
    """The tables of a schema."""
    here = f"pg_catalog.to_regnamespace({literal(quoted(schema))})"
    return f"SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'm') AND relnamespace = {here}"


def columns_of_type(*words: str) -> str:
    """The columns of tables that have a type."""
    here = f"pg_catalog.to_regtype({literal(quoted(*words))})"
    return (
        "SELECT count(*) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON a.attrelid = c.oid"
        f" WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = {here}"
    )


def members_of(extension: str) -> str:
    """The objects that belong to an extension."""
    return (
        "SELECT count(*) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON d.refobjid = e.oid"
        " WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'"
        f" AND e.extname = {literal(extension)}"
    )


def triggers_on(table: TableName) -> str:
    """The triggers of a table, without those that PostgreSQL makes for foreign keys."""
    return f"SELECT count(*) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgrelid = {oid_of(table)}"


def rules_on(table: TableName) -> str:
    """The rules of a table; a view has one."""
    return f"SELECT count(*) FROM pg_catalog.pg_rewrite WHERE ev_class = {oid_of(table)}"


def foreign_keys_to(table: TableName, column: str) -> str:
    """The foreign keys through which rows of other tables go or change with those of this one."""
    return (
        "SELECT count(*) FROM pg_catalog.pg_constraint WHERE contype = 'f'"
        f" AND confrelid = {oid_of(table)} AND {column} IN ('c', 'n', 'd')"
    )
