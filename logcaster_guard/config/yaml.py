"""A strict YAML loader that remembers where everything stood.

It reads the event stream itself, so depth and number of values are bounded before anything is built, and it knows five
kinds of scalar only: text, `true`/`false`, `null`, decimal integers and decimal fractions. `no`, `5:00`, `.nan`,
`0o17`, `1_000` and dates are text, as they look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from logcaster_guard.fields.faults import MAX_FAULTS, ConfigFault, quoted
from logcaster_guard.messages.texts import Phrase, phrase

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_VALUES = 50_000
MAX_DIGITS = 15

_LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_INVISIBLE = r"\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff"
"""Control characters, foreign line ends and what turns the direction of writing round."""
_UNPRINTABLE = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f{_INVISIBLE}]")
_HIDDEN = re.compile(rf"[\x00-\x09\x0b-\x1f{_INVISIBLE}]")
_BLOCK_HEADER = re.compile(r"[|>][^\n]*\n")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int


Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar: its value, and its text as it stands in the file from its first character on.

    `told` says that the loader has refused it already, so that nobody else need.
    """

    at: Position
    value: Scalar
    raw: str
    told: bool = False

    def locate(self, offset: int) -> Position:
        """Where the character `offset` of a text value stands; the value's start if escapes hide it."""
        text = str(self.value)
        if not 0 <= offset <= len(text):
            return self.at
        # Folding and indentation change blanks only, so the other characters tell how far one has come.
        place = self._body()
        for wanted in text[:offset]:
            place = self._next(place, wanted)
            if place < 0:
                return self.at
        ahead = text[offset : offset + 1].strip()
        if ahead:
            place = self._next(place, ahead) - 1
            if place < 0:
                return self.at
        before = self.raw[:place]
        lines = before.count("\n")
        if not lines:
            return Position(self.at.line, self.at.column + place)
        return Position(self.at.line + lines, place - before.rindex("\n"))

    def _body(self) -> int:
        if self.raw[:1] in {'"', "'"}:
            return 1
        header = _BLOCK_HEADER.match(self.raw)
        return header.end() if header else 0

    def _next(self, place: int, wanted: str) -> int:
        if wanted.isspace():
            return place
        while place < len(self.raw) and self.raw[place].isspace():
            place += 1
        # The escapes that conditions and queries need: \" and \\ in double quotes, '' in single ones.
        doubled = {'"': ('\\"', "\\\\"), "'": ("''",)}.get(self.raw[:1], ())
        if self.raw[place : place + 2] in doubled:
            place += 1
        return place + 1 if self.raw[place : place + 1] == wanted else -1


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    at: Position
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, where it stands, and its value."""

    key: str
    at: Position
    value: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping. Keys are text, whatever they look like."""

    at: Position
    entries: dict[str, Entry]


Node = Leaf | Items | Table


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds; `root` is None if nothing could be made of it.

    A file of comments alone is an empty mapping. `values` is how many were read.
    """

    root: Node | None
    faults: tuple[ConfigFault, ...]
    values: int


def plain(node: Node) -> Any:  # noqa: ANN401 - JSON-like data is for pydantic to type
    """The node as dicts, tuples and scalars."""
    match node:
        case Leaf(value=value):
            return value
        case Items(items=items):
            return tuple(plain(i) for i in items)
        case Table(entries=entries):
            return {k: plain(e.value) for k, e in entries.items()}


def load_yaml(content: bytes, file: str) -> Document:
    """The document in `content`, and every fault in it; `file` is the name that the faults carry. Never raises."""
    composer = _Composer(file)
    text = _decoded(content, composer)
    root = None if text is None else composer.compose(text)
    return Document(root, tuple(sorted(composer.faults)), composer.values)


def _decoded(content: bytes, composer: _Composer) -> str | None:
    start = Position(1, 1)
    if len(content) > MAX_BYTES:
        composer.fault(start, phrase("found.file_too_large"), phrase("allowed.file_bytes"))
    elif not content.strip():
        composer.fault(start, phrase("found.empty_file"), phrase("allowed.some_yaml"))
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        composer.fault(start, phrase("found.utf16"), phrase("allowed.utf8_saved"))
    else:
        try:
            text = content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8")
            found = phrase("found.no_utf8", byte=f"0x{content[error.start]:02x}")
            composer.fault(_end_of(before), found, phrase("allowed.utf8"))
        else:
            return text if _clean(text, composer) else None
    return None


def _clean(text: str, composer: _Composer) -> bool:
    before = len(composer.faults)
    for number, line in enumerate(text.split("\n"), start=1):
        unprintable = _UNPRINTABLE.search(line)
        if unprintable:
            place = Position(number, unprintable.start() + 1)
            found = phrase("found.invisible", code=f"U+{ord(unprintable[0]):04X}")
            composer.fault(place, found, phrase("allowed.printable_utf8"))
        elif "\t" in line:
            composer.fault(Position(number, line.index("\t") + 1), phrase("found.tab"), phrase("allowed.spaces"))
        elif "\r" in line:
            place = Position(number, line.index("\r") + 1)
            composer.fault(place, phrase("found.carriage_return"), phrase("allowed.line_ends"))
        if composer.full:
            break
    return len(composer.faults) == before


def _end_of(before: str) -> Position:
    lines = before.split("\n")
    return Position(len(lines), len(lines[-1]) + 1)


class _Stop(Exception):
    """The file cannot be read any further; why has been told."""


class _Composer:
    """Builds nodes from the parser's events and collects what it refuses."""

    def __init__(self, file: str) -> None:
        self.faults: list[ConfigFault] = []
        self._file = file
        self._lines: list[str] = []
        self.values = 0

    @property
    def full(self) -> bool:
        """Whether enough faults were told."""
        return len(self.faults) >= MAX_FAULTS

    def fault(self, at: Position, found: Phrase, allowed: Phrase) -> None:
        """Tell one fault; a place behind the last line is told as that line's end."""
        if self._lines and at.line > len(self._lines):
            at = Position(len(self._lines), len(self._lines[-1]) + 1)
        if not self.full:
            self.faults.append(ConfigFault(self._file, at.line, at.column, found, allowed))

    def compose(self, text: str) -> Node | None:
        """The root node; None if the text is not YAML at all."""
        self._lines = text.split("\n")
        try:
            return self._document(iter(yaml.parse(text, Loader=_LOADER)))
        except _Stop:
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
            words = ": ".join(str(w) for w in (error.context, error.problem) if w)
            self.fault(at, phrase("found.broken_yaml", words=words), _hint(str(error.problem)))
        except yaml.YAMLError as error:
            found = phrase("found.broken_yaml", words=str(error).splitlines()[0])
            self.fault(Position(1, 1), found, phrase("allowed.printable_utf8"))
        return None

    def _document(self, events: Iterator[Any]) -> Node:
        root: Node = Table(Position(1, 1), {})
        seen = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    self.fault(_at(event), phrase("found.second_document"), phrase("allowed.one_document"))
                    return root
                if event.version or event.tags:
                    self.fault(Position(1, 1), phrase("found.directive"), phrase("allowed.no_directives"))
            elif isinstance(event, yaml.NodeEvent):
                node = self._node(event, events, 1)
                if not (isinstance(node, Leaf) and not node.raw and node.value is None):
                    root = node
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:  # noqa: ANN401 - PyYAML's events are untyped
        at = _at(event)
        self.values += 1
        if depth > MAX_DEPTH:
            self.fault(at, phrase("found.too_deep", most=MAX_DEPTH), phrase("allowed.at_most", most=MAX_DEPTH))
            raise _Stop
        if self.values > MAX_VALUES:
            most = f"{MAX_VALUES:,}"
            self.fault(at, phrase("found.more_values", most=most), phrase("allowed.in_a_file", most=most))
            raise _Stop
        if isinstance(event, yaml.AliasEvent):
            self.fault(at, phrase("found.alias", name=quoted(f"*{event.anchor}")), phrase("allowed.no_anchors"))
            return Leaf(at, None, "*", told=True)
        if event.anchor is not None:
            self.fault(at, phrase("found.anchor", name=quoted(f"&{event.anchor}")), phrase("allowed.no_anchors"))
        if event.tag is not None:
            self.fault(at, phrase("found.tag", name=quoted(str(event.tag))), phrase("allowed.no_tags"))
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(at, tuple(self._items(events, depth)))
        if isinstance(event, yaml.MappingStartEvent):
            return Table(at, self._entries(events, depth))
        return self._leaf(event, at)

    def _items(self, events: Iterator[Any], depth: int) -> Iterator[Node]:
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            node = self._node(event, events, depth + 1)
            self._refuse_nothing(node, phrase("found.nothing_after_dash"))
            yield node

    def _entries(self, events: Iterator[Any], depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            word = self._key(event, key)
            if word is None:
                continue
            if word in entries:
                line = entries[word].at.line
                self.fault(key.at, phrase("found.key_again", key=quoted(word)), phrase("allowed.key_once", line=line))
                continue
            self._refuse_nothing(value, phrase("found.nothing_after", key=quoted(word)))
            entries[word] = Entry(word, key.at, value)
        return entries

    def _key(self, event: Any, key: Node) -> str | None:  # noqa: ANN401 - PyYAML's events are untyped
        if not isinstance(key, Leaf):
            self.fault(key.at, phrase("found.key_is_no_text"), phrase("allowed.text_key"))
            return None
        if isinstance(event, yaml.AliasEvent):
            return None
        if event.value == "<<" and event.implicit[0]:
            self.fault(key.at, phrase("found.merge_key"), phrase("allowed.no_merge"))
            return None
        if not event.value:
            self.fault(key.at, phrase("found.empty_key"), phrase("allowed.text_key"))
            return None
        return str(event.value)

    def _refuse_nothing(self, node: Node, nothing: Phrase) -> None:
        if isinstance(node, Leaf) and node.value is None and not node.raw:
            self.fault(node.at, nothing, phrase("allowed.a_value"))

    def _leaf(self, event: Any, at: Position) -> Leaf:  # noqa: ANN401 - PyYAML's events are untyped
        text = str(event.value)
        hidden = _HIDDEN.search(text)
        if hidden:
            self.fault(at, phrase("found.hidden", code=f"U+{ord(hidden[0]):04X}"), phrase("allowed.printable"))
        raw = self._raw(event)
        if not event.implicit[0]:
            return Leaf(at, text, raw, told=hidden is not None)
        if not text:
            return Leaf(at, None, "", told=True)
        if text in {"true", "false", "null"}:
            return Leaf(at, {"true": True, "false": False}.get(text), raw)
        whole, fraction = _INTEGER.fullmatch(text), _FRACTION.fullmatch(text)
        if not (whole or fraction):
            return Leaf(at, text, raw, told=hidden is not None)
        if len(text) > MAX_DIGITS + 2:
            found = phrase("found.long_number", length=f"{len(text):,}")
            self.fault(at, found, phrase("allowed.digits_or_text", most=MAX_DIGITS))
            return Leaf(at, None, raw, told=True)
        return Leaf(at, int(text) if whole else float(text), raw)

    def _raw(self, event: Any) -> str:  # noqa: ANN401 - PyYAML's events are untyped
        first, last = event.start_mark, event.end_mark
        # The end of the text may be marked as the start of a line behind the last.
        lines = self._lines[first.line : last.line + 1]
        if last.line < len(self._lines):
            lines[-1] = lines[-1][: last.column]
        lines[:1] = [line[first.column :] for line in lines[:1]]
        return "\n".join(lines)


def _at(event: Any) -> Position:  # noqa: ANN401 - PyYAML's events are untyped
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _hint(problem: str) -> Phrase:
    if "mapping values are not allowed" in problem:
        return phrase("allowed.one_pair")
    if "cannot start any token" in problem:
        return phrase("allowed.quoted_start")
    if "end of stream" in problem:
        return phrase("allowed.closing_quote")
    if "escape" in problem:
        return phrase("allowed.single_quotes")
    return phrase("allowed.sound_yaml")
