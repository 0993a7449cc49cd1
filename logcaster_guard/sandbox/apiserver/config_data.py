"""What ConfigMaps and Secrets hold: text, and bytes that are written in base64."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from logcaster_guard.sandbox.apiserver.errors import Cause
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value

MOST_BYTES = 1_048_576
"""The bound of all that one object holds, decoded."""

_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_LONGEST_KEY = 253
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_FORBIDDEN = "Forbidden: field is immutable when `immutable` is set"
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_GO_TYPES = {bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class Undecodable(ValueError):
    """What an object holds is of the wrong type, or is no base64."""


def fill_config_map(item: Json, old: Json | None) -> None:
    """Leave out what is empty; raises `Undecodable`."""
    if item.get("data"):
        item["data"] = {k: "" if v is None else _text("ConfigMap.data", v) for k, v in item["data"].items()}
    _decode(item, "binaryData", old)
    for field in ("data", "binaryData"):
        if not item.get(field):
            item.pop(field, None)


def fill_secret(item: Json, old: Json | None) -> None:
    """Fold `stringData`, which is never kept, into `data`; raises `Undecodable`."""
    item.setdefault("type", "Opaque")
    _decode(item, "data", old)
    texts = item.pop("stringData", None) or {}
    if texts:
        encoded = {k: base64.b64encode(_text("Secret.stringData", v).encode()).decode() for k, v in texts.items()}
        item["data"] = {**item.get("data", {}), **encoded}


def _text(field: str, value: Value) -> str:
    if not isinstance(value, str):
        found = _GO_TYPES[type(value)]
        raise Undecodable(f"json: cannot unmarshal {found} into Go struct field {field} of type string")
    return value


def _decode(item: Json, field: str, old: Json | None) -> None:
    """See to it that every value is base64; one that was kept before is passed by."""
    known = (old or {}).get(field) or {}
    for key, value in (item.get(field) or {}).items():
        if value is known.get(key):
            continue
        if not isinstance(value, str):
            place, found = f"{item['kind']}.{field}", _GO_TYPES[type(value)]
            raise Undecodable(f"json: cannot unmarshal {found} into Go struct field {place} of type []uint8")
        # Line ends are not counted, and not kept.
        plain = value.replace("\r", "").replace("\n", "")
        try:
            base64.b64decode(plain, validate=True)
        except ValueError as error:
            wrong = _NO_BASE64.search(plain)
            at = wrong.start() if wrong else len(plain)
            raise Undecodable(f"illegal base64 data at input byte {at}") from error
        item[field][key] = plain


def check_config_map(item: Json) -> Iterator[Cause]:
    """What breaks a rule of a ConfigMap."""
    texts, binaries = item.get("data") or {}, item.get("binaryData") or {}
    for key in texts:
        yield from _check_key(key, "data")
        if key in binaries:
            message = f'Invalid value: "{key}": duplicate of key present in binaryData'
            yield Cause(f"data[{key}]", "FieldValueInvalid", message)
    for key in binaries:
        yield from _check_key(key, "binaryData")
    size = sum(len(v) if v.isascii() else len(v.encode()) for v in texts.values())
    yield from _check_size(size + sum(map(_size, binaries.values())), "[]")


def check_secret(item: Json) -> Iterator[Cause]:
    """What breaks a rule of a Secret."""
    values = item.get("data") or {}
    for key in values:
        yield from _check_key(key, "data")
    yield from _check_size(sum(map(_size, values.values())), "data")


def _size(encoded: str) -> int:
    return len(encoded) * 3 // 4 - encoded.count("=", -2)


def _check_key(key: str, field: str) -> Iterator[Cause]:
    where = f"{field}[{key}]"
    if len(key) > _LONGEST_KEY:
        yield Cause(where, "FieldValueInvalid", f'Invalid value: "{key}": must be no more than {_LONGEST_KEY} bytes')
    if not _KEY.match(key):
        yield Cause(where, "FieldValueInvalid", f'Invalid value: "{key}": {_KEY_RULE}')
    elif key in {".", ".."}:
        yield Cause(where, "FieldValueInvalid", f"Invalid value: \"{key}\": must not be '{key}'")
    elif key.startswith(".."):
        yield Cause(where, "FieldValueInvalid", f"Invalid value: \"{key}\": must not start with '..'")


def _check_size(size: int, field: str) -> Iterator[Cause]:
    if size > MOST_BYTES:
        yield Cause(field, "FieldValueTooLong", f"Too long: may not be more than {MOST_BYTES} bytes")


def check_unchanged(old: Json, new: Json) -> Iterator[Cause]:
    """What may not change of a ConfigMap or Secret: all that it holds once it is immutable, and a Secret's type."""
    if old.get("immutable"):
        held = [field for field in ("data", "binaryData") if old.get(field) != new.get(field)]
        for field in (["immutable"] if not new.get("immutable") else []) + held:
            yield Cause(field, "FieldValueForbidden", _FORBIDDEN)
    if old.get("type") != new.get("type"):
        yield Cause("type", "FieldValueInvalid", f'Invalid value: "{new.get("type")}": field is immutable')
