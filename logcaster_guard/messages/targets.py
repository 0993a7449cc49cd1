"""What people are told of a target beside its runs: why nothing is rolled back, and what somebody said of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.claims import Claim
from logcaster_guard.domain.configuration.edits import Edit
from logcaster_guard.domain.events import RevisionMarked, TargetFrozen, TargetThawed
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.ledger import Record, ReleaseStatus
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.run_headlines import (
    AnswerDiscounted,
    DecisionPostponed,
    EditPending,
    FreezeLifted,
    FrozenByHand,
    MarksUnproven,
    ReleaseMarked,
    RequestRefused,
    TriggerRefused,
)
from logcaster_guard.messages.texts import Texts, english
from logcaster_guard.messages.words import attribution_of, english_facts, images, told, told_facts


def refused(
    target: Target,
    rule: Rule,
    reasons: Sequence[Refusal],
    evidence: Mapping[str, Reason],
    workload: Workload | None,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    onset: datetime,
) -> Notice:
    """A trigger fired and nothing is rolled back, with every reason. `workload` is what runs at present, if any."""
    only_alert = all(r.guardrail is Guardrail.ALERT_ONLY for r in reasons)
    told_reasons = tuple(r.reason for r in reasons)
    return told(
        TriggerRefused(target.key, rule.name, told_reasons, attribution_of(evidence), told_facts(evidence)),
        Severity.WARNING if only_alert else Severity.CRITICAL,
        id=id,
        at=at,
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment if workload is None else workload.name,
        facts={
            **english_facts(evidence),
            "rule": rule.name,
            "condition": rule.text,
            "version": images(() if workload is None else workload.images),
            "since": onset.isoformat(),
            "guardrails": ", ".join(r.guardrail for r in reasons),
        },
    )


def postponed(target: Target, rule: Rule, reason: Reason, *, at: datetime, onset: datetime) -> Notice:
    """A trigger fired a while ago, and whether anything may be rolled back cannot be found out."""
    since = f"{onset:%Y%m%dT%H%M%S.%fZ}"
    return told(
        DecisionPostponed(target.key, rule.name, reason),
        Severity.CRITICAL,
        id=f"postponed/{target.key}/{rule.name}/{since}",
        at=at,
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment,
        facts={"rule": rule.name, "condition": rule.text, "since": onset.isoformat(), "detail": english().text(reason)},
    )


def request_refused(
    target: Target,
    workload: Workload,
    reasons: Sequence[Reason],
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
) -> Notice:
    """Somebody asked for a rollback by annotation, and it is not carried out."""
    return told(
        RequestRefused(target.key, tuple(reasons)),
        Severity.WARNING,
        id=id,
        at=at,
        target=target.key,
        namespace=target.namespace,
        deployment=workload.name,
        facts={"version": images(workload.images)},
    )


def answer_denied(
    target: str,
    workload: Workload,
    annotation: str,
    reason: Reason,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
) -> Notice:
    """Somebody answered by annotation, and it does not count."""
    return told(
        AnswerDiscounted(target, annotation, workload.name, reason),
        Severity.WARNING,
        id=f"answer.denied/{target}/{id}",
        at=at,
        target=target,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={"annotation": annotation, "detail": english().text(reason)},
    )


def frozen(target: Target, workload: Workload, event: TargetFrozen) -> Notice:
    """Somebody froze the target by an annotation."""
    lift = f"logcaster-guard unfreeze {target.key} --reason WHY"
    return told(
        FrozenByHand(target.key, event.who, event.reason, lift),
        Severity.WARNING,
        id=f"target.frozen/{target.key}/{event.at.isoformat()}",
        at=event.at,
        target=target.key,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={"words": event.reason, "who": english().text(event.who), "lift": lift},
    )


def thawed(target: Target, workload: Workload, event: TargetThawed) -> Notice:
    """Somebody lifted the freeze."""
    return told(
        FreezeLifted(target.key, event.reason),
        Severity.INFO,
        id=f"target.thawed/{target.key}/{event.at.isoformat()}",
        at=event.at,
        target=target.key,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={"words": english().text(event.reason)},
    )


def after_mark(release_status: ReleaseStatus, texts: Texts) -> str:
    """What follows from a mark, by what the release is then."""
    return texts.word(release_status, "after_mark")


def marked(
    target: str, workload: Workload, record: Record, event: RevisionMarked, *, release_status: ReleaseStatus
) -> Notice:
    """Somebody marked a release, which is `record` since then."""
    bad = event.mark is Mark.BAD
    return told(
        ReleaseMarked(target, record.name, record.images, bad, release_status, event.words),
        Severity.WARNING if bad else Severity.INFO,
        id=f"revision.marked/{target}/{event.digest}",
        at=event.at,
        target=target,
        namespace=workload.namespace,
        deployment=workload.name,
        facts={
            "release": images(record.images),
            "revision": record.name,
            "template": event.template,
            "mark": event.mark,
            "status": release_status,
            "words": event.words,
        },
    )


def edit_pending(
    target: Target, workload: Workload, edit: Edit, keys: Sequence[str], since: datetime, *, at: datetime
) -> Notice:
    """An edit of what the pods refer to has been there for a while, and none has read it; values are told nowhere."""
    return told(
        EditPending(target.key, str(edit.object), tuple(keys), since),
        Severity.WARNING,
        id=f"configuration.pending/{target.key}/{edit.object}/{edit.version.resource_version}",
        at=at,
        target=target.key,
        namespace=target.namespace,
        deployment=workload.name,
        facts={"object": str(edit.object), "keys": ", ".join(keys), "since": since.isoformat()},
    )


def unproven(target: Target, claim: Claim, at: datetime) -> Notice:
    """Something carries the guard's marks, and the journal does not bear them out."""
    return told(
        MarksUnproven(claim.object, claim.reason, claim.orphan, claim.remedy, claim.copied, claim.reader),
        Severity.CRITICAL if claim.orphan else Severity.WARNING,
        id=f"marks.unproven/{claim.key}",
        at=at,
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment,
        facts={"object": claim.object, "reason": english().text(claim.reason), "remedy": claim.remedy},
    )
