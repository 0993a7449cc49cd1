"""What people are told of a target beside its runs: why nothing is rolled back, and what somebody said of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.claims import Claim
from logcaster_guard.domain.events import RevisionMarked, TargetFrozen, TargetThawed
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.ledger import Record, ReleaseStatus
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.words import images, sentence


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


def postponed(target: Target, rule: Rule, reason: str, *, at: datetime, onset: datetime) -> Notice:
    """A trigger fired a while ago, and whether anything may be rolled back cannot be found out."""
    since = f"{onset:%Y%m%dT%H%M%S.%fZ}"
    return Notice(
        id=f"postponed/{target.key}/{rule.name}/{since}",
        at=at,
        event="decision.postponed",
        severity=Severity.CRITICAL,
        title=f"{rule.name} fired on {target.key}: whether to roll back cannot be decided yet",
        text=f"{sentence(reason)} Nothing is rolled back until that can be read, and the guard goes on trying.",
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment,
        facts={"rule": rule.name, "condition": rule.text, "since": onset.isoformat(), "detail": reason},
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


def frozen(target: Target, workload: Workload, event: TargetFrozen) -> Notice:
    """Somebody froze the target by an annotation."""
    lift = f"logcaster-guard unfreeze {target.key} --reason WHY"
    return Notice(
        id=f"target.frozen/{target.key}/{event.at.isoformat()}",
        at=event.at,
        event="target.frozen",
        severity=Severity.WARNING,
        title=f"{target.key} is frozen: nothing is rolled back there",
        text=f"Somebody{event.who} froze it by annotation ({event.reason}). Rules that fire only alert until it is "
        f"lifted: {lift} .",
        target=target.key,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={"words": event.reason, "who": event.who.strip(" ()"), "lift": lift},
    )


def thawed(target: Target, workload: Workload, event: TargetThawed) -> Notice:
    """Somebody lifted the freeze."""
    return Notice(
        id=f"target.thawed/{target.key}/{event.at.isoformat()}",
        at=event.at,
        event="target.thawed",
        severity=Severity.INFO,
        title=f"{target.key} is no longer frozen",
        text=f"The freeze annotation was lifted ({event.reason}): rules act again.",
        target=target.key,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={"words": event.reason},
    )


AFTER = {
    ReleaseStatus.GOOD: "It is good again, as it had earned: it can be gone back to.",
    ReleaseStatus.UNMEASURED: "It is good again by the rules that saw it: a destination where no other is better.",
    ReleaseStatus.PRESUMED_GOOD: "It is presumed good again: it can be gone back to where no other release is good.",
    ReleaseStatus.UNPROVEN: "It is unproven: it has to earn good before it is gone back to; a person may choose it.",
    ReleaseStatus.BAD: "It is never gone back to, unless somebody lifts that, or rolls it out again and it earns good.",
}
"""What follows from a mark, by what the release is then."""


def marked(
    target: str, workload: Workload, record: Record, event: RevisionMarked, *, standing: ReleaseStatus
) -> Notice:
    """Somebody marked a release, which is `record` since then."""
    bad = event.mark is Mark.BAD
    release = f"revision {record.name} ({images(record.images)})"
    return Notice(
        id=f"revision.marked/{target}/{event.digest}",
        at=event.at,
        event="revision.marked",
        severity=Severity.WARNING if bad else Severity.INFO,
        title=f"Somebody marked {release} of {target} " + ("bad" if bad else "not bad any more"),
        text=f"{sentence(event.words or 'no reason was given')} {AFTER[standing]}",
        target=target,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={
            "release": images(record.images),
            "revision": record.name,
            "template": event.template,
            "mark": event.mark,
            "standing": standing,
            "words": event.words,
        },
    )


def unproven(target: Target, claim: Claim, at: datetime) -> Notice:
    """Something carries the guard's marks, and the journal does not bear them out."""
    where = "docs/refusals.md, A helper of no known run" if claim.orphan else "docs/security.md, Labels and annotations"
    lead = "Give production its size back before you delete it" if claim.orphan else "To take the marks away"
    return Notice(
        id=f"marks.unproven/{claim.key}",
        at=at,
        event="marks.unproven",
        severity=Severity.CRITICAL if claim.orphan else Severity.WARNING,
        title=f"{claim.object} carries the guard's marks, and is not known to be its own",
        text=f"{sentence(claim.reason)} The guard leaves it alone. {lead}: {claim.remedy} . See {where}.",
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment,
        facts={"object": claim.object, "reason": claim.reason, "remedy": claim.remedy},
    )
