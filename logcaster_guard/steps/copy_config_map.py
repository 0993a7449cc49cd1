"""Copies a ConfigMap as the good release's pods read it, for the pods of a helper, and takes the copy away again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from logcaster_guard.domain import provenance
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, deleting
from logcaster_guard.domain.configuration import copies
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.errors import BlobMissing, ClusterError, NotFound, Rejected
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToCopyConfigMap
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.provenance import MANAGED
from logcaster_guard.domain.provenance_reasons import NotMadeByRun
from logcaster_guard.domain.reasons import DeleteCopy
from logcaster_guard.domain.rights import COPIES_ROLE, Right
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_observations import IsNotThere, IsThere, StillRead
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import CopyGone, CopyNotOurs, WorkloadGone
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.steps.observe import undisturbed
from logcaster_guard.steps.step_services import Neighbours, StepKind

COPY: Final = "config_copy"
"""What copying a ConfigMap borrows."""

_READERS = (Kind.DEPLOYMENT, Kind.REPLICA_SET, Kind.POD)
"""What a helper is made of."""


@dataclass(frozen=True, slots=True)
class CopyConfigMap(Write):
    """Write: what the blob `manifest` (a digest) shows of the ConfigMap `name` stands under the copy's name as well."""

    name: str
    manifest: str
    kind: Literal["copy_config_map"] = "copy_config_map"
    claims: ClassVar = ()
    borrows: ClassVar = COPY
    purpose: ClassVar = Purpose.PREPARATION

    def copy(self, run: str) -> str:
        """What the copy is called."""
        return copies.copy_name(self.name, self.manifest, run)

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        """Nothing that may be changed: the copy is immutable, and known by what its run owes."""
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        # The copy's name is not known before the run has one, and no Role can name what is still to be made.
        verbs = ("create", "get", "delete")
        return tuple(Right(verb, "", "configmaps", plan.namespace, granted_by=COPIES_ROLE) for verb in verbs)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.manifest,)

    def line(self, plan: Plan) -> Message:
        return ToCopyConfigMap(f"{Kind.CONFIG_MAP} {plan.namespace}/{self.name}")


class CopyConfigMapHandler:
    """Creates the copy under a name that is the run's alone, and deletes it once nothing refers to it any more."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        self._cluster = cluster
        self._blobs = blobs

    async def observe(self, step: CopyConfigMap, run: Run) -> Observation:
        """Done when this run's copy is there, with what was saved."""
        name = step.copy(run.id)
        try:
            theirs, _, _ = await undisturbed(self._cluster, run)
            live = await _live(self._cluster, run, name)
            saved = await self._saved(step)
        except BlobMissing as error:
            return Failed(FAILED, SavedUnreadable(error.reason))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if theirs is not None:
            return ExternalChange(theirs)
        if live is None:
            # A request that was sent before may still take effect: it carries the same token.
            owed = run.taken.get(compensation_id(name)) or _owed(self._cluster, run, name)
            return Before(IsNotThere(name), borrows=owed)
        foreign = _disowned(run, live) or (None if copies.is_copy(live, saved) else NotMadeByRun(run.id, named=True))
        return Done(IsThere(name)) if foreign is None else ExternalChange(CopyNotOurs(_full(run, name), foreign))

    async def apply(self, step: CopyConfigMap, run: Run) -> None:
        """One create; a name that is taken is a `Conflict`, which is looked at again."""
        theirs, _, _ = await undisturbed(self._cluster, run)
        if theirs is not None:
            return
        try:
            saved = await self._saved(step)
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error
        owed = run.compensations[compensation_id(step.copy(run.id))]
        namespace = run.opened.plan.namespace
        await self._cluster.create(Kind.CONFIG_MAP, namespace, manifest(saved, owed, namespace))

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """Done when it is gone. What is on its way out is waited for; what goes on reading it keeps it."""
        try:
            live = await _live(self._cluster, run, owed.object)
            readers = [] if live is None else await self._readers(owed, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if live is None:
            return Done(WorkloadGone(_full(run, owed.object)))
        foreign = _disowned(run, live)
        if foreign is not None:
            return ExternalChange(CopyNotOurs(_full(run, owed.object), foreign))
        staying = [reader for reader, leaves in readers if not leaves]
        if staying:
            return Failed(FAILED, StillRead(_full(run, owed.object), staying[0]))
        return Pending(StillRead(_full(run, owed.object), readers[0][0])) if readers else Before(IsThere(owed.object))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Delete it."""
        await self._removed(owed, run)

    async def sweep(self, owed: Compensation, run: Run, around: Neighbours) -> bool:  # noqa: ARG002 - the protocol's
        """Not while anything refers to it."""
        return await self._removed(owed, run)

    async def _removed(self, owed: Compensation, run: Run) -> bool:
        live = await _live(self._cluster, run, owed.object)
        if live is None or _disowned(run, live) is not None or await self._readers(owed, run):
            return False
        metadata, namespace = live["metadata"], run.opened.plan.namespace
        await self._cluster.delete(
            Kind.CONFIG_MAP, namespace, owed.object, uid=metadata["uid"], resource_version=metadata["resourceVersion"]
        )
        return True

    async def _readers(self, owed: Compensation, run: Run) -> Sequence[tuple[str, bool]]:
        listed = await asyncio.gather(*(self._cluster.list(kind, run.opened.plan.namespace) for kind in _READERS))
        return copies.users(owed.object, dict(zip(_READERS, listed, strict=True)))

    async def _saved(self, step: CopyConfigMap) -> Json:
        saved: Json = json.loads(await self._blobs.get(step.manifest))
        return saved


def manifest(saved: Json, owed: Compensation, namespace: str) -> Json:
    """The copy that this compensation was journalled for: none of the labels, annotations and owners it had."""
    metadata = {
        "name": owed.object,
        "namespace": namespace,
        "labels": {**MANAGED, COPY_LABEL: "true"},
        "annotations": provenance.marks(owed),
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **copies.held(saved)}


def compensation_id(name: str) -> str:
    """The id of the compensation that a copy is."""
    return f"{COPY}/{name}"


def copies_of(run: Run) -> Mapping[str, str]:
    """What the copies of the run's plan are called, by the name of what they were made of."""
    return {step.name: step.copy(run.id) for step in run.opened.plan.steps if isinstance(step, CopyConfigMap)}


async def missing_copy(cluster: Cluster, run: Run) -> Message | None:
    """Which copy somebody took away that pods of the helper start with; None if none. Raises `ClusterError`."""
    for owed in run.borrowed(COPY):
        live = await _live(cluster, run, owed.object)
        if live is None:
            return CopyGone(_full(run, owed.object))
        foreign = _disowned(run, live)
        if foreign is not None:
            return CopyNotOurs(_full(run, owed.object), foreign)
    return None


async def _live(cluster: Cluster, run: Run, name: str) -> Json | None:
    try:
        return await cluster.get(Kind.CONFIG_MAP, run.opened.plan.namespace, name)
    except NotFound:
        return None


def _disowned(run: Run, live: Json) -> Message | None:
    owed = run.taken.get(compensation_id(live["metadata"]["name"]))
    return NotMadeByRun(run.id, named=False) if owed is None else provenance.disowned(live, owed)


def _full(run: Run, name: str) -> str:
    return f"{Kind.CONFIG_MAP} {run.opened.plan.namespace}/{name}"


def _owed(cluster: Cluster, run: Run, name: str) -> Compensation:
    return Compensation(
        id=compensation_id(name),
        kind=COPY,
        object=name,
        uid="",
        original=None,
        written=0,
        run=run.id,
        token=provenance.new_token(),
        since=provenance.opened(run.opened.at, cluster.ahead()),
    )


KIND = StepKind(
    CopyConfigMap,
    lambda c: CopyConfigMapHandler(c.cluster, c.blobs),
    compensates=CompensationKind(
        COPY,
        # Nothing is written into it, and a deletion names the uid that was looked at.
        touches=lambda _, __: (),
        remedy=lambda plan, owed: Remedy(DeleteCopy(), deleting(plan, owed.object, Kind.CONFIG_MAP)),
        stood_in_for=by_nothing,
        owner=lambda _: "",
    ),
)
