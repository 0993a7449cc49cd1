"""Starts every pod of the other environment anew, so that each reads what the good release's pods did.

Where copies of that are made, they read those: what they would read by name feeds the environment that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

from logcaster_guard.domain import releases
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, undoing
from logcaster_guard.domain.configuration.copies import Copies, referring
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.field_owners import released_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToRollEnvironment
from logcaster_guard.domain.reasons import GiveTemplateBack
from logcaster_guard.domain.releases import RESTARTED_AT, Release
from logcaster_guard.domain.rights import SWITCHING_ROLE, Right, on_workload
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Claim, Compensation, Field, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import AnotherReleaseOut, WorkloadGone
from logcaster_guard.domain.value_observations import AnotherTemplate, NamesAreGuards, NamesAsBefore
from logcaster_guard.domain.workload import Workload, annotations_of
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Cluster
from logcaster_guard.steps.copy_object import copies_of, pods_would_read_another
from logcaster_guard.steps.environment import given_back
from logcaster_guard.steps.observe import undisturbed, workload_of
from logcaster_guard.steps.restore_template import write_release
from logcaster_guard.steps.step_services import StepKind

TEMPLATE: Final = "environment_template"
"""What writing the other environment's template borrows."""


@dataclass(frozen=True, slots=True)
class RollEnvironment(Write):
    """Write: the pod template of the environment that is to take over refers to the plan's copies.

    With `restart` there are none: it is stamped, so that its pods read again what they are called to read.
    """

    restart: bool
    kind: Literal["roll_environment"] = "roll_environment"
    blobs: ClassVar = ()
    claims: ClassVar = (Claim(Field.OTHER_TEMPLATE, True),)
    borrows: ClassVar = TEMPLATE
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        """Nothing beside the plan's workload."""
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (on_workload("patch", plan.kind, plan.namespace, plan.deployment, SWITCHING_ROLE),)

    def line(self, plan: Plan) -> Message:
        return ToRollEnvironment(
            f"{plan.kind} {plan.namespace}/{plan.deployment}", RESTARTED_AT if self.restart else ""
        )


class RollEnvironmentHandler:
    """Writes the names of the copies, and those that stood there again where the environment does not come to serve."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests) -> None:
        self._cluster = cluster
        self._manifests = manifests
        self._written: dict[str, int] = {}

    async def observe(self, step: RollEnvironment, run: Run) -> Observation:
        """Done when the template is as it is to be, and what its pods read is there."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            theirs = theirs or await pods_would_read_another(self._cluster, self._manifests, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if theirs is not None or workload is None:
            return ExternalChange(theirs or WorkloadGone("the Deployment"))
        if _is_rolled(step, run, workload):
            return Done(NamesAreGuards())
        if workload.generation > self._written.get(run.id, workload.generation):
            # This process wrote it, and there is a later generation without that.
            who = released_by(workload.raw, since=run.opened.at)
            return ExternalChange(AnotherReleaseOut(workload.key, workload.images, who))
        return Before(NamesAsBefore(), borrows=None if step.restart else _owed(run, workload))

    async def apply(self, step: RollEnvironment, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        workload = await workload_of(self._cluster, run)
        if workload is None or external_workload_change(run, workload) is not None or _is_rolled(step, run, workload):
            return
        if await pods_would_read_another(self._cluster, self._manifests, run) is not None:
            return
        present = releases.of_workload(workload)
        release = present.restarted(run.opened.at) if step.restart else _renamed(present, copies_of(run))
        self._written[run.id] = (await write_release(self._cluster, workload, release)).generation

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """It stays where it serves; else its pods read by the shared names again, unless somebody else changed it."""

        def theirs(workload: Workload) -> bool:
            return workload.uid != owed.uid or workload.paused or workload.hash not in {owed.original, owed.written}

        seen = await given_back(self._cluster, run, theirs, AnotherTemplate())
        if not isinstance(seen, Before):
            return seen
        try:
            workload = await workload_of(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        return Done(NamesAsBefore()) if workload is not None and workload.hash == owed.original else seen

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Write the shared names again, if that is still to be."""
        seen = await self.observe_compensation(owed, run)
        workload = await workload_of(self._cluster, run)
        if not isinstance(seen, Before) or workload is None or workload.hash != owed.written:
            return
        before = {(kind, copy): name for (kind, name), copy in copies_of(run).items()}
        await write_release(self._cluster, workload, _renamed(releases.of_workload(workload), before))


def _is_rolled(step: RollEnvironment, run: Run, workload: Workload) -> bool:
    if not step.restart:
        return workload.hash == run.opened.plan.to_template
    wanted = releases.of_workload(workload).restarted(run.opened.at)
    return annotations_of(wanted.template) == annotations_of(workload.template)


def _owed(run: Run, workload: Workload) -> Compensation:
    known, plan = run.compensations.get(TEMPLATE), run.opened.plan
    owed = Compensation(TEMPLATE, TEMPLATE, workload.name, workload.uid, workload.hash, plan.to_template)
    return owed if known is None else known


def _renamed(release: Release, names: Copies) -> Release:
    """The release with other names of what it reads. What the tool that deploys applied last still has its own."""
    return replace(release, template=referring(release.template, names), applied_template=None)


KIND = StepKind(
    RollEnvironment,
    lambda c: RollEnvironmentHandler(c.cluster, c.manifests),
    compensates=CompensationKind(
        TEMPLATE,
        touches=lambda plan, owed: (plan.object(plan.kind, owed.object),),
        remedy=lambda plan, owed: Remedy(GiveTemplateBack(), undoing(plan, owed.object)),
        stood_in_for=by_nothing,
        owner=None,
    ),
)
