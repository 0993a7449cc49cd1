"""Which table of the database, as it is before the first file, a name in a later statement means.

Files rename, move, make and drop tables, so `logs` in the third file need not be the `logs` of now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pglast import ast

from logcaster_guard.domain.database.server import TableName

TEMPORARY = "pg_temp"

Words = tuple[str, ...]


class TableNames:
    """Follows the names through the statements.

    A name without a schema is looked for in those of `path`, in the first of which tables are made. `homes` tells in
    which of them each name is before the files. `unqualified` collects such names.
    """

    def __init__(self, path: Sequence[str], homes: Mapping[str, Sequence[str]]) -> None:
        self.unqualified: set[str] = set()
        self._path = path
        self._homes = homes
        self._origins: dict[TableName, TableName | None] = {}
        self._gone: set[TableName] = set()
        self._columns: dict[tuple[TableName, str], str | None] = {}
        self._armed: set[TableName] = set()
        self._views: dict[TableName, tuple[Words, ...]] = {}
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
        unqualified = relation is not None and not relation.schemaname and relation.relpersistence != "t"
        return TableName(self._path[0], found.name) if unqualified else found

    def written(self, *words: str) -> TableName:
        """The table whose name has these parts."""
        if len(words) > 1:
            return TableName(words[-2], words[-1])
        (name,) = words
        self.unqualified.add(name)
        for schema in (TEMPORARY, *self._path):
            table = TableName(schema, name)
            if self._is_made(table) or (schema in self._homes.get(name, ()) and table not in self._gone):
                return table
        return TableName(self._path[0], name)

    def _is_made(self, table: TableName) -> bool:
        return table not in self._gone and self._origins.get(table, table) != table

    def origin(self, table: TableName) -> TableName | None:
        """What it was called before the first file; None: these files made it."""
        return None if table.schema == TEMPORARY else self._origins.get(table, table)

    def column_origin(self, table: TableName, column: str) -> str | None:
        """What a column was called before; None: these files made it."""
        return self._columns.get((table, column), column)

    def is_untouched(self, *words: str) -> bool:
        """Whether nothing was made, renamed or dropped that has one of these names, whatever it is."""
        return self._changed.isdisjoint(words)

    def make(self, table: TableName) -> None:
        """A table, or whatever shares names with tables, is new."""
        self._origins[table] = None
        self._gone.discard(table)
        self._views.pop(table, None)
        self._changed.add(table.name)

    def drop(self, table: TableName) -> None:
        """Nothing has this name any more."""
        self.make(table)
        self._gone.add(table)

    def rename(self, table: TableName, to: TableName) -> None:
        """A table has another name or schema."""
        origin, calls, armed = self.origin(table), self._views.get(table), table in self._armed
        columns = {column: was for (owner, column), was in self._columns.items() if owner == table}
        self.drop(table)
        self.make(to)
        self._origins[to] = origin
        self._columns.update({(to, column): was for column, was in columns.items()})
        if calls is not None:
            self._views[to] = calls
        if armed:
            self._armed.add(to)

    def make_column(self, table: TableName, column: str) -> None:
        """A column is new, or is there no more."""
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

    def make_view(self, view: TableName, calls: tuple[Words, ...]) -> None:
        """A view is new that calls these functions whenever it is read."""
        self.make(view)
        self._views[view] = calls

    def is_view(self, table: TableName) -> bool:
        """Whether the files made it as a view."""
        return table in self._views

    def calls_of(self, table: TableName) -> tuple[Words, ...]:
        """The functions that are called when it is read, so far as the files tell."""
        return self._views.get(table, ())
