"""Moves the Service to the other environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from logcaster_guard.domain import capacity, field_owners
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, patching
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.external_changes import selector_of
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToSwitchService
from logcaster_guard.domain.reasons import GiveSelectorBack
from logcaster_guard.domain.releases import pointer
from logcaster_guard.domain.rights import SWITCHING_ROLE, Right
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD, FAILED, INCONCLUSIVE, Run
from logcaster_guard.domain.step_observations import BeforeCannotServe, OtherBelowFloor
from logcaster_guard.domain.step_reasons import SelectorIsTheirs
from logcaster_guard.domain.steps import Claim, Compensation, Field, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import SelectorIsGuards, ServiceIsAnother, ServiceKeeps, ServiceSelects
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.field_ownership import FieldOwnership
from logcaster_guard.steps.observe import (
    live_of,
    own_pods,
    service_of,
    undisturbed,
    workload_of,
)
from logcaster_guard.steps.step_services import StepKind

SELECTOR: Final = "selector"


@dataclass(frozen=True, slots=True)
class SwitchService(Write):
    """Write: the Service's selector says `label: after` in place of `label: before`."""

    label: str
    before: str
    after: str
    kind: Literal["switch_service"] = "switch_service"
    blobs: ClassVar = ()
    borrows: ClassVar = SELECTOR
    purpose: ClassVar = Purpose.TAKEOVER

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return () if plan.service is None else (plan.object("Service", plan.service),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (Right("patch", "", "services", plan.namespace, plan.service or "", SWITCHING_ROLE),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToSwitchService(f"{self.label}={self.before}", f"{self.label}={self.after}")

    @property
    def claims(self) -> Sequence[Claim]:
        return (Claim(Field.SELECTOR, {self.label: self.after}),)


class SwitchServiceHandler:
    """Writes one label of the Service's selector; writes it back if the new environment is worse."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: SwitchService, run: Run) -> Observation:
        """Done when the selector names the new environment, whoever wrote it."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            service = await service_of(self._cluster, run)
            if theirs is not None or workload is None or service is None:
                return ExternalChange(theirs or WorkloadGone("the other environment"))
            ready = sum(capacity.is_serving(p, None) for p in await own_pods(self._cluster, workload))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if selector_of(service) == _switched(run, step):
            return Done(ServiceSelects(f"{step.label}={step.after}"))
        floor = run.opened.plan.floor
        if ready < floor:
            return Unclear(OtherBelowFloor(ready, floor))
        name, uid = service["metadata"]["name"], service["metadata"]["uid"]
        owners = field_owners.owners_of(service, field_owners.SELECTOR)
        known = run.compensations.get(SELECTOR)
        owed = known or Compensation(SELECTOR, SELECTOR, name, uid, None, written=0, owners=owners)
        return Before(ServiceSelects(f"{step.label}={step.before}"), borrows=owed)

    async def apply(self, step: SwitchService, run: Run) -> None:
        """One request, bound to the resourceVersion of a Service that still has the selector of the plan."""
        theirs, _, _ = await undisturbed(self._cluster, run)
        if theirs is None:
            await self._write(run, shown=run.opened.plan.selector, label=step.label, value=step.after)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """It stays switched, unless the new environment proved worse, or is empty, and the one before it can serve."""
        try:
            seen = await self._to_be_switched_back(owed, run)
            service = await service_of(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if not isinstance(seen, Done):
            return seen
        if service is not None and self._fields.due(service, owed, field_owners.SELECTOR):
            return Before(SelectorIsGuards(seen.detail))
        return seen

    async def _to_be_switched_back(self, owed: Compensation, run: Run) -> Observation:
        """`Before` if it is, `Done` if the selector is as it is to stay. Raises the `ClusterError` it met."""
        step = _step(run)
        service, live = await service_of(self._cluster, run), await live_of(self._cluster, run)
        pods = [] if live is None else await own_pods(self._cluster, live)
        empty = await self._is_empty(run)
        if service is None or service["metadata"]["uid"] != owed.uid:
            return ExternalChange(ServiceIsAnother())
        if selector_of(service) == run.opened.plan.selector:
            return Done(ServiceSelects(f"{step.label}={step.before}"))
        if selector_of(service) != _switched(run, step):
            who = written_by(service, field_owners.SELECTOR, since=run.opened.at)
            return ExternalChange(SelectorIsTheirs(who))
        outcome = "" if run.ending is None else run.ending.outcome
        if outcome != DESTINATION_BAD and not (empty and outcome in {ABANDONED, FAILED, INCONCLUSIVE}):
            return Done(ServiceKeeps(f"{step.label}={step.after}"))
        ready = sum(capacity.is_serving(p, run.opened.plan.selector) for p in pods)
        fit = live is not None and not live.deleting and live.hash == run.opened.plan.from_template
        if not fit or ready < run.opened.plan.floor:
            return ExternalChange(BeforeCannotServe(ready))
        return Before(ServiceSelects(f"{step.label}={step.after}"))

    async def _is_empty(self, run: Run) -> bool:
        """Whether the Service's requests would reach nobody in the new environment."""
        workload = await workload_of(self._cluster, run)
        if workload is None or workload.deleting:
            return True
        return not any(capacity.is_serving(p, None) for p in await own_pods(self._cluster, workload))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Write the label back, or hand the field back where the selector is as it is to stay."""
        step, seen = _step(run), await self._to_be_switched_back(owed, run)
        service = await service_of(self._cluster, run)
        if isinstance(seen, Done) and service is not None:
            await self._fields.hand_back(service, owed, field_owners.SELECTOR)
        elif isinstance(seen, Before):
            await self._write(run, shown=_switched(run, step), label=step.label, value=step.before)

    async def _write(self, run: Run, *, shown: dict[str, str] | None, label: str, value: str) -> None:
        service = await service_of(self._cluster, run)
        if service is None or selector_of(service) != shown:
            return
        metadata = service["metadata"]
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "replace", "path": f"/spec/selector/{pointer(label)}", "value": value},
        ]
        await self._cluster.json_patch(Kind.SERVICE, run.opened.plan.namespace, metadata["name"], patch)


def _step(run: Run) -> SwitchService:
    return next(s for s in run.opened.plan.steps if isinstance(s, SwitchService))


def _switched(run: Run, step: SwitchService) -> dict[str, str]:
    return {**(run.opened.plan.selector or {}), step.label: step.after}


def _remedy(plan: Plan, owed: Compensation) -> Remedy:
    command = patching(plan, "service", owed.object, {"selector": plan.selector})
    return Remedy(GiveSelectorBack(), command)


KIND = StepKind(
    SwitchService,
    lambda c: SwitchServiceHandler(c.cluster),
    compensates=CompensationKind(
        SELECTOR,
        touches=lambda plan, owed: (plan.object("Service", owed.object),),
        remedy=_remedy,
        stood_in_for=by_nothing,
        owner=None,
    ),
)
