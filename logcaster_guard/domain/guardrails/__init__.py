"""Reasons to refuse a rollback. Each is one sentence that says what was found and what to do."""

from logcaster_guard.domain.guardrails.refusals import manual_refusals, refusals
from logcaster_guard.domain.guardrails.situation import Guardrail, PastRun, Refusal, Situation
from logcaster_guard.domain.guardrails.wording import span

__all__ = ["Guardrail", "PastRun", "Refusal", "Situation", "manual_refusals", "refusals", "span"]
