"""The advisory locks that golang-migrate holds while it works."""

from __future__ import annotations

from itertools import product
from zlib import crc32

from logcaster_guard.domain.database.server import TableName

_SALT = 1486364155


def lock_ids(database: str, table: TableName) -> tuple[int, ...]:
    """Each id that a version of the tool may take for this table of versions.

    It hashes the database's name, to which its URL gives a leading slash, after schema and table. Earlier versions left
    the table out, and the first ones the schema too.
    """
    kept = ((table.schema, table.name), (table.schema,), ())
    return tuple(_lock_id(*names, name) for names, name in product(kept, (f"/{database}", database)))


def _lock_id(*names: str) -> int:
    return crc32("\0".join(names).encode()) * _SALT % 2**32
