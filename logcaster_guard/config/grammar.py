"""The condition grammar: `error_rate > 5% and request_rate > 10` → a tree of `domain.conditions`.

A number's unit gives its dimension: `%` a share, `ms s m h` a duration, `B KiB MiB GiB` a size. A bare number stands
for a count or a rate per second, or scales what it is multiplied with; beside a share, a duration or a size it would
be guesswork and is refused. `+`, `-` and comparisons need one dimension on both sides; the quotient of two numbers of
one dimension is a plain number, comparable with bare numbers and with percentages.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lark import Token, Tree

from logcaster_guard.config.dimensions import (
    NAMES,
    UNITS,
    UNITS_MEANT,
    Dimension,
    Plain,
    scaled,
    shared,
    units_of,
)
from logcaster_guard.config.syntax import parsed
from logcaster_guard.domain.conditions import (
    And,
    Arithmetic,
    Binary,
    Comparator,
    Compare,
    Condition,
    Negate,
    Not,
    Number,
    Operator,
    Or,
    SignalRef,
)
from logcaster_guard.domain.signals import Unit
from logcaster_guard.fields.faults import AllRefused, Refused, closest, quoted
from logcaster_guard.messages.texts import Phrase, phrase

MAX_LENGTH = 1_000
MAX_WORDS = 500
"""Names, numbers and signs: parsing takes time by these, and a file may hold many conditions."""
MAX_DEPTH = 50
MAX_DIGITS = 15

_SHOWN_CHARACTERS = r"[A-Za-z0-9_.%()<>=!+*/\n -]"
SHOWN_CONDITION = {
    "type": "string",
    "maxLength": MAX_LENGTH,
    "pattern": f"^{_SHOWN_CHARACTERS}*[A-Za-z0-9_.%)][ \\n]*(?:[<>]=?|[=!]=)[ \\n]*"
    rf"[A-Za-z0-9_.(-]{_SHOWN_CHARACTERS}*$",
    "patternErrorMessage": "a comparison such as error_rate > 5% is needed",
    "examples": ["error_rate > 5%", "p95_latency > 2s and request_rate > 10"],
}
"""As much of the grammar as JSON Schema can tell: the characters, and a comparison of two things."""


_LITERAL = re.compile(r"([0-9.]+)(.*)", re.ASCII | re.DOTALL)
_DECIMAL = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_.%]+|\S", re.ASCII)


def parse_condition(text: str, units: Mapping[str, Unit | None]) -> Condition:
    """The condition's tree, numbers in base units (1, seconds, bytes, per second), constants folded.

    `units` names every signal that may be read; a signal whose unit is None is known but not checked. Raises
    `AllRefused`, each part with its `offset` in `text`.
    """
    if not text.strip():
        raise AllRefused([Refused(phrase("found.empty_condition"), phrase("allowed.comparison"), offset=0)])
    if len(text) > MAX_LENGTH:
        found = phrase("found.long_condition", length=f"{len(text):,}")
        raise AllRefused([Refused(found, phrase("allowed.characters", most=f"{MAX_LENGTH:,}"), offset=0)])
    beyond = next(itertools.islice(_WORD.finditer(text), MAX_WORDS, None), None)
    if beyond is not None:
        found, allowed = phrase("found.many_words", most=MAX_WORDS), phrase("allowed.in_condition", most=MAX_WORDS)
        raise AllRefused([Refused(found, allowed, offset=beyond.start())])
    tree = parsed(text)
    reader = _Reader(text, units)
    try:
        condition = reader.condition(tree, 1)
    except _TooDeep as error:
        raise AllRefused([error.refusal]) from None
    if reader.refusals:
        raise AllRefused(sorted(reader.refusals, key=lambda r: r.offset or 0))
    return condition


class _TooDeep(Exception):
    def __init__(self, refusal: Refused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Term:
    """A number's tree, its dimension (None: not known), its place, and its value where it is a constant."""

    node: Arithmetic
    dimension: Dimension | None
    start: int
    end: int

    @property
    def constant(self) -> float | None:
        return self.node.value if isinstance(self.node, Number) else None


class _Mismatch(Exception):
    """The two dimensions cannot meet."""


class _Reader:
    """Turns the parse tree of `text` into the domain's tree, collecting refusals on the way."""

    def __init__(self, text: str, units: Mapping[str, Unit | None]) -> None:
        self.refusals: list[Refused] = []
        self._text = text
        self._units = units

    def condition(self, tree: Tree[Token], depth: int) -> Condition:
        """The truth value that `tree` stands for."""
        self._bound(tree, depth)
        trees = [c for c in tree.children if isinstance(c, Tree)]
        match tree.data:
            case "any_of":
                return Or(tuple(self.condition(c, depth + 1) for c in trees))
            case "all_of":
                return And(tuple(self.condition(c, depth + 1) for c in trees))
            case "negated":
                return Not(self.condition(trees[0], depth + 1))
            case _:
                return self._comparison(tree, depth)

    def _bound(self, tree: Tree[Token], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _TooDeep(
                Refused(
                    phrase("found.too_deep", most=MAX_DEPTH),
                    phrase("allowed.operators_inside", most=MAX_DEPTH),
                    offset=tree.meta.start_pos,
                )
            )

    def _refuse(self, term: _Term, found: Phrase, allowed: Phrase, suggestion: Phrase | None = None) -> None:
        self.refusals.append(Refused(found, allowed, suggestion, offset=term.start))

    def _comparison(self, tree: Tree[Token], depth: int) -> Compare:
        left_tree, sign, right_tree = tree.children
        assert isinstance(left_tree, Tree) and isinstance(right_tree, Tree)  # noqa: S101, PT018 - the grammar's promise
        left, right = self._term(left_tree, depth + 1), self._term(right_tree, depth + 1)
        if left.constant is not None and right.constant is not None:
            self._refuse(left, phrase("found.two_constants"), phrase("allowed.a_signal_each"))
        else:
            self._meet(left, right, "compared with")
        return Compare(Comparator(str(sign)), left.node, right.node)

    def _term(self, tree: Tree[Token], depth: int) -> _Term:
        self._bound(tree, depth)
        start, end = tree.meta.start_pos, tree.meta.end_pos
        match tree.data:
            case "number":
                return self._number(str(tree.children[0]), start, end)
            case "signal":
                return self._signal(str(tree.children[0]), start, end)
            case "minus":
                operand = self._term(_subtree(tree, 1), depth + 1)
                value = operand.constant
                node = Negate(operand.node) if value is None else Number(-value)
                return _Term(node, operand.dimension, start, end)
            case _:
                left, right = self._term(_subtree(tree, 0), depth + 1), self._term(_subtree(tree, 2), depth + 1)
                return self._binary(Operator(str(tree.children[1])), left, right)

    def _signal(self, name: str, start: int, end: int) -> _Term:
        if name not in self._units:
            found = phrase("found.unknown_signal", name=quoted(name))
            allowed = phrase("allowed.signals", names=sorted(self._units)[:40])
            self.refusals.append(Refused(found, allowed, closest(name, self._units), offset=start))
        return _Term(SignalRef(name), self._units.get(name), start, end)

    def _number(self, text: str, start: int, end: int) -> _Term:
        literal = _LITERAL.fullmatch(text)
        digits, unit = (literal[1], literal[2]) if literal else (text, "")
        dimension, factor, divisor = UNITS.get(unit, (None, 1.0, 1.0))
        term = _Term(Number(1.0), None, start, end)
        if not _DECIMAL.fullmatch(digits):
            self._refuse(term, phrase("found.malformed_number", text=quoted(digits)), phrase("allowed.decimal"))
        elif len(digits) > MAX_DIGITS + 1:
            found = phrase("found.long_number", length=len(digits))
            self._refuse(term, found, phrase("allowed.digits", most=MAX_DIGITS))
        elif unit not in UNITS:
            meant = UNITS_MEANT.get(unit.lower()) or next((u for u in UNITS if u.lower() == unit.lower()), None)
            suggestion = phrase("meant.word", word=f'"{digits}{meant}"') if meant else None
            self._refuse(term, phrase("found.unknown_unit", unit=quoted(unit)), phrase("allowed.units"), suggestion)
        else:
            return _Term(Number(float(digits) * factor / divisor), dimension, start, end)
        return term

    def _binary(self, operator: Operator, left: _Term, right: _Term) -> _Term:
        if operator in {Operator.ADD, Operator.SUB}:
            verb = "added to" if operator is Operator.ADD else "less"
            dimension = self._meet(left, right, verb)
        else:
            dimension = self._scale(operator, left, right)
        return _Term(self._folded(operator, left, right), dimension, left.start, right.end)

    def _folded(self, operator: Operator, left: _Term, right: _Term) -> Arithmetic:
        a, b = left.constant, right.constant
        if operator is Operator.DIV and b == 0:
            self._refuse(right, phrase("found.division_by_zero"), phrase("allowed.divisor"))
            return left.node
        if a is None or b is None:
            return Binary(operator, left.node, right.node)
        value = {Operator.ADD: a + b, Operator.SUB: a - b, Operator.MUL: a * b}.get(operator)
        value = a / b if value is None else value
        if not math.isfinite(value):
            self._refuse(left, phrase("found.number_too_large"), phrase("allowed.below_1e308"))
            return Number(1.0)
        return Number(value)

    def _scale(self, operator: Operator, left: _Term, right: _Term) -> Dimension | None:
        """The dimension of a product or quotient."""
        if left.dimension is None or right.dimension is None:
            return None
        found = scaled(operator, left.dimension, right.dimension)
        if found is None:
            verb = "times" if operator is Operator.MUL else "divided by"
            self._refuse(left, self._both(left, right, verb), phrase("allowed.scaling"))
        return found

    def _meet(self, left: _Term, right: _Term, verb: str) -> Dimension | None:
        """The dimension that both sides share."""
        a, b = left.dimension, right.dimension
        if a is None or b is None:
            return a
        dimension = shared(a, b)
        if dimension is not None:
            return dimension
        bare, beside = (left, right) if a is Plain.BARE else (right, left)
        if bare.dimension is Plain.BARE:
            found = phrase("found.bare_beside", number=quoted(self._slice(bare)), other=self._named(beside))
            allowed = phrase("allowed.with_unit", units=units_of(beside.dimension))
            self._refuse(bare, found, allowed, self._with_unit(bare, beside))
        else:
            self._refuse(left, self._both(left, right, verb), phrase("allowed.one_dimension"))
        return None

    def _both(self, left: _Term, right: _Term, verb: str) -> Phrase:
        return phrase("found.operands", left=self._named(left), operation=verb, right=self._named(right))

    def _named(self, term: _Term) -> Phrase:
        dimension = NAMES[term.dimension] if term.dimension else "a number"
        return phrase("found.operand", text=quoted(self._slice(term)), dimension=dimension)

    def _slice(self, term: _Term) -> str:
        return self._text[term.start : term.end]

    def _with_unit(self, bare: _Term, beside: _Term) -> Phrase | None:
        text = self._slice(bare)
        if not _DECIMAL.fullmatch(text):
            return None
        if beside.dimension is Unit.SECONDS:
            return phrase("meant.either", one=f'"{text}s"', other=f'"{text}ms"')
        if beside.dimension is Unit.BYTES:
            return phrase("meant.either", one=f'"{text}MiB"', other=f'"{text}B"')
        number = float(text)
        as_share = f"{number * 100:.10g}"
        if 0 < number <= 1:
            return phrase("meant.either", one=f'"{as_share}%"', other=f'"{text}%"')
        return phrase("meant.word", word=f'"{text}%"')


def _subtree(tree: Tree[Token], index: int) -> Tree[Token]:
    child = tree.children[index]
    if not isinstance(child, Tree):
        raise TypeError(f"the grammar's {tree.data} has no operand {index}")
    return child
