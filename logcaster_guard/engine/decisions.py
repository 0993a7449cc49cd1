"""From a fired trigger to a run, or to a refusal that people are told."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from logcaster_guard.domain import guardrails, narration
from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.events import Event, NoticeQueued, RevisionBad, RunOpened, TargetFrozen
from logcaster_guard.domain.guardrails import Guardrail, Refusal, Situation
from logcaster_guard.domain.ledger import Standing
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.chronicle import Chronicle, run_stream, target_stream
from logcaster_guard.ports import Clock, Cluster, Json, Kind
from logcaster_guard.strategies import immediate

_ACCUSING = frozenset({Guardrail.FROZEN, Guardrail.NO_GOOD_REVISION, Guardrail.STRATEGY_UNAVAILABLE})
"""Refusals in spite of which an attributed trigger shows that the present release is bad."""


class Starter(Protocol):
    """Carries out a run that is in the journal."""

    def start(self, stream: str, run: str) -> None:
        """Begin, in the background."""


class Decisions:
    """Decides for one target. The journal is the only memory; what was told already is not told again.

    `on_refusal` is called with the rule and the guardrails whenever a refusal is told.
    """

    def __init__(
        self,
        target: Target,
        *,
        cluster: Cluster,
        chronicle: Chronicle,
        clock: Clock,
        policy: Policy,
        starter: Starter,
        on_refusal: Callable[[str, Iterable[str]], None] = lambda *_: None,
    ) -> None:
        self._target = target
        self._cluster = cluster
        self._chronicle = chronicle
        self._clock = clock
        self._policy = policy
        self._starter = starter
        self._on_refusal = on_refusal
        self._told: dict[str, str] = {}
        self._log = structlog.get_logger().bind(target=target.key)

    async def decide(
        self, rule: Rule, *, onset: datetime, workload: Workload | None, evidence: Mapping[str, str]
    ) -> None:  # fmt: skip
        """Open a run, or refuse. Raises `ClusterError` and `JournalUnavailable`: then nothing was decided."""
        situation = self._situation(rule, onset, workload)
        reasons = self._reasons(situation)
        if reasons or workload is None:
            await self._refuse(situation, reasons, evidence)
            return
        service = await self._service()
        autoscalers = await self._cluster.list(Kind.AUTOSCALER, self._target.namespace)
        async with self._chronicle.opening:
            situation = self._situation(rule, onset, workload)
            reasons = self._reasons(situation)
            destination = situation.ledger.destination(self._policy.ledger)
            if not reasons and destination is not None:
                plan = immediate.plan(
                    workload,
                    destination,
                    rule=rule,
                    policy=self._policy,
                    service=service,
                    autoscalers=autoscalers,
                )
                await self._open(situation, plan, evidence)
                return
        await self._refuse(situation, reasons, evidence)

    def objections(self, rule: Rule, *, onset: datetime, workload: Workload | None) -> Sequence[Refusal]:
        """The guardrails that would hold if the rule fired now."""
        return self._reasons(self._situation(rule, onset, workload))

    def _situation(self, rule: Rule, onset: datetime, workload: Workload | None) -> Situation:
        return Situation(
            rule=rule,
            target=self._target.key,
            onset=onset,
            now=self._clock.now(),
            workload=workload,
            ledger=self._chronicle.ledger(self._target.key),
            runs=self._chronicle.past_runs(),
        )

    def _reasons(self, situation: Situation) -> Sequence[Refusal]:
        reasons = guardrails.refusals(situation, self._policy)
        if self._chronicle.available:
            return reasons
        sentence = "There is no usable journal: the guard only watches. Mend the journal and restart the guard."
        return [*reasons, Refusal(Guardrail.NO_JOURNAL, sentence)]

    async def _refuse(self, situation: Situation, reasons: Sequence[Refusal], evidence: Mapping[str, str]) -> None:
        rule, names = situation.rule, tuple(str(r.guardrail) for r in reasons)
        notice_id = self._notice_id(situation, names)
        if self._told.get(rule.name) == notice_id:
            return
        self._on_refusal(rule.name, names)
        self._log.warning(
            "trigger.refused",
            rule=rule.name,
            guardrails=names,
            reasons=[r.sentence for r in reasons],
            onset=situation.onset,
            evidence=dict(evidence),
        )
        if self._chronicle.available and not self._chronicle.knows_notice(notice_id):
            at = self._clock.now()
            notice = narration.refused(
                self._target,
                rule,
                reasons,
                evidence,
                id=notice_id,
                at=at,
                onset=situation.onset,
                images=() if situation.workload is None else situation.workload.images,
            )
            events: list[Event] = [NoticeQueued(at, notice), *self._verdict(situation, names, at)]
            if names == (Guardrail.NO_GOOD_REVISION,):
                events.append(TargetFrozen(at, "guard", f"{rule.name} fired and no revision is known to be good"))
            await self._chronicle.tell(target_stream(self._target.key), *events)
        self._told[rule.name] = notice_id

    def _notice_id(self, situation: Situation, names: tuple[str, ...]) -> str:
        """The same for the same news: the guard's own freeze is none where another reason was told with it."""
        freeze = situation.ledger.freeze
        if freeze is not None and freeze.by == "guard" and len(names) > 1:
            names = tuple(n for n in names if n != Guardrail.FROZEN)
        onset = f"{situation.onset:%Y%m%dT%H%M%S.%fZ}"
        return f"refused/{self._target.key}/{situation.rule.name}/{onset}/{'+'.join(names)}"

    def _verdict(self, situation: Situation, names: tuple[str, ...], at: datetime) -> list[Event]:
        """A rollout that caused the breach is bad, even where nothing may be rolled back."""
        present = situation.ledger.records.get(situation.ledger.present or "")
        attributed = situation.rule.rollout_window is not None and _ACCUSING.issuperset(names)
        if not attributed or present is None or present.standing(self._policy.ledger) is Standing.BAD:
            return []
        return [RevisionBad(at, present.template, f"rule {situation.rule.name} fired after its rollout")]

    async def _open(self, situation: Situation, plan: Plan, evidence: Mapping[str, str]) -> None:
        rule = situation.rule
        at = self._clock.now()
        run = f"{self._target.deployment}-{at:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"
        opened = RunOpened(
            at=at,
            run=run,
            target=self._target.key,
            rule=rule.name,
            reason=f"Rule {rule.name} ({rule.text}) has been met for {guardrails.span(rule.duration)}.",
            plan=plan,
            onset=situation.onset,
            evidence=dict(evidence),
            condition=rule.text,
        )
        stream = run_stream(run)
        if await self._chronicle.decide(stream, opened, NoticeQueued(at, narration.opened(opened))):
            self._starter.start(stream, run)

    async def _service(self) -> Json | None:
        if self._target.service is None:
            return None
        try:
            return await self._cluster.get(Kind.SERVICE, self._target.namespace, self._target.service)
        except NotFound:
            return None
