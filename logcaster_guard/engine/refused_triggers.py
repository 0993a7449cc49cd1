"""Why no run follows from a fired trigger, and telling people so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from logcaster_guard import messages
from logcaster_guard.domain import gitops, guardrails
from logcaster_guard.domain.events import Event, NoticeQueued, RevisionBad
from logcaster_guard.domain.guardrails import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import OnlyAlertOf
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.reasons import FiredAfterRollout
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine import gitops_owners
from logcaster_guard.engine.event_lines import shown
from logcaster_guard.engine.hub import RuleRefused
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.planning import Planner
from logcaster_guard.engine.services import Services
from logcaster_guard.messages.texts import english
from logcaster_guard.rollbacks.not_applicable import NotApplicable

_OUT_OF_REACH = 60.0
"""Seconds after which people are told that a trigger has fired and cannot be decided on."""

_ACCUSING = frozenset(
    {
        Guardrail.FROZEN,
        Guardrail.VETOED,
        Guardrail.NO_GOOD_REVISION,
        Guardrail.GITOPS_OWNER,
        Guardrail.SELECTOR_CHANGED,
        Guardrail.CONFIGURATION,
        Guardrail.STRATEGY_UNFIT,
        Guardrail.DRY_RUN,
    }
)
"""Refusals in spite of which an attributed trigger shows that the present release is bad."""


class Refusals:
    """Those of one target: which there are, and who is told. What was told already is not told again.

    Whenever a refusal is told it is published, too.
    """

    def __init__(self, target: Target, services: Services, planner: Planner) -> None:
        self._target = target
        self._cluster = services.cluster
        self._state = services.state
        self._clock = services.clock
        self._policy = services.policy
        self._hub = services.hub
        self._planner = planner
        self._told: dict[str, str] = {}
        self._postponed: dict[str, tuple[datetime, float]] = {}
        self._log = structlog.get_logger().bind(target=target.key)

    def of(self, situation: DecisionContext) -> Sequence[Refusal]:
        """Every reason to refuse; empty if the rollback may go ahead."""
        return guardrails.refusals(situation, self._policy)

    async def tell(
        self, situation: DecisionContext, reasons: Sequence[Refusal], evidence: Mapping[str, Reason]
    ) -> None:
        """Log the refusal and queue a notice of it, with what it means for the ledger; raises `JournalUnavailable`."""
        rule, names = situation.rule, tuple(str(r.guardrail) for r in reasons)
        notice_id = self._notice_id(situation, names)
        if self._told.get(rule.name) == notice_id:
            return
        self._hub.publish(RuleRefused(self._target.key, rule.name, names))
        self._log.warning(
            "trigger.refused",
            rule=rule.name,
            guardrails=names,
            reasons=[english().text(r.reason) for r in reasons],
            onset=situation.onset,
            evidence=shown(evidence),
        )
        if self._state.available and not self._state.knows_notice(notice_id):
            at = self._clock.now()
            notice = messages.refused(
                self._target,
                rule,
                reasons,
                evidence,
                situation.workload,
                id=notice_id,
                at=at,
                onset=situation.onset,
            )
            verdict = self._verdict(situation, names, at)
            await self._state.tell(target_stream(self._target.key), NoticeQueued(at, notice), *verdict)
        self._told[rule.name] = notice_id

    async def postpone(self, rule: Rule, onset: datetime, reason: Reason) -> None:
        """Tell people, once in a breach, that it cannot be decided on for long; raises `JournalUnavailable`."""
        now = self._clock.monotonic()
        known, since = self._postponed.get(rule.name, (onset, now))
        self._postponed[rule.name] = (onset, since if known == onset else now)
        if now - self._postponed[rule.name][1] < _OUT_OF_REACH or not self._state.available:
            return
        notice = messages.postponed(self._target, rule, reason, at=self._clock.now(), onset=onset)
        if not self._state.knows_notice(notice.id):
            await self._state.tell(target_stream(self._target.key), NoticeQueued(notice.at, notice))

    def decided(self, rule: Rule) -> None:
        """The rule could be decided on, whatever came of it."""
        self._postponed.pop(rule.name, None)

    def _notice_id(self, situation: DecisionContext, names: tuple[str, ...]) -> str:
        """The notice's id; one with an equal id is not told again.

        The guard's own freeze is left out where another guardrail holds as well.
        """
        freeze = situation.ledger.freeze
        if freeze is not None and freeze.by == "guard" and len(names) > 1:
            names = tuple(n for n in names if n != Guardrail.FROZEN)
        if Guardrail.NOT_CAUSED_BY_A_ROLLOUT in names:
            # Where the rollout was not the cause, its end is no news.
            names = tuple(n for n in names if n != Guardrail.ROLLOUT_IN_PROGRESS)
        if Guardrail.VETOED in names:
            # After a veto, the end of the cooldown is no news.
            names = tuple(n for n in names if n != Guardrail.COOLDOWN)
        # Which of the two it is may change with every pod that comes or goes: the news is the same.
        names = tuple(Guardrail.SHARED_CAUSE if n == Guardrail.SEVERAL_SUSPECTS else n for n in names)
        onset = f"{situation.onset:%Y%m%dT%H%M%S.%fZ}"
        return f"refused/{self._target.key}/{situation.rule.name}/{onset}/{'+'.join(names)}"

    def _verdict(self, situation: DecisionContext, names: tuple[str, ...], at: datetime) -> list[Event]:
        """A release whose rollout caused the breach is bad, even where nothing may be rolled back."""
        found, reason = situation.attribution, FiredAfterRollout(situation.rule.name)
        if found is None or not found.accuses or not _ACCUSING.issuperset(names):
            return []
        ledger = situation.ledger
        suspected = [ledger.records[key] for key in sorted(ledger.suspected(situation.onset))]
        bad = [r.release for r in suspected if r.bad_since is None]
        return [RevisionBad(at, r.template, reason, configuration=r.configuration) for r in bad]

    async def in_full(self, situation: DecisionContext, reasons: Sequence[Refusal]) -> Sequence[Refusal]:
        """The reasons, with what has to be looked up for them where they are news. Raises `ClusterError`."""
        names = tuple(str(r.guardrail) for r in reasons)
        if self._told.get(situation.rule.name) == self._notice_id(situation, names) or situation.workload is None:
            return reasons
        if Guardrail.GITOPS_OWNER in names:
            return self.of(replace(situation, bad_commit=await self._bad_commit(situation.workload)))
        return await self._with_plan(situation, reasons) if names == (Guardrail.ALERT_ONLY,) else reasons

    async def _bad_commit(self, workload: Workload) -> Reason | None:
        owner = gitops.owner_of(workload.raw, self._policy.argocd_namespace)
        return None if owner is None else await gitops_owners.bad_commit(self._cluster, owner)

    async def _with_plan(self, situation: DecisionContext, reasons: Sequence[Refusal]) -> Sequence[Refusal]:
        """The reasons, with the plan that a person could run where the rule itself asks for nothing but an alert."""
        destinations = situation.ledger.destinations(self._policy.ledger)
        if situation.workload is None or not destinations:
            return reasons
        planned = await self._planner.shown(
            Action.IMMEDIATE, situation.workload, destinations, rule=situation.rule
        )  # fmt: skip
        if isinstance(planned, NotApplicable):
            return reasons
        return [Refusal(Guardrail.ALERT_ONLY, OnlyAlertOf(situation.rule.name, tuple(planned.lines)))]
