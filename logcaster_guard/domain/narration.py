"""What people are told of a run and of a trigger, as notices; the words are the same on every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.events import RunClosed, RunEnding, RunOpened
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.runs import RECOVERED, Run
from logcaster_guard.domain.signals import Target


def opened(event: RunOpened) -> Notice:
    """A rollback begins."""
    plan = event.plan
    return Notice(
        id=f"{event.run}/opened",
        at=event.at,
        event="run.opened",
        severity=Severity.WARNING,
        title=f"Rolling back {event.target}",
        text=f"{event.reason} Rolling back from {_images(plan.from_images)} to {_images(plan.to_images)}.",
        target=event.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=event.run,
        facts={"rule": event.rule, "strategy": plan.strategy, "plan": plan.digest[:12], **event.evidence},
    )


def restored(run: Run, at: datetime, detail: str) -> Notice:
    """The good release is in place whole; whether it helps is being watched."""
    plan = run.opened.plan
    return Notice(
        id=f"{run.id}/restored",
        at=at,
        event="run.restored",
        severity=Severity.INFO,
        title=f"{run.opened.target} is back on {_images(plan.to_images)}",
        text=f"The rollout is complete ({detail}). Watching whether the target recovers.",
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={"rule": run.opened.rule},
    )


def ended(run: Run, event: RunEnding | RunClosed) -> Notice:
    """A rollback is over, well or not."""
    plan = run.opened.plan
    well = event.outcome == RECOVERED
    frozen = " The target is frozen until a person lifts it." if event.freeze else ""
    return Notice(
        id=f"{run.id}/closed",
        at=event.at,
        event="run.closed",
        severity=Severity.INFO if well else Severity.CRITICAL,
        title=f"Rollback of {run.opened.target}: {event.outcome}",
        text=f"{_sentence(event.reason)}{frozen}",
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={
            "outcome": event.outcome,
            "rule": run.opened.rule,
            "from": _images(plan.from_images),
            "to": _images(plan.to_images),
        },
    )


def refused(
    target: Target, rule: Rule, reasons: Sequence[Refusal], evidence: Mapping[str, str], *, id: str, at: datetime  # noqa: A002 - the field's name
) -> Notice:  # fmt: skip
    """A trigger fired and nothing is rolled back, with every reason."""
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
        deployment=target.deployment,
        facts={"rule": rule.name, "condition": rule.text, "guardrails": ", ".join(r.guardrail for r in reasons)}
        | dict(evidence),
    )


def guard_notice(event: str, severity: Severity, title: str, text: str, *, id: str, at: datetime) -> Notice:  # noqa: A002 - the field's name
    """Something about the guard itself."""
    return Notice(id=id, at=at, event=event, severity=severity, title=title, text=text)


def _images(images: Sequence[str]) -> str:
    return ", ".join(images) or "no image"


def _sentence(reason: str) -> str:
    text = reason[:1].upper() + reason[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
