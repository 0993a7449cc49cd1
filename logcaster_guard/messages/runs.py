"""What people are told of a run, from its opening to the last thing that it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.domain.compensations import Remedy
from logcaster_guard.domain.events import (
    HoldDeferred,
    HoldReleased,
    HoldSettled,
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
from logcaster_guard.domain.message import Headline, Reason
from logcaster_guard.domain.notices import Notice, Severity, Silence
from logcaster_guard.domain.runs import DESTINATION_BAD, ESCALATED, RECOVERED, SUBSIDED, VETOED, Run
from logcaster_guard.domain.steps import Compensation, Field, Plan, Purpose
from logcaster_guard.messages.run_headlines import (
    HeldUp,
    HoldIsDeferred,
    HoldIsSettled,
    LeftAsTheirs,
    LeftInPlace,
    NotGivenBack,
    OwnerAtWork,
    OwnerNotResumed,
    OwnerStaysSuspended,
    PeopleStillAsked,
    Question,
    ReleaseRestored,
    RollbackAsked,
    RollbackBegins,
    RollbackEnded,
    RunCrashed,
    RunHindered,
)
from logcaster_guard.messages.texts import english
from logcaster_guard.messages.words import attribution_of, english_facts, images, told, told_facts


def opened(event: RunOpened) -> Notice:
    """A rollback begins, or people are asked first."""
    plan = event.plan
    question = asked(event)
    said = event.target, event.rule, event.reason, plan.from_images, plan.to_images
    cause = attribution_of(event.evidence)
    return _of_run(
        event,
        RollbackBegins(*said, cause, _change(plan), told_facts(event.evidence))
        if question is None
        else RollbackAsked(*said, question.message, cause, told_facts(event.evidence)),
        id=f"{event.run}/opened",
        at=event.at,
        event="run.opened",
        severity=Severity.WARNING,
        facts={
            **english_facts(event.evidence),
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


def _change(plan: Plan) -> Reason:
    """What is written where no image tells it; empty where one does."""
    if plan.from_images != plan.to_images:
        return ""
    return next((step.line(plan) for step in plan.steps if step.purpose is Purpose.TAKEOVER), "")


@dataclass(frozen=True, slots=True)
class Asked:
    """What people are asked, and how they answer. `expiry` is what an answer may hold until."""

    message: Question
    expiry: datetime

    @property
    def until(self) -> datetime:
        """The deadline."""
        return self.message.until

    @property
    def facts(self) -> Mapping[str, str]:
        """The same as facts of a notice."""
        question = self.message
        return {
            "until": stamp(question.until),
            "silence": Silence.REFUSAL if question.needs_approval else Silence.CONSENT,
            "veto": question.veto,
            "approve": question.approve,
            "veto_command": question.veto_command,
            "approve_command": question.approve_command,
        }


def asked(event: RunOpened) -> Asked | None:
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
    whom = f"--target {event.target} --approval-token {event.approval_token}"
    say_no, say_yes = f"logcaster-guard veto {whom}", f"logcaster-guard approve {whom}"
    return Asked(Question(until, step.require_approval, say_no, veto, say_yes, approve), expiry)


def _command(event: RunOpened, annotation: str, value: str, *, switched: bool = False) -> str:
    plan = event.plan
    workload = f"{plan.kind.lower()}/{plan.deployment if switched or not plan.live else plan.live}"
    return f"kubectl -n {plan.namespace} annotate --overwrite {workload} {annotation}='{value}'"


def reminded(run: Run, event: PeopleReminded) -> Notice:
    """A question to people still waits for an answer."""
    plan, question = run.opened.plan, asked(run.opened)
    return _of_run(
        run.opened,
        PeopleStillAsked(run.opened.target, None if question is None else question.message),
        id=f"{run.id}/reminder/{event.number}",
        at=event.at,
        severity=Severity.WARNING,
        facts={
            "rule": run.opened.rule,
            "from": images(plan.from_images),
            "to": images(plan.to_images),
            **({} if question is None else question.facts),
        },
    )


def restored(run: Run, at: datetime, detail: Reason) -> Notice:
    """The good release is in place whole; whether it helps is being watched."""
    plan = run.opened.plan
    return _of_run(
        run.opened,
        ReleaseRestored(run.opened.target, plan.to_images, detail, plan.to_images == plan.from_images),
        id=f"{run.id}/restored",
        at=at,
        severity=Severity.INFO,
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
    in_place = run.wrote(Field.TEMPLATE) and event.outcome != DESTINATION_BAD
    leftover = plan.leftover if in_place else None
    until = None if run.said is None else run.said.until
    return _of_run(
        run.opened,
        RollbackEnded(
            run.opened.target,
            event.outcome,
            event.reason,
            until,
            event.freeze,
            resume,
            lift,
            None if leftover is None else left_in_place(leftover),
            plan.unrestored if in_place else (),
        ),
        id=f"{run.id}/closed",
        at=event.at,
        severity=Severity.INFO if well else Severity.CRITICAL,
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


def left_in_place(found: Leftover) -> LeftInPlace:
    """What people have to know of the next deployment, and what mends it."""
    return LeftInPlace(found.fields, found.helm, found.remedy, found.history)


def _leftover(found: Leftover | None) -> Mapping[str, str]:
    if found is None:
        return {}
    helm = {"helm_rollback": found.remedy, "helm_history": found.history} if found.helm else {}
    return {"leftover": english().listed(found.fields, 20), **helm}


def crashed(run: str, error: Exception, at: datetime) -> Notice:
    """A defect stopped the run, which stays open."""
    message = RunCrashed(run, f"{type(error).__name__}: {error}")
    return told(message, Severity.CRITICAL, id=f"{run}/crashed", at=at)


def not_given_back(run: Run, event: HoldReleased, remedy: Remedy) -> Notice:
    """Something that a run borrowed stays as the guard wrote it: a person has to put it back."""
    hold = run.compensations[event.hold]
    return _of_run(
        run.opened,
        NotGivenBack(run.opened.target, hold.object, event.detail, remedy.action, remedy.command),
        id=f"{run.id}/not_given_back/{hold.id}",
        at=event.at,
        severity=Severity.CRITICAL,
        facts={
            "hold": hold.id,
            "detail": english().text(event.detail),
            "object": hold.object,
            "written": str(hold.written),
            "original": "unset" if hold.original is None else str(hold.original),
            "remedy": remedy.command,
        },
    )


def _original(hold: Compensation) -> str:
    bounds = hold.original_maximum is not None
    return f"{hold.original} and {hold.original_maximum}" if bounds else str(hold.original)


def left_as_theirs(run: Run, event: HoldReleased, remedy: Remedy) -> Notice:
    """Something that a run borrowed is not given back, because somebody else has set it meanwhile."""
    hold = run.compensations[event.hold]
    original = _original(hold)
    return _of_run(
        run.opened,
        LeftAsTheirs(run.opened.target, hold.object, event.detail, original, remedy.command),
        id=f"{run.id}/theirs/{hold.id}",
        at=event.at,
        severity=Severity.WARNING,
        facts={
            "hold": hold.id,
            "object": hold.object,
            "reason": english().text(event.detail),
            "original": original,
            "remedy": remedy.command,
        },
    )


def deferred(run: Run, event: HoldDeferred, remedy: Remedy) -> Notice:
    """Something that the run borrowed stays out beyond its end."""
    hold = event.hold
    return _of_run(
        run.opened,
        HoldIsDeferred(run.opened.target, hold.object, event.reason, remedy.action, remedy.command),
        id=f"{run.id}/{hold.id}/deferred",
        at=event.at,
        severity=Severity.INFO,
        facts={"hold": hold.id, "object": hold.object, "reason": english().text(event.reason)},
    )


def settled(run: Run, hold: Compensation, event: HoldSettled, remedy: Remedy) -> Notice:
    """What stayed out beyond its run is back, or is the guard's no more."""
    return _of_run(
        run.opened,
        HoldIsSettled(run.opened.target, hold.object, event.reason, event.theirs, remedy.action, remedy.command),
        id=f"{run.id}/{hold.id}/settled",
        at=event.at,
        severity=Severity.WARNING if event.theirs else Severity.INFO,
        facts={"hold": hold.id, "object": hold.object, "reason": english().text(event.reason)},
    )


def owner_suspended(run: Run, event: OwnerSuspended, remedy: Remedy) -> Notice:
    """The run is at its end, and the target's GitOps owner stays suspended."""
    hold, bad = event.hold, run.opened.plan.from_images
    return _of_run(
        run.opened,
        OwnerStaysSuspended(run.opened.target, hold.object, bad, hold.revision, remedy.command),
        id=f"{run.id}/owner_suspended/{hold.object}",
        at=event.at,
        severity=Severity.WARNING,
        facts={"owner": hold.object, "revision": hold.revision, "resume": remedy.command},
    )


def owner_resumed(run: Run, suspended: OwnerSuspended, event: OwnerResumed) -> Notice:
    """A GitOps owner that `run` suspended is at work again."""
    by_guard = event.by == "guard"
    return _of_run(
        run.opened,
        OwnerAtWork(run.opened.target, event.owner, by_guard, event.reason),
        id=f"{run.id}/owner_resumed/{event.owner}/{suspended.at.isoformat()}",
        at=event.at,
        severity=Severity.INFO if by_guard else Severity.WARNING,
        facts={"owner": event.owner, "by": event.by, "reason": english().text(event.reason)},
    )


def owner_not_resumed(run: Run, suspended: OwnerSuspended, at: datetime, reason: Reason, remedy: Remedy) -> Notice:
    """The guard is refused what it needs to resume a GitOps owner."""
    hold = suspended.hold
    return _of_run(
        run.opened,
        OwnerNotResumed(run.opened.target, hold.object, reason, remedy.command),
        id=f"{run.id}/owner_not_resumed/{hold.object}",
        at=at,
        severity=Severity.CRITICAL,
        facts={"owner": hold.object, "reason": english().text(reason), "resume": remedy.command},
    )


def hindered(run: Run, at: datetime, reason: Reason) -> Notice:
    """A rollback stands still in the middle, for a reason that lies outside of it."""
    step = run.opened.plan.steps[run.step].kind
    return _of_run(
        run.opened,
        RunHindered(run.opened.target, step, reason),
        id=f"{run.id}/hindered/{run.step}",
        at=at,
        severity=Severity.CRITICAL,
        facts={"step": step, "detail": english().text(reason)},
    )


def held_up(run: Run, hold: Compensation, at: datetime, reason: Reason) -> Notice:
    """Something that a run borrowed is still out long after the run has ended: nothing else happens here meanwhile."""
    return _of_run(
        run.opened,
        HeldUp(run.opened.target, hold.object, reason),
        id=f"{run.id}/held_up/{hold.id}",
        at=at,
        severity=Severity.CRITICAL,
        facts={"hold": hold.id, "object": hold.object, "detail": english().text(reason)},
    )


def _of_run(
    opened: RunOpened,
    message: Headline,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    severity: Severity,
    facts: Mapping[str, str],
    event: str = "",
) -> Notice:
    plan = opened.plan
    return told(
        message,
        severity,
        id=id,
        at=at,
        event=event,
        target=opened.target,
        namespace=plan.namespace,
        deployment=plan.deployment,
        run=opened.run,
        facts=facts,
    )
