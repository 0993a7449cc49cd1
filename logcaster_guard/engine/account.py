"""Why a rule did or did not fire: everything that its watch knows of it at an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.conditions import Judgement
from logcaster_guard.domain.guardrails import Refusal
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.triggers import Phase


@dataclass(frozen=True, slots=True)
class Account:
    """A rule on a target.

    `onset` is None while there is no breach. `credit` is how many seconds of the rule's duration are proven met.
    `evidence` are the readings as text, by signal. `refusals` are the guardrails that would hold if it fired now, on
    the Deployment as it was looked at last; None if it was not looked at yet. `attribution` is what the present breach
    was put down to at the last decision; None if there was none. `blind_since` is since when the rule has seen nothing,
    None if it sees or has not for less than its duration.
    """

    rule: Rule
    phase: Phase
    onset: datetime | None
    credit: float
    judgement: Judgement
    evidence: Mapping[str, str]
    refusals: Sequence[Refusal] | None
    attribution: Attribution | None = None
    blind_since: datetime | None = None
