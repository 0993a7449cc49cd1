"""What people are told of a target that is not rolled back: by a rule, or at somebody's request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.narration.words import images
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload


def refused(
    target: Target,
    rule: Rule,
    reasons: Sequence[Refusal],
    evidence: Mapping[str, str],
    workload: Workload | None,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    onset: datetime,
) -> Notice:
    """A trigger fired and nothing is rolled back, with every reason. `workload` is what runs at present, if any."""
    only_alert = all(r.guardrail is Guardrail.ALERT_ONLY for r in reasons)
    return Notice(
        id=id,
        at=at,
        event="trigger.refused",
        severity=Severity.WARNING if only_alert else Severity.CRITICAL,
        title=f"{rule.name} fired on {target.key}: nothing was rolled back",
        text=" ".join(r.sentence for r in reasons),
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment if workload is None else workload.name,
        facts={
            **evidence,
            "rule": rule.name,
            "condition": rule.text,
            "version": images(() if workload is None else workload.images),
            "since": onset.isoformat(),
            "guardrails": ", ".join(r.guardrail for r in reasons),
        },
    )


def request_refused(
    target: Target,
    workload: Workload,
    reasons: Sequence[str],
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
) -> Notice:
    """Somebody asked for a rollback by annotation, and it is not carried out."""
    return Notice(
        id=id,
        at=at,
        event="request.refused",
        severity=Severity.WARNING,
        title=f"The rollback of {target.key} that somebody asked for is not carried out",
        text=" ".join(reasons),
        target=target.key,
        namespace=target.namespace,
        deployment=workload.name,
        facts={"version": images(workload.images)},
    )


def answer_denied(
    target: str,
    workload: Workload,
    annotation: str,
    reason: str,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
) -> Notice:
    """Somebody answered by annotation, and it does not count."""
    return Notice(
        id=f"answer.denied/{target}/{id}",
        at=at,
        event="answer.denied",
        severity=Severity.WARNING,
        title=f"An answer on {target} does not count",
        text=f"The annotation {annotation} of {workload.name} does not count: {reason}.",
        target=target,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={"annotation": annotation, "detail": reason},
    )
