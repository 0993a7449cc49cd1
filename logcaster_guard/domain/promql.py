"""PromQL templates: a signal's query with the target's fields still to be filled in.

`$namespace`, `$deployment`, `$service`, `$lookback` and `$label_<name>` (or `${...}`) are replaced; `$$` is a dollar
sign, and so is a `$` that no name follows (`status=~"5..$"`). A value is escaped for the quotes that it stands in, so
no name can end its string and add to the query; in a string right behind `=~` or `!~` it is escaped as a regular
expression too, so that the dot of a name matches a dot only. There alone stands `$pods`, which is a regular expression:
it finds the names of the workload's pods.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Target

PODS = "pods"
FIELDS = ("namespace", "deployment", "service", "lookback", PODS)
LABEL_PREFIX = "label_"
ANY_POD = ".+"

_TOKEN = re.compile(
    r"""(?P<escape>\\.)|(?P<dollar>\$\$)|\$(?:\{(?P<braced>[^{}]*)\}|(?P<named>[A-Za-z_][A-Za-z0-9_]*))"""
    r"""|(?P<quote>["'`])|(?P<comment>\#)|(?P<newline>\n)|(?P<text>[^\\$"'`\#\n]+|.)""",
    re.DOTALL | re.VERBOSE,
)
_MATCHER = re.compile(r"[=!]~\s*\Z")
_POD_MATCHER = re.compile(r"""\bpod\s*=~\s*(["'])((?:\\.|(?!\1)[^\\])*)\1""")
_AHEAD = 40
"""Characters before a string that are looked at for its operator."""
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
"""Characters that RE2 takes for more than themselves."""
_BARE = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*|[0-9]+[a-z]*")


@dataclass(frozen=True, slots=True)
class LookbackNeeded(Message):
    """`$lookback` of a signal that has none; `seconds` is what it has."""

    seconds: float
    kind: Literal["promql.lookback_needed"] = "promql.lookback_needed"


@dataclass(frozen=True, slots=True)
class PodsIsAPattern(Message):
    """The placeholder for pods where no regular expression can stand."""

    name: str
    kind: Literal["promql.pods_is_a_pattern"] = "promql.pods_is_a_pattern"


@dataclass(frozen=True, slots=True)
class PlaceholderUnknown(Message):
    """A placeholder that the target cannot fill in; `known` are those that it can."""

    name: str
    target: str
    known: tuple[str, ...]
    kind: Literal["promql.placeholder_unknown"] = "promql.placeholder_unknown"


@dataclass(frozen=True, slots=True)
class HoldsBacktick(Message):
    """A value that would end the string which it stands in."""

    name: str
    kind: Literal["promql.holds_backtick"] = "promql.holds_backtick"


@dataclass(frozen=True, slots=True)
class OutsideQuotes(Message):
    """A value that is no name of PromQL's, outside quotes."""

    name: str
    kind: Literal["promql.outside_quotes"] = "promql.outside_quotes"


class TemplateFault(GuardError):
    """The template names something that the target does not have, or a value cannot stand where it is put."""


def placeholders(query: str) -> frozenset[str]:
    """Names that the template asks for, without the dollar sign."""
    return frozenset(piece.name for piece in _pieces(query) if piece.name is not None)


def allowed(target: Target) -> frozenset[str]:
    """Names that `render` can fill for this target."""
    fields = {f for f in FIELDS if f != "service" or target.service is not None}
    return frozenset(fields | {LABEL_PREFIX + name for name in target.labels})


def duration(seconds: float) -> str:
    """A PromQL duration in its largest whole unit: 300 → `5m`, 90 → `90s`, 0.5 → `500ms`; raises `TemplateFault`."""
    milliseconds = round(seconds * 1000) if math.isfinite(seconds) else 0
    if milliseconds <= 0:
        raise TemplateFault(reason=LookbackNeeded(seconds))
    unit, size = next(
        (u, s) for u, s in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)) if not milliseconds % s
    )
    return f"{milliseconds // size}{unit}"


def render(query: str, target: Target, lookback: float, pods: str = ANY_POD) -> str:
    """The query with the target's fields, `lookback` (seconds) and `pods` filled in; raises `TemplateFault`.

    `pods` is a regular expression (RE2), for `$pods`.
    """
    return "".join(_filled(piece, target, lookback, pods) for piece in _pieces(query))


def names_workload(query: str) -> bool:
    """Whether the query is another one for each workload, so that it can tell one's pods from another's."""
    return not placeholders(query).isdisjoint({"deployment", PODS})


def patterns_of_pods(query: str) -> Sequence[str]:
    """The regular expressions, templates themselves, that the label `pod` is to match somewhere in the query."""
    return [m[2].replace(r"\\", "\\") for m in _POD_MATCHER.finditer(query)]


class _Piece(NamedTuple):
    """Literal `text`, or the placeholder `name`; `quote` is empty outside a string, `#` in a comment.

    `pattern`: the string is a regular expression.
    """

    text: str
    name: str | None = None
    quote: str = ""
    pattern: bool = False


def _pieces(query: str) -> Iterator[_Piece]:
    quote, comment, pattern = "", False, False
    for token in _TOKEN.finditer(query):
        text = token[0]
        name = token["braced"] if token["braced"] is not None else token["named"]
        if name is not None:
            yield _Piece(text, name, "#" if comment else quote, pattern and not comment)
            continue
        yield _Piece("$" if token["dollar"] else text)
        if token["escape"] and quote == "`" and text[1] == "`":
            quote = ""
        elif token["quote"] and not comment:
            if not quote:
                start = token.start()
                quote, pattern = text, _MATCHER.search(query, max(0, start - _AHEAD), start) is not None
            elif quote == text:
                quote, pattern = "", False
        elif token["comment"] and not quote:
            comment = True
        elif token["newline"]:
            comment = False


def _filled(piece: _Piece, target: Target, lookback: float, pods: str) -> str:
    if piece.name is None:
        return piece.text
    if piece.name == PODS:
        if not piece.pattern:
            raise TemplateFault(reason=PodsIsAPattern(PODS))
        return _quoted(PODS, pods, piece.quote)
    return _escaped(piece.name, _value(piece.name, target, lookback), piece)


def _value(name: str, target: Target, lookback: float) -> str:
    if name == "lookback":
        return duration(lookback)
    fields = {"namespace": target.namespace, "deployment": target.deployment, "service": target.service}
    value = fields.get(name)
    if name.startswith(LABEL_PREFIX):
        value = target.labels.get(name.removeprefix(LABEL_PREFIX))
    if value is None:
        known = tuple(f"${n}" for n in sorted(allowed(target)))
        raise TemplateFault(reason=PlaceholderUnknown(name, target.name, known))
    return value


def _escaped(name: str, value: str, piece: _Piece) -> str:
    if piece.pattern:
        value = _SPECIAL.sub(r"\\\g<0>", value)
    return _quoted(name, value, piece.quote)


def _quoted(name: str, value: str, quote: str) -> str:
    if quote in {'"', "'"}:
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        return escaped.replace(quote, "\\" + quote)
    if quote == "`":
        if "`" in value:
            raise TemplateFault(reason=HoldsBacktick(name))
        return value
    if quote == "#":
        return value.replace("\n", " ").replace("\r", " ")
    if not _BARE.fullmatch(value):
        raise TemplateFault(reason=OutsideQuotes(name))
    return value
