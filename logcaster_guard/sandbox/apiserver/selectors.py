"""Label and field selectors: the text of a query, and the `LabelSelector` of an object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from logcaster_guard.sandbox.apiserver.errors import bad_request
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import Resource

Labels = Mapping[str, str]
Matcher = Callable[[Json], bool]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(rf"^(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)$")
_EXISTS = re.compile(rf"^(?P<absent>!?)\s*(?P<key>{_KEY})$")


def _parts(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [p.strip() for p in re.split(r",(?![^(]*\))", text) if p.strip()]


def _requirement(part: str) -> Callable[[Labels], bool]:
    if found := _SET.match(part):
        key, values = found["key"], {v.strip() for v in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(part):
        key = found["key"]
        if found["absent"]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise bad_request(f"unable to parse requirement: {part!r} is no label selector requirement")


def parse_labels(text: str) -> Callable[[Labels], bool]:
    """The predicate of a `labelSelector` query; raises `ApiError` 400 on a text that cannot be read."""
    requirements = [_requirement(p) for p in _parts(text)]
    return lambda labels: all(r(labels) for r in requirements)


def _at(item: Json, path: str) -> str:
    found: Any = item
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return "" if found is None else str(found)


def parse_fields(resource: Resource, text: str) -> Matcher:
    """The predicate of a `fieldSelector` query; raises `ApiError` 400 on a field that cannot be selected by."""
    terms: list[tuple[str, bool, str]] = []
    for part in _parts(text):
        found = re.match(r"^([A-Za-z.]+)(==|=|!=)(.*)$", part)
        if found is None:
            raise bad_request(f"invalid selector: {part!r}; can't understand it")
        path, operator, value = found.groups()
        if path not in resource.fields:
            raise bad_request(f"field label not supported: {path}")
        terms.append((path, operator != "!=", value))
    return lambda item: all((_at(item, path) == value) is wanted for path, wanted, value in terms)


def matcher(resource: Resource, labels: str, fields: str) -> Matcher:
    """Both selectors of a list or watch as one predicate over objects."""
    by_label, by_field = parse_labels(labels), parse_fields(resource, fields)
    return lambda item: by_label(item["metadata"].get("labels") or {}) and by_field(item)


def _expression(expression: Json, labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def selects(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a `LabelSelector` object matches; none or an empty one matches nothing, as controllers read it."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return False
    equal = all(labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items())
    return equal and all(_expression(e, labels) for e in selector.get("matchExpressions") or [])


def as_text(selector: Mapping[str, Any]) -> str:
    """A `LabelSelector` object as a query, as `/scale` tells it."""
    told = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for e in selector.get("matchExpressions") or []:
        values = ",".join(e.get("values") or [])
        word = {"In": f"{e['key']} in ({values})", "NotIn": f"{e['key']} notin ({values})", "Exists": e["key"]}
        told.append(word.get(e["operator"], f"!{e['key']}"))
    return ",".join(told)
