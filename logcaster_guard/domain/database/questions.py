"""What a database is asked of the tables that a plan names."""

from __future__ import annotations

from logcaster_guard.domain.database.server import TableName


def is_table(table: TableName) -> str:
    """1 where a table has this name, which can be locked."""
    return f"SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND oid = {oid_of(table)}"


def is_there(table: TableName) -> str:
    """1 where anything has this name that shares names with tables."""
    return f"SELECT count(*) FROM pg_catalog.pg_class WHERE oid = {oid_of(table)}"


def oid_of(table: TableName) -> str:
    """An expression for its number in the catalog; NULL where nothing has this name."""
    return f"pg_catalog.to_regclass({literal(quoted_table(table))})"


def quoted(*words: str) -> str:
    """A name with dots as SQL takes it, whatever it holds."""
    return ".".join('"' + word.replace('"', '""') + '"' for word in words)


def quoted_table(table: TableName) -> str:
    """A table as SQL takes it."""
    return quoted(table.schema, table.name)


def literal(text: str) -> str:
    """A text as SQL takes it, whatever the server thinks of backslashes."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
