"""Renders the read model as plain JSON values for HTTP; secrets are cut out as they are from the log.

Keys and the values of enums are the same in each language; sentences are in that of the texts, which `language` names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from logcaster_guard import __version__, messages
from logcaster_guard.adapters.logs import scrubbed
from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.configuration.release_configuration import InTransition, Known
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
from logcaster_guard.messages.texts import Phrase, Texts, phrase

Json = dict[str, Any]


def degraded(problems: Sequence[Problem], texts: Texts) -> list[str]:
    """What keeps a guard that is ready from seeing, or from keeping up, one sentence each."""
    return [scrubbed(texts.text(phrase("web.problem_since", problem=p.summary, at=p.at))) for p in problems]


def status(found: GuardStatus, texts: Texts) -> Json:
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
        },
        texts,
    )


def history(runs: Sequence[Run], releases: Sequence[ReleaseSummary], texts: Texts) -> Json:
    """These runs, and what is known of each release."""
    return _told({"runs": [_run(run) for run in runs], "releases": [_release(release) for release in releases]}, texts)


def plan(target: str, found: Preview | Sequence[Reason], texts: Texts) -> Json:
    """What would be done for a person who asks for it now, or why nothing would."""
    if not isinstance(found, Preview):
        return _told({"target": target, "reasons": [texts.text(reason) for reason in found]}, texts)
    return _told({"target": target, "reasons": [], **found.told()}, texts)


def one_run(found: Run, texts: Texts) -> Json:
    """One run, as the history shows it."""
    return _told(_run(found), texts)


def explanations(found: Sequence[Explanation], texts: Texts) -> Json:
    """Why a rule did or did not fire, on each of its targets."""
    return _told({"triggers": [_explanation(one) for one in found]}, texts)


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
        "deferred": [
            {"object": event.hold.object, "reason": event.reason, "since": event.at, "run": event.run}
            for event in found.deferred
        ],
        "unproven": found.unproven,
        "configuration": _configuration(found),
        "run": None if found.run is None else _run(found.run),
        "heard": [_heard(heard) for heard in found.heard],
        "triggers": [_trigger(rule) for rule in found.rules],
        "sources": [_source(source) for source in found.sources],
    }


def _configuration(target: TargetStatus) -> Json | None:
    """What the pods have read of the ConfigMaps that they refer to, by name; null before it was looked at."""
    found = target.configuration
    if found is None:
        return None
    state = found.state
    return {
        "state": found.word,
        "digest": state.configuration if isinstance(state, Known) else None,
        "objects": [] if isinstance(state, Known) else list(map(str, state.objects)),
        "checksums_differ": isinstance(state, InTransition) and state.checksums,
        "pending": [{"object": str(p.edit.object), "keys": p.keys, "since": p.since} for p in found.pending],
        "unreadable": [{"object": str(o.object), "reason": o.reason} for o in found.left_out if o.followed],
        "not_followed": [{"object": str(o.object), "reason": o.reason} for o in found.left_out if not o.followed],
    }


def _problem(problem: Problem) -> Json:
    return {
        "kind": problem.kind,
        "what": problem.what,
        "cause": problem.cause,
        "since": problem.at,
        "targets": sorted(problem.targets),
        "told": problem.told,
        "sentence": problem.summary,
    }


def _frozen(freeze: Freeze) -> Json:
    return {"at": freeze.at, "by": freeze.by, "who": freeze.who, "reason": freeze.reason}


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
        "guardrails": None if refusals is None else [{"guardrail": r.guardrail, "reason": r.reason} for r in refusals],
        "attribution": None if found.attribution is None else _attribution(found.attribution, found.units),
        "last_change": None if last is None else {"at": last.at, "change": type(last).__name__[7:].lower()},
        "run": None if found.run is None else found.run.id,
        "summary": _under_way(found.run) if found.run is not None else summary(status, refusals),
    }


def _attribution(found: Attribution, units: Mapping[str, Unit]) -> Json:
    """What the last decision put the breach down to."""
    return {
        "cause": found.cause,
        "evidence": evidence(found, units),
        "suspects": [{"target": s.target, "score": s.score, "rolled_out": s.rolled} for s in found.suspects],
    }


def summary(found: RuleStatus, refusals: Sequence[Refusal] | None) -> Phrase:
    """Why it did or did not fire, in one sentence."""
    rule, judged, verdict = found.rule, found.judgement, found.judgement.verdict
    told = {"condition": rule.text, "proven": _seconds(found.credit), "duration": _seconds(rule.duration)}
    if found.phase is Phase.FIRING:
        return phrase("explain.firing", **told, guardrails=[r.guardrail for r in refusals or ()])
    if verdict is Verdict.UNKNOWN:
        held = [phrase("explain.unread", signal=name) for name in sorted(judged.blind)]
        held += [phrase("explain.without_data", signal=name) for name in sorted(judged.missing)]
        return phrase("explain.unknown", held=held, since=found.blind_since)
    if found.phase is Phase.BLIND:
        return phrase("explain.blind", signals=sorted(rule.signals), since=found.blind_since)
    if found.phase is Phase.PENDING:
        return phrase("explain.pending", **told)
    if found.phase is Phase.COOLING_DOWN:
        return phrase("explain.cooling_down")
    return phrase("explain.met_just_now" if verdict is Verdict.MET else "explain.not_met", condition=rule.text)


def _under_way(run: Run) -> Phrase:
    return phrase("explain.under_way", run=run.id, rule=run.opened.rule)


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
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def _told(value: Json, texts: Texts) -> Json:
    return {"language": str(texts.language), **{key: _plain(part, texts) for key, part in value.items()}}


def _plain(value: Any, texts: Texts) -> Any:  # noqa: ANN401 - any value that is told
    match value:
        case bool() | int() | float() | None:
            return value
        case Enum():
            return str(value)
        case Phrase() | Message():
            return scrubbed(texts.text(value))
        case str():
            return scrubbed(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Mapping():
            return {str(k): _plain(v, texts) for k, v in value.items()}
        case _:
            return [_plain(v, texts) for v in value]
