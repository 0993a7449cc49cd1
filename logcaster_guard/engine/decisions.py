"""From a fired trigger to a run, or to a refusal that people are told."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from logcaster_guard.domain import guardrails, narration
from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.events import Event, NoticeQueued, RunOpened, TargetFrozen
from logcaster_guard.domain.guardrails import Guardrail, Refusal, Situation
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.chronicle import Chronicle, run_stream, target_stream
from logcaster_guard.ports import Clock, Cluster, Json, Kind
from logcaster_guard.strategies import immediate

_SAME_BREACH = timedelta(seconds=1)


class Starter(Protocol):
    """Carries out a run that is in the journal."""

    def start(self, stream: str, run: str) -> None:
        """Begin, in the background."""


class Decisions:
    """Decides for one target. The journal is the only memory; what was told already is not told again."""

    def __init__(
        self,
        target: Target,
        *,
        cluster: Cluster,
        chronicle: Chronicle,
        clock: Clock,
        policy: Policy,
        starter: Starter,
    ) -> None:
        self._target = target
        self._cluster = cluster
        self._chronicle = chronicle
        self._clock = clock
        self._policy = policy
        self._starter = starter
        self._told: dict[str, tuple[datetime, tuple[str, ...]]] = {}
        self._log = structlog.get_logger().bind(target=target.key)

    async def decide(
        self, rule: Rule, *, onset: datetime, workload: Workload | None, evidence: Mapping[str, str]
    ) -> None:  # fmt: skip
        """Open a run, or refuse. Raises `ClusterError` and `JournalUnavailable`: then nothing was decided."""
        situation = Situation(
            rule=rule,
            target=self._target.key,
            onset=onset,
            now=self._clock.now(),
            workload=workload,
            ledger=self._chronicle.ledger(self._target.key),
            runs=self._chronicle.past_runs(),
        )
        reasons = guardrails.refusals(situation, self._policy)
        if not self._chronicle.available:
            sentence = "There is no usable journal: the guard only watches. Mend the journal and restart the guard."
            reasons = [*reasons, Refusal(Guardrail.NO_JOURNAL, sentence)]
        if reasons or workload is None:
            await self._refuse(rule, onset, reasons, evidence)
        else:
            await self._open(rule, situation, workload, evidence)

    async def _refuse(
        self, rule: Rule, onset: datetime, reasons: Sequence[Refusal], evidence: Mapping[str, str]
    ) -> None:  # fmt: skip
        names = tuple(str(r.guardrail) for r in reasons)
        told = self._told.get(rule.name)
        # The onset is kept on the monotonic clock: as an instant it differs a little each time.
        if told is not None and told[1] == names and abs(told[0] - onset) < _SAME_BREACH:
            return
        self._told[rule.name] = (onset, names)
        self._log.warning(
            "trigger.refused",
            rule=rule.name,
            guardrails=names,
            reasons=[r.sentence for r in reasons],
            onset=onset,
            evidence=dict(evidence),
        )
        if not self._chronicle.available:
            return
        at = self._clock.now()
        notice_id = f"refused/{self._target.key}/{rule.name}/{onset:%Y%m%dT%H%M%SZ}/{'+'.join(names)}"
        notice = narration.refused(self._target, rule, reasons, evidence, id=notice_id, at=at)
        events: list[Event] = [NoticeQueued(at, notice)]
        if names == (Guardrail.NO_GOOD_REVISION,):
            events.append(TargetFrozen(at, "guard", f"{rule.name} fired and no revision is known to be good"))
        if self._chronicle.knows_notice(notice_id):
            return
        await self._chronicle.tell(target_stream(self._target.key), *events)

    async def _open(
        self, rule: Rule, situation: Situation, workload: Workload, evidence: Mapping[str, str]
    ) -> None:  # fmt: skip
        destination = situation.ledger.destination(self._policy.ledger)
        if destination is None:
            return
        plan = immediate.plan(
            workload,
            destination,
            rule=rule,
            policy=self._policy,
            service=await self._service(),
            autoscalers=await self._cluster.list(Kind.AUTOSCALER, self._target.namespace),
        )
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
