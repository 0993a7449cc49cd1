"""Puts the good release's template into the workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import releases
from logcaster_guard.domain.errors import BlobMissing, Rejected
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.field_owners import released_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation
from logcaster_guard.domain.plan_lines import ToRestoreTemplate
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rights import Right, on_workload
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_reasons import SomebodyPutBadBack
from logcaster_guard.domain.steps import (
    Claim,
    Field,
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs, Cluster, Kind
from logcaster_guard.steps.observe import (
    destination,
    looked_at,
)
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class RestoreTemplate(Write):
    """Write: the workload's pod template becomes the release saved under `release` (a blob digest)."""

    release: str
    kind: Literal["restore_template"] = "restore_template"
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.TAKEOVER

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (on_workload("patch", plan.kind, plan.namespace, plan.deployment),)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.release,)

    def line(self, plan: Plan) -> Message:
        return ToRestoreTemplate(plan.to_images, f"{plan.kind} {plan.namespace}/{plan.deployment}")

    @property
    def claims(self) -> Sequence[Claim]:
        return (Claim(Field.TEMPLATE, self.release),)


class RestoreTemplateHandler:
    """Writes the good release into the Deployment: one request, bound to the resourceVersion that was looked at."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        self._cluster = cluster
        self._blobs = blobs
        self._written: dict[str, int] = {}

    async def observe(self, step: RestoreTemplate, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when the Deployment carries the good release, whoever wrote it."""
        return await looked_at(self._cluster, run, lambda w: self._judged(w, run))

    def _judged(self, workload: Workload, run: Run) -> Observation:
        if workload.hash == destination(run):
            return Done(workload.revision)
        # This process wrote the good release, and there is a later generation with the bad one: somebody fights back.
        if workload.generation > self._written.get(run.id, workload.generation):
            who = released_by(workload.raw, since=run.opened.at)
            return ExternalChange(SomebodyPutBadBack(who))
        return Before()

    async def apply(self, step: RestoreTemplate, run: Run) -> None:
        """Write the template, but for a guard in it, its change-cause and last-applied's copy of it; nothing else."""
        plan = run.opened.plan
        release = await self._release(step)
        kind = Kind(plan.kind)
        raw = await self._cluster.get(kind, plan.namespace, plan.deployment)
        workload = Workload(raw)
        # The write is bound to this very look, so that what is seen here is what is changed.
        if workload.hash != plan.from_template or external_workload_change(run, workload) is not None:
            return
        release = release.carried_into(workload)
        manager = workload.server_side_manager()
        body = None if manager is None else releases.applied_set(workload, release, manager)
        if manager is None or body is None:
            patch = releases.restoring_patch(workload, release)
            made = await self._cluster.json_patch(kind, plan.namespace, plan.deployment, patch)
        else:
            made = await self._cluster.apply(kind, plan.namespace, plan.deployment, body, manager=manager, force=True)
        self._written[run.id] = Workload(made).generation

    async def _release(self, step: RestoreTemplate) -> Release:
        try:
            return Release.from_bytes(await self._blobs.get(step.release))
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error


KIND = StepKind(RestoreTemplate, lambda c: RestoreTemplateHandler(c.cluster, c.blobs), compensates=None)
