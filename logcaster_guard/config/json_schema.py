"""The JSON Schema of rules and settings, so that editors complete and mark what is wrong while it is written.

It says what JSON Schema can say: keys, kinds of values, bounds, notations. What `check` refuses beyond that (unknown
signals, dimensions, two keys that contradict each other) it lets pass; it never marks what `check` accepts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from logcaster_guard.config.rules import RulesFile
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.fields.amounts import show_share, show_size
from logcaster_guard.fields.durations import show_duration
from logcaster_guard.fields.section import SHOWN_DURATION, SHOWN_SHARE, SHOWN_SIZE

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The draft that every editor's YAML support knows."""

KINDS: Mapping[str, type[BaseModel]] = MappingProxyType({"rules": RulesFile, "settings": SettingsFile})
"""Kinds of files, and the keys of each."""

_TITLES = {"rules": "Rules of LogCaster Guard", "settings": "Settings of LogCaster Guard"}
_NOTATIONS = ((SHOWN_DURATION, show_duration), (SHOWN_SHARE, show_share), (SHOWN_SIZE, show_size))
_OF_PYDANTIC = frozenset({"$defs", "$ref", "title"})
_LINK = re.compile(r"\[([^]]+)\]\([^)]*\)")


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of one of `KINDS`, self-contained, each key with its description and its default as written."""
    raw = KINDS[kind].model_json_schema(schema_generator=_Generator)
    return {"$schema": DRAFT, "title": _TITLES[kind], **_inlined(_anonymous(raw), raw.get("$defs", {}))}


class _Generator(GenerateJsonSchema):
    """Shows defaults in the operator's notation; those of whole sections stand at their keys."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = self.generate_inner(schema["schema"])
        value = schema.get("default")
        # null stands for something that is told in words; an editor that offers it would offer to switch it off.
        if not isinstance(value, bool | int | float | str):
            return made
        return {**made, "default": _shown(made, value)}


def _shown(made: JsonSchemaValue, value: object) -> object:
    if isinstance(value, str):
        return str(value)  # not an enum's member
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    patterns = {option.get("pattern") for option in made.get("anyOf", [made])}
    return next((show(value) for shown, show in _NOTATIONS if shown["pattern"] in patterns), value)


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without references; of a section's own description nothing is told, but that of its key."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found = {**_anonymous(definitions[name]), **schema} if name else dict(schema)
    made = {key: value for key, value in found.items() if key not in _OF_PYDANTIC}
    if "description" in made:
        made["description"] = _LINK.sub(r"\1", made.pop("description"))
    if "properties" in made:
        made["properties"] = {key: _inlined(inner, definitions) for key, inner in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _inlined(made[key], definitions)
    if "anyOf" in made:
        made["anyOf"] = [_inlined(option, definitions) for option in made["anyOf"]]
    return made


def _anonymous(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != "description"}
