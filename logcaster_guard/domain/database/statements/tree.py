"""Parts of a parsed statement: what stands below a node, and names as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pglast import ast


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
