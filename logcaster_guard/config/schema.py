"""Between pydantic and the operator: what every section shares, and pydantic's errors told with place and remedy."""

from __future__ import annotations

import itertools
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from logcaster_guard.config.amounts import parse_share, parse_size
from logcaster_guard.config.durations import ALLOWED, parse_duration
from logcaster_guard.config.faults import (
    MAX_FAULTS,
    AllRefused,
    ConfigFault,
    Refused,
    closest,
    described,
    listed,
    quoted,
)
from logcaster_guard.config.secrets import Secret, to_secret, to_secret_url
from logcaster_guard.config.urls import check_base_url, check_url
from logcaster_guard.config.yaml import Entry, Items, Leaf, Node, Position, Table, plain

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_QUOTED_WORD = re.compile(r"'([^']*)'")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", re.ASCII)
_PATH_MAX = 4_096


class Section(BaseModel):
    """A mapping of a configuration file: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def check_name(text: str) -> str:
    """A name of the guard's own: of a target, rule or channel; raises `Refused`."""
    if not _NAME.fullmatch(text):
        raise Refused(
            described(text), "a name of letters, digits, _ . and -, at most 63, starting with a letter or digit"
        )
    return text


def check_label(text: str) -> str:
    """A DNS label, as Kubernetes wants names of namespaces and Services; raises `Refused`."""
    if not _LABEL.fullmatch(text):
        raise Refused(described(text), "lower-case letters, digits and inner -, at most 63")
    return text


def check_subdomain(text: str) -> str:
    """A DNS subdomain, as Kubernetes wants names of Deployments; raises `Refused`."""
    if len(text) > 253 or not all(_LABEL.fullmatch(part) for part in text.split(".")):
        raise Refused(described(text), "lower-case letters, digits and inner - or ., at most 253")
    return text


def check_metric(text: str) -> str:
    """A metric's name; raises `Refused`."""
    if not _METRIC.fullmatch(text):
        raise Refused(described(text), "a metric name: letters, digits, _ and :, not starting with a digit")
    return text


@dataclass(frozen=True, slots=True)
class Sized:
    """Bounds the number of items, called `noun`, before any of them is looked at; refuses with `Refused`."""

    least: int
    most: int
    noun: str = "items"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The items' own schema behind the check."""
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The bounds in JSON Schema's words."""
        made = handler(schema)
        noun = "Items" if made.get("type") == "array" else "Properties"
        return {**made, f"min{noun}": self.least, f"max{noun}": self.most}

    def _check(self, items: object) -> object:
        if isinstance(items, tuple | dict) and len(items) < self.least:
            raise Refused("an empty list", "at least one item")
        if isinstance(items, tuple | dict) and len(items) > self.most:
            raise Refused(f"{len(items):,} {self.noun}", f"at most {self.most}")
        return items


def pattern_of(pattern: re.Pattern[str]) -> WithJsonSchema:
    """How JSON Schema shows text that `pattern` matches whole; the pattern says the same in Python and ECMAScript."""
    return WithJsonSchema({"type": "string", "pattern": f"^{_without_names(pattern)}$"})


def keys_like(pattern: re.Pattern[str]) -> dict[str, JsonValue]:
    """How JSON Schema shows a mapping whose keys `pattern` matches whole."""
    return {"propertyNames": {"pattern": f"^{_without_names(pattern)}$"}}


def _without_names(pattern: re.Pattern[str]) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", pattern.pattern)


def check_path(text: str) -> str:
    """A path of the file system, whether it exists or not; raises `Refused`."""
    if not text.strip() or not text.isprintable() or len(text) > _PATH_MAX:
        raise Refused(described(text), "a path")
    return text


# A pattern cannot add up, so these accept a little more than the validators, and never less. `patternErrorMessage` is
# what editors show instead of the pattern.
SHOWN_DURATION = {
    "type": "string",
    "pattern": "^(?=.*[1-9])"
    + "".join(f"(?:[0-9]{{1,9}}(?:\\.[0-9]{{1,9}})?{unit})?" for unit in ("d", "h", "m", "s", "ms"))
    + "$",
    "patternErrorMessage": f"{ALLOWED} is needed",
}
SHOWN_SHARE = {
    "type": "string",
    "pattern": "^(?=.*[1-9])[0-9]{1,3}(?:\\.[0-9]{1,9})?%$",
    "patternErrorMessage": "a percentage such as 90% is needed",
}
SHOWN_SIZE = {
    "type": "string",
    "pattern": "^(?=.*[1-9])[0-9]{1,9}(?:B|KiB|MiB|GiB)$",
    "patternErrorMessage": "a size such as 64KiB or 8MiB is needed",
}
SHOWN_URL = {"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#@\\s]+(?:[/?][^#\\s]*)?$", "maxLength": 2_000}
SHOWN_SECRET = {
    "type": "object",
    "properties": {"file": {"type": "string", "pattern": "\\S"}, "env": {"type": "string", "pattern": "\\S"}},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_SHOWN_SUBDOMAIN = {"type": "string", "pattern": f"^{_LABEL.pattern}(?:\\.{_LABEL.pattern})*$", "maxLength": 253}
_SHOWN_PATH = {"type": "string", "minLength": 1, "maxLength": _PATH_MAX}

Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(SHOWN_DURATION)]
Share = Annotated[float, BeforeValidator(parse_share), WithJsonSchema(SHOWN_SHARE)]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(SHOWN_SIZE)]
Url = Annotated[str, AfterValidator(check_url), WithJsonSchema(SHOWN_URL)]
BaseUrl = Annotated[str, AfterValidator(check_base_url), WithJsonSchema(SHOWN_URL)]
SecretSource = Annotated[Secret, PlainValidator(to_secret), WithJsonSchema(SHOWN_SECRET)]
SecretUrl = Annotated[Secret, PlainValidator(to_secret_url), WithJsonSchema({"anyOf": [SHOWN_URL, SHOWN_SECRET]})]
Label = Annotated[str, AfterValidator(check_label), pattern_of(_LABEL)]
Subdomain = Annotated[str, AfterValidator(check_subdomain), WithJsonSchema(_SHOWN_SUBDOMAIN)]
Metric = Annotated[str, AfterValidator(check_metric), pattern_of(_METRIC)]
WholeNumber = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, AfterValidator(check_name), pattern_of(_NAME)]
Rate = Annotated[float, Field(ge=0.001, le=1_000_000)]
PathName = Annotated[str, AfterValidator(check_path), WithJsonSchema(_SHOWN_PATH)]


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

    def _meant(self, loc: tuple[int | str, ...]) -> str | None:
        return closest(str(loc[-1]), _section_at(self._model, loc[:-1]).model_fields)

    def _fault(self, at: Position, found: str, allowed: str, suggestion: str | None = None) -> ConfigFault:
        return ConfigFault(self._file, at.line, at.column, found, allowed, suggestion)

    def _unknown(self, loc: tuple[int | str, ...]) -> ConfigFault:
        node, entry = node_at(self._root, loc)
        known = list(_section_at(self._model, loc[:-1]).model_fields)
        key = str(loc[-1])
        allowed = f"the keys {listed(known)}"
        return self._fault(
            entry.at if entry else node.at, f"the unknown key {quoted(key)}", allowed, closest(key, known)
        )

    def _missing(self, loc: tuple[int | str, ...]) -> ConfigFault:
        node, _ = node_at(self._root, loc[:-1])
        fields = _section_at(self._model, loc[:-1]).model_fields
        required = listed(name for name, field in fields.items() if field.is_required())
        return self._fault(node.at, f"no {quoted(str(loc[-1]))} here", f"a mapping with the required keys {required}")

    def _wrong(
        self, loc: tuple[int | str, ...], kind: str, value: object, ctx: dict[str, Any], text: str
    ) -> ConfigFault:
        node, _ = node_at(self._root, loc)
        allowed, suggestion = self._allowed(loc, kind, ctx, text), None
        if kind == "string_type" and isinstance(node, Leaf) and isinstance(value, bool | int | float):
            suggestion = f'"{node.raw.strip()}" in quotes'
        if kind in {"enum", "literal_error"}:
            suggestion = closest(value, _QUOTED_WORD.findall(ctx["expected"])) if isinstance(value, str) else None
        return self._fault(node.at, described(value), allowed, suggestion)

    def _allowed(self, loc: tuple[int | str, ...], kind: str, ctx: dict[str, Any], text: str) -> str:
        match kind:
            case "string_type":
                return "text"
            case "int_type" | "int_from_float":
                return "a whole number"
            case "float_type":
                return "a number"
            case "bool_type":
                return "true or false"
            case "tuple_type" | "list_type":
                return "a list (one item a line, each after a -)"
            case "dict_type":
                return "a mapping"
            case "model_type" | "model_attributes_type":
                return f"a mapping with the keys {listed(_section_at(self._model, loc).model_fields)}"
            case "enum" | "literal_error":
                return listed(_QUOTED_WORD.findall(ctx["expected"]))
            case "greater_than_equal":
                return f"at least {ctx['ge']}"
            case "less_than_equal":
                return f"at most {ctx['le']}"
            case _:
                return text[:1].lower() + text[1:]


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
