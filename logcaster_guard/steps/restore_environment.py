"""Creates the environment that is missing, as a snapshot shows it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from logcaster_guard import saved_snapshots
from logcaster_guard.domain import capacity, provenance
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, deleting
from logcaster_guard.domain.configuration.copies import Copies, referring
from logcaster_guard.domain.errors import BlobMissing, ClusterError, Rejected
from logcaster_guard.domain.external_changes import changed
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToRestoreEnvironment
from logcaster_guard.domain.provenance import MANAGED
from logcaster_guard.domain.provenance_reasons import MakerUntold, SomebodyElses, WithoutToken
from logcaster_guard.domain.reasons import DeleteEnvironment
from logcaster_guard.domain.rights import SWITCHING_ROLE, Right, on_workload
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.snapshots import SnapshotUnreadable
from logcaster_guard.domain.step_observations import IsNotThere, IsThere, SavedSnapshotUnreadable, SnapshotLacks
from logcaster_guard.domain.step_reasons import MadeAnewByOthers
from logcaster_guard.domain.steps import Claim, Compensation, Field, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.workload import REVISION, Workload
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.steps.copy_object import copies_of
from logcaster_guard.steps.environment import given_back
from logcaster_guard.steps.observe import (
    delete,
    undisturbed,
    workload_of,
)
from logcaster_guard.steps.step_services import Neighbours, StepKind

MADE: Final = "environment"
KEPT = ("labels", "annotations")


@dataclass(frozen=True, slots=True)
class RestoreEnvironment(Write):
    """Write: the plan's Deployment, which is missing, is created as the snapshot (a blob digest) shows it.

    It gets `replicas` pods; nobody sends it a request before the Service is switched.
    """

    snapshot: str
    replicas: int
    kind: Literal["restore_environment"] = "restore_environment"
    claims: ClassVar = (Claim(Field.EXISTENCE, True),)
    borrows: ClassVar = MADE
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (
            on_workload("create", plan.kind, plan.namespace, "", SWITCHING_ROLE),
            # What cannot be deleted again could not be given back.
            on_workload("delete", plan.kind, plan.namespace, plan.deployment, SWITCHING_ROLE),
        )

    @property
    def blobs(self) -> Sequence[str]:
        return (self.snapshot,)

    def line(self, plan: Plan) -> Message:
        return ToRestoreEnvironment(plan.to_images, self.replicas)


class RestoreEnvironmentHandler:
    """Creates the environment that is missing, as the snapshot shows it; deletes what it made in vain."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        self._cluster = cluster
        self._blobs = blobs

    async def observe(self, step: RestoreEnvironment, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when this run's Deployment is there; somebody else's is theirs."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        name = run.opened.plan.deployment
        if theirs is not None:
            return ExternalChange(theirs)
        if workload is None:
            owed = run.taken.get(MADE)
            if owed is None or not owed.token:
                owed = provenance.owed(MADE, MADE, name, run, self._cluster.ahead())
            # A request that was sent before may still take effect: it carries the same token.
            return Before(IsNotThere(name), borrows=owed)
        owed = run.taken.get(MADE)
        if owed is None or provenance.disowned(workload.raw, owed) is not None:
            return ExternalChange(MadeAnewByOthers(name))
        return Done(IsThere(name))

    async def apply(self, step: RestoreEnvironment, run: Run) -> None:
        """One create; a name that is taken is a `Conflict`, which is looked at again."""
        plan = run.opened.plan
        try:
            shown = (await saved_snapshots.load(self._blobs, step.snapshot)).find(plan.kind, plan.deployment)
        except (BlobMissing, SnapshotUnreadable) as error:
            raise failure(Rejected, SavedSnapshotUnreadable(error.reason)) from error
        if shown is None:
            raise failure(Rejected, SnapshotLacks(f"{plan.kind} {plan.deployment}"))
        made = manifest(shown, run.compensations[MADE], step.replicas, copies_of(run))
        await self._cluster.create(Kind.DEPLOYMENT, plan.namespace, made)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """It stays where it serves, or where somebody has made it theirs; else it goes, as it was not there before."""

        def theirs(workload: Workload) -> bool:
            return provenance.disowned(workload.raw, owed) is not None or changed(run, workload)

        seen = await given_back(self._cluster, run, theirs, SomebodyElses())
        if isinstance(seen, ExternalChange) and not owed.token:
            return Failed(FAILED, MakerUntold(owed.object, WithoutToken()))
        return seen

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Delete it in the foreground, with its pods."""
        workload = await workload_of(self._cluster, run)
        if workload is None or workload.deleting or provenance.disowned(workload.raw, owed) is not None:
            return
        await delete(self._cluster, workload)

    async def sweep(self, owed: Compensation, run: Run, around: Neighbours) -> bool:
        """Not where a target's Service takes its pods, or where somebody has made it theirs."""
        # Where the creation was seen to be done, the run itself has given it back, or left it to serve.
        workload = None if run.wrote(Field.EXISTENCE) else await workload_of(self._cluster, run)
        if workload is None or workload.deleting or provenance.disowned(workload.raw, owed) is not None:
            return False
        labels = capacity.labels_of(workload.template)
        if changed(run, workload) or any(capacity.selects(selector, labels) for selector in await around.selectors()):
            return False
        await delete(self._cluster, workload)
        return True


def manifest(shown: Json, owed: Compensation, replicas: int, names: Copies) -> Json:
    """The Deployment of a snapshot as it is created again, with the marks of this compensation.

    What is in `names` its pods read there.
    """
    metadata, spec = shown["metadata"], copy.deepcopy(shown["spec"])
    kept = {key: copy.deepcopy(metadata[key]) for key in KEPT if metadata.get(key)}
    annotations = {k: v for k, v in kept.get("annotations", {}).items() if k != REVISION}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **kept,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**kept.get("labels", {}), **MANAGED},
            "annotations": {**annotations, **provenance.marks(owed)},
        },
        "spec": {**spec, "template": referring(spec["template"], names), "replicas": replicas},
    }


def _remedy(plan: Plan, owed: Compensation) -> Remedy:
    return Remedy(DeleteEnvironment(), deleting(plan, owed.object))


KIND = StepKind(
    RestoreEnvironment,
    lambda c: RestoreEnvironmentHandler(c.cluster, c.blobs),
    compensates=CompensationKind(
        MADE,
        touches=lambda plan, owed: (plan.object(plan.kind, owed.object),),
        remedy=_remedy,
        stood_in_for=by_nothing,
        owner=lambda _: "",
    ),
)
