"""What must hold for every input of the configuration: faults or values, never an exception, each fault in its place.

An input is one byte that chooses what is done with the rest, so that one corpus serves all entries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml as pyyaml
from pydantic import BaseModel

from logcaster_guard.config import ConfigFault, Loaded, load
from logcaster_guard.config import yaml as strict
from logcaster_guard.config.grammar import parse_condition
from logcaster_guard.config.json_schema import KINDS, json_schema
from logcaster_guard.config.rules import RULES_KEY, RulesFile
from logcaster_guard.config.schema import inner_section
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.domain.conditions import NoDataPolicy, judge, signals_of
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.signals import (
    BUILT_IN_UNITS,
    Fault,
    Gap,
    NoData,
    Reading,
    SourceError,
    SourceName,
    Unit,
    Value,
)
from logcaster_guard.fields.faults import MAX_FAULTS, AllRefused
from tests.config.json_schema_validator import violations

SCHEMAS = {kind: json_schema(kind) for kind in KINDS}
LONGEST_FAULT = 6_000
"""Characters of a fault's line; it lists what is allowed, so it is long at times, but never without end."""

BETWEEN_FILES = b"\n#=====\n"
"""Parts an input into a rule file and a settings file."""

UNITS = {**BUILT_IN_UNITS, "heap": Unit.BYTES, "odd": None}
READINGS: Sequence[Callable[[int], Reading]] = (
    lambda n: Value(0.0, float(n)),
    lambda n: Value(0.0, -1e300 * n),
    lambda _: NoData(0.0, Gap.EMPTY),
    lambda _: SourceError(0.0, Fault.TIMED_OUT, "none"),
)


class Broken(AssertionError):
    """An input that the configuration does not treat as it promises."""


def examine(data: bytes, folder: Path) -> None:
    """Run one input; `folder` is for its files. Raises what the configuration raised, or `Broken`."""
    entry, rest = data[:1], data[1:]
    _use_loader(pure=bool(entry and entry[0] & 0x80))
    chosen = (entry[0] & 0x7F if entry else 0) % 4
    if chosen == 0:
        _files(folder, {"file.yaml": rest})
    elif chosen == 1:
        rules, _, settings = rest.partition(BETWEEN_FILES)
        _files(folder, {"rules.yaml": rules, "guard.yaml": settings})
    elif chosen == 2:
        _condition(rest.decode("utf-8", "replace"))
    else:
        _files(folder, {"rules.yaml": _rule(rest.decode("utf-8", "replace"))})


def seeds(config: Path) -> Iterator[bytes]:
    """Inputs to begin with: the shipped files, whole and in parts, and conditions of every shape."""
    rules, settings = (config / "rollback-rules.yaml").read_bytes(), (config / "guard.yaml").read_bytes()
    uncommented = re.sub(rb"(?m)^( *)# ?(?=( *- )| *[a-z_]+:)", rb"\1", settings)
    for content in (rules, settings, uncommented, *settings.split(b"\n\n")):
        yield b"\x00" + content
        yield b"\x80" + content
    yield b"\x01" + rules + BETWEEN_FILES + settings
    for text in CONDITIONS:
        yield b"\x02" + text.encode()
        yield b"\x03" + text.encode()
    for text in AWKWARD:
        yield b"\x00" + text.encode()
        yield b"\x80" + text.encode()


def words() -> Iterator[str]:
    """Words that inputs are made of, for the fuzzer to put together."""
    for model in (RulesFile, SettingsFile):
        yield from _keys(model)
    yield from (*UNITS, *Action, *NoDataPolicy, *SourceName, *Unit)
    yield from WORDS.split()


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        inner = inner_section(field.annotation)
        if inner is not None:
            yield from _keys(inner)


WORDS = """
% ms s m h d B KiB MiB GiB > >= < <= == != and or not ( ) + - * / 5 0.5 null true false file env http:// https://
$namespace $lookback $label_ ${ &a *a <<: !!str --- ...
"""
CONDITIONS = (
    "error_rate > 5%",
    "p95_latency / response_time >= 1.5 and not (restart_count != 3 or heap < 64MiB)",
    "-restart_count + unready_pods - 1 * 2 / 3 == 0",
    "odd <= 250ms",
    "error_rate > 5 % && request_rate => 1e9",
)
AWKWARD = (
    "a: &x [*x, {<<: *x}]\n---\n? [b]\n: !!python/none ''\n",
    "%YAML 1.2\n---\na: |2-\n   b\n  c\nd: >+\n e\n\n",
    "{a: \"\\u00e9\\x07\\N\", 'b''c': .nan, 5:00: 0o17, no: ~}",
    "a:\n- b\n-\n  c: 999999999999999999999\n  c: 2\n",
    "signals: {q: {unit: count, query: 'x{a=\"$label_v\",b=`$$`}[$lookback] # ${namespace}'}}\n",
    "sources: {prometheus: {url: 'http://[::ffff:169.254.1.1]:1/', token: {file: a, env: B}}}\n",
)


def _use_loader(*, pure: bool) -> None:
    strict._LOADER = pyyaml.SafeLoader if pure or not pyyaml.__with_libyaml__ else pyyaml.CSafeLoader  # noqa: SLF001


def _files(folder: Path, contents: dict[str, bytes]) -> None:
    for old in folder.iterdir():
        old.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    found = load(folder)
    if isinstance(found, Loaded):
        _usable(found)
        for content in contents.values():
            _completed(content)
    elif not found:
        raise Broken("refused without a fault")
    else:
        _told(found, {str(folder / name): content for name, content in contents.items()})


def _usable(found: Loaded) -> None:
    for rule in found.rules:
        if not rule.duration > 0 or not signals_of(rule.condition) <= set(found.settings.signals):
            raise Broken(f"a rule that cannot be evaluated: {rule}")
    for sentence in found.warnings:
        _one_line(sentence)


def _completed(content: bytes) -> None:
    root = strict.load_yaml(content, "f").root
    if root is None:
        return
    value = strict.plain(root)
    marked = list(violations(SCHEMAS["rules" if RULES_KEY in value else "settings"], value))
    if marked:
        raise Broken(f"accepted, but editors mark {marked[:5]}")


def _told(faults: list[ConfigFault], contents: dict[str, bytes]) -> None:
    if faults != sorted(faults) or len(faults) > MAX_FAULTS * len(contents):
        raise Broken("faults out of order, or too many")
    for fault in faults:
        _one_line(str(fault))
        lines = contents[fault.file].count(b"\n") + 1 if fault.file in contents else 0
        if fault.line > lines or (fault.line and fault.column < 1):
            raise Broken(f"a place outside the file of {lines} lines: {fault}")


def _one_line(text: str) -> None:
    if not text.isprintable() or len(text) > LONGEST_FAULT:
        raise Broken(f"a sentence that is not one printable line: {text[:200]!r}")


def _condition(text: str) -> None:
    try:
        tree = parse_condition(text, UNITS)
    except AllRefused as refused:
        places = [part.offset for part in refused.parts]
        if not places or any(at is None or not 0 <= at <= len(text) for at in places):
            raise Broken(f"a place outside the condition: {places}") from None
        return
    for number, reading in enumerate(READINGS):
        for policy in NoDataPolicy:
            judge(tree, {name: reading(number) for name in UNITS}, policy)


def _rule(condition: str) -> bytes:
    rule = {"name": "a", "condition": condition, "duration": "5m", "action": "alert_only"}
    return f"rollback_triggers: [{json.dumps(rule, ensure_ascii=False)}]\n".encode()
