"""Dimensions of numbers in a condition: what a unit stands for, and which numbers may meet.

A number's unit gives its dimension: `%` a share, `ms s m h` a duration, `B KiB MiB GiB` a size. A bare number stands
for a count or a rate per second, or scales what it is multiplied with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from logcaster_guard.domain.conditions import Operator
from logcaster_guard.domain.signals import Unit


class Plain(StrEnum):
    """Dimensionless: a literal without a unit, or the quotient of two numbers of one dimension."""

    BARE = "bare"
    QUOTIENT = "quotient"


Dimension = Unit | Plain
NAMES: Mapping[Dimension, str] = {
    Unit.RATIO: "a share",
    Unit.SECONDS: "a duration",
    Unit.BYTES: "a size in bytes",
    Unit.PER_SECOND: "a rate per second",
    Unit.COUNT: "a count",
    Plain.BARE: "a bare number",
    Plain.QUOTIENT: "a plain ratio",
}
UNITS: Mapping[str, tuple[Dimension, float, float]] = {
    "": (Plain.BARE, 1, 1),
    "%": (Unit.RATIO, 1, 100),
    "ms": (Unit.SECONDS, 1, 1_000),
    "s": (Unit.SECONDS, 1, 1),
    "m": (Unit.SECONDS, 60, 1),
    "h": (Unit.SECONDS, 3_600, 1),
    "B": (Unit.BYTES, 1, 1),
    "KiB": (Unit.BYTES, 1 << 10, 1),
    "MiB": (Unit.BYTES, 1 << 20, 1),
    "GiB": (Unit.BYTES, 1 << 30, 1),
}
"""Dimension, factor and divisor to the base unit: dividing keeps `7%` at 0.07."""

UNITS_MEANT: Mapping[str, str] = {
    word: unit
    for unit, words in {
        "%": "percent pct",
        "ms": "msec millis milliseconds",
        "s": "sec secs second seconds",
        "m": "min mins minute minutes",
        "h": "hr hrs hour hours",
        "KiB": "k kb ki kib",
        "MiB": "mb mi mib",
        "GiB": "g gb gi gib",
    }.items()
    for word in words.split()
}


def units_of(dimension: Dimension | None) -> Sequence[str]:
    """The units that numbers of this dimension may be written with."""
    return [unit for unit, (of, _, _) in UNITS.items() if of is dimension]


def scaled(operator: Operator, a: Dimension, b: Dimension) -> Dimension | None:
    """The dimension of a product or quotient; None where there is none."""
    scalars = {Plain.BARE, Plain.QUOTIENT, Unit.RATIO}
    if operator is Operator.MUL and (a in scalars or b in scalars):
        order = [Unit.RATIO, Plain.QUOTIENT, Plain.BARE]
        return max((a, b), key=lambda d: -order.index(d) if d in scalars else 1)
    if operator is Operator.DIV and b in scalars and a is not Plain.BARE:
        return Plain.QUOTIENT if a is b else a
    if operator is Operator.DIV and (a is b or b in scalars):
        return Plain.BARE if b is Plain.BARE else Plain.QUOTIENT
    return None


def shared(a: Dimension, b: Dimension) -> Dimension | None:
    """The dimension of two numbers that are compared, added or subtracted; None if they cannot be."""
    if a is b:
        return a
    for one, other in ((a, b), (b, a)):
        if one is Plain.BARE and other in {Unit.COUNT, Unit.PER_SECOND, Plain.QUOTIENT}:
            return other
        if one is Plain.QUOTIENT and other is Unit.RATIO:
            return other
    return None
