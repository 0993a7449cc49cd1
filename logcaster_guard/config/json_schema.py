"""The JSON Schema of rules and settings, so that editors complete and mark what is wrong while it is written.

It says what JSON Schema can say: keys, kinds of values, bounds, notations. What `check` refuses beyond that (unknown
signals, dimensions, two keys that contradict each other) it lets pass; it never marks what `check` accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from logcaster_guard.config.amounts import show_share, show_size
from logcaster_guard.config.descriptions import DESCRIPTIONS
from logcaster_guard.config.durations import show_duration
from logcaster_guard.config.rules import RulesFile
from logcaster_guard.config.schema import SHOWN_DURATION, SHOWN_SHARE, SHOWN_SIZE
from logcaster_guard.config.sections import SettingsFile

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The draft that every editor's YAML support knows."""

KINDS: Mapping[str, type[BaseModel]] = MappingProxyType({"rules": RulesFile, "settings": SettingsFile})
"""Kinds of files, and the keys of each."""

_TITLES = {"rules": "Rules of LogCaster Guard", "settings": "Settings of LogCaster Guard"}
_NOTATIONS = ((SHOWN_DURATION, show_duration), (SHOWN_SHARE, show_share), (SHOWN_SIZE, show_size))
_OF_PYDANTIC = frozenset({"$defs", "$ref", "title", "description"})


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of one of `KINDS`, self-contained, each key with its description and its default as written."""
    raw = KINDS[kind].model_json_schema(schema_generator=_Generator)
    return {"$schema": DRAFT, "title": _TITLES[kind], **_inlined(raw, raw.get("$defs", {}), "")}


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


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The schema without references, so that one section can be told differently at each place."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found = {**definitions[name], **schema} if name else dict(schema)
    made = {key: value for key, value in found.items() if key not in _OF_PYDANTIC}
    if "properties" in made:
        prefix = f"{path}." if path else ""
        made["properties"] = {
            key: {
                **_inlined(inner, definitions, prefix + key),
                **({"description": DESCRIPTIONS[prefix + key]} if prefix + key in DESCRIPTIONS else {}),
            }
            for key, inner in made["properties"].items()
        }
    if isinstance(made.get("items"), dict):
        made["items"] = _inlined(made["items"], definitions, f"{path}[]")
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _inlined(made["additionalProperties"], definitions, f"{path}.<name>")
    if "anyOf" in made:
        made["anyOf"] = [_inlined(option, definitions, path) for option in made["anyOf"]]
    return made
