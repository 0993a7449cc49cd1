"""What people are told of a run and of a trigger, as notices; the words are the same on every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.domain.events import (
    HoldReleased,
    OwnerResumed,
    OwnerSuspended,
    PeopleReminded,
    RunClosed,
    RunOpened,
)
from logcaster_guard.domain.gitops import MARK, owner_called
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.inbox import APPROVE, FREEZE, VETO, stamp
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.runs import ESCALATED, RECOVERED, SUBSIDED, VETOED, Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import AskPeople, Hold
from logcaster_guard.domain.workload import Workload


def opened(event: RunOpened) -> Notice:
    """A rollback begins, or people are asked first."""
    plan = event.plan
    question = asked(event)
    return Notice(
        id=f"{event.run}/opened",
        at=event.at,
        event="run.opened",
        severity=Severity.WARNING,
        title=f"Rolling back {event.target}" if question is None else f"About to roll back {event.target}",
        text=f"{event.reason} Rolling back from {_images(plan.from_images)} to {_images(plan.to_images)}."
        + ("" if question is None else f" {question.sentence}"),
        target=event.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=event.run,
        facts={
            **event.evidence,
            "rule": event.rule,
            "condition": event.condition,
            "from": _images(plan.from_images),
            "to": _images(plan.to_images),
            **({} if event.onset is None else {"since": event.onset.isoformat()}),
            "strategy": plan.strategy,
            "plan": plan.digest[:12],
            **({} if question is None else question.facts),
        },
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What people are asked, and how they answer. `until` is their deadline, `expiry` what an answer may hold until."""

    sentence: str
    facts: Mapping[str, str]
    until: datetime
    expiry: datetime


def asked(event: RunOpened) -> Question | None:
    """The question with which a run begins; None if it begins without one."""
    step = event.plan.steps[0] if event.plan.steps else None
    if not isinstance(step, AskPeople):
        return None
    until = event.at + timedelta(seconds=step.timeout if step.require_approval else step.grace)
    expiry = event.at + timedelta(seconds=step.timeout + 60.0)
    veto, approve = (_command(event, name, f"{event.ticket} {stamp(expiry)}") for name in (VETO, APPROVE))
    say_no, say_yes = (
        f"logcaster-guard {word} --target {event.target} --ticket {event.ticket}" for word in ("veto", "approve")
    )
    if step.require_approval:
        sentence = (
            f"Nothing happens unless somebody approves it until {stamp(until)}: {say_yes} , or {approve} . "
            f"To say no: {say_no} , or {veto} ."
        )
    else:
        sentence = (
            f"It begins at {stamp(until)} unless somebody says no: {say_no} , or {veto} . "
            f"To begin at once: {say_yes} , or {approve} ."
        )
    facts = {
        "until": stamp(until),
        "veto": veto,
        "approve": approve,
        "veto_command": say_no,
        "approve_command": say_yes,
    }
    return Question(sentence, facts, until, expiry)


def _command(event: RunOpened, annotation: str, value: str) -> str:
    plan = event.plan
    workload = f"{plan.kind.lower()}/{plan.live or plan.deployment}"
    return f"kubectl -n {plan.namespace} annotate --overwrite {workload} {annotation}='{value}'"


def reminded(run: Run, event: PeopleReminded) -> Notice:
    """A question to people still waits for an answer."""
    plan = run.opened.plan
    question = asked(run.opened) or Question("", {}, event.at, event.at)
    return Notice(
        id=f"{run.id}/reminder/{event.number}",
        at=event.at,
        event="people.reminded",
        severity=Severity.WARNING,
        title=f"{run.opened.target} is still about to be rolled back",
        text=f"The breach goes on, and nobody has answered. {question.sentence}".strip(),
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={
            "rule": run.opened.rule,
            "from": _images(plan.from_images),
            "to": _images(plan.to_images),
            **question.facts,
        },
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
        facts={"rule": run.opened.rule, "from": _images(plan.from_images), "to": _images(plan.to_images)},
    )


def ended(run: Run, event: RunClosed) -> Notice:
    """A rollback is over, well or not."""
    plan = run.opened.plan
    well = event.outcome in {RECOVERED, SUBSIDED, VETOED, ESCALATED}
    resume, lift = (
        f"logcaster-guard resume {run.opened.target} --reason WHY",
        _command(run.opened, FREEZE, "false: WHY"),
    )
    frozen = f" The target is frozen until a person lifts it: {resume} , or {lift} ." if event.freeze else ""
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
            "frozen": "yes" if event.freeze else "no",
            **({"resume": lift, "resume_command": resume} if event.freeze else {}),
        },
    )


def not_given_back(run: Run, event: HoldReleased) -> Notice:
    """Something that a run borrowed stays as the guard wrote it: a person has to put it back."""
    hold, plan = run.holds[event.hold], run.opened.plan
    original = "unset" if hold.original is None else hold.original
    remedy = f"Set the {hold.kind.replace('_', ' ')} of {hold.object} back from {hold.written} to {original} by hand."
    if hold.kind == "gitops_owner":
        remedy = f"It is still suspended. To resume it: {_resuming(hold)}."
    return Notice(
        id=f"{run.id}/not_given_back/{hold.id}",
        at=event.at,
        event="hold.not_given_back",
        severity=Severity.CRITICAL,
        title=f"{hold.object} of {run.opened.target} was not put back",
        text=f"{_sentence(event.detail)} {remedy}",
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={
            "hold": hold.id,
            "detail": event.detail,
            "object": hold.object,
            "written": str(hold.written),
            "original": str(original),
        },
    )


def owner_suspended(run: Run, event: OwnerSuspended) -> Notice:
    """The run is at its end, and the target's GitOps owner stays suspended."""
    hold, plan = event.hold, run.opened.plan
    return Notice(
        id=f"{run.id}/owner_suspended/{hold.object}",
        at=event.at,
        event="owner.suspended",
        severity=Severity.WARNING,
        title=f"{hold.object} of {run.opened.target} stays suspended",
        text=f"It would roll {_images(plan.from_images)} out again. Revert {hold.revision or 'the bad release'} in its "
        f"source: the guard resumes it once it wants another revision. To resume it now: {_resuming(hold)}.",
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={"owner": hold.object, "revision": hold.revision, "resume": _resuming(hold)},
    )


def owner_resumed(run: Run, suspended: OwnerSuspended, event: OwnerResumed) -> Notice:
    """A GitOps owner that `run` suspended is at work again."""
    plan = run.opened.plan
    by_guard = event.by == "guard"
    return Notice(
        id=f"{run.id}/owner_resumed/{event.owner}/{suspended.at.isoformat()}",
        at=event.at,
        event="owner.resumed",
        severity=Severity.INFO if by_guard else Severity.WARNING,
        title=f"{event.owner} of {run.opened.target} " + ("is resumed" if by_guard else "is no longer the guard's"),
        text=_sentence(event.reason) + ("" if by_guard else " The guard leaves it as it is."),
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={"owner": event.owner, "by": event.by, "reason": event.reason},
    )


def owner_not_resumed(run: Run, suspended: OwnerSuspended, at: datetime, reason: str) -> Notice:
    """The guard is refused what it needs to resume a GitOps owner."""
    hold, plan = suspended.hold, run.opened.plan
    return Notice(
        id=f"{run.id}/owner_not_resumed/{hold.object}",
        at=at,
        event="owner.not_resumed",
        severity=Severity.CRITICAL,
        title=f"{hold.object} of {run.opened.target} cannot be resumed",
        text=f"{_sentence(reason)} The guard goes on trying. To resume it by hand: {_resuming(hold)}.",
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={"owner": hold.object, "reason": reason, "resume": _resuming(hold)},
    )


def _resuming(hold: Hold) -> str:
    owner = owner_called(hold.object)
    return f"put back what its annotation {MARK} tells" if owner is None else owner.resuming


def held_up(run: Run, hold: Hold, at: datetime, reason: str) -> Notice:
    """Something that a run borrowed is still out long after the run has ended: nothing else happens here meanwhile."""
    plan = run.opened.plan
    return Notice(
        id=f"{run.id}/held_up/{hold.id}",
        at=at,
        event="hold.held_up",
        severity=Severity.CRITICAL,
        title=f"{hold.object} of {run.opened.target} cannot be put back yet",
        text=f"{_sentence(reason)} The guard goes on trying, and rolls nothing back here meanwhile.",
        target=run.opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=run.id,
        facts={"hold": hold.id, "object": hold.object, "detail": reason},
    )


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
            "version": _images(() if workload is None else workload.images),
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
        facts={"version": _images(workload.images)},
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


def rules_reloaded(target: Target, diff: str, at: datetime) -> Notice:
    """New rules are in force for the target."""
    return Notice(
        id=f"config.reloaded/{target.key}/{at.isoformat()}",
        at=at,
        event="config.reloaded",
        severity=Severity.INFO,
        title=f"New rules for {target.key}",
        text=_sentence(diff),
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment,
    )


def rules_refused(target: Target, faults: str, at: datetime) -> Notice:
    """The files were changed and have faults: the rules in force stay."""
    return Notice(
        id=f"config.refused/{target.key}/{at.isoformat()}",
        at=at,
        event="config.refused",
        severity=Severity.WARNING,
        title=f"New rules for {target.key} were refused; the old ones stay in force",
        text=faults,
        target=target.key,
        namespace=target.namespace,
        deployment=target.deployment,
    )


def guard_notice(
    event: str,
    severity: Severity,
    title: str,
    text: str,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    facts: Mapping[str, str] | None = None,
) -> Notice:
    """Something about the guard itself."""
    return Notice(id=id, at=at, event=event, severity=severity, title=title, text=text, facts=facts or {})


def _images(images: Sequence[str]) -> str:
    return ", ".join(images) or "no image"


def _sentence(reason: str) -> str:
    text = reason[:1].upper() + reason[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


GIVEN_UP, FAILING = "notice.given_up", "channel.failing"
OF_A_CHANNEL = frozenset({GIVEN_UP, FAILING})
"""Event names of the notices that tell the other channels about one of them."""


def notice_lost(about: Notice, channel: str, detail: str, at: datetime) -> Notice:
    """A channel will never carry the notice `about`."""
    text = (
        f'"{about.title}" could not be sent on {channel} ({detail}). Check that channel; '
        "further losses there are only logged until it works again."
    )
    return _of_channel(about, channel, detail, at, event=GIVEN_UP, title=f"Channel {channel} lost a notice", text=text)


def channel_failing(about: Notice, channel: str, lasted: float, detail: str, at: datetime) -> Notice:
    """A channel has taken nothing for `lasted` seconds; `about` is the notice that waits there."""
    text = (
        f'It has failed for {lasted:.0f} s ({detail}), and "{about.title}" waits there. Check that channel; '
        "it is tried again all the time."
    )
    title = f"Channel {channel} takes no notices"
    return _of_channel(about, channel, detail, at, event=FAILING, title=title, text=text)


def _of_channel(
    about: Notice, channel: str, detail: str, at: datetime, *, event: str, title: str, text: str
) -> Notice:  # fmt: skip
    return Notice(
        id=f"{about.id}/{event}/{channel}",
        at=at,
        event=event,
        severity=Severity.WARNING,
        title=title,
        text=text,
        target=about.target,
        namespace=about.namespace,
        deployment=about.deployment,
        run=about.run,
        facts={"channel": channel, "notice": about.id, "detail": detail},
    )
