"""A strategy that does not fit a workload is an answer, not an error."""

from __future__ import annotations

from dataclasses import dataclass

from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.planning_reasons import CannotBeJudged


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The strategy cannot be carried out here; each reason says what was found and what to do.

    `guardrail` is what refuses it: anything but `strategy_unfit` holds for every strategy.
    """

    reasons: tuple[Message, ...]
    guardrail: Guardrail = Guardrail.STRATEGY_UNFIT


def unjudged(why: Reason) -> NotApplicable:
    """The good release's pods cannot be read apart from the bad one's, so that neither would prove anything."""
    return NotApplicable((CannotBeJudged(why),))
