"""What people are told of a run, from its opening to the last thing that it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.domain.compensations import Remedy
from logcaster_guard.domain.events import (
    HoldReleased,
    OwnerResumed,
    OwnerSuspended,
    PeopleReminded,
    RunClosed,
    RunOpened,
)
from logcaster_guard.domain.inbox import commands
from logcaster_guard.domain.inbox.annotations import FREEZE, stamp
from logcaster_guard.domain.inbox.commands import AnswerRun, RunCommand
from logcaster_guard.domain.inbox.freezes import LIFTED
from logcaster_guard.domain.leftovers import Leftover
from logcaster_guard.domain.notices import Notice, Severity, Silence
from logcaster_guard.domain.runs import DESTINATION_BAD, ESCALATED, RECOVERED, SUBSIDED, VETOED, Run
from logcaster_guard.domain.steps import Compensation, Field
from logcaster_guard.messages.words import images, sentence


def opened(event: RunOpened) -> Notice:
    """A rollback begins, or people are asked first."""
    plan = event.plan
    question = asked(event)
    return _of_run(
        event,
        id=f"{event.run}/opened",
        at=event.at,
        event="run.opened",
        severity=Severity.WARNING,
        title=f"Rolling back {event.target}" if question is None else f"About to roll back {event.target}",
        text=f"{event.reason} Rolling back from {images(plan.from_images)} to {images(plan.to_images)}."
        + ("" if question is None else f" {question.sentence}"),
        facts={
            **event.evidence,
            "rule": event.rule,
            "condition": event.condition,
            "from": images(plan.from_images),
            "to": images(plan.to_images),
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
    step = event.plan.steps[0].asks if event.plan.steps else None
    if step is None:
        return None
    until = event.at + timedelta(seconds=step.timeout if step.require_approval else step.grace)
    expiry = event.at + timedelta(seconds=step.timeout + 60.0)
    veto, approve = (
        _command(event, said.annotation, commands.value_of(AnswerRun(said, event.approval_token, expiry, "")))
        for said in (RunCommand.VETO, RunCommand.APPROVE)
    )
    whom = f"--target {event.target} --ticket {event.approval_token}"
    say_no, say_yes = f"logcaster-guard veto {whom}", f"logcaster-guard approve {whom}"
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
        "silence": Silence.REFUSAL if step.require_approval else Silence.CONSENT,
        "veto": veto,
        "approve": approve,
        "veto_command": say_no,
        "approve_command": say_yes,
    }
    return Question(sentence, facts, until, expiry)


def _command(event: RunOpened, annotation: str, value: str, *, switched: bool = False) -> str:
    plan = event.plan
    workload = f"{plan.kind.lower()}/{plan.deployment if switched or not plan.live else plan.live}"
    return f"kubectl -n {plan.namespace} annotate --overwrite {workload} {annotation}='{value}'"


def reminded(run: Run, event: PeopleReminded) -> Notice:
    """A question to people still waits for an answer."""
    plan = run.opened.plan
    question = asked(run.opened) or Question("", {}, event.at, event.at)
    return _of_run(
        run.opened,
        id=f"{run.id}/reminder/{event.number}",
        at=event.at,
        event="people.reminded",
        severity=Severity.WARNING,
        title=f"{run.opened.target} is still about to be rolled back",
        text=f"The breach goes on, and nobody has answered. {question.sentence}".strip(),
        facts={
            "rule": run.opened.rule,
            "from": images(plan.from_images),
            "to": images(plan.to_images),
            **question.facts,
        },
    )


def restored(run: Run, at: datetime, detail: str) -> Notice:
    """The good release is in place whole; whether it helps is being watched."""
    plan = run.opened.plan
    return _of_run(
        run.opened,
        id=f"{run.id}/restored",
        at=at,
        event="run.restored",
        severity=Severity.INFO,
        title=f"{run.opened.target} is back on {images(plan.to_images)}",
        text=f"The rollout is complete ({detail}). Watching whether the target recovers.",
        facts={"rule": run.opened.rule, "from": images(plan.from_images), "to": images(plan.to_images)},
    )


def ended(run: Run, event: RunClosed) -> Notice:
    """A rollback is over, well or not."""
    plan = run.opened.plan
    well = event.outcome in {RECOVERED, SUBSIDED, VETOED, ESCALATED}
    resume, lift = (
        f"logcaster-guard resume {run.opened.target} --reason WHY",
        _command(run.opened, FREEZE, f"{LIFTED}: WHY", switched=run.switched and event.outcome != DESTINATION_BAD),
    )
    frozen = f" The target is frozen until a person lifts it: {resume} , or {lift} ." if event.freeze else ""
    in_place = run.wrote(Field.TEMPLATE) and event.outcome != DESTINATION_BAD
    leftover = plan.leftover if in_place else None
    until = None if run.said is None else run.said.until
    lifted = "unless a person marks it bad or rolls it back"
    held = f" This release is not rolled back before {stamp(until)}, {lifted}." if until is not None else ""
    return _of_run(
        run.opened,
        id=f"{run.id}/closed",
        at=event.at,
        event="run.closed",
        severity=Severity.INFO if well else Severity.CRITICAL,
        title=f"Rollback of {run.opened.target}: {event.outcome}",
        text=f"{sentence(event.reason)}{held}{frozen}" + ("" if leftover is None else f" {leftover.sentence}"),
        facts={
            "outcome": event.outcome,
            "rule": run.opened.rule,
            "from": images(plan.from_images),
            "to": images(plan.to_images),
            "frozen": "yes" if event.freeze else "no",
            **({"resume": lift, "resume_command": resume} if event.freeze else {}),
            **_leftover(leftover),
            **({"vetoed_until": stamp(until)} if until is not None else {}),
        },
    )


def _leftover(found: Leftover | None) -> Mapping[str, str]:
    if found is None:
        return {}
    helm = {"helm_rollback": found.remedy, "helm_history": found.history} if found.helm else {}
    return {"leftover": found.shown, **helm}


def not_given_back(run: Run, event: HoldReleased, remedy: Remedy) -> Notice:
    """Something that a run borrowed stays as the guard wrote it: a person has to put it back."""
    hold = run.compensations[event.hold]
    original = "unset" if hold.original is None else hold.original
    return _of_run(
        run.opened,
        id=f"{run.id}/not_given_back/{hold.id}",
        at=event.at,
        event="hold.not_given_back",
        severity=Severity.CRITICAL,
        title=f"{hold.object} of {run.opened.target} was not put back",
        text=f"{sentence(event.detail)} {remedy.sentence}",
        facts={
            "hold": hold.id,
            "detail": event.detail,
            "object": hold.object,
            "written": str(hold.written),
            "original": str(original),
            "remedy": remedy.command,
        },
    )


def left_as_theirs(run: Run, event: HoldReleased, remedy: Remedy) -> Notice:
    """Something that a run borrowed is not given back, because somebody else has set it meanwhile."""
    hold = run.compensations[event.hold]
    bounds = hold.original_maximum is not None
    original = f"{hold.original} and {hold.original_maximum}" if bounds else str(hold.original)
    return _of_run(
        run.opened,
        id=f"{run.id}/theirs/{hold.id}",
        at=event.at,
        event="hold.theirs",
        severity=Severity.WARNING,
        title=f"{hold.object} of {run.opened.target} stays as somebody else has set it",
        text=f"{sentence(event.detail)} To have it as it was before the run: {remedy.command}.",
        facts={
            "hold": hold.id,
            "object": hold.object,
            "reason": event.detail,
            "original": original,
            "remedy": remedy.command,
        },
    )


def owner_suspended(run: Run, event: OwnerSuspended, remedy: Remedy) -> Notice:
    """The run is at its end, and the target's GitOps owner stays suspended."""
    hold, plan = event.hold, run.opened.plan
    return _of_run(
        run.opened,
        id=f"{run.id}/owner_suspended/{hold.object}",
        at=event.at,
        event="owner.suspended",
        severity=Severity.WARNING,
        title=f"{hold.object} of {run.opened.target} stays suspended",
        text=f"It would roll {images(plan.from_images)} out again. Revert {hold.revision or 'the bad release'} in its "
        f"source: the guard resumes it once it wants another revision. To resume it now: {remedy.command}.",
        facts={"owner": hold.object, "revision": hold.revision, "resume": remedy.command},
    )


def owner_resumed(run: Run, suspended: OwnerSuspended, event: OwnerResumed) -> Notice:
    """A GitOps owner that `run` suspended is at work again."""
    by_guard = event.by == "guard"
    return _of_run(
        run.opened,
        id=f"{run.id}/owner_resumed/{event.owner}/{suspended.at.isoformat()}",
        at=event.at,
        event="owner.resumed",
        severity=Severity.INFO if by_guard else Severity.WARNING,
        title=f"{event.owner} of {run.opened.target} " + ("is resumed" if by_guard else "is no longer the guard's"),
        text=sentence(event.reason) + ("" if by_guard else " The guard leaves it as it is."),
        facts={"owner": event.owner, "by": event.by, "reason": event.reason},
    )


def owner_not_resumed(run: Run, suspended: OwnerSuspended, at: datetime, reason: str, remedy: Remedy) -> Notice:
    """The guard is refused what it needs to resume a GitOps owner."""
    hold = suspended.hold
    return _of_run(
        run.opened,
        id=f"{run.id}/owner_not_resumed/{hold.object}",
        at=at,
        event="owner.not_resumed",
        severity=Severity.CRITICAL,
        title=f"{hold.object} of {run.opened.target} cannot be resumed",
        text=f"{sentence(reason)} The guard goes on trying. To resume it by hand: {remedy.command}.",
        facts={"owner": hold.object, "reason": reason, "resume": remedy.command},
    )


def hindered(run: Run, at: datetime, reason: str) -> Notice:
    """A rollback stands still in the middle, for a reason that lies outside of it."""
    step = run.opened.plan.steps[run.step].kind
    return _of_run(
        run.opened,
        id=f"{run.id}/hindered/{run.step}",
        at=at,
        event="run.hindered",
        severity=Severity.CRITICAL,
        title=f"Rollback of {run.opened.target} stands still",
        text=f"{sentence(reason)} What was done so far stays as it is, and the guard goes on trying.",
        facts={"step": step, "detail": reason},
    )


def held_up(run: Run, hold: Compensation, at: datetime, reason: str) -> Notice:
    """Something that a run borrowed is still out long after the run has ended: nothing else happens here meanwhile."""
    return _of_run(
        run.opened,
        id=f"{run.id}/held_up/{hold.id}",
        at=at,
        event="hold.held_up",
        severity=Severity.CRITICAL,
        title=f"{hold.object} of {run.opened.target} cannot be put back yet",
        text=f"{sentence(reason)} The guard goes on trying, and rolls nothing back here meanwhile.",
        facts={"hold": hold.id, "object": hold.object, "detail": reason},
    )


def _of_run(
    opened: RunOpened,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    event: str,
    severity: Severity,
    title: str,
    text: str,
    facts: Mapping[str, str],
) -> Notice:
    plan = opened.plan
    return Notice(
        id=id,
        at=at,
        event=event,
        severity=severity,
        title=title,
        text=text,
        target=opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=opened.run,
        facts=facts,
    )
