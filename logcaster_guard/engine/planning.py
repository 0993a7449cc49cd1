"""From what is to be done to a plan: looks at what the strategy rests on, and asks the strategy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from logcaster_guard.domain import capacity, gitops, rights
from logcaster_guard.domain.capacity import labels_of, matches
from logcaster_guard.domain.errors import BlobMissing, ClusterError, NotFound
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.leftovers import leftover
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.sidecar import account_of, holds_guard
from logcaster_guard.domain.signals import Target, Value
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload, images_of
from logcaster_guard.effects import blue_green as environments
from logcaster_guard.effects.gradual import gathered
from logcaster_guard.engine import gitops_owners
from logcaster_guard.ports import Blobs, Cluster, Json, Kind, Rights
from logcaster_guard.rollbacks import alert_then, blue_green, gradual, immediate
from logcaster_guard.rollbacks.not_applicable import NotApplicable, unjudged
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.services import Inspector
from logcaster_guard.steps.suspend_owner import SuspendOwner

FORBIDDEN = 403


class Planner:
    """Plans runs of one target. Nothing here writes; every method raises the `ClusterError` it met.

    `destinations` are the good releases, the best first; there is at least one. `rights` is asked anew for each plan,
    so that what is granted meanwhile counts; None: nobody is asked.
    """

    def __init__(
        self,
        target: Target,
        *,
        cluster: Cluster,
        blobs: Blobs,
        policy: Policy,
        inspector: Inspector,
        rights: Rights | None = None,
    ) -> None:
        self._target = target
        self._cluster = cluster
        self._blobs = blobs
        self._policy = policy
        self._inspector = inspector
        self._rights = rights

    async def plan(
        self, action: Action, workload: Workload, destinations: Sequence[Record], *, rule: Rule
    ) -> Plan | NotApplicable:  # fmt: skip
        """The plan that takes `workload` to a good release by `action`, or why that action does not fit it.

        Where its GitOps owner is to be suspended, that comes before anything is changed. A plan that is only shown
        needs no rights.
        """
        try:
            planned = await self._planned(action, workload, destinations, rule)
        except BlobMissing as error:
            return NotApplicable((f"The saved release cannot be read: {error}.",))
        planned = await self._with_owner(await self._with_leftover(planned, workload), workload)
        dry = self._policy.dry_run or self._target.dry_run or rule.dry_run
        return planned if dry or action is Action.ALERT_ONLY else await self._allowed(planned)

    async def _planned(
        self, action: Action, workload: Workload, destinations: Sequence[Record], rule: Rule
    ) -> Plan | NotApplicable:  # fmt: skip
        match action:
            case Action.IMMEDIATE | Action.ALERT_ONLY:
                return await self._quickest(workload, destinations, rule)
            case Action.GRADUAL:
                return await self._gradual(workload, destinations[0], rule)
            case Action.BLUE_GREEN:
                return await self._blue_green(workload, destinations, rule, judged=True)
            case Action.ALERT_THEN:
                planned = await self._quickest(workload, destinations, rule)
                return (
                    planned
                    if isinstance(planned, NotApplicable)
                    else alert_then.plan(planned, rule=rule, policy=self._policy)
                )

    async def take_over(
        self, old: Run, workload: Workload, destinations: Sequence[Record], *, rule: Rule
    ) -> Plan | NotApplicable:  # fmt: skip
        """The quickest plan from what `old`, a slower run, has left half done.

        A gradual run that is under way is not held up by rights that are gone: what it began is best ended.
        """
        if old.opened.plan.strategy == "gradual":
            planned = gradual.take_over(old, workload, destinations[0], rule=rule, policy=self._policy)
            return await self._with_owner(await self._with_leftover(planned, workload), workload)
        return await self.plan(Action.IMMEDIATE, workload, destinations, rule=rule)

    async def _with_leftover(self, planned: Plan | NotApplicable, workload: Workload) -> Plan | NotApplicable:
        """The plan with what the tool that deploys will not know of; a release that is gone tells of itself later."""
        written = (
            [] if isinstance(planned, NotApplicable) else [s for s in planned.steps if isinstance(s, RestoreTemplate)]
        )
        if isinstance(planned, NotApplicable) or not written:
            return planned
        try:
            release = Release.from_bytes(await self._blobs.get(written[0].release))
        except BlobMissing:
            return planned
        return replace(planned, leftover=leftover(workload, release))

    async def _with_owner(self, planned: Plan | NotApplicable, workload: Workload) -> Plan | NotApplicable:
        """The plan with the owner's suspension before its first change, or why the owner cannot be suspended."""
        wanted = self._target.gitops or self._policy.gitops
        owner = gitops.owner_of(workload.raw, self._policy.argocd_namespace)
        if isinstance(planned, NotApplicable) or owner is None or not owner.known or wanted is not GitOps.SUSPEND:
            return planned
        try:
            seen = await gitops_owners.seen(self._cluster, owner)
        except ClusterError as error:
            if not gitops_owners.out_of_reach(error):
                raise
            name = f"{workload.namespace}/{workload.name}"
            reason = f"{name} belongs to {owner}, which cannot be suspended: {error}"
            if error.status == FORBIDDEN:
                missing = rights.to_read(owner).missing(f"it cannot suspend {owner}, which {name} belongs to")
                reason = f"{reason.removesuffix('.')}. {missing}"
            return NotApplicable((reason,), Guardrail.GITOPS_OWNER)
        before = gitops.baseline(seen.raw, seen.source)
        step = SuspendOwner(owner.object, seen.raw["metadata"]["uid"], before.revision, before.content)
        asked = 1 if planned.steps and planned.steps[0].asks is not None else 0
        return replace(planned, steps=(*planned.steps[:asked], step, *planned.steps[asked:]))

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
        reasons = tuple(right.missing(f"it cannot carry out {planned.strategy}_rollback") for right in missing)
        return NotApplicable(reasons, Guardrail.GITOPS_OWNER if owned else Guardrail.STRATEGY_UNFIT)

    async def _quickest(self, workload: Workload, destinations: Sequence[Record], rule: Rule) -> Plan | NotApplicable:
        """Immediate; where the good release is the other environment's, the switch to that."""
        if self._target.environments and not await self._fits(workload, destinations[0]):
            return await self._blue_green(workload, destinations, rule, judged=False)
        return await self._immediate(workload, destinations[0], rule)

    async def _fits(self, workload: Workload, destination: Record) -> bool:
        """Whether the release carries the labels by which the workload knows its pods."""
        return _another_selector(workload, await self._release(destination)) is None

    async def _release(self, destination: Record) -> Release:
        return Release.from_bytes(await self._blobs.get(destination.blob))

    async def _gradual(self, workload: Workload, destination: Record, rule: Rule) -> Plan | NotApplicable:
        if self._target.environments:
            service = f"Service {self._target.namespace}/{self._target.service}"
            return NotApplicable((f"{service} switches between environments: choose blue_green_rollback.",))
        not_applicable = _unfit_release(workload, await self._release(destination))
        if not_applicable is not None:
            return not_applicable
        # A step may be held for enough requests: the busier of the two counts.
        windows = (self._policy.gradual.window, self._policy.gradual.hold)
        seen = {w: await self._inspector(self._target.key, workload.name, w) for w in windows if w}
        why = next((s.inseparable for s in seen.values() if s.inseparable is not None), None)
        if why is not None:
            return unjudged(why)
        around = await gathered(self._cluster, self._blobs, self._target, destination)
        planned = gradual.plan(workload, destination, rule=rule, policy=self._policy, around=around)
        rates = [s.requests.number / w for w, s in seen.items() if isinstance(s.requests, Value)]
        if isinstance(planned, NotApplicable) or not rates:
            return planned
        return gradual.unprovable(planned, max(rates)) or planned

    async def _blue_green(
        self, workload: Workload, destinations: Sequence[Record], rule: Rule, *, judged: bool
    ) -> Plan | NotApplicable:  # fmt: skip
        """The switch; where the other environment must be `judged`, only if it can be read apart from the live one."""
        target = self._target
        if not target.environments:
            return NotApplicable((f"{target.key} has no environments to switch between: set targets[].environments.",))
        around = await environments.gathered(
            self._cluster,
            self._blobs,
            self._inspector,
            target=target,
            live=workload,
            destinations=destinations,
            policy=self._policy.blue_green,
        )
        if judged and around.inseparable is not None:
            return unjudged(around.inseparable)
        return blue_green.plan(workload, destinations, target=target, rule=rule, policy=self._policy, around=around)

    async def _immediate(self, workload: Workload, destination: Record, rule: Rule) -> Plan | NotApplicable:
        release, service = await self._release(destination), await self._service()
        not_applicable = _unfit_release(workload, release) or _deselected(workload, release, service)
        if not_applicable is not None:
            return not_applicable
        return immediate.plan(
            workload,
            destination,
            rule=rule,
            policy=self._policy,
            service=service,
            autoscalers=await self._cluster.list(Kind.AUTOSCALER, self._target.namespace),
        )

    async def _service(self) -> Json | None:
        if self._target.service is None:
            return None
        try:
            return await self._cluster.get(Kind.SERVICE, self._target.namespace, self._target.service)
        except NotFound:
            return None


async def _may(account: Rights, right: Right) -> bool | None:
    """Whether the account has the right; None where nobody can tell, and the first write will."""
    try:
        return await account.may(right.verb, right.group, right.resource, right.namespace, right.name)
    except ClusterError:
        return None


def _unfit_release(workload: Workload, release: Release) -> NotApplicable | None:
    """Why the workload cannot carry the release, whichever way it is brought there; None if it can."""
    return _another_selector(workload, release) or _another_account(workload, release)


def _another_selector(workload: Workload, release: Release) -> NotApplicable | None:
    """A workload that was deleted and made again may know its pods by other labels: a selector cannot be changed."""
    selector = workload.raw["spec"].get("selector")
    if selector is None or matches(selector, labels_of(release.template)):
        return None
    name = f"{workload.kind} {workload.namespace}/{workload.name}"
    reason = (
        f"The pods of the good release ({', '.join(images_of(release.template))}) do not carry the labels that {name} "
        "selects: it was made again with another selector since. Roll a good release out by hand."
    )
    return NotApplicable((reason,), Guardrail.SELECTOR_CHANGED)


def _deselected(workload: Workload, release: Release, service: Json | None) -> NotApplicable | None:
    """A Service that selects by a label which came with the present release would send the good one no requests."""
    selector = {} if service is None else (service.get("spec") or {}).get("selector") or {}
    now, then = (capacity.selects(selector, labels_of(t)) for t in (workload.template, release.template))
    if service is None or not now or then:
        return None
    reason = (
        f"The pods of the good release ({', '.join(images_of(release.template))}) do not carry the labels that Service "
        f"{workload.namespace}/{service['metadata']['name']} selects ({capacity.written(selector)}): it would send "
        "them no requests. Let it select them, or roll a good release out by hand."
    )
    return NotApplicable((reason,), Guardrail.SELECTOR_CHANGED)


def _another_account(workload: Workload, release: Release) -> NotApplicable | None:
    """A guard in the workload's pods could not go on in those of a release that runs as another account."""
    now, then = (account_of(t) for t in (workload.template, release.template))
    if not holds_guard(workload.template) or now == then:
        return None
    name = f"{workload.namespace}/{workload.name}"
    reason = (
        f"The pods of {name} run as {now}, those of the good release as {then}, where the guard in them would "
        "have no rights: roll back by hand."
    )
    return NotApplicable((reason,))
