"""Parts of a parsed statement: what stands below a node, and names as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pglast import ast

from logcaster_guard.domain.database.server import TableName


def below(*roots: object, but: tuple[type[ast.Node], ...] = ()) -> Iterator[ast.Node]:
    """The nodes themselves and everything below, in no order; nothing below those of the kinds `but`.

    No recursion: a tree may be deeper than Python's stack.
    """
    waiting: list[object] = list(roots)
    while waiting:
        found = waiting.pop()
        if isinstance(found, tuple):
            waiting.extend(found)
        elif isinstance(found, ast.Node):
            yield found
            if not isinstance(found, but):
                waiting.extend(getattr(found, name) for name in found)


def words_of(names: object) -> tuple[str, ...]:
    """The parts of a name with dots: a tuple of texts, or what holds one."""
    if isinstance(names, ast.String):
        return (names.sval or "",)
    if isinstance(names, ast.TypeName):
        return words_of(names.names)
    if isinstance(names, ast.ObjectWithArgs):
        return words_of(names.objname)
    parts: Iterable[object] = names if isinstance(names, tuple) else ()
    return tuple(word for part in parts for word in words_of(part))


def quoted(*words: str) -> str:
    """A name with dots as SQL takes it, whatever it holds."""
    return ".".join('"' + word.replace('"', '""') + '"' for word in words)


def quoted_table(table: TableName) -> str:
    """A table as SQL takes it."""
    return quoted(table.schema, table.name)


def literal(text: str) -> str:
    """A text as SQL takes it, whatever the server thinks of backslashes."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def shown(table: TableName) -> str:
    """A table as people read it."""
    return f"{table.schema}.{table.name}"
