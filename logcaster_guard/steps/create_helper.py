"""Creates the helper Deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain import capacity, provenance
from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.configuration import copies
from logcaster_guard.domain.errors import BlobMissing, Rejected
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToCreateHelper
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.provenance import MANAGED
from logcaster_guard.domain.provenance_reasons import NameTaken
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rights import GRADUAL_ROLE, Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.sidecar import without_guard
from logcaster_guard.domain.step_observations import EarlierOneLeaves, IsThere, NoHelper
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.steps.copy_object import copies_of
from logcaster_guard.steps.helper_deployment import (
    HELPER,
    HelperHandler,
    disowned,
    helper_compensation,
)
from logcaster_guard.steps.observe import (
    workload_of,
)
from logcaster_guard.steps.step_services import StepKind

FIELDS_KEPT = ("minReadySeconds", "progressDeadlineSeconds")


@dataclass(frozen=True, slots=True)
class CreateHelper(Write):
    """Write: a second Deployment `helper` runs the release saved under `release` beside production, `replicas` pods.

    `labels` are what the Service selects, on top of the release's own.
    """

    helper: str
    release: str
    replicas: int
    labels: dict[str, str]
    kind: Literal["create_helper"] = "create_helper"
    claims: ClassVar = ()
    borrows: ClassVar = HELPER
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object("Deployment", self.helper),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (
            Right("create", "apps", "deployments", plan.namespace, granted_by=GRADUAL_ROLE),
            # What cannot be deleted again could not be given back.
            Right("delete", "apps", "deployments", plan.namespace, self.helper, GRADUAL_ROLE),
        )

    @property
    def blobs(self) -> Sequence[str]:
        return (self.release,)

    def line(self, plan: Plan) -> Message:
        return ToCreateHelper(plan.to_images, self.helper, self.replicas)


class CreateHelperHandler(HelperHandler):
    """Creates the helper under the name that the plan gave it, so that it cannot be there twice."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        super().__init__(cluster)
        self._blobs = blobs

    async def observe(self, step: CreateHelper, run: Run) -> Observation:
        """Done when this run's helper is there."""
        seen = await self._seen(run, step.helper)
        if not isinstance(seen, tuple):
            return seen
        workload, helper = seen
        if helper is None:
            id_ = helper_compensation(step.helper)
            owed = run.taken.get(id_)
            if owed is None or not owed.token:
                owed = provenance.owed(id_, HELPER, step.helper, run, self._cluster.ahead())
            # A request that was sent before may still take effect: it carries the same token.
            return Before(NoHelper(), borrows=owed)
        if helper.deleting:
            return Pending(EarlierOneLeaves(step.helper))
        theirs = disowned(run, helper, workload)
        if theirs is not None:
            return Unclear(NameTaken(step.helper, theirs))
        return Done(IsThere(step.helper))

    async def apply(self, step: CreateHelper, run: Run) -> None:
        """One create; a name that is taken is a `Conflict`, which is looked at again."""
        workload = await workload_of(self._cluster, run)
        if workload is None or external_workload_change(run, workload) is not None:
            return
        try:
            release = Release.from_bytes(await self._blobs.get(step.release))
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error
        owed = run.compensations[helper_compensation(step.helper)]
        body = manifest(step, owed, workload, copies.referring(release.template, copies_of(run)))
        await self._cluster.create(Kind.DEPLOYMENT, run.opened.plan.namespace, body)


def manifest(step: CreateHelper, owed: Compensation, workload: Workload, template: Json) -> Json:
    """The helper Deployment that this compensation was journalled for; `template` may be changed."""
    own = {HELPER_LABEL: capacity.helper_label(step.helper)}
    # A guard in the pods is production's alone.
    template = without_guard(template)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **step.labels, **own}
    spec = workload.raw["spec"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name, "uid": workload.uid}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": step.helper,
            "namespace": workload.namespace,
            "labels": {**MANAGED, **own},
            "annotations": provenance.marks(owed),
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": step.replicas,
            "selector": {"matchLabels": own},
            "template": template,
            **{field: spec[field] for field in FIELDS_KEPT if field in spec},
        },
    }


KIND = StepKind(CreateHelper, lambda c: CreateHelperHandler(c.cluster, c.blobs), compensates=None)
