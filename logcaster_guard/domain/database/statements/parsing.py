"""SQL as PostgreSQL's parser reads it, in bounded time and memory.

The parser and what turns its tree into objects call themselves for each level, so a tree that is deep enough ends the
process. What may become one is refused by its tokens, which are counted without building anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pglast import ast
from pglast.parser import ParseError, parse_sql, scan

from logcaster_guard.domain.database.statement_findings import NoStatement, NotSql, Place, TooDeep

DEEPEST = 1_000
"""Levels of a tree. A thread with a stack of 2 MiB was seen to read three times as many, one of 8 MiB fifteen times."""

_FIRST_WORDS = re.compile(r"\w+(?:[ \t\r\n]+[A-Za-z]+)?")
_COMMENTS = frozenset({"SQL_COMMENT", "C_COMMENT"})
_OPENING = frozenset({"ASCII_40", "ASCII_91", "CASE"})
_CLOSING = frozenset({"ASCII_41", "ASCII_93", "END_P"})
_COMMA, _END = "ASCII_44", "ASCII_59"
_SET_OPERATIONS = frozenset({"UNION", "INTERSECT", "EXCEPT"})


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a file, and where it stands."""

    place: Place
    node: ast.Node


def statements_of(file: str, text: str) -> tuple[Statement, ...] | NotSql | TooDeep | NoStatement:
    """The statements in their order, or why they cannot be read. `text` holds no NUL: the parser would end there."""
    try:
        deep = _too_deep(text)
        if deep is not None:
            return TooDeep(file, _line(text, deep), DEEPEST)
        return tuple(_statements(file, text)) or NoStatement(file)
    except ParseError as error:
        words, where = error.args
        # Without a place it is the end.
        at = len(text) if where is None else where
        return NotSql(file, _line(text, at), at - text.rfind("\n", 0, at), str(words))


def _statements(file: str, text: str) -> Iterator[Statement]:
    line, counted = 1, 0
    for raw in parse_sql(text):
        start = raw.stmt_location or 0
        line, counted = line + text.count("\n", counted, start), start
        words = _FIRST_WORDS.match(text, start)
        if raw.stmt is not None:
            yield Statement(Place(file, line, " ".join(words[0].split()).upper() if words else ""), raw.stmt)


@dataclass(slots=True)
class _Bracket:
    """What stands between two brackets so far: tokens since the last comma, and set operations, which make levels."""

    run: int = 0
    fixed: int = 0


def _too_deep(text: str) -> int | None:
    """Where a tree may become too deep: a level takes a token at least, and commas make lists, not levels."""
    brackets, depth = [_Bracket()], 0
    for token in scan(text):
        if token.name in _COMMENTS:
            continue
        if token.name == _END:
            brackets, depth = [_Bracket()], 0
            continue
        if token.name in _CLOSING and len(brackets) > 1:
            closed = brackets.pop()
            depth -= closed.run + closed.fixed
        here = brackets[-1]
        if token.name == _COMMA or token.name in _SET_OPERATIONS:
            depth, here.run = depth - here.run, 0
        if token.name in _SET_OPERATIONS:
            depth, here.fixed = depth + 1, here.fixed + 1
        elif token.name != _COMMA:
            depth, here.run = depth + 1, here.run + 1
        if token.name in _OPENING:
            brackets.append(_Bracket())
        if depth > DEEPEST:
            return token.start
    return None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
