"""Rollbacks that people ask for: shown first, agreed to, then carried out by the same executor as any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain import manual
from logcaster_guard.domain.errors import BlobMissing
from logcaster_guard.domain.inbox.annotations import Denied
from logcaster_guard.domain.inbox.commands import Wish
from logcaster_guard.domain.inbox.denials import DryRunOnly, NoRequest, NotWhatWasAgreed, ReleaseUnreadable
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.reasons import AskedByHand
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.template_diff import differences
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.operator_inbox import Carrier
from logcaster_guard.engine.planning import Planner
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.services import Services
from logcaster_guard.messages.runs import left_in_place
from logcaster_guard.rollbacks import config_restores
from logcaster_guard.rollbacks.not_applicable import NotApplicable


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done: `differences` are between the two pod templates, and of what ConfigMaps hold."""

    plan: Plan
    workload: Workload
    differences: Sequence[str]

    @property
    def approval_token(self) -> str:
        """What agreeing to it names: see `domain.manual.approval_token`."""
        return manual.approval_token(self.plan)

    def told(self) -> Mapping[str, Any]:
        """The plan for people, its sentences as messages; what of a template is shown, `template_diff` says."""
        return {
            "workload": self.workload.name,
            "strategy": self.plan.strategy,
            "from_images": list(self.plan.from_images),
            "to_images": list(self.plan.to_images),
            "differences": list(self.differences),
            "steps": list(self.lines),
            "leftover": "" if self.plan.leftover is None else left_in_place(self.plan.leftover),
            "approval_token": self.approval_token,
        }

    @property
    def lines(self) -> Sequence[Reason]:
        """What each step does."""
        return self.plan.lines


class ManualRuns:
    """Shows, begins and takes in the manual runs of one target.

    `preview` and `begin` raise `ClusterError` and `JournalUnavailable`; reasons are told in a language by whoever asks.
    """

    def __init__(
        self,
        target: Target,
        services: Services,
        *,
        revisions: RevisionWatch,
        decisions: Decisions,
        planner: Planner,
        carrier: Carrier,
    ) -> None:
        self._target = target
        self._state = services.state
        self._inbox = services.inbox
        self._blobs = services.blobs
        self._policy = services.policy
        self._revisions = revisions
        self._decisions = decisions
        self._planner = planner
        self._carrier = carrier

    async def preview(self, wish: Wish) -> Preview | Sequence[Reason]:
        """The plan as it would be now, or why there is none."""
        workload = await self._revisions.look()
        reasons = self._decisions.manual_objections(manual.as_rule(wish), workload)
        if reasons or workload is None:
            return reasons
        found = manual.destinations(self._state.ledger(self._target.key), self._policy.ledger, wish.to)
        if isinstance(found, Message):
            return [found]
        try:
            planned = await self._planner.plan(wish.action, workload, found, rule=manual.as_rule(wish))
            if isinstance(planned, NotApplicable):
                return planned.reasons
            release = await self._planner.written(planned, workload) or await self._other(planned, found)
        except BlobMissing as error:
            return [ReleaseUnreadable(error.reason)]
        changed = differences(workload.template, release.template)
        return Preview(planned, workload, [*changed, *config_restores.differences(planned)])

    async def _other(self, planned: Plan, destinations: Sequence[Record]) -> Release:
        """What the other environment carries, where the Service goes over to that. Raises `BlobMissing`."""
        good = next(r for r in destinations if r.template == planned.good.template)
        return Release.from_bytes(await self._blobs.get(good.blob))

    async def begin(self, wish: Wish, approval_token: str, reason: str, *, request: str = "") -> str | Sequence[Reason]:
        """Open the run that `approval_token` agreed to and give its name, or say why it is not opened."""
        shown = await self.preview(wish)
        if not isinstance(shown, Preview):
            return shown
        if shown.approval_token != approval_token:
            return [NotWhatWasAgreed()]
        if self._policy.dry_run or self._target.dry_run:
            return [DryRunOnly(tuple(shown.lines))]
        rule = manual.as_rule(wish)
        because = AskedByHand(approval_token, reason)
        return await self._decisions.open_manual(rule, shown.plan, shown.workload, because, request=request)

    async def look(self, workload: Workload) -> None:
        """Take in what people wrote on the workload: a request for a rollback, or an answer that no run listens for."""
        if not self._state.available:
            return
        await self._inbox.look(self._target.key, workload, self._carrier)
        request = self._inbox.requested(workload)
        if request is None:
            return
        said, message = request.said, request.message
        if isinstance(said, Denied):
            reasons: Sequence[Reason] = [NoRequest(message.annotation, said.reason)]
        else:
            begun = await self.begin(said.wish, said.approval_token, said.reason, request=message.digest)
            if isinstance(begun, str):
                return
            reasons = begun
        await self._inbox.refuse(self._target, workload, message, reasons)
