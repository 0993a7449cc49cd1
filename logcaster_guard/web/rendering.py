"""Renders the read model as plain JSON values for HTTP; secrets are cut out as they are from the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from logcaster_guard import __version__, messages
from logcaster_guard.adapters.logs import scrubbed
from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.evidence import evidence
from logcaster_guard.domain.guardrails import Refusal
from logcaster_guard.domain.inbox.commands import Heard
from logcaster_guard.domain.ledger import Freeze
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.problems import Problem
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Unit
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.engine.status import (
    Explanation,
    GuardStatus,
    LeadershipStatus,
    ReleaseSummary,
    RuleStatus,
    SourceStatus,
    TargetStatus,
)
from logcaster_guard.messages.texts import english

Json = dict[str, Any]


def degraded(problems: Sequence[Problem]) -> list[str]:
    """What keeps a guard that is ready from seeing, or from keeping up, one sentence each."""
    return [scrubbed(f"{english().text(p.summary)} Since {p.at:%Y-%m-%dT%H:%M:%SZ}.") for p in problems]


def status(found: GuardStatus) -> Json:
    """The guard and every target now."""
    return _told(
        {
            "version": __version__,
            "at": found.at,
            "polling_interval_seconds": found.polling_interval,
            "stuck": found.stuck,
            "missing": found.missing,
            "problems": [_problem(p) for p in found.problems],
            "authority": None if found.leadership is None else _leadership(found.leadership),
            "standing_by": found.standing_by,
            "targets": [_target(target) for target in found.targets],
        }
    )


def history(runs: Sequence[Run], releases: Sequence[ReleaseSummary]) -> Json:
    """These runs, and what is known of each release."""
    return _told({"runs": [_run(run) for run in runs], "releases": [_release(release) for release in releases]})


def plan(target: str, found: Preview | Sequence[Reason]) -> Json:
    """What would be done for a person who asks for it now, or why nothing would."""
    if not isinstance(found, Preview):
        return _told({"target": target, "reasons": found})
    return _told({"target": target, "reasons": [], **found.told()})


def one_run(found: Run) -> Json:
    """One run, as the history shows it."""
    return _told(_run(found))


def explanations(found: Sequence[Explanation]) -> Json:
    """Why a rule did or did not fire, on each of its targets."""
    return _told({"triggers": [_explanation(one) for one in found]})


def _leadership(found: LeadershipStatus) -> Json:
    return {
        "lease": found.lease,
        "identity": found.identity,
        "role": found.role,
        "holder": found.holder,
        "epoch": found.epoch,
    }


def _target(found: TargetStatus) -> Json:
    target = found.target
    return {
        "target": target.key,
        "name": target.name,
        "kind": target.kind,
        "namespace": target.namespace,
        "workload": found.workload,
        "looked_at": found.looked_at,
        "present": None if found.present is None else _release(found.present),
        "destination": None if found.destination is None else _release(found.destination),
        "frozen": None if found.freeze is None else _frozen(found.freeze),
        "suspended": [
            {"owner": event.hold.object, "revision": event.hold.revision, "since": event.at, "run": event.run}
            for event in found.suspended
        ],
        "unproven": found.unproven,
        "run": None if found.run is None else _run(found.run),
        "heard": [_heard(heard) for heard in found.heard],
        "triggers": [_trigger(rule) for rule in found.rules],
        "sources": [_source(source) for source in found.sources],
    }


def _problem(problem: Problem) -> Json:
    return {
        "kind": problem.kind,
        "what": english().text(problem.what),
        "cause": english().text(problem.cause),
        "since": problem.at,
        "targets": sorted(problem.targets),
        "told": problem.told,
        "sentence": english().text(problem.summary),
    }


def _frozen(freeze: Freeze) -> Json:
    return {"at": freeze.at, "by": freeze.by, "who": english().text(freeze.who), "reason": freeze.reason}


def _heard(heard: Heard) -> Json:
    return {
        "at": heard.at,
        "annotation": heard.annotation,
        "digest": heard.digest,
        "run": heard.run,
        "counted": heard.counted,
        "words": heard.words,
    }


def _source(found: SourceStatus) -> Json:
    return {
        "source": found.source,
        "up": found.up,
        "reads": found.reads,
        "last_answer_at": found.last_answer_at,
        "missed_polls": found.missed_polls,
    }


def _trigger(found: RuleStatus) -> Json:
    rule = found.rule
    return {
        "rule": rule.name,
        "condition": rule.text,
        "action": rule.action,
        "phase": found.phase,
        "blind_since": found.blind_since,
        "verdict": found.judgement.verdict,
        "onset": found.onset,
        "credit_seconds": round(found.credit, 3),
        "duration_seconds": rule.duration,
        "readings": found.evidence,
    }


def _explanation(found: Explanation) -> Json:
    status, last, refusals = found.status, found.last_change, found.refusals
    return {
        "target": found.target,
        **_trigger(status),
        "blind": sorted(status.judgement.blind),
        "no_data": sorted(status.judgement.missing),
        "no_data_counts_as": status.rule.no_data,
        "guardrails": None
        if refusals is None
        else [{"guardrail": r.guardrail, "reason": english().text(r.reason)} for r in refusals],
        "attribution": None if found.attribution is None else _attribution(found.attribution, found.units),
        "last_change": None if last is None else {"at": last.at, "change": type(last).__name__[7:].lower()},
        "run": None if found.run is None else found.run.id,
        "summary": _under_way(found.run) if found.run is not None else summary(status, refusals),
    }


def _attribution(found: Attribution, units: Mapping[str, Unit]) -> Json:
    """What the last decision put the breach down to."""
    return {
        "cause": found.cause,
        "evidence": english().text(evidence(found, units)),
        "suspects": [{"target": s.target, "score": s.score, "rolled_out": s.rolled} for s in found.suspects],
    }


def summary(found: RuleStatus, refusals: Sequence[Refusal] | None) -> str:
    """Why it did or did not fire, in one sentence."""
    rule, blind, missing_data = found.rule, found.judgement.blind, found.judgement.missing
    if found.phase is Phase.FIRING:
        names = ", ".join(r.guardrail for r in refusals or ())
        refused = f" Nothing is rolled back: {names}." if names else ""
        return f"Firing: {rule.text} was met for {_seconds(rule.duration)} without interruption.{refused}"
    since = "" if found.blind_since is None else f" since {found.blind_since:%Y-%m-%dT%H:%M:%SZ}"
    if found.judgement.verdict is Verdict.UNKNOWN:
        held = [*(f"{n} cannot be read" for n in sorted(blind)), *(f"{n} has no data" for n in sorted(missing_data))]
        return f"Not firing: {', '.join(held)}{since}, and blind is not bad."
    if found.phase is Phase.BLIND:
        return f"Not firing: {', '.join(sorted(rule.signals))} never had a value{since}, so the rule sees nothing."
    if found.phase is Phase.PENDING:
        return f"Not firing yet: {rule.text} is proven met for {_seconds(found.credit)} of {_seconds(rule.duration)}."
    if found.phase is Phase.COOLING_DOWN:
        return "Not firing: a rollback has just ended, and the trigger is cooling down."
    if found.judgement.verdict is Verdict.MET:
        return f"Not firing yet: {rule.text} is met as of now and was not evaluated since."
    return f"Not firing: {rule.text} is not met."


def _under_way(run: Run) -> str:
    return f"Run {run.id} of rule {run.opened.rule} is under way: no trigger of this target is evaluated meanwhile."


def _release(found: ReleaseSummary) -> Json:
    record = found.record
    return {
        "target": found.target,
        "revision": record.name,
        "release": record.release.key,
        "template": record.template,
        "configuration": record.configuration or None,
        "images": list(record.images),
        "status": found.status,
        "unmeasured": list(record.unmeasured),
        "present": found.present,
        "good_at": record.good_at,
        "bad_at": record.bad_at,
        "bad_reason": record.bad_reason or None,
    }


def _run(run: Run) -> Json:
    opened, plan, closed = run.opened, run.opened.plan, run.closed
    return {
        "run": run.id,
        "parent": opened.parent,
        "target": opened.target,
        "rule": opened.rule,
        "reason": opened.reason,
        "approval_token": opened.approval_token,
        "workload": plan.live or plan.deployment,
        "question": _question(run),
        "strategy": plan.strategy,
        "from_images": list(plan.from_images),
        "to_images": list(plan.to_images),
        "opened_at": opened.at,
        "onset": opened.onset,
        "evidence": opened.evidence,
        "step": None if run.present is None or closed is not None else run.present.kind,
        "steps_done": [plan.steps[i].kind for i in sorted(run.done_at)],
        "closed_at": None if closed is None else closed.at,
        "outcome": None if closed is None else closed.outcome,
        "outcome_reason": None if closed is None else closed.reason,
    }


def _question(run: Run) -> Json | None:
    """What people are asked now: until when, and how long an answer may hold; None if they are not asked."""
    asked = messages.asked(run.opened)
    if asked is None or run.closed is not None or run.ending is not None or run.asks is None:
        return None
    return {"until": asked.until, "expiry": asked.expiry, "require_approval": run.asks.require_approval}


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def _told(value: Json) -> Json:
    return {key: _plain(part) for key, part in value.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value that is told
    match value:
        case bool() | int() | float() | None:
            return value
        case Enum():
            return str(value)
        case str():
            return scrubbed(value)
        case Message():
            return scrubbed(english().text(value))
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case _:
            return [_plain(v) for v in value]
