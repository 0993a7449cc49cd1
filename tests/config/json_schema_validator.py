"""As much of JSON Schema (draft 7) as the shipped schemas use; another keyword is an error, so none is passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOLD = {"$schema", "title", "description", "default", "examples", "patternErrorMessage"}
TYPES = {
    "object": Mapping,
    "array": Sequence,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def violations(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """Places and keywords that `value` violates."""
    for keyword, wanted in schema.items():
        if keyword in TOLD:
            continue
        if not _holds(keyword, wanted, value):
            yield f"{path}: {keyword}"
    if isinstance(value, Mapping):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for key, inner in value.items():
            rule = properties.get(key, others)
            if rule is False:
                yield f"{path}.{key}: additionalProperties"
            elif rule is not True:
                yield from violations(rule, inner, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, inner in enumerate(value):
            yield from violations(schema.get("items", {}), inner, f"{path}[{index}]")


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    size = len(value) if isinstance(value, str | Sequence | Mapping) else None
    text, items, table = isinstance(value, str), isinstance(value, Sequence), isinstance(value, Mapping)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "type":
            return _is(wanted, value)
        case "enum":
            return value in wanted
        case "anyOf":
            return any(not list(violations(option, value)) for option in wanted)
        case "required":
            return not table or all(key in value for key in wanted)
        case "pattern":
            return not text or re.search(wanted, value, re.ASCII) is not None
        case "propertyNames":
            return not table or not any(list(violations(wanted, key)) for key in value)
        case "minLength" | "maxLength":
            return not text or _within(keyword, wanted, size)
        case "minItems" | "maxItems":
            return not items or text or _within(keyword, wanted, size)
        case "minProperties" | "maxProperties":
            return not table or _within(keyword, wanted, size)
        case "minimum" | "maximum":
            return not number or _within(keyword, wanted, value)
        case "properties" | "items" | "additionalProperties":
            return True
    raise AssertionError(f"a keyword that this validator does not know: {keyword}")


def _within(keyword: str, wanted: float, size: float | None) -> bool:
    assert size is not None
    return size >= wanted if keyword.startswith("min") else size <= wanted


def _is(wanted: str, value: Any) -> bool:
    if isinstance(value, bool) or wanted == "boolean":
        return wanted == "boolean" and isinstance(value, bool)
    if wanted == "array":
        return isinstance(value, Sequence) and not isinstance(value, str)
    kinds: Any = TYPES[wanted]
    return isinstance(value, kinds)
