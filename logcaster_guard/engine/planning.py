"""From what is to be done to a plan: looks the way back up, and does what is common to all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from logcaster_guard.domain import gitops, rights
from logcaster_guard.domain.errors import BlobMissing, ClusterError
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import Ledger, Record
from logcaster_guard.domain.leftovers import Leftover, leftover
from logcaster_guard.domain.planning_reasons import CannotCarryOut, CannotSuspend, OwnerUnreachable, SavedUnreadable
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine import gitops_owners
from logcaster_guard.ports import Blobs, Cluster, Rights, SavedSecrets
from logcaster_guard.rollbacks.composition import composed
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request
from logcaster_guard.rollbacks.ways import WAYS
from logcaster_guard.steps.restore_template import TemplateWrite
from logcaster_guard.steps.step_services import Inspector
from logcaster_guard.steps.suspend_owner import SuspendOwner
from logcaster_guard.steps.verify_recovery import VerifyRecovery

_WAYS = {way.action: way for way in WAYS}
FORBIDDEN = 403


class Planner:
    """Plans runs of one target. Nothing here writes; every method raises the `ClusterError` it met.

    `destinations` are the good releases, the best first; there is at least one. `rights` is asked anew for each plan,
    so that what is granted meanwhile counts; None: nobody is asked. `ledger` tells which releases are bad.
    """

    def __init__(
        self,
        target: Target,
        *,
        cluster: Cluster,
        blobs: Blobs,
        policy: Policy,
        inspector: Inspector,
        ledger: Callable[[], Ledger],
        rights: Rights | None = None,
        secrets: SavedSecrets | None = None,
    ) -> None:
        self._target = target
        self._cluster = cluster
        self._blobs = blobs
        self._policy = policy
        self._inspector = inspector
        self._ledger = ledger
        self._rights = rights
        self._secrets = secrets

    async def plan(
        self,
        action: Action,
        workload: Workload,
        destinations: Sequence[Record],
        *,
        rule: Rule,
        verified: bool = True,
    ) -> Plan | NotApplicable:
        """The plan that takes `workload` to a good release by `action`, or why that action does not fit it.

        Where its GitOps owner is to be suspended, that comes before anything is changed. A plan that is only shown
        needs no rights. One that is not `verified` ends when the release is in place.
        """
        planned = await self.shown(action, workload, destinations, rule=rule, verified=verified)
        dry = self._policy.dry_run or self._target.dry_run or rule.dry_run
        return planned if dry else await self._allowed(planned)

    async def shown(
        self,
        action: Action,
        workload: Workload,
        destinations: Sequence[Record],
        *,
        rule: Rule,
        verified: bool = True,
    ) -> Plan | NotApplicable:
        """The same, whatever the guard's account may do."""
        way, request = _WAYS[action], self._request(workload, destinations, rule)
        try:
            facts = await way.gather(request, PlanningPorts(self._cluster, self._blobs, self._inspector, self._secrets))
        except BlobMissing as error:
            return NotApplicable((SavedUnreadable(error.reason),))
        planned = facts if isinstance(facts, NotApplicable) else way.plan(facts)
        return await self._composed(planned, request, verified=verified)

    async def take_over(
        self, old: Run, workload: Workload, destinations: Sequence[Record], *, rule: Rule
    ) -> Plan | NotApplicable:  # fmt: skip
        """The quickest plan from what `old`, a slower run, has left half done.

        A run under way that knows how it is taken over is not held up by rights that are gone: what it began is best
        ended.
        """
        way = next(way for way in WAYS if way.strategy == old.opened.plan.strategy)
        if way.take_over is None:
            return await self.plan(Action.IMMEDIATE, workload, destinations, rule=rule)
        request = self._request(workload, destinations, rule)
        return await self._composed(way.take_over(old, request), request, verified=True)

    def _request(self, workload: Workload, destinations: Sequence[Record], rule: Rule) -> Request:
        bad = (record.release for record in self._ledger().records.values() if record.bad_since is not None)
        return Request(self._target, workload, destinations, rule, self._policy, frozenset(bad))

    async def _composed(
        self, way: Plan | NotApplicable, request: Request, *, verified: bool
    ) -> Plan | NotApplicable:  # fmt: skip
        """The whole plan around the way back, or why its owner cannot be suspended."""
        if isinstance(way, NotApplicable):
            return way
        suspended = await self._suspension(request.workload)
        if isinstance(suspended, NotApplicable):
            return suspended
        verify = request.policy.verify
        verification = VerifyRecovery(request.rule.name, stable_for=verify.stable_for, timeout=verify.timeout)
        planned = composed(way, before=suspended, verification=[verification] if verified else [])
        left = await self._leftover(planned, request.workload)
        return replace(planned, leftover=left, from_configuration=self._configuration_left(planned))

    def _configuration_left(self, planned: Plan) -> str:
        """The configuration of the release that the plan leaves; empty where that is not the one that is live."""
        ledger = self._ledger()
        present = ledger.records.get(ledger.present or "")
        return present.configuration if present is not None and present.template == planned.from_template else ""

    async def written(self, planned: Plan, workload: Workload) -> Release | None:
        """What the plan puts into the workload's template; None if it changes none. Raises `BlobMissing`."""
        step = next((step for step in planned.steps if isinstance(step, TemplateWrite)), None)
        if step is None:
            return None
        return step.written(Release.from_bytes(await self._blobs.get(step.release)), workload)

    async def _leftover(self, planned: Plan, workload: Workload) -> Leftover | None:
        """What the tool that deploys will not know of; a release that is gone tells of itself later."""
        try:
            release = await self.written(planned, workload)
        except BlobMissing:
            return None
        return None if release is None else leftover(workload, release)

    async def _suspension(self, workload: Workload) -> Sequence[Step] | NotApplicable:
        """The step that suspends the workload's owner, if that is wanted; or why the owner cannot be suspended."""
        wanted = self._target.gitops or self._policy.gitops
        owner = gitops.owner_of(workload.raw, self._policy.argocd_namespace)
        if owner is None or not owner.known or wanted is not GitOps.SUSPEND:
            return ()
        try:
            seen = await gitops_owners.seen(self._cluster, owner)
        except ClusterError as error:
            if not gitops_owners.out_of_reach(error):
                raise
            told = CannotSuspend(owner.named, workload.key)
            missing = rights.to_read(owner).missing(told) if error.status == FORBIDDEN else None
            reason = OwnerUnreachable(workload.key, owner.named, error.reason, missing)
            return NotApplicable((reason,), Guardrail.GITOPS_OWNER)
        before = gitops.baseline(seen.raw, seen.source)
        return (SuspendOwner(owner.object, seen.raw["metadata"]["uid"], before.revision, before.content),)

    async def _allowed(self, planned: Plan | NotApplicable) -> Plan | NotApplicable:
        """The plan, or which of its writes the guard's account is known not to be allowed."""
        if isinstance(planned, NotApplicable) or self._rights is None:
            return planned
        needed = planned.rights
        answers = await asyncio.gather(*(_may(self._rights, right) for right in needed))
        missing = [right for right, may in zip(needed, answers, strict=True) if may is False]
        if not missing:
            return planned
        owned = any(right.granted_by == rights.OWNER_ROLE for right in missing)
        reasons = tuple(right.missing(CannotCarryOut(f"{planned.strategy}_rollback")) for right in missing)
        return NotApplicable(reasons, Guardrail.GITOPS_OWNER if owned else Guardrail.STRATEGY_UNFIT)


async def _may(account: Rights, right: Right) -> bool | None:
    """Whether the account has the right; None where nobody can tell, and the first write will."""
    try:
        return await account.may(right.verb, right.group, right.resource, right.namespace, right.name)
    except ClusterError:
        return None
