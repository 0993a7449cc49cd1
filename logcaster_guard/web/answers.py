"""What the guard tells over HTTP, as plain JSON values; secrets are cut out as they are from the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from logcaster_guard import __version__
from logcaster_guard.adapters.logs import scrubbed
from logcaster_guard.domain import attribution, narration
from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.inbox.commands import Heard, Wish
from logcaster_guard.domain.ledger import Freeze, Record
from logcaster_guard.domain.problems import Problem
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import SourceName
from logcaster_guard.domain.steps import AskPeople
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.engine.account import Account
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.manual import Preview
from logcaster_guard.engine.watch import TargetWatch

Json = dict[str, Any]


def stuck(guard: Guard) -> list[str]:
    """The loops that are over their bound, one sentence each; empty if the guard is alive."""
    return [
        f"{target}: the loop '{loop}' is {over:.0f} s over its bound of {watch.pulse.grace:.0f} s."
        for target, watch in guard.watches.items()
        for loop, over in watch.pulse.stuck().items()
    ]


def missing(guard: Guard) -> list[str]:
    """What is still missing before the guard can act, one sentence each; empty if it is ready."""
    found: list[str] = []
    if guard.standby and guard.journal is not None:
        return found
    if not guard.chronicle.available:
        found.append("The journal cannot be used: the guard only watches.")
        found += [f"Nobody carries a run on: {sentence}" for sentence in guard.alarm.stranded]
    elif not guard.chronicle.loaded:
        found.append("The journal is not read yet.")
    if guard.blobs.fault:
        found.append(f"Releases cannot be saved: {guard.blobs.fault}.")
    for target, watch in guard.watches.items():
        if watch.looked_at is None:
            found.append(f"{target}: the Deployment was not looked at yet.")
        found += [f"{target}: {s} was not read yet." for s in watch.sources if not watch.tally.reads[s].count]
    return found


def degraded(guard: Guard) -> list[str]:
    """What keeps a guard that is ready from seeing, or from keeping up, one sentence each."""
    return [scrubbed(f"{p.sentence} Since {p.at:%Y-%m-%dT%H:%M:%SZ}.") for p in guard.problems.current()]


def status(guard: Guard) -> Json:
    """The guard and every target now."""
    return _told(
        {
            "version": __version__,
            "at": guard.clock.now(),
            "polling_interval_seconds": guard.policy.polling.interval,
            "stuck": stuck(guard),
            "missing": missing(guard),
            "problems": [_problem(p) for p in guard.problems.current()],
            "authority": _authority(guard),
            "standing_by": standing_by(guard),
            "targets": [_target(guard, watch) for watch in guard.watches.values()],
        }
    )


def standing_by(guard: Guard) -> str | None:
    """Where to ask instead, in a sentence, if this guard stands by and so knows of no run; None if it acts."""
    if guard.authority is None or not guard.standby:
        return None
    holder = guard.authority.holder
    whom = f"ask {holder}, which holds it" if holder else "nobody holds it now; ask again"
    return f"This guard stands by under the lease {guard.authority.lease}: {whom}."


def _authority(guard: Guard) -> Json | None:
    keeper = guard.authority
    if keeper is None:
        return None
    return {
        "lease": keeper.lease,
        "identity": keeper.identity,
        "role": keeper.role,
        "holder": keeper.holder or None,
        "epoch": keeper.epoch,
    }


def history(guard: Guard, *, target: str | None, limit: int) -> Json:
    """The newest `limit` runs, newest first, and what is known of each release; of one target or of all."""
    chosen = [t for t in guard.watches if target in {None, t}]
    runs = [r for r in guard.chronicle.runs() if target in {None, r.opened.target}]
    newest = sorted(runs, key=lambda r: r.opened.at, reverse=True)[:limit]
    return _told(
        {
            "runs": [_run(run) for run in newest],
            "releases": [_release(guard, t, r) for t in chosen for r in guard.chronicle.ledger(t).records.values()],
        }
    )


async def plan(guard: Guard, *, target: str, wish: Wish) -> Json:
    """What would be done for a person who asks for it now, or why nothing would; `target` is one that is watched."""
    found = await guard.watches[target].manual.preview(wish)
    if not isinstance(found, Preview):
        return _told({"target": target, "reasons": found})
    return _told({"target": target, "reasons": [], **found.told()})


def run_answer(run: Run) -> Json:
    """One run, as the history shows it."""
    return _told(_run(run))


def explain(guard: Guard, *, target: str | None, rule: str) -> Json:
    """Why a rule did or did not fire, on one target or on each that it is for."""
    chosen = [w for key, w in guard.watches.items() if target in {None, key, w.target.name} and rule in w.states]
    return _told({"triggers": [_account(guard, w, w.account(rule)) for w in chosen]})


def known(guard: Guard) -> list[str]:
    """Every trigger as `namespace/deployment/rule`."""
    return [f"{key}/{rule}" for key, watch in guard.watches.items() for rule in watch.states]


def _target(guard: Guard, watch: TargetWatch) -> Json:
    key = watch.target.key
    ledger = guard.chronicle.ledger(key)
    present = ledger.records.get(ledger.present or "")
    destination = ledger.destination(guard.policy.ledger)
    run = guard.chronicle.open_run_on(key)
    return {
        "target": key,
        "name": watch.target.name,
        "kind": watch.target.kind,
        "namespace": watch.target.namespace,
        "workload": watch.target.deployment if watch.workload is None else watch.workload.name,
        "looked_at": watch.looked_at,
        "present": None if present is None else _release(guard, key, present),
        "destination": None if destination is None else _release(guard, key, destination),
        "frozen": None if ledger.freeze is None else _frozen(ledger.freeze),
        "suspended": [
            {"owner": event.hold.object, "revision": event.hold.revision, "since": event.at, "run": event.run}
            for target, event in guard.chronicle.suspended()
            if target == key
        ],
        "unproven": [claim.sentence for claim in guard.sweeper.unproven.get(key, ())],
        "run": None if run is None else _run(run),
        "heard": [_heard(heard) for heard in guard.chronicle.heard(key)],
        "triggers": [_trigger(watch.account(rule)) for rule in watch.states],
        "sources": [_source(watch, source) for source in watch.sources],
    }


def _problem(problem: Problem) -> Json:
    return {
        "kind": problem.kind,
        "what": problem.what,
        "cause": problem.cause,
        "since": problem.at,
        "targets": sorted(problem.targets),
        "told": problem.told,
        "sentence": problem.sentence,
    }


def _frozen(freeze: Freeze) -> Json:
    return {"at": freeze.at, "by": freeze.by, "who": freeze.who.strip(), "reason": freeze.reason}


def _heard(heard: Heard) -> Json:
    return {
        "at": heard.at,
        "annotation": heard.annotation,
        "digest": heard.digest,
        "run": heard.run,
        "counted": heard.counted,
        "words": heard.words,
    }


def _source(watch: TargetWatch, source: SourceName) -> Json:
    reads = watch.tally.reads[source]
    return {
        "source": source,
        "up": reads.up,
        "reads": reads.count,
        "last_answer_at": reads.answered_at,
        "missed_polls": watch.missed.get(source, 0),
    }


def _trigger(account: Account) -> Json:
    rule = account.rule
    return {
        "rule": rule.name,
        "condition": rule.text,
        "action": rule.action,
        "phase": account.phase,
        "blind_since": account.blind_since,
        "verdict": account.judgement.verdict,
        "onset": account.onset,
        "credit_seconds": round(account.credit, 3),
        "duration_seconds": rule.duration,
        "readings": account.evidence,
    }


def _account(guard: Guard, watch: TargetWatch, account: Account) -> Json:
    last = guard.chronicle.last_trigger(watch.target.key, account.rule.name)
    run = guard.chronicle.open_run_on(watch.target.key)
    refusals = account.refusals
    return {
        "target": watch.target.key,
        **_trigger(account),
        "blind": sorted(account.judgement.blind),
        "no_data": sorted(account.judgement.missing),
        "no_data_counts_as": account.rule.no_data,
        "guardrails": None
        if refusals is None
        else [{"guardrail": r.guardrail, "reason": r.sentence} for r in refusals],
        "attribution": None if account.attribution is None else _attribution(watch, account.attribution),
        "last_change": None if last is None else {"at": last.at, "change": type(last).__name__[7:].lower()},
        "run": None if run is None else run.id,
        "summary": _under_way(run) if run is not None else summary(account),
    }


def _attribution(watch: TargetWatch, found: Attribution) -> Json:
    """What the last decision put the breach down to."""
    return {
        "cause": found.cause,
        "evidence": attribution.evidence(found, watch.units),
        "suspects": [{"target": s.target, "score": s.score, "rolled_out": s.rolled} for s in found.suspects],
    }


def summary(account: Account) -> str:
    """Why it did or did not fire, in one sentence."""
    rule, blind, missing_data = account.rule, account.judgement.blind, account.judgement.missing
    if account.phase is Phase.FIRING:
        names = ", ".join(r.guardrail for r in account.refusals or ())
        refused = f" Nothing is rolled back: {names}." if names else ""
        return f"Firing: {rule.text} was met for {_seconds(rule.duration)} without interruption.{refused}"
    since = "" if account.blind_since is None else f" since {account.blind_since:%Y-%m-%dT%H:%M:%SZ}"
    if account.judgement.verdict is Verdict.UNKNOWN:
        held = [*(f"{n} cannot be read" for n in sorted(blind)), *(f"{n} has no data" for n in sorted(missing_data))]
        return f"Not firing: {', '.join(held)}{since}, and blind is not bad."
    if account.phase is Phase.BLIND:
        return f"Not firing: {', '.join(sorted(rule.signals))} never had a value{since}, so the rule sees nothing."
    if account.phase is Phase.PENDING:
        return f"Not firing yet: {rule.text} is proven met for {_seconds(account.credit)} of {_seconds(rule.duration)}."
    if account.phase is Phase.COOLING_DOWN:
        return "Not firing: a rollback has just ended, and the trigger is cooling down."
    if account.judgement.verdict is Verdict.MET:
        return f"Not firing yet: {rule.text} is met as of now and was not evaluated since."
    return f"Not firing: {rule.text} is not met."


def _under_way(run: Run) -> str:
    return f"Run {run.id} of rule {run.opened.rule} is under way: no trigger of this target is evaluated meanwhile."


def _release(guard: Guard, target: str, record: Record) -> Json:
    ledger = guard.chronicle.ledger(target)
    return {
        "target": target,
        "revision": record.name,
        "template": record.template,
        "images": list(record.images),
        "standing": record.standing(guard.policy.ledger),
        "unmeasured": list(record.unmeasured),
        "present": record.template == ledger.present,
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
        "ticket": opened.approval_token,
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
    asked = narration.asked(run.opened)
    if asked is None or run.closed is not None or run.ending is not None or not isinstance(run.present, AskPeople):
        return None
    return {"until": asked.until, "expiry": asked.expiry, "require_approval": run.present.require_approval}


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
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case _:
            return [_plain(v) for v in value]
