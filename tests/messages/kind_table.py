"""The table of kinds in docs/messages.md, made of the messages: `make docs` writes it, a test compares it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

from logcaster_guard.domain.message import Message, Reason, kind_of
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.messages.texts import parameters_of, parts_of

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"
HEAD = "| kind | parts | parameters |\n|---|---|---|\n"


def rows() -> Iterator[str]:
    """A row for each kind."""
    for kind in MESSAGES:
        hints = get_type_hints(kind)
        told = ", ".join(f"`{name}` ({_shown(hints[name])})" for name in parameters_of(kind))
        yield f"| `{kind_of(kind)}` | {', '.join(parts_of(kind))} | {told or '-'} |\n"


def written(page: str) -> str:
    """The page with its table as it has to be; the table is its end."""
    return page[: page.index(HEAD)] + HEAD + "".join(rows())


def _shown(hint: Any) -> str:
    arguments = get_args(hint)
    if hint == Reason:
        return "message"
    if type(None) in arguments:
        return f"{_shown(arguments[0])}, may be missing"
    if Ellipsis in arguments:
        return f"list of {_shown(arguments[0])}s"
    if isinstance(hint, type) and issubclass(hint, Message):
        return "message"
    return {bool: "yes or no", int: "number", float: "number", datetime: "instant"}.get(hint, "text")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
