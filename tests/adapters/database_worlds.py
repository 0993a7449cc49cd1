"""Databases for the contract: each begins at version 12 with ten rows in `logs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.connection import Address
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database.migrating import MigrationOrder, Script, TableLock
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.ports import Database
from tests.fakes.database import MemoryDatabase, state_at
from tests.real.postgresql import PASSWORD, ROLE, RealDatabase

REMOVING = "DELETE FROM logs WHERE id IN (SELECT id FROM logs ORDER BY id LIMIT {})"
COUNT = "SELECT count(*) FROM logs"
VERSIONS_AT_12 = """
    CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
    INSERT INTO schema_migrations VALUES (12, false);
"""
LOGS = TableName("public", "logs")


def order_of(scripts: Sequence[Script], **changed: Any) -> MigrationOrder:
    """An order from version 12, of the leader of epoch 1."""
    kept: dict[str, Any] = {
        "operation": "op-1",
        "epoch": 1,
        "plan": "plan",
        "present": 12,
        "locks": [TableLock(LOGS)],
        "invariants": [],
        "search_path": ("public",),
    }
    return MigrationOrder(scripts=tuple(scripts), **{**kept, **changed})


async def unnoted(_: int) -> None:
    """Nobody keeps a journal of it."""


class DatabaseWorld(Protocol):
    """A database and the files that change it."""

    @property
    def database(self) -> Database: ...

    def fails(self, name: str) -> None:
        """Let the file of this name fail in its first line."""

    def order(self, *scripts: tuple[str, int, int], **changed: Any) -> MigrationOrder:
        """Files by name, by how many rows they add (or remove), and by the version that they leave."""


class FakeWorld:
    """The fake."""

    def __init__(self) -> None:
        self._effects: dict[str, dict[str, int]] = {}
        self._failures: dict[str, str] = {}
        self.database = MemoryDatabase(state_at(12), {COUNT: 10}, self._effects, self._failures)

    def fails(self, name: str) -> None:
        self._failures[name] = "syntax error"

    def order(self, *scripts: tuple[str, int, int], **changed: Any) -> MigrationOrder:
        self._effects.update({name: {COUNT: rows} for name, rows, _ in scripts})
        return order_of([Script(name, "", leaves) for name, _, leaves in scripts], **changed)


def address_of(real: RealDatabase, **changed: Any) -> Address:
    """Where the guard finds it."""
    kept: dict[str, Any] = {"role": ROLE, "password": Secret(plain=PASSWORD), "sslmode": "disable"}
    return Address(**{"host": "127.0.0.1", "port": real.server.port, "name": real.name, **kept, **changed})


class RealWorld:
    """A database of a real server; `raw` is the way past the guard."""

    def __init__(self, raw: RealDatabase) -> None:
        self.raw = raw
        self._failing: set[str] = set()
        self.database = PostgresDatabase(address_of(raw), SystemClock())
        raw.run(f"""
            CREATE TABLE logs (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, line text NOT NULL DEFAULT 'x');
            INSERT INTO logs SELECT FROM generate_series(1, 10);
            {VERSIONS_AT_12}
        """)

    def fails(self, name: str) -> None:
        self._failing.add(name)

    def order(self, *scripts: tuple[str, int, int], **changed: Any) -> MigrationOrder:
        return order_of([Script(n, self._text(n, rows), leaves) for n, rows, leaves in scripts], **changed)

    def _text(self, name: str, rows: int) -> str:
        if name in self._failing:
            return "SELEC 1"
        return f"INSERT INTO logs SELECT FROM generate_series(1, {rows})" if rows > 0 else REMOVING.format(-rows)
