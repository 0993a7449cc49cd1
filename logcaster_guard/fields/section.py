"""What every section of a configuration file shares, and the kinds of values that its keys hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

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
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from logcaster_guard.fields.amounts import parse_share, parse_size
from logcaster_guard.fields.durations import parse_duration
from logcaster_guard.fields.faults import Refused, described
from logcaster_guard.fields.secrets import Secret, to_secret, to_secret_url
from logcaster_guard.fields.urls import check_base_url, check_url
from logcaster_guard.messages.texts import phrase

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", re.ASCII)
_PATH_MAX = 4_096


class Section(BaseModel):
    """A mapping of a configuration file: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def check_name(text: str) -> str:
    """A name of the guard's own: of a target, rule or channel; raises `Refused`."""
    if not _NAME.fullmatch(text):
        raise Refused(described(text), phrase("allowed.name"))
    return text


def check_label(text: str) -> str:
    """A DNS label, as Kubernetes wants names of namespaces and Services; raises `Refused`."""
    if not _LABEL.fullmatch(text):
        raise Refused(described(text), phrase("allowed.dns_label"))
    return text


def check_subdomain(text: str) -> str:
    """A DNS subdomain, as Kubernetes wants names of Deployments; raises `Refused`."""
    if len(text) > 253 or not all(_LABEL.fullmatch(part) for part in text.split(".")):
        raise Refused(described(text), phrase("allowed.subdomain"))
    return text


def check_metric(text: str) -> str:
    """A metric's name; raises `Refused`."""
    if not _METRIC.fullmatch(text):
        raise Refused(described(text), phrase("allowed.metric_name"))
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
            raise Refused(phrase("found.empty_list"), phrase("allowed.one_item"))
        if isinstance(items, tuple | dict) and len(items) > self.most:
            found = phrase("found.too_many_items", count=f"{len(items):,}", noun=self.noun)
            raise Refused(found, phrase("allowed.at_most", most=self.most))
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
        raise Refused(described(text), phrase("allowed.a_path"))
    return text


# A pattern cannot add up, so these accept a little more than the validators, and never less. `patternErrorMessage` is
# what editors show instead of the pattern.
SHOWN_DURATION = {
    "type": "string",
    "pattern": "^(?=.*[1-9])"
    + "".join(f"(?:[0-9]{{1,9}}(?:\\.[0-9]{{1,9}})?{unit})?" for unit in ("d", "h", "m", "s", "ms"))
    + "$",
    "patternErrorMessage": f"{phrase('allowed.duration')} is needed",
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
SECRET_PLACES = {"file": "the file that holds it", "env": "the environment variable that holds it"}
SHOWN_SECRET = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "pattern": "\\S", "description": SECRET_PLACES["file"]},
        "env": {"type": "string", "pattern": "\\S", "description": SECRET_PLACES["env"]},
    },
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
