"""A whole plan: the way back, with what goes before it and the verification that it helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from logcaster_guard.domain.steps import Plan, Step


def composed(way: Plan, *, before: Sequence[Step], verification: Sequence[Step]) -> Plan:
    """`before` comes ahead of the first change, after a question to people: until they agree nothing is changed."""
    asked = sum(step.asks is not None for step in way.steps[:1])
    return replace(way, steps=(*way.steps[:asked], *before, *way.steps[asked:], *verification))
