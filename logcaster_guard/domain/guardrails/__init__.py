"""Reasons to refuse a rollback. Each is one sentence that says what was found and what to do."""

from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, PastRun, Refusal
from logcaster_guard.domain.guardrails.refusals import manual_refusals, refusals
from logcaster_guard.domain.guardrails.time_spans import span

__all__ = ["DecisionContext", "Guardrail", "PastRun", "Refusal", "manual_refusals", "refusals", "span"]
