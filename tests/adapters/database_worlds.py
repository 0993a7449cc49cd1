"""Databases for the contract: each begins at version 12 with ten rows in `logs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from logcaster_guard.domain.database.migrating import MigrationOrder, Script, TableLock
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.ports import Database
from tests.fakes.database import MemoryDatabase, state_at

COUNT = "SELECT count(*) FROM logs"
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
