"""The tables of keys in docs/configuration.md, made of the settings: `make docs` writes them, a test compares them.

A table is for the top-level keys that stand in it, in their order there; what stands below them comes from the models.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, PlainValidator
from pydantic.fields import FieldInfo

from logcaster_guard.config.rules import Parsed, RulesFile
from logcaster_guard.config.schema import inner_section
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.fields.amounts import parse_share, parse_size, show_share, show_size
from logcaster_guard.fields.durations import parse_duration, show_duration
from logcaster_guard.fields.secrets import to_secret, to_secret_url
from logcaster_guard.fields.section import SECRET_PLACES, check_name
from logcaster_guard.fields.urls import check_base_url, check_url

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
HEAD = "| key | type | default | meaning |\n|---|---|---|---|\n"

_TABLE = re.compile(re.escape(HEAD) + r"((?:\| .*\n)+)")
_ROW_KEY = re.compile(r"^\| `(\w+)", re.MULTILINE)
_KINDS: Mapping[object, str] = {
    parse_duration: "duration",
    parse_share: "share",
    parse_size: "size",
    check_url: "address",
    check_base_url: "address",
    check_name: "name",
    to_secret: "secret",
    to_secret_url: "address or secret",
}
_NOTATIONS: Mapping[object, Any] = {parse_duration: show_duration, parse_share: show_share, parse_size: show_size}


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, type, default and meaning of every key below the model."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        assert field.description, f"{path} has no description"
        yield path, _type(field), default_of(field), field.description
        if _functions(field) & {to_secret, to_secret_url}:
            for place in ("file", "env"):
                yield f"{path}.{place}", "text", "one of both", SECRET_PLACES[place]
        section = inner_section(field.annotation)
        if section is not None:
            origin = typing.get_origin(field.annotation)
            yield from rows(section, path + ("[]." if origin is tuple else ".<name>." if origin is dict else "."))


def default_of(field: FieldInfo) -> str:
    """The default as the page shows it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "all defaults"
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return "one target, all defaults"
    return f"`{_shown(value, _functions(field))}`"


def written(page: str) -> str:
    """The page with every table of keys as it has to be."""
    known = [*rows(RulesFile), *rows(SettingsFile)]

    def table(found: re.Match[str]) -> str:
        top = dict.fromkeys(_ROW_KEY.findall(found[1]))
        mine = [row for key in top for row in known if re.split(r"[.\[]", row[0])[0] == key]
        return HEAD + "".join(f"| `{key}` | {kind} | {default} | {text} |\n" for key, kind, default, text in mine)

    return _TABLE.sub(table, page)


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation and everything inside it, metadata of `Annotated` included."""
    yield annotation
    for argument in typing.get_args(annotation):
        yield from _parts(argument)


def _functions(field: FieldInfo) -> set[object]:
    validators = BeforeValidator | AfterValidator | PlainValidator
    return {p.func for p in (*field.metadata, *_parts(field.annotation)) if isinstance(p, validators)}


def _shown(value: object, functions: set[object]) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(item, functions) for item in value)}]"
    show = next((show for parse, show in _NOTATIONS.items() if parse in functions), str)
    return str(show(value))


def _type(field: FieldInfo) -> str:
    functions = _functions(field)
    kinds = [kind for function, kind in _KINDS.items() if function in functions]
    parts = list(_parts(field.annotation))
    section, many = inner_section(field.annotation), [typing.get_origin(part) for part in parts]
    if typing.get_origin(field.annotation) is dict and tuple in many:
        base = "mapping of lists"
    elif tuple in many:
        base = "list" if section or typing.Literal in many else f"list of {kinds[0] if kinds else 'text'}s"
    elif dict in many or section is not None:
        base = "mapping" if section else "mapping of texts"
    elif Parsed in parts:
        base = "text"
    else:
        base = kinds[0] if kinds else field.title or _plain(parts)
    null = type(None) in parts
    return base if not null else f"{base.replace(' or ', ', ')} or `null`"


def _plain(parts: list[Any]) -> str:
    if bool in parts:
        return "true or false"
    types = [p for p in parts if isinstance(p, type) and p is not type(None)]
    return "number" if any(issubclass(t, int | float) and not issubclass(t, StrEnum) for t in types) else "text"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
