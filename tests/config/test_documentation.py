"""docs/configuration.md against the models: no key missing, none invented, no default told wrong."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from logcaster_guard.config.amounts import parse_share, parse_size
from logcaster_guard.config.durations import parse_duration, show_duration
from logcaster_guard.config.rules import RulesFile
from logcaster_guard.config.schema import inner_section
from logcaster_guard.config.secrets import Secret
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.domain.signals import BUILT_IN_UNITS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def parts(annotation: Any) -> Iterator[Any]:
    """The annotation and everything inside it, metadata of `Annotated` included."""
    yield annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)


def shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    functions = {p.func for p in (*field.metadata, *parts(field.annotation)) if isinstance(p, BeforeValidator)}
    if isinstance(value, BaseModel):
        return "all defaults"
    if isinstance(value, tuple) and value and isinstance(value[0], float):
        return f"`[{', '.join(f'{share:.0%}' for share in value)}]`"
    if isinstance(value, tuple) and value:
        return "one target, all defaults"
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if parse_duration in functions:
        return f"`{show_duration(value)}`"
    if parse_share in functions:
        return f"`{value:.0%}`"
    if parse_size in functions:
        return f"`{value >> 20}MiB`"
    return "`[]`" if value == () else f"`{value}`"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path, shown_default(field)
        if any(p is Secret for p in parts(field.annotation)):
            yield f"{path}.file", "one of both"
            yield f"{path}.env", "one of both"
        section = inner_section(field.annotation)
        if section is not None:
            origin = typing.get_origin(field.annotation)
            yield from keys(section, path + ("[]." if origin is tuple else ".<name>." if origin is dict else "."))


EXPECTED = dict([*keys(RulesFile), *keys(SettingsFile)])


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    rows = [r for r in ROW.findall(PAGE.read_text("utf-8")) if r[0] not in BUILT_IN_UNITS]
    assert len({key for key, *_ in rows}) == len(rows)
    return {key: default.strip() for key, _, default, _ in rows}


def test_every_key_is_documented_and_no_other(documented: dict[str, str]) -> None:
    assert set(EXPECTED) == set(documented)


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_the_documented_default_is_the_real_one(key: str, documented: dict[str, str]) -> None:
    assert documented[key] == EXPECTED[key]


def test_every_built_in_signal_is_documented_with_its_unit() -> None:
    rows = {name: unit for name, unit, *_ in ROW.findall(PAGE.read_text("utf-8")) if name in BUILT_IN_UNITS}
    assert rows == {name: unit.value for name, unit in BUILT_IN_UNITS.items()}
