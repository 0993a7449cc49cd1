"""From a fired trigger to a run, or to a refusal that people are told."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import structlog

from logcaster_guard import messages
from logcaster_guard.domain import gitops, guardrails, manual
from logcaster_guard.domain.attribution import Attribution
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import NoticeQueued, RunClosed, RunOpened
from logcaster_guard.domain.evidence import PendingEdits, facts, shown
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.guardrails import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import DryRun
from logcaster_guard.domain.inbox.commands import Wish
from logcaster_guard.domain.inbox.denials import DestinationBadNow, JournalMovedOn
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.reasons import FallsBack, OwnerMayUndo, PutsBack, RuleMet, TakesOver
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.runs import DESTINATION_BAD, NOT_RECOVERED, Run
from logcaster_guard.domain.signals import Reading, Target, Unit
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.journal_state import run_stream
from logcaster_guard.engine.planning import Planner
from logcaster_guard.engine.refused_triggers import Refusals
from logcaster_guard.engine.services import Services
from logcaster_guard.engine.snapshotting import Snapshotter
from logcaster_guard.messages.texts import english
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.ways import WAYS


class Starter(Protocol):
    """Carries out a run that is in the journal."""

    def start(self, stream: str, run: str) -> None:
        """Begin, in the background."""


class Attributor(Protocol):
    """Looks into what a breach comes from; it never raises for what it cannot see."""

    async def weigh(self, rule: Rule, *, onset: datetime, workload: Workload | None) -> Attribution | None:
        """What the breach since `onset` is put down to; None where that is not asked."""

    def pending(self) -> Sequence[str]:
        """The objects of the configuration that no pod has read as they are now."""

    async def client_errors(self, rule: Rule) -> float | None:
        """The share of requests that fail with 4xx, where its source can tell."""

    async def request_rate(self, rule: Rule) -> Reading | None:
        """The traffic, where some is asked for; else None."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was looked into for one decision, on the breach since `onset`."""

    onset: datetime
    attribution: Attribution | None = None
    request_rate: Reading | None = None


class Decisions:
    """Decides for one target; the journal is the only memory."""

    def __init__(
        self,
        target: Target,
        services: Services,
        *,
        planner: Planner,
        attributor: Attributor,
        refusals: Refusals,
        starter: Starter,
        snapshots: Snapshotter,
    ) -> None:
        self._target = target
        self._state = services.state
        self._clock = services.clock
        self._policy = services.policy
        self._self_workload = services.self_workload
        self._units = {name: signal.unit for name, signal in services.signals.items()}
        self._planner = planner
        self._attributor = attributor
        self._refusals = refusals
        self._starter = starter
        self._snapshots = snapshots
        self._weighed: dict[str, Weighed] = {}
        self._log = structlog.get_logger().bind(target=target.key)

    async def decide(
        self, rule: Rule, *, onset: datetime, workload: Workload | None, evidence: Mapping[str, Reason]
    ) -> None:  # fmt: skip
        """Open a run, or refuse. Raises `ClusterError` and `JournalUnavailable`: then nothing was decided."""
        evidence = await self._look_into(rule, onset, workload, evidence)
        situation = self._situation(rule, onset, workload)
        reasons = self._refusals.of(situation)
        if reasons or workload is None:
            await self._refusals.tell(situation, await self._refusals.in_full(situation, reasons), evidence)
            return
        planned = await self._planned(rule, workload)
        snapshot = ""
        if isinstance(planned, Plan):
            snapshot = await self._snapshot(workload)
        async with self._state.counting():
            situation = self._situation(rule, onset, workload)
            reasons = self._refusals.of(situation)
            if not reasons and isinstance(planned, Plan):
                if self._marked_meanwhile(planned):
                    self._log.warning(
                        "decision.postponed", rule=rule.name, detail="The destination was marked bad just now"
                    )
                    return
                await self._open(situation, planned, evidence, snapshot)
                return
        reasons = reasons or (() if isinstance(planned, Plan) else planned)
        await self._refusals.tell(situation, reasons, evidence)

    async def _planned(self, rule: Rule, workload: Workload) -> Plan | Sequence[Refusal]:
        """The plan of the rule's action, or of the one that is configured for when it does not fit; or why not."""
        ledger = self._state.ledger(self._target.key)
        destinations = ledger.destinations(self._policy.ledger)
        if not destinations:
            return []
        planned = await self._planner.plan(rule.action, workload, destinations, rule=rule)
        refusals: list[Refusal] = []
        if isinstance(planned, NotApplicable) and planned.guardrail is not Guardrail.STRATEGY_UNFIT:
            return _unfit(planned)
        if isinstance(planned, NotApplicable):
            refusals = _unfit(planned)
            otherwise = next(way.otherwise(self._policy) for way in WAYS if way.action is rule.action)
            self._log.warning(
                "strategy.unfit",
                rule=rule.name,
                action=rule.action,
                reasons=tuple(map(english().text, planned.reasons)),
                otherwise=otherwise,
            )
            if otherwise is not Action.ALERT_ONLY:
                planned = await self._planner.plan(otherwise, workload, destinations, rule=rule)
        if isinstance(planned, NotApplicable):
            return refusals if planned.guardrail is Guardrail.STRATEGY_UNFIT else _unfit(planned)
        return [_dry_run(planned)] if self._dry(rule) else planned

    def _dry(self, rule: Rule) -> bool:
        return self._policy.dry_run or self._target.dry_run or rule.dry_run

    async def escalated(
        self, old: Run, rule: Rule, *, onset: datetime, workload: Workload | None, evidence: Mapping[str, Reason]
    ) -> RunOpened | None:
        """The immediate run that takes over from `old`, a slower one; None if something forbids it, which is told."""
        evidence = await self._look_into(rule, onset, workload, evidence)
        situation = self._situation(rule, onset, workload, follows=old.id, escalates=True)
        reasons = self._refusals.of(situation)
        destinations = situation.ledger.destinations(self._policy.ledger)
        if reasons or workload is None or not destinations:
            await self._refusals.tell(situation, reasons, evidence)
            return None
        planned = await self._planner.take_over(old, workload, destinations, rule=rule)
        if isinstance(planned, NotApplicable) or self._dry(rule):
            told = _unfit(planned) if isinstance(planned, NotApplicable) else [_dry_run(planned)]
            await self._refusals.tell(situation, told, evidence)
            return None
        reason = TakesOver(_because(rule), old.id)
        return self._opened(situation, planned, evidence, await self._snapshot(workload), reason=reason, parent=old.id)

    async def postponed(self, rule: Rule, onset: datetime, reason: Reason) -> None:
        """See `Refusals.postpone`."""
        await self._refusals.postpone(rule, onset, reason)

    def decided(self, rule: Rule) -> None:
        """See `Refusals.decided`."""
        self._refusals.decided(rule)

    def may_fall_back(self, outcome: str, rungs: int) -> bool:
        """Whether the policy lets another run follow one that ended so, after `rungs` that fell back already."""
        fallback = self._policy.fallback
        allowed = {DESTINATION_BAD: fallback.destination_bad, NOT_RECOVERED: fallback.not_recovered}
        return rungs < allowed.get(outcome, 0)

    async def fallen_back(
        self, old: Run, closed: RunClosed, *, rule: Rule, workload: Workload | None
    ) -> RunOpened | None:  # fmt: skip
        """The immediate run to the next good release after `old` has failed; None if something forbids it."""
        onset = old.opened.onset or old.opened.at
        situation = self._situation(rule, onset, workload, follows=old.id)
        reasons = self._refusals.of(situation)
        destinations = situation.ledger.destinations(self._policy.ledger)
        if reasons or workload is None or not destinations:
            self._log.warning("fallback.refused", run=old.id, reasons=[english().text(r.reason) for r in reasons])
            return None
        planned = await self._planner.plan(Action.IMMEDIATE, workload, destinations, rule=rule)
        if isinstance(planned, NotApplicable):
            self._log.warning("fallback.refused", run=old.id, reasons=tuple(map(english().text, planned.reasons)))
            return None
        reason = FallsBack(old.id, closed.outcome, closed.reason)
        snapshot = await self._snapshot(workload)
        return self._opened(situation, planned, old.opened.evidence, snapshot, reason=reason, parent=old.id)

    async def put_back(self, old: Run, closed: RunClosed, *, workload: Workload | None) -> RunOpened | None:
        """The run that puts the release before `old` back, whose destination never served; None if nothing is in place.

        No guardrail holds it up: the pods that serve are of that release, and it ends what the guard itself began.
        """
        ledger, plan = self._state.ledger(self._target.key), old.opened.plan
        before = ledger.record_of(plan.origin)
        if before is None or workload is None or workload.hash != plan.to_template:
            return None
        rule = manual.as_rule(Wish(Action.IMMEDIATE))
        planned = await self._planner.plan(Action.IMMEDIATE, workload, [before], rule=rule, verified=False)
        if isinstance(planned, NotApplicable):
            self._log.warning("fallback.refused", run=old.id, reasons=tuple(map(english().text, planned.reasons)))
            return None
        situation = self._situation(rule, old.opened.at, workload, follows=old.id)
        reason = PutsBack(old.id, closed.outcome, closed.reason)
        snapshot = await self._snapshot(workload)
        opened = self._opened(situation, planned, old.opened.evidence, snapshot, reason=reason, parent=old.id)
        return replace(opened, rule=old.opened.rule, condition=old.opened.condition, onset=old.opened.onset)

    def manual_objections(self, rule: Rule, workload: Workload | None) -> Sequence[Reason]:
        """Why even a person's own request cannot be carried out now."""
        situation = self._situation(rule, self._clock.now(), workload)
        return [r.reason for r in guardrails.manual_refusals(situation, self._policy)]

    async def open_manual(
        self, rule: Rule, plan: Plan, workload: Workload, reason: Reason, *, request: str
    ) -> str | Sequence[Reason]:
        """Open the run that a person asked for, and give its name; or say why not."""
        snapshot = await self._snapshot(workload)
        async with self._state.counting():
            reasons = self.manual_objections(rule, workload)
            if reasons or self._marked_meanwhile(plan):
                return reasons or [DestinationBadNow()]
            situation = self._situation(rule, self._clock.now(), workload)
            opened = self._opened(situation, plan, {}, snapshot, reason=reason)
            opened = replace(opened, onset=None, request=request)
            stream = run_stream(opened.run)
            if not await self._state.decide(stream, opened, NoticeQueued(opened.at, messages.opened(opened))):
                return [JournalMovedOn()]
        self._starter.start(stream, opened.run)
        return opened.run

    def _marked_meanwhile(self, plan: Plan) -> bool:
        """Whether the destination was good when it was planned, and is bad now."""
        record = self._state.ledger(self._target.key).record_of(plan.good)
        return record is not None and record.bad_since is not None

    def weighed(self, rule: Rule, *, onset: datetime) -> Attribution | None:
        """What the breach since `onset` was put down to when it was decided on last; None if it was not."""
        known = self._weighed.get(rule.name)
        return known.attribution if known is not None and known.onset == onset else None

    def objections(self, rule: Rule, *, onset: datetime, workload: Workload | None) -> Sequence[Refusal]:
        """The guardrails that would hold if the rule fired now."""
        return self._refusals.of(self._situation(rule, onset, workload))

    async def _look_into(
        self, rule: Rule, onset: datetime, workload: Workload | None, evidence: Mapping[str, Reason]
    ) -> Mapping[str, Reason]:
        """Weigh the cause for the decision that follows; returns the evidence with it."""
        found, client = await asyncio.gather(
            self._attributor.weigh(rule, onset=onset, workload=workload), self._attributor.client_errors(rule)
        )
        if client is not None and "error_rate" in evidence:
            of_it = f"{evidence['error_rate']} (4xx: {shown(client, Unit.RATIO)})"
            evidence = {**evidence, "error_rate": of_it}
        self._weighed[rule.name] = Weighed(onset, found, await self._attributor.request_rate(rule))
        replaced = self._state.ledger(self._target.key).replaced_before(onset)
        told: dict[str, Reason] = {} if replaced is None else {"changed": ", ".join(replaced.changed)}
        if pending := self._attributor.pending():
            told["pending"] = PendingEdits(tuple(pending))
        return {**evidence, **told, **({} if found is None else facts(found, self._units))}

    def _situation(
        self,
        rule: Rule,
        onset: datetime,
        workload: Workload | None,
        *,
        follows: str | None = None,
        escalates: bool = False,
    ) -> DecisionContext:
        known = self._weighed.get(rule.name, Weighed(onset))
        known = known if known.onset == onset else Weighed(onset)
        return DecisionContext(
            rule=rule,
            target=self._target.key,
            onset=onset,
            now=self._clock.now(),
            workload=workload,
            ledger=self._state.ledger(self._target.key),
            runs=self._state.past_runs(),
            follows=follows,
            escalates=escalates,
            name=self._target.name,
            attribution=known.attribution,
            request_rate=known.request_rate,
            gitops=self._target.gitops,
            own=workload is not None and workload.uid == self._self_workload.uid,
            journal=self._state.available,
        )

    async def _open(
        self, situation: DecisionContext, plan: Plan, evidence: Mapping[str, Reason], snapshot: str
    ) -> None:  # fmt: skip
        opened = self._opened(situation, plan, evidence, snapshot, reason=_because(situation.rule))
        stream = run_stream(opened.run)
        if await self._state.decide(stream, opened, NoticeQueued(opened.at, messages.opened(opened))):
            self._starter.start(stream, opened.run)

    def _opened(
        self,
        situation: DecisionContext,
        plan: Plan,
        evidence: Mapping[str, Reason],
        snapshot: str,
        *,
        reason: Reason,
        parent: str | None = None,
    ) -> RunOpened:
        at, rule = self._clock.now(), situation.rule
        return RunOpened(
            at=at,
            run=f"{self._target.deployment}-{at:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}",
            target=self._target.key,
            rule=rule.name,
            reason=self._warned(situation, reason),
            plan=plan,
            onset=situation.onset,
            parent=parent,
            evidence=dict(evidence),
            condition=rule.text,
            snapshot=snapshot,
            attributed=situation.attribution is not None and situation.attribution.accuses,
        )

    def _warned(self, situation: DecisionContext, reason: Reason) -> Reason:
        """The reason, with a warning where the run goes on in spite of a GitOps owner."""
        workload = situation.workload
        owner = None if workload is None else gitops.owner_of(workload.raw, self._policy.argocd_namespace)
        if owner is None or (situation.gitops or self._policy.gitops) is not GitOps.PROCEED:
            return reason
        return OwnerMayUndo(reason, owner.named)

    async def _snapshot(self, workload: Workload) -> str:
        """The digest of the manifests of all that a run may touch, as they are now; empty if it cannot be saved.

        A snapshot is for people: no rollback waits for one.
        """
        try:
            return await self._snapshots.take(workload)
        except JournalUnavailable as error:
            self._log.warning("snapshot.failed", detail=str(error))
            return ""


def _because(rule: Rule) -> RuleMet:
    return RuleMet(rule.name, rule.text, rule.duration)


def _unfit(planned: NotApplicable) -> list[Refusal]:
    return [Refusal(planned.guardrail, reason) for reason in planned.reasons]


def _dry_run(plan: Plan) -> Refusal:
    return Refusal(Guardrail.DRY_RUN, DryRun(plan.digest[:16], tuple(plan.lines)))
