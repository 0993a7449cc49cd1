"""docs/logs.md against the code: every event name that is logged, and no other."""

from __future__ import annotations

import ast
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from logcaster_guard.domain.events import Event, NoticeSettled
from logcaster_guard.engine.event_lines import event_name

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| (debug|info|warning|error)", re.MULTILINE)
NAME = re.compile(r"[a-z_]+\.[a-z_]+")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
RENAMED = {"library.logged"}  # what libraries log gets this name in the formatter


def logged() -> set[str]:
    """Names that the source logs by `log.<level>("name", …)`, the receiver being any expression."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "logcaster_guard").rglob("*.py"))
    return {name for tree in trees for name in _names(tree)}


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _is_level(node.func):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and NAME.fullmatch(first.value):
                yield first.value


def _is_level(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(attr=attr):
            return attr in LEVELS
        case ast.IfExp(body=body, orelse=orelse):
            return _is_level(body) and _is_level(orelse)
        case _:
            return False


def journalled() -> set[str]:
    """Names of the facts, each of which is logged when it is appended; a settled notice alone is not."""
    return {event_name(type_.__new__(type_)) for type_ in typing.get_args(Event) if type_ is not NoticeSettled}


def documented() -> list[str]:
    return [name for name, _ in ROW.findall((ROOT / "docs" / "logs.md").read_text("utf-8"))]


def test_every_log_event_is_documented_and_no_other() -> None:
    assert set(documented()) == logged() | journalled() | RENAMED


def test_no_log_event_is_documented_twice() -> None:
    names = documented()
    assert len(names) == len(set(names))


def test_the_search_finds_names_however_the_logger_is_reached() -> None:
    source = '(say.warning if first else say.info)("a.b", x=1)\nself._log.bind(y=2).error("c.d")\nother.get("e.f")'
    assert set(_names(ast.parse(source))) == {"a.b", "c.d"}
