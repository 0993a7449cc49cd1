"""An example of each kind of message, with a value for every parameter: what templates are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, get_args, get_type_hints

from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.runs import RECOVERED

_AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
_BY_NAME: Mapping[str, Any] = {
    "target": "shop/web",
    "rule": "high_error_rate",
    "bad": ("registry.example/web:2",),
    "good": ("registry.example/web:1",),
    "images": ("registry.example/web:2",),
    "outcome": RECOVERED,
    "release_status": "bad",
    "command": "kubectl -n shop get deployment web",
}
_SAID = "connection refused"


@cache
def example(kind: type[Message], *, full: bool = True) -> Message:
    """A message of this kind; with `full` whatever may be empty is not."""
    hints = get_type_hints(kind)
    return kind(**{n: _value(n, hint, full=full) for n, hint in hints.items() if n != "kind"})


def _value(name: str, hint: Any, *, full: bool) -> Any:  # noqa: ANN401 - any parameter's type and value
    arguments = get_args(hint)
    if hint == Reason or Reason in arguments:
        return _SAID if hint == Reason else (_SAID, _SAID) if full else ()
    if type(None) in arguments:
        return _value(name, arguments[0], full=full) if full else None
    if arguments and arguments[-1] is Ellipsis:
        if not full:
            return ()
        return _BY_NAME.get(name) or (_value(name, arguments[0], full=full),) * 2
    if isinstance(hint, type) and issubclass(hint, Message):
        return example(hint, full=full)
    return _plain(name, hint, full=full)


def _plain(name: str, hint: type, *, full: bool) -> object:
    if issubclass(hint, Enum):
        return next(iter(hint))
    if issubclass(hint, bool):
        return full
    if issubclass(hint, int):
        return 3 if full else 0
    if issubclass(hint, float):
        return 90.5 if full else 0.0
    if issubclass(hint, datetime):
        return _AT
    return _BY_NAME.get(name, name if full else "")
