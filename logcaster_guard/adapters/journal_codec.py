"""Events as JSON text: `{"type": <class name>, <field>: <value>, …}`, instants in ISO 8601 UTC.

The fields are those of the frozen types in `domain.events`; nothing is written that could not be read back, and nothing
is read that does not fit its type exactly.

`VERSION` counts the vocabulary. It goes up with each change by which an earlier version could not read an event, or
would take it for something else; what is new and may be left out is no such change. An event that is written with
another version than 1 says so: `{"type": …, "codec": 2, …}`. One of a newer version is refused, never guessed at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from logcaster_guard.domain.events import Event
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.message import kind_of as kind_of_message
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.releases import is_left_out
from logcaster_guard.domain.steps import Step, kind_of
from logcaster_guard.messages.record_faults import (
    EventMisfit,
    EventNewer,
    EventUnknown,
    InstantNaive,
    KindUnknown,
    NotAnObject,
    NotJson,
)
from logcaster_guard.messages.texts import english

VERSION = 2
"""The newest vocabulary that this version reads: 2 has messages, which stand where there was English text alone."""

TYPES: Mapping[str, type[Event]] = {t.__name__: t for t in get_args(Event)}

_EXACTLY = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
_WRITTEN = re.compile(r'\{"type": "(\w{1,60})", (?:"codec": 2, )?(?!"codec")')
"""How `EventCodec.encode` begins an event: its fields follow, and need not be looked at here."""

_MESSAGE = "message"


class Unreadable(ValueError):
    """The text is not an event that this version knows; `reason` says why, without quoting values."""

    def __init__(self, reason: Message) -> None:
        super().__init__(english().text(reason))
        self.reason = reason


class EventCodec:
    """Writes and reads events whose plans are made of these kinds of steps, and which hold these kinds of messages."""

    def __init__(self, steps: Iterable[type[Step]], messages: Iterable[type[Message]]) -> None:
        self._steps = {kind_of(step): step for step in steps}
        self._messages = {kind_of_message(message): message for message in messages}
        self._validators: dict[str, SchemaValidator] = {}

    def encode(self, event: Event) -> str:
        """The event as one line of JSON.

        Lone surrogates, which no UTF-8 file can hold, become U+FFFD. Raises `ValueError` for an event whose fields are
        not of their declared types or whose instants are not UTC-aware: a defect, found before anything is written.
        """
        version = {"codec": VERSION} if _holds_message(event) else {}
        document = {"type": type(event).__name__, **version, **_shallow(event)}
        raw = json.dumps(document, default=_plain, ensure_ascii=False)
        text = raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self.decode(text)
        return text

    def decode(self, text: str) -> Event:
        """The event that `encode` wrote; raises `Unreadable`."""
        written = _WRITTEN.match(text)
        name, rest = (written[1], f"{{{text[written.end() :]}") if written is not None else _opened(text)
        if name not in TYPES:
            raise Unreadable(EventUnknown(f"{name!r:.60}"))
        try:
            event: Event = self._validator(name).validate_json(f"[{rest}]")[0]
        except ValidationError as error:
            raise Unreadable(_misfit(name, error)) from error
        _require_aware(event)
        return event

    def _validator(self, name: str) -> SchemaValidator:
        if name not in self._validators:
            self._validators[name] = SchemaValidator(self._with_messages(self._of_kinds(_schema(TYPES[name]))))
        return self._validators[name]

    def _of_kinds(self, schema: Any) -> Any:  # noqa: ANN401 - any part of a core schema
        """A step or message is taken by its `kind`: trying each type would take long."""
        if isinstance(schema, list | tuple):
            return type(schema)(map(self._of_kinds, schema))
        if not isinstance(schema, dict):
            return schema
        if schema.get("type") == "is-instance" and schema["cls"] is Step:
            choices = {kind: _schema(step)["items_schema"][0] for kind, step in self._steps.items()}
            return {"type": "tagged-union", "discriminator": "kind", "choices": choices}
        if schema.get("type") == "is-instance" and issubclass(schema["cls"], Message):
            return {"type": "definition-ref", "schema_ref": _MESSAGE}
        return {key: self._of_kinds(part) for key, part in schema.items() if key != "metadata"}

    def _with_messages(self, schema: Any) -> Any:  # noqa: ANN401 - a core schema
        """The schema beside that of a message, where it refers to it: a message may hold further ones."""
        if _MESSAGE not in _references(schema):
            return schema
        return {"type": "definitions", "schema": schema, "definitions": [self._message]}

    @cached_property
    def _message(self) -> Any:  # noqa: ANN401 - a core schema
        choices = {
            kind: self._of_kinds(_schema(message)["items_schema"][0]) for kind, message in self._messages.items()
        }
        return {"type": "tagged-union", "discriminator": "kind", "choices": choices, "ref": _MESSAGE}


def _references(schema: Any) -> set[str]:  # noqa: ANN401 - any part of a core schema
    if isinstance(schema, dict):
        own = {schema["schema_ref"]} if schema.get("type") == "definition-ref" else set()
        return own.union(*map(_references, schema.values()))
    return set().union(*map(_references, schema)) if isinstance(schema, list | tuple) else set()


def _holds_message(value: Any) -> bool:  # noqa: ANN401 - an event, or what one holds
    if isinstance(value, Message):
        return True
    if isinstance(value, Notice) or type(value).__name__ in TYPES:
        return any(_holds_message(getattr(value, f.name)) for f in fields(value))
    return isinstance(value, Mapping) and any(map(_holds_message, value.values()))


def _opened(text: str) -> tuple[str, str]:
    """Type and fields of an event that is not written as `EventCodec.encode` writes version 1; raises `Unreadable`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(NotJson()) from error
    if not isinstance(document, dict):
        raise Unreadable(NotAnObject())
    name, version = document.pop("type", None), document.pop("codec", 1)
    if version not in range(1, VERSION + 1):
        raise Unreadable(EventNewer(f"{version!r:.20}", VERSION))
    if not isinstance(name, str):
        raise Unreadable(EventUnknown(f"{name!r:.60}"))
    return name, json.dumps(document)


def _misfit(name: str, error: ValidationError) -> Message:
    errors = error.errors(include_input=False, include_url=False)
    # Where text or a message may stand the message's own fault tells more.
    first = next((e for e in errors if e["loc"][-1:] != ("str",)), errors[0])
    if first["type"] == "json_invalid":
        return NotJson()
    where = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith("tagged-union"))
    if first["type"] == "union_tag_invalid":
        return KindUnknown(name, where, f"{first['ctx']['tag']!r:.60}")
    return EventMisfit(name, where, str(first["msg"]))


def _schema(kind: type[Any]) -> Any:  # noqa: ANN401 - a core schema
    # pydantic takes no configuration for a bare stdlib dataclass; a tuple of one hands it down to every nested one.
    single: Any = tuple.__class_getitem__(kind)
    schema: Any = TypeAdapter(single, config=_EXACTLY).core_schema
    if schema["type"] != "definitions":
        return schema
    return _inlined(schema["schema"], {part["ref"]: part for part in schema["definitions"]})


def _inlined(schema: Any, named: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of a core schema
    """The schema with what stands in it more than once in place of the references to that."""
    if isinstance(schema, list | tuple):
        return type(schema)(_inlined(part, named) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "definition-ref":
        return _inlined({key: part for key, part in named[schema["schema_ref"]].items() if key != "ref"}, named)
    return {key: _inlined(part, named) for key, part in schema.items()}


def _shallow(value: Any) -> dict[str, Any]:  # noqa: ANN401 # any dataclass
    told = ((f, getattr(value, f.name)) for f in fields(value))
    return {f.name: part for f, part in told if not is_left_out(f, part)}


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
    for name in _instants(type(value)):  # type: ignore[arg-type] # every class can be hashed
        part = getattr(value, name)
        if not isinstance(part, datetime):
            _require_aware(part)
        elif part.tzinfo is None:
            raise Unreadable(InstantNaive(part.isoformat()))


@cache
def _instants(kind: type[Any]) -> tuple[str, ...]:
    """The fields that can hold an instant, be it in a value of their own."""
    if not is_dataclass(kind):
        return ()
    hints = get_type_hints(kind)
    parts = {f.name: get_args(hints[f.name]) or (hints[f.name],) for f in fields(kind)}
    return tuple(name for name, found in parts.items() if any(p is datetime or _is_dated(p) for p in found))


def _is_dated(part: object) -> bool:
    return isinstance(part, type) and bool(_instants(part))
