"""Pydantic's errors told to operators: with their place, and with the remedy."""

from __future__ import annotations

import itertools
import re
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from logcaster_guard.config.yaml import Entry, Items, Leaf, Node, Position, Table, plain
from logcaster_guard.fields.faults import (
    MAX_FAULTS,
    AllRefused,
    ConfigFault,
    Refused,
    closest,
    described,
    quoted,
)
from logcaster_guard.fields.section import Section
from logcaster_guard.messages.texts import Phrase, phrase

_QUOTED_WORD = re.compile(r"'([^']*)'")


class _Faults:
    def __init__(self, file: str, root: Node, model: type[BaseModel]) -> None:
        self._file = file
        self._root = root
        self._model = model

    def of(self, error: ValidationError) -> Iterator[ConfigFault]:
        items = error.errors(include_url=False)[:MAX_FAULTS]
        misspelt = {(e["loc"][:-1], self._meant(e["loc"])) for e in items if e["type"] == "extra_forbidden"}
        for item in items:
            loc = tuple(part for part in item["loc"] if part != "[key]")
            cause = item.get("ctx", {}).get("error")
            if item["type"] == "missing":
                if (loc[:-1], f'"{loc[-1]}"') not in misspelt:
                    yield self._missing(loc)
            elif item["type"] == "extra_forbidden":
                yield self._unknown(loc)
            elif _told(self._root, loc):
                continue
            elif isinstance(cause, AllRefused):
                yield from (refusal_fault(self._root, self._file, loc, part) for part in cause.parts)
            elif isinstance(cause, Refused):
                yield refusal_fault(self._root, self._file, loc, cause)
            else:
                yield self._wrong(loc, item["type"], item["input"], item.get("ctx", {}), item["msg"])

    def _meant(self, loc: tuple[int | str, ...]) -> Phrase | None:
        return closest(str(loc[-1]), _section_at(self._model, loc[:-1]).model_fields)

    def _fault(self, at: Position, found: Phrase, allowed: Phrase, suggestion: Phrase | None = None) -> ConfigFault:
        return ConfigFault(self._file, at.line, at.column, found, allowed, suggestion)

    def _unknown(self, loc: tuple[int | str, ...]) -> ConfigFault:
        node, entry = node_at(self._root, loc)
        known = list(_section_at(self._model, loc[:-1]).model_fields)
        key = str(loc[-1])
        found, allowed = phrase("found.unknown_key", key=quoted(key)), phrase("allowed.keys", keys=known)
        return self._fault(entry.at if entry else node.at, found, allowed, closest(key, known))

    def _missing(self, loc: tuple[int | str, ...]) -> ConfigFault:
        node, _ = node_at(self._root, loc[:-1])
        fields = _section_at(self._model, loc[:-1]).model_fields
        required = [name for name, field in fields.items() if field.is_required()]
        found = phrase("found.missing_key", key=quoted(str(loc[-1])))
        return self._fault(node.at, found, phrase("allowed.required_keys", keys=required))

    def _wrong(
        self, loc: tuple[int | str, ...], kind: str, value: object, ctx: dict[str, Any], text: str
    ) -> ConfigFault:
        node, _ = node_at(self._root, loc)
        allowed, suggestion = self._allowed(loc, kind, ctx, text), None
        if kind == "string_type" and isinstance(node, Leaf) and isinstance(value, bool | int | float):
            suggestion = phrase("meant.in_quotes", text=node.raw.strip())
        if kind in {"enum", "literal_error"}:
            suggestion = closest(value, _QUOTED_WORD.findall(ctx["expected"])) if isinstance(value, str) else None
        return self._fault(node.at, described(value), allowed, suggestion)

    def _allowed(self, loc: tuple[int | str, ...], kind: str, ctx: dict[str, Any], text: str) -> Phrase:
        match kind:
            case "string_type":
                return phrase("allowed.text")
            case "int_type" | "int_from_float":
                return phrase("allowed.whole_number")
            case "float_type":
                return phrase("allowed.number")
            case "bool_type":
                return phrase("allowed.true_or_false")
            case "tuple_type" | "list_type":
                return phrase("allowed.list")
            case "dict_type":
                return phrase("allowed.mapping")
            case "model_type" | "model_attributes_type":
                return phrase("allowed.mapping_of", keys=list(_section_at(self._model, loc).model_fields))
            case "enum" | "literal_error":
                return phrase("allowed.words", words=_QUOTED_WORD.findall(ctx["expected"]))
            case "greater_than_equal":
                return phrase("allowed.at_least", least=ctx["ge"])
            case "less_than_equal":
                return phrase("allowed.at_most", most=ctx["le"])
            case _:
                return phrase("allowed.as_validated", words=text[:1].lower() + text[1:])


SectionT = TypeVar("SectionT", bound=Section)


def validate(model: type[SectionT], node: Node, file: str, context: object = None) -> SectionT | list[ConfigFault]:
    """The section that `node` describes, or every fault in it; `context` is for the model's validators."""
    try:
        return model.model_validate(plain(node), context=context)
    except ValidationError as error:
        return list(itertools.islice(_Faults(file, node, model).of(error), MAX_FAULTS))


def refusal_fault(root: Node, file: str, loc: tuple[int | str, ...], refusal: Refused) -> ConfigFault:
    """The refusal of the value at `loc`, with its place."""
    node, entry = node_at(root, (*loc, *refusal.key))
    at = node.at if entry is None or (isinstance(node, Leaf) and not refusal.at_key) else entry.at
    if refusal.offset is not None and isinstance(node, Leaf):
        at = node.locate(refusal.offset)
    return ConfigFault(file, at.line, at.column, refusal.found, refusal.allowed, refusal.suggestion)


def node_at(root: Node, loc: tuple[int | str, ...]) -> tuple[Node, Entry | None]:
    """The node that `loc` leads to, or the last one on the way, and the mapping entry that holds it."""
    node, entry = root, None
    for part in loc:
        if isinstance(node, Table) and str(part) in node.entries:
            entry = node.entries[str(part)]
            node = entry.value
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            node, entry = node.items[part], None
        else:
            break
    return node, entry


def _told(root: Node, loc: tuple[int | str, ...]) -> bool:
    node, _ = node_at(root, loc)
    return isinstance(node, Leaf) and node.told


def inner_section(annotation: object) -> type[BaseModel] | None:
    """The section inside an annotation such as `tuple[Section, ...]` or `dict[str, Section]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = inner_section(argument)
        if found is not None:
            return found
    return None


def _section_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    named = False
    for part in loc:
        if named or isinstance(part, int) or part not in model.model_fields:
            named = False
            continue
        annotation = model.model_fields[part].annotation
        named = typing.get_origin(annotation) is dict
        model = inner_section(annotation) or model
    return model
