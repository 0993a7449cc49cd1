"""What a database server tells of itself, and what a tool has written there about its migrations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from logcaster_guard.domain.database.server_reasons import (
    DirtyVersion,
    NoMigrationTool,
    NotWritable,
    OtherMajor,
    PoolerBetween,
    SeveralVersions,
    ToolReadOnly,
)
from logcaster_guard.domain.message import Message

MAJOR = 15
"""The major version of PostgreSQL that the guard was tested with."""


class MigrationTool(StrEnum):
    """Tools whose table of versions the guard recognises."""

    GOLANG_MIGRATE = "golang-migrate"
    ALEMBIC = "Alembic"
    FLYWAY = "Flyway"


@dataclass(frozen=True, slots=True)
class TableName:
    """A table or view, by its schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """What a tool's table says.

    `rows` counts its rows, of which golang-migrate has one, or none before the first migration. `version` is None where
    there is none, or none that the guard can take for one; `told` is the version as the tool writes it.
    """

    tool: MigrationTool
    table: TableName
    rows: int
    version: int | None
    told: str
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database at one moment.

    `server_version` is PostgreSQL's number, such as 150018; `size` is in bytes. `search_path` holds the schemas in
    which the role looks for a table without one. `pooler`: the session is not the server's own, so what is set in it
    may reach others. `standby` and `read_only`: nothing can be written. `may_create`: the role may make schemas here.
    """

    server_version: int
    database: str
    owner: str
    role: str
    superuser: bool
    may_create: bool
    search_path: tuple[str, ...]
    pooler: bool
    standby: bool
    read_only: bool
    size: int
    schema_version: SchemaVersion | None

    @property
    def major(self) -> int:
        """The server's major version."""
        return self.server_version // 10_000


def hindrances(state: DatabaseState) -> tuple[Message, ...]:
    """Every reason why the guard does not migrate this database."""
    found: list[Message] = []
    if state.major != MAJOR:
        found.append(OtherMajor(state.major, MAJOR))
    if state.pooler:
        found.append(PoolerBetween())
    if state.standby or state.read_only:
        found.append(NotWritable(state.standby))
    return (*found, *_of_version(state.schema_version))


def _of_version(seen: SchemaVersion | None) -> tuple[Message, ...]:
    if seen is None:
        return (NoMigrationTool(),)
    table = f"{seen.table.schema}.{seen.table.name}"
    if seen.tool is not MigrationTool.GOLANG_MIGRATE:
        return (ToolReadOnly(seen.tool, table),)
    if seen.rows > 1:
        return (SeveralVersions(table, seen.rows),)
    return (DirtyVersion(table, seen.told),) if seen.dirty else ()
