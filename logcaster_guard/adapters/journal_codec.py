"""Events as JSON text: `{"type": <class name>, <field>: <value>, …}`, instants in ISO 8601 UTC.

The fields are those of the frozen types in `domain.events`; nothing is written that could not be read back, and nothing
is read that does not fit its type exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from logcaster_guard.domain.events import Event

TYPES: Mapping[str, type[Event]] = {t.__name__: t for t in get_args(Event)}


class Unreadable(ValueError):
    """The text is not an event that this version knows; the message says why, without quoting values."""


def encode(event: Event) -> str:
    """The event as one line of JSON.

    Lone surrogates, which no UTF-8 file can hold, become U+FFFD. Raises `ValueError` for an event whose fields are not
    of their declared types or whose instants are not UTC-aware: a defect, found before anything is written.
    """
    raw = json.dumps({"type": type(event).__name__, **_shallow(event)}, default=_plain, ensure_ascii=False)
    text = raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    decode(text)
    return text


def decode(text: str) -> Event:
    """The event that `encode` wrote; raises `Unreadable`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is not JSON") from error
    if not isinstance(document, dict):
        raise Unreadable("it is not a JSON object")
    name = document.pop("type", None)
    if not isinstance(name, str) or name not in TYPES:
        raise Unreadable(f"{name!r:.60} is no event type of this version")
    try:
        event = _adapter(name).validate_json(json.dumps([document]))[0]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise Unreadable(f"{name} does not fit: {where}: {first['msg']}") from error
    _require_aware(event)
    return event


@cache
def _adapter(name: str) -> TypeAdapter[tuple[Event]]:
    # pydantic takes no configuration for a bare stdlib dataclass; a tuple of one hands it down to every nested one.
    single: Any = tuple.__class_getitem__(TYPES[name])
    return TypeAdapter(single, config=ConfigDict(extra="forbid", strict=True))


def _shallow(value: Any) -> dict[str, Any]:  # noqa: ANN401 # any dataclass
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _plain(value: object) -> object:
    """What `json` cannot write by itself: nested dataclasses, instants and mappings that are no dicts."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(f"an event holds the instant {value.isoformat()} without a time zone")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _shallow(value)
    raise ValueError(f"an event holds a {type(value).__name__}, which the journal does not know")


def _require_aware(value: object) -> None:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise Unreadable(f"the instant {value.isoformat()} has no time zone")
    elif is_dataclass(value) and not isinstance(value, type):
        for name in _names(type(value)):
            _require_aware(getattr(value, name))


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
