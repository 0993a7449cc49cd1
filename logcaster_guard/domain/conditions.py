"""A rule's condition as a tree, and its three-valued value over readings.

`UNKNOWN` follows Kleene's logic: `MET or UNKNOWN` is `MET`, `NOT_MET and UNKNOWN` is `NOT_MET`, and what stays open is
`UNKNOWN`. Only a `Value` can make a comparison true, unless the rule's `no_data` policy says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from logcaster_guard.domain.signals import Gap, NoData, Reading, SourceError, Value


class Verdict(StrEnum):
    """What a condition says of a target at an instant."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "unknown"


class NoDataPolicy(StrEnum):
    """What a comparison without a number says for its condition: nothing, that it is not met, or that it is.

    Under a `not` the comparison itself counts the other way round. A failing source is never counted.
    """

    HOLD = "hold"
    OK = "ok"
    BREACH = "breach"


class Comparator(StrEnum):
    """Comparison operators of the condition grammar."""

    GT = ">"
    GE = ">="
    LT = "<"
    LE = "<="
    EQ = "=="
    NE = "!="


class Operator(StrEnum):
    """Arithmetic operators of the condition grammar."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"


@dataclass(frozen=True, slots=True)
class Number:
    """A literal in the base unit of its dimension (ratio, seconds, bytes, count)."""

    value: float


@dataclass(frozen=True, slots=True)
class SignalRef:
    """The reading of the signal with this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Negate:
    """Arithmetic negation."""

    operand: Arithmetic


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right` on numbers."""

    operator: Operator
    left: Arithmetic
    right: Arithmetic


@dataclass(frozen=True, slots=True)
class Compare:
    """`left comparator right`."""

    comparator: Comparator
    left: Arithmetic
    right: Arithmetic


@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation; `not UNKNOWN` is `UNKNOWN`."""

    operand: Condition


@dataclass(frozen=True, slots=True)
class And:
    """Every operand."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one operand."""

    operands: tuple[Condition, ...]


Arithmetic = Number | SignalRef | Negate | Binary
Condition = Compare | Not | And | Or


@dataclass(frozen=True, slots=True)
class Judgement:
    """A condition's value and what kept it open.

    `blind` is `SourceError` readings' signal names, `missing` those of `NoData`; both are empty unless `UNKNOWN`.
    """

    verdict: Verdict
    blind: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def signals_of(condition: Condition | Arithmetic) -> frozenset[str]:
    """Names of the signals that the condition reads."""
    match condition:
        case Number():
            return frozenset()
        case SignalRef(name):
            return frozenset({name})
        case Negate(operand) | Not(operand):
            return signals_of(operand)
        case Binary(_, left, right) | Compare(_, left, right):
            return signals_of(left) | signals_of(right)
        case And(operands) | Or(operands):
            return frozenset().union(*(signals_of(o) for o in operands))


def judge(condition: Condition, readings: Mapping[str, Reading], policy: NoDataPolicy = NoDataPolicy.HOLD) -> Judgement:
    """The condition's value on `readings`; a signal without a reading counts as `NoData`."""
    verdict = _value(condition, readings, policy)
    if verdict is not Verdict.UNKNOWN:
        return Judgement(verdict)
    names = sorted(signals_of(condition))
    by_name = {n: readings.get(n, NoData(0.0, Gap.NOT_READ)) for n in names}
    return Judgement(
        verdict,
        blind=tuple(n for n, r in by_name.items() if isinstance(r, SourceError)),
        missing=tuple(n for n, r in by_name.items() if isinstance(r, NoData)),
    )


_OPPOSITE = {
    NoDataPolicy.HOLD: NoDataPolicy.HOLD,
    NoDataPolicy.OK: NoDataPolicy.BREACH,
    NoDataPolicy.BREACH: NoDataPolicy.OK,
}


def out_of_reach(condition: Condition, highest: Mapping[str, float]) -> bool:
    """Whether a comparison in it can never hold, since no signal exceeds its number in `highest`."""
    match condition:
        case And(operands) | Or(operands):
            return any(out_of_reach(o, highest) for o in operands)
        case Not(operand):
            return out_of_reach(operand, highest)
        case Compare(Comparator.GT, SignalRef(name), Number(value)):
            return value >= highest.get(name, math.inf)
        case Compare(Comparator.GE, SignalRef(name), Number(value)):
            return value > highest.get(name, math.inf)
        case _:
            return False


def _value(condition: Condition, readings: Mapping[str, Reading], policy: NoDataPolicy) -> Verdict:
    match condition:
        case Compare():
            return _compare(condition, readings, policy)
        case Not(operand):
            inner = _value(operand, readings, _OPPOSITE[policy])
            return {Verdict.MET: Verdict.NOT_MET, Verdict.NOT_MET: Verdict.MET}.get(inner, Verdict.UNKNOWN)
        case And(operands):
            return _decide([_value(o, readings, policy) for o in operands], Verdict.NOT_MET, Verdict.MET)
        case Or(operands):
            return _decide([_value(o, readings, policy) for o in operands], Verdict.MET, Verdict.NOT_MET)


def _decide(values: list[Verdict], one_is_enough: Verdict, all_are_needed: Verdict) -> Verdict:
    if one_is_enough in values:
        return one_is_enough
    return Verdict.UNKNOWN if Verdict.UNKNOWN in values else all_are_needed


def _compare(node: Compare, readings: Mapping[str, Reading], policy: NoDataPolicy) -> Verdict:
    left, right = _number(node.left, readings), _number(node.right, readings)
    if left is not None and right is not None:
        holds = {
            Comparator.GT: left > right,
            Comparator.GE: left >= right,
            Comparator.LT: left < right,
            Comparator.LE: left <= right,
            Comparator.EQ: left == right,
            Comparator.NE: left != right,
        }[node.comparator]
        return Verdict.MET if holds else Verdict.NOT_MET
    failing = any(isinstance(readings.get(n), SourceError) for n in signals_of(node))
    if policy is NoDataPolicy.HOLD or failing:
        return Verdict.UNKNOWN
    return Verdict.NOT_MET if policy is NoDataPolicy.OK else Verdict.MET


def _number(node: Arithmetic, readings: Mapping[str, Reading]) -> float | None:
    match node:
        case Number(value):
            return value
        case SignalRef(name):
            reading = readings.get(name)
            return reading.number if isinstance(reading, Value) else None
        case Negate(operand):
            inner = _number(operand, readings)
            return None if inner is None else -inner
        case Binary(operator, left, right):
            a, b = _number(left, readings), _number(right, readings)
            return None if a is None or b is None else _apply(operator, a, b)


def _apply(operator: Operator, a: float, b: float) -> float | None:
    if operator is Operator.DIV and b == 0:
        return None
    result = {Operator.ADD: a + b, Operator.SUB: a - b, Operator.MUL: a * b}.get(operator)
    result = a / b if result is None else result
    return result if math.isfinite(result) else None
