"""Which table of the database, as it is before the first file, a name in a later statement means.

Files rename, move, make and drop tables, so `logs` in the third file need not be the `logs` of now.
"""

from __future__ import annotations

from collections.abc import Mapping

from pglast import ast

from logcaster_guard.domain.database.server import TableName

TEMPORARY = "pg_temp"


class TableNames:
    """Follows the names through the statements.

    A name without a schema is in `homes`, or else in `home`, where new tables are made. `unqualified` collects them.
    """

    def __init__(self, home: str, homes: Mapping[str, str]) -> None:
        self.unqualified: set[str] = set()
        self._home = home
        self._homes = homes
        self._origins: dict[TableName, TableName | None] = {}
        self._columns: dict[tuple[TableName, str], str | None] = {}
        self._armed: set[TableName] = set()
        self._changed: set[str] = set()

    def read(self, relation: ast.RangeVar | None) -> TableName:
        """The table that a statement names."""
        if relation is None or relation.relname is None:
            raise TypeError("the grammar asks for a table here")
        if relation.relpersistence == "t":
            return TableName(TEMPORARY, relation.relname)
        return self.written(*(part for part in (relation.schemaname, relation.relname) if part))

    def made(self, relation: ast.RangeVar | None) -> TableName:
        """The table that a statement makes under this name."""
        found = self.read(relation)
        unqualified = relation is not None and not relation.schemaname and found.schema != TEMPORARY
        return TableName(self._home, found.name) if unqualified else found

    def written(self, *words: str) -> TableName:
        """The table whose name has these parts."""
        if len(words) > 1:
            return TableName(words[-2], words[-1])
        (name,) = words
        self.unqualified.add(name)
        temporary, new = TableName(TEMPORARY, name), TableName(self._home, name)
        if temporary in self._origins:
            return temporary
        # What the files have made is found first where it is.
        return new if self._origins.get(new, new) is None else TableName(self._homes.get(name, self._home), name)

    def origin(self, table: TableName) -> TableName | None:
        """What it was called before the first file; None: these files made it."""
        return None if table.schema == TEMPORARY else self._origins.get(table, table)

    def column_origin(self, table: TableName, column: str) -> str | None:
        """What a column was called before; None: these files made it."""
        return self._columns.get((table, column), column)

    def is_untouched(self, *words: str) -> bool:
        """Whether nothing was made, renamed or dropped that has one of these names, whatever it is."""
        return self._changed.isdisjoint(words)

    def cut(self, table: TableName) -> None:
        """What has this name from now on is not what had it before: that was dropped, or this was made."""
        self._origins[table] = None
        self._changed.add(table.name)

    def rename(self, table: TableName, to: TableName) -> None:
        """A table has another name or schema."""
        self._origins[to], self._origins[table] = self.origin(table), None
        for (owner, column), was in list(self._columns.items()):
            if owner == table:
                self._columns[to, column] = was
        if table in self._armed:
            self._armed.add(to)
        self._changed |= {table.name, to.name}

    def make_column(self, table: TableName, column: str) -> None:
        """A column is new."""
        self._columns[table, column] = None
        self._changed.add(column)

    def rename_column(self, table: TableName, column: str, to: str) -> None:
        """A column has another name."""
        was = self.column_origin(table, column)
        self._columns[table, column], self._columns[table, to] = None, was
        self._changed |= {column, to}

    def change(self, *words: str) -> None:
        """Something else was made, renamed or dropped under these names."""
        self._changed.update(words)

    def arm(self, table: TableName) -> None:
        """The files let a trigger fire on it."""
        self._armed.add(table)

    def is_armed(self, table: TableName) -> bool:
        """Whether the files let a trigger fire on it."""
        return table in self._armed
