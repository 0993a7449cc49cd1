"""Puts the good release's template into the workload."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from logcaster_guard.domain import releases
from logcaster_guard.domain.errors import BlobMissing, ClusterError, Rejected
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.field_owners import released_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToRestart, ToRestoreTemplate
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.releases import LEFT_OUT, RESTARTED_AT, Release
from logcaster_guard.domain.rights import Right, on_workload
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_reasons import SomebodyPutBadBack
from logcaster_guard.domain.steps import (
    Claim,
    Field,
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.workload import Workload, annotations_of
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Cluster, Kind
from logcaster_guard.steps.observe import (
    destination,
    looked_at,
)
from logcaster_guard.steps.restore_object import edited_since
from logcaster_guard.steps.step_services import StepKind


class TemplateWrite(Write):
    """A write of the workload's pod template, from the release saved under `release` (a blob digest).

    With `restart` the template is stamped, so that no pod of it that lives already goes on.
    """

    __slots__ = ()

    release: str
    restart: bool
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.TAKEOVER

    @abstractmethod
    def written(self, saved: Release, workload: Workload) -> Release:
        """What is written into the workload as it is now; `saved` is the release under `release`."""

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        """Nothing beside the plan's workload."""
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        """To patch it."""
        return (on_workload("patch", plan.kind, plan.namespace, plan.deployment),)

    @property
    def blobs(self) -> Sequence[str]:
        """The saved release."""
        return (self.release,)

    @property
    def claims(self) -> Sequence[Claim]:
        """The pod template."""
        return (Claim(Field.TEMPLATE, self.release),)


@dataclass(frozen=True, slots=True)
class RestoreTemplate(TemplateWrite):
    """Write: the workload's pod template becomes the release saved under `release` (a blob digest)."""

    release: str
    restart: bool = field(default=False, metadata=LEFT_OUT)
    kind: Literal["restore_template"] = "restore_template"

    def written(self, saved: Release, workload: Workload) -> Release:
        return saved.carried_into(workload)

    def line(self, plan: Plan) -> Message:
        line = ToRestoreTemplate(plan.to_images, f"{plan.kind} {plan.namespace}/{plan.deployment}")
        return ToRestart(line, RESTARTED_AT) if self.restart else line


class TemplateHandler:
    """Writes a release into the workload: one request, bound to the resourceVersion that was looked at."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests) -> None:
        self._cluster = cluster
        self._blobs = manifests.blobs
        self._manifests = manifests
        self._written: dict[str, int] = {}

    async def observe(self, step: TemplateWrite, run: Run) -> Observation:
        """Done when the Deployment carries the good release, whoever wrote it.

        Where its pods are to be replaced although they carry it already, it is told by the annotations as well. What
        was put back for its pods must still be there as long as it is not written.
        """
        plan, saved = run.opened.plan, None
        try:
            if step.restart or plan.from_template == plan.to_template:
                saved = Release.from_bytes(await self._blobs.get(step.release))
            seen = await looked_at(self._cluster, run, lambda w: self._judged(w, step, run, saved))
            theirs = await edited_since(self._cluster, self._manifests, run) if isinstance(seen, Before) else None
        except BlobMissing as error:
            return Failed(FAILED, SavedUnreadable(error.reason))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        return seen if theirs is None else ExternalChange(theirs)

    def _judged(self, workload: Workload, step: TemplateWrite, run: Run, saved: Release | None) -> Observation:
        if workload.hash == destination(run):
            wanted = {} if saved is None else annotations_of(_written(step, run, saved, workload).template)
            return Done(workload.revision) if wanted.items() <= annotations_of(workload.template).items() else Before()
        # This process wrote the good release, and there is a later generation with the bad one: somebody fights back.
        if workload.generation > self._written.get(run.id, workload.generation):
            who = released_by(workload.raw, since=run.opened.at)
            return ExternalChange(SomebodyPutBadBack(who))
        return Before()

    async def apply(self, step: TemplateWrite, run: Run) -> None:
        """Write the template, but for a guard in it, its change-cause and last-applied's copy of it; nothing else."""
        plan = run.opened.plan
        saved = await self._saved(step)
        workload = Workload(await self._cluster.get(Kind(plan.kind), plan.namespace, plan.deployment))
        # The write is bound to this very look, so that what is seen here is what is changed.
        carries = workload.hash == plan.from_template or (step.restart and workload.hash == plan.to_template)
        if not carries or external_workload_change(run, workload) is not None:
            return
        if await edited_since(self._cluster, self._manifests, run) is not None:
            return
        made = await write_release(self._cluster, workload, _written(step, run, saved, workload))
        self._written[run.id] = made.generation

    async def _saved(self, step: TemplateWrite) -> Release:
        try:
            return Release.from_bytes(await self._blobs.get(step.release))
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error


async def write_release(cluster: Cluster, workload: Workload, release: Release) -> Workload:
    """Give the workload this release: one request, bound to this very look, with which no field changes its owner.

    Raises the `ClusterError` it met.
    """
    kind, namespace, name = Kind(workload.kind), workload.namespace, workload.name
    manager = workload.server_side_manager()
    body = None if manager is None else releases.applied_set(workload, release, manager)
    if manager is None or body is None:
        return Workload(await cluster.json_patch(kind, namespace, name, releases.restoring_patch(workload, release)))
    return Workload(await cluster.apply(kind, namespace, name, body, manager=manager, force=True))


def _written(step: TemplateWrite, run: Run, saved: Release, workload: Workload) -> Release:
    release = step.written(saved, workload)
    return release.restarted(run.opened.at) if step.restart else release


KIND = StepKind(RestoreTemplate, lambda c: TemplateHandler(c.cluster, c.manifests), compensates=None)
