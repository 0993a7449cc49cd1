"""PromQL as a tree: whether a query parses, where it does not, and which metrics it reads; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import promql_parser
from promql_parser import Expr, MatchOp, MatrixSelector, SubqueryExpr, VectorSelector

_STRING = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*""", re.DOTALL)
_BRACED = re.compile(r"\$\{[^{}]*\}")
_NAMED = re.compile(r"'([^']+)'|syntax: (\S+)$")
_CLOSING = {")": "(", "]": "[", "}": "{"}
_UNSURE = re.compile(r"unknown function|illegal regex|inside brackets: '[-+*/%^(]'")
"""What a newer Prometheus may know, or reads otherwise than the parser: functions, RE2, arithmetic with durations."""
_NEWER = re.compile(r"\b(?:anchored|smoothed)\b")


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """Why a query does not parse, and the index of the culprit in it; not `certain` where a Prometheus may take it."""

    words: str
    offset: int
    certain: bool


def parsed(query: str, template: str | None = None) -> Expr | SyntaxFault:
    """The query's tree. The place of a fault is that in `template`, which the query was rendered from."""
    try:
        tree: Expr = promql_parser.parse(_STRING.sub(_plain_quotes, query))
    except ValueError as error:
        words = str(error)
        certain = not _UNSURE.search(words) and not _NEWER.search(_bare(query))
        return SyntaxFault(words, _place(template or query, words), certain)
    return tree


def walk(tree: Expr) -> Iterator[Expr]:
    """Every part of the tree, from the outside in."""
    found: list[Expr] = []
    promql_parser.walk(tree, found.append)
    yield from found


def metric(selector: VectorSelector) -> str:
    """The name of the metric that is selected; empty if the selector leaves it open."""
    named = (m.value for m in selector.matchers.matchers if m.name == "__name__" and m.op == MatchOp.Equal)
    return selector.name or next(named, "")


def reach(tree: Expr) -> float:
    """How many seconds behind its instant the query reads, as far as it says so."""
    match tree:
        case SubqueryExpr():
            return _seconds(tree.range) + _seconds(tree.offset) + reach(tree.expr)
        case MatrixSelector():
            return _seconds(tree.range) + _seconds(tree.vector_selector.offset)
        case VectorSelector():
            return _seconds(tree.offset)
        case _:
            return max((reach(part) for part in _parts(tree)), default=0.0)


def _parts(tree: Expr) -> Iterator[Expr]:
    for name in ("expr", "param", "lhs", "rhs"):
        part = getattr(tree, name, None)
        if isinstance(part, Expr):
            yield part
    yield from getattr(tree, "args", ())


def _seconds(span: timedelta | None) -> float:
    return 0.0 if span is None else span.total_seconds()


def _plain_quotes(string: re.Match[str]) -> str:
    """The parser takes escapes in backticks for escapes; Prometheus does not."""
    if not string[0].startswith("`"):
        return string[0]
    inside = string[0][1:-1].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inside}"'


def _bare(text: str) -> str:
    """The text with strings, comments and braced placeholders blanked out."""
    return _STRING.sub(lambda m: " " * len(m[0]), _BRACED.sub(lambda m: "_" * len(m[0]), text))


def _place(text: str, words: str) -> int:
    """The parser tells no place: it is the bracket without its other half, or what the words quote, or the start."""
    bare = _bare(text)
    if "unterminated" in words:
        return next((i for i, c in enumerate(bare) if c in "\"'`"), 0)
    unpaired = _unpaired(bare)
    if unpaired is not None:
        return unpaired
    for found in _NAMED.finditer(words):
        word = re.escape(found[1] or found[2])
        at = re.search(rf"(?<!\w){word}(?!\w)" if found[1] is None or found[1].isidentifier() else word, bare)
        if at:
            return at.start()
    return 0


def _unpaired(bare: str) -> int | None:
    open_: list[tuple[str, int]] = []
    for index, character in enumerate(bare):
        if character in "([{":
            open_.append((character, index))
        elif character in _CLOSING:
            if not open_ or open_[-1][0] != _CLOSING[character]:
                return index
            open_.pop()
    return open_[-1][1] if open_ else None
