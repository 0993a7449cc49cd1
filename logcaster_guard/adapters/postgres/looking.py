"""What a database is, and which version its migration tool has written there."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql
from psycopg.rows import dict_row

from logcaster_guard.adapters.postgres.connection import Connection
from logcaster_guard.domain.database.server import DatabaseState, MigrationTool, SchemaVersion, TableName

GOLANG_MIGRATE, ALEMBIC, FLYWAY = "schema_migrations", "alembic_version", "flyway_schema_history"

_FACTS = """
    SELECT current_setting('server_version_num')::int AS server_version, current_database()::text AS database,
           pg_get_userbyid(datdba)::text AS owner, current_user::text AS role, rolsuper AS superuser,
           has_database_privilege(current_database(), 'CREATE') AS may_create,
           current_schemas(false)::text[] AS search_path, pg_backend_pid() AS pid,
           pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only')::bool AS read_only,
           pg_database_size(current_database()) AS size
      FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user
"""
_TABLES = """
    SELECT c.relname::text, array_agg(a.attname || ' ' || format_type(a.atttypid, NULL))
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE n.nspname = %s AND c.relname = ANY (%s) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
     GROUP BY c.relname
"""


async def look(connection: Connection, schema: str) -> DatabaseState:
    """The database of this session. `schema` is that of the tool's table."""
    (facts,) = await (await connection.cursor(row_factory=dict_row).execute(_FACTS)).fetchall()
    # A pooler answers the start of a session itself, with a process of its own making.
    pooler = facts.pop("pid") != connection.info.backend_pid
    seen = await _schema_version(connection, schema)
    return DatabaseState(**{**facts, "search_path": tuple(facts["search_path"])}, pooler=pooler, schema_version=seen)


async def golang_version(connection: Connection, table: TableName) -> SchemaVersion:
    """What golang-migrate's table says now."""
    name = sql.Identifier(table.schema, table.name)
    cursor = await connection.execute(
        sql.SQL("SELECT version, dirty, count(*) OVER () FROM {} LIMIT 1").format(name)
    )  # fmt: skip
    row = await cursor.fetchone()
    if row is None:
        return SchemaVersion(MigrationTool.GOLANG_MIGRATE, table, 0, None, "")
    version, dirty, rows = row
    one = version if rows == 1 else None
    return SchemaVersion(MigrationTool.GOLANG_MIGRATE, table, rows, one, str(version), dirty)


async def _schema_version(connection: Connection, schema: str) -> SchemaVersion | None:
    cursor = await connection.execute(_TABLES, (schema, [GOLANG_MIGRATE, ALEMBIC, FLYWAY]))
    tables: Mapping[str, list[str]] = {name: columns async for name, columns in cursor}
    # Other tools have a table of this name too, with other columns.
    if {"version bigint", "dirty boolean"} <= set(tables.get(GOLANG_MIGRATE, ())):
        return await golang_version(connection, TableName(schema, GOLANG_MIGRATE))
    if ALEMBIC in tables:
        query = "SELECT version_num::text FROM {} ORDER BY 1"
        return await _told(connection, MigrationTool.ALEMBIC, TableName(schema, ALEMBIC), query)
    if FLYWAY in tables:
        query = "SELECT version::text FROM {} WHERE success AND version IS NOT NULL ORDER BY installed_rank DESC"
        return await _told(connection, MigrationTool.FLYWAY, TableName(schema, FLYWAY), query)
    return None


async def _told(connection: Connection, tool: MigrationTool, table: TableName, query: str) -> SchemaVersion:
    named = sql.SQL(query).format(sql.Identifier(table.schema, table.name))
    versions = [str(version) async for (version,) in await connection.execute(named)]
    told = ", ".join(versions) if tool is MigrationTool.ALEMBIC else "".join(versions[:1])
    return SchemaVersion(tool, table, len(versions), None, told)
