"""A strategy that does not fit a workload is an answer, not an error."""

from __future__ import annotations

from dataclasses import dataclass

from logcaster_guard.domain.guardrails import Guardrail


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The strategy cannot be carried out here; each reason is a sentence that says what was found and what to do.

    `guardrail` is what refuses it: anything but `strategy_unfit` holds for every strategy.
    """

    reasons: tuple[str, ...]
    guardrail: Guardrail = Guardrail.STRATEGY_UNFIT


def unjudged(why: str) -> NotApplicable:
    """The good release's pods cannot be read apart from the bad one's, so that neither would prove anything."""
    return NotApplicable(
        (f"The good release cannot be judged by its own pods: {why}. Read metrics that name their pods.",)
    )
