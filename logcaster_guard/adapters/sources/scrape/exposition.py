"""Prometheus' text format 0.0.4, as much of it as is needed: the samples of the metrics asked for.

Every line must look like one of the format, so that an HTML page with status 200 is not taken for an application
without metrics, and the last must end with a line feed, so that an answer cut at a line's end of a connection without
a length is noticed where it can be. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.reading_faults import LineFault, LineUnreadable, MetricsCut, MetricsTooLong, SeriesTooMany
from logcaster_guard.messages.texts import english

Labels = tuple[tuple[str, str], ...]

MAX_LINES = 50_000
MAX_LINE_BYTES = 16_384

_LINE = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*(?=[ \t{])")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*')
_VALUE = re.compile(r"[ \t]*([-+]?(?:[0-9][0-9.eE+-]*|\.[0-9][0-9eE+-]*|Inf|inf|NaN|nan))(?:[ \t]+-?[0-9]+)?[ \t]*")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Unreadable(Exception):
    """The body is not the text format, or passes a bound."""

    def __init__(self, fault: Fault, detail: Message) -> None:
        super().__init__(english().text(detail))
        self.failure = Failure(fault, detail)


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: the metric's name, its labels in the order of their names, its value."""

    name: str
    labels: Labels
    value: float


def parse(body: bytes, wanted: Set[str], *, max_series: int) -> list[Sample]:
    """The samples whose name is in `wanted`; raises `Unreadable`. Timestamps are ignored: a scrape is of now."""
    if body and not body.endswith(b"\n"):
        raise Unreadable(Fault.TRUNCATED, MetricsCut())
    lines = body.split(b"\n")
    if len(lines) > MAX_LINES:
        raise Unreadable(Fault.TOO_LARGE, MetricsTooLong(MAX_LINES))
    names = {name.encode() for name in wanted}
    found: list[Sample] = []
    seen: set[tuple[str, Labels]] = set()
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(b"#"):
            continue
        head = _LINE.match(stripped)
        if head is None or len(stripped) > MAX_LINE_BYTES:
            raise Unreadable(Fault.MALFORMED, LineUnreadable(number, LineFault.NOT_TEXT, ""))
        if head[0] not in names:
            continue
        sample = _sample(stripped, head.end(), number)
        if (sample.name, sample.labels) in seen:
            raise Unreadable(Fault.MALFORMED, LineUnreadable(number, LineFault.REPEATS_SERIES, ""))
        if len(found) >= max_series:
            raise Unreadable(Fault.TOO_LARGE, SeriesTooMany(max_series))
        seen.add((sample.name, sample.labels))
        found.append(sample)
    return found


def _sample(line: bytes, name_end: int, number: int) -> Sample:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(Fault.MALFORMED, LineUnreadable(number, LineFault.NOT_UTF8, "")) from error
    position = name_end
    while text[position] in " \t":
        position += 1
    labels: Labels = ()
    if text[position] == "{":
        labels, position = _labels(text, position + 1, number)
    match = _VALUE.fullmatch(text, position)
    try:
        value = float(match[1]) if match else None
    except ValueError:
        value = None
    if value is None:
        raise Unreadable(Fault.MALFORMED, LineUnreadable(number, LineFault.NO_VALUE, ""))
    return Sample(text[:name_end], labels, value)


def _labels(text: str, position: int, number: int) -> tuple[Labels, int]:
    """Labels from behind the opening brace on, and the position behind the closing one; a trailing comma is allowed."""
    labels: dict[str, str] = {}
    while (match := _LABEL.match(text, position)) is not None:
        if match[1] in labels:
            raise Unreadable(Fault.MALFORMED, LineUnreadable(number, LineFault.REPEATS_LABEL, match[1]))
        labels[match[1]] = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), match[2])
        position = match.end()
        if text[position : position + 1] != ",":
            break
        position += 1
    while text[position : position + 1] in {" ", "\t"}:
        position += 1
    if text[position : position + 1] != "}":
        raise Unreadable(Fault.MALFORMED, LineUnreadable(number, LineFault.BAD_LABELS, ""))
    return tuple(sorted(labels.items())), position + 1
