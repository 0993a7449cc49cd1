"""Copies a ConfigMap or Secret as the good release's pods read it, for pods that start beside the bad ones.

A copy is taken away again once nothing refers to it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from logcaster_guard.domain import provenance
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, deleting
from logcaster_guard.domain.configuration import copies
from logcaster_guard.domain.configuration.copies import COPY_LABEL, Copies
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import BlobMissing, ClusterError, NotFound, Rejected
from logcaster_guard.domain.events import HoldDeferred
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToCopyConfigMap
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.provenance import MANAGED
from logcaster_guard.domain.provenance_reasons import NotMadeByRun
from logcaster_guard.domain.reasons import DeleteCopy, StaysWhileRead
from logcaster_guard.domain.releases import LEFT_OUT
from logcaster_guard.domain.rights import Right, to_copy_configuration
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_observations import IsNotThere, IsThere, StillRead
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import CopyGone, CopyNotOurs, WorkloadGone
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Clock, Cluster, Json, Kind
from logcaster_guard.steps.observe import undisturbed
from logcaster_guard.steps.restore_object import edited_since
from logcaster_guard.steps.step_services import Neighbours, StepKind

BORROWED: Mapping[ConfigKind, str] = {ConfigKind.CONFIG_MAP: "config_copy", ConfigKind.SECRET: "secret_copy"}
"""What copying an object of each kind borrows."""

_COPIED = {borrowed: kind for kind, borrowed in BORROWED.items()}

_READERS = (Kind.DEPLOYMENT, Kind.REPLICA_SET, Kind.POD)
"""What a helper is made of."""


@dataclass(frozen=True, slots=True)
class CopyObject(Write):
    """Write: what the manifest shows that is kept in the place `manifest` stands under the copy's name as well.

    `name` is that of the ConfigMap or Secret which it was. `seed` is what the copy's name is made from, where the plan
    has to know that; else it is the run's.
    """

    name: str
    manifest: str
    seed: str = field(default="", metadata=LEFT_OUT)
    claims: ClassVar = ()
    purpose: ClassVar = Purpose.PREPARATION
    object_kind: ClassVar[ConfigKind]

    def copy(self, run: str) -> str:
        """What the copy is called."""
        return copies.copy_name(self.name, self.manifest, self.seed or run)

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        """Nothing that may be changed: the copy is immutable, and known by what its run owes."""
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:
        return to_copy_configuration(self.object_kind, plan.namespace)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.manifest,)

    def line(self, plan: Plan) -> Message:
        return ToCopyConfigMap(str(ConfigObject(self.object_kind, plan.namespace, self.name)))


class CopyHandler:
    """Creates the copy under a name that is the run's alone, and deletes it once nothing refers to it any more."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests, clock: Clock) -> None:
        self._cluster = cluster
        self._manifests = manifests
        self._clock = clock

    async def observe(self, step: CopyObject, run: Run) -> Observation:
        """Done when this run's copy is there, with what was saved."""
        new = _owed(step, run, self._cluster.ahead())
        try:
            theirs, _, _ = await undisturbed(self._cluster, run)
            live = await _live(self._cluster, run, new)
            saved = await self._saved(step)
        except BlobMissing as error:
            return Failed(FAILED, SavedUnreadable(error.reason))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if theirs is not None:
            return ExternalChange(theirs)
        if live is None:
            # A request that was sent before may still take effect: it carries the same token.
            return Before(IsNotThere(new.object), borrows=run.taken.get(new.id, new))
        foreign = _disowned(run, new, live)
        if foreign is None and not copies.is_copy(live, saved):
            foreign = NotMadeByRun(run.id, named=True)
        return Done(IsThere(new.object)) if foreign is None else ExternalChange(CopyNotOurs(_full(run, new), foreign))

    async def apply(self, step: CopyObject, run: Run) -> None:
        """One create; a name that is taken is a `Conflict`, which is looked at again."""
        theirs, _, _ = await undisturbed(self._cluster, run)
        if theirs is not None:
            return
        try:
            saved = await self._saved(step)
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error
        owed = run.compensations[_owed(step, run, self._cluster.ahead()).id]
        namespace = run.opened.plan.namespace
        await self._cluster.create(Kind(step.object_kind), namespace, manifest(saved, owed, namespace))

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """Done when it is gone. What is on its way out is waited for; what goes on reading it keeps it.

        For that a run does not stay open.
        """
        try:
            live = await _live(self._cluster, run, owed)
            readers = [] if live is None else await self._readers(owed, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        name = _full(run, owed)
        if live is None:
            return Done(WorkloadGone(name))
        foreign = _disowned(run, owed, live)
        if foreign is not None:
            return ExternalChange(CopyNotOurs(name, foreign))
        if not readers:
            return Before(IsThere(owed.object))
        staying = [reader for reader, leaves in readers if not leaves]
        if staying and run.closed is None:
            reason = StaysWhileRead(name, staying[0])
            return Done(reason, HoldDeferred(self._clock.now(), run.id, owed, reason))
        return Pending(StillRead(name, (staying or [readers[0][0]])[0]))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Delete it."""
        await self._removed(owed, run)

    async def sweep(self, owed: Compensation, run: Run, around: Neighbours) -> bool:  # noqa: ARG002 - the protocol's
        """Not while anything refers to it."""
        return await self._removed(owed, run)

    async def _removed(self, owed: Compensation, run: Run) -> bool:
        live = await _live(self._cluster, run, owed)
        if live is None or _disowned(run, owed, live) is not None or await self._readers(owed, run):
            return False
        metadata, kind = live["metadata"], Kind(_COPIED[owed.kind])
        await self._cluster.delete(
            kind,
            run.opened.plan.namespace,
            owed.object,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )
        return True

    async def _readers(self, owed: Compensation, run: Run) -> Sequence[tuple[str, bool]]:
        listed = await asyncio.gather(*(self._cluster.list(kind, run.opened.plan.namespace) for kind in _READERS))
        return copies.users((_COPIED[owed.kind], owed.object), dict(zip(_READERS, listed, strict=True)))

    async def _saved(self, step: CopyObject) -> Json:
        saved: Json = json.loads((await self._manifests.get(step.manifest)).reveal())
        return saved


def row(step: type[CopyObject]) -> StepKind:
    """The row of a step that copies objects of one kind."""
    kind = CompensationKind(
        BORROWED[step.object_kind],
        # Nothing is written into it, and a deletion names the uid that was looked at.
        touches=lambda _, __: (),
        remedy=lambda plan, owed: Remedy(DeleteCopy(), deleting(plan, owed.object, Kind(_COPIED[owed.kind]))),
        stood_in_for=by_nothing,
        owner=lambda _: "",
    )
    return StepKind(step, lambda c: CopyHandler(c.cluster, c.manifests, c.clock), compensates=kind)


def manifest(saved: Json, owed: Compensation, namespace: str) -> Json:
    """The copy that this compensation was journalled for: none of the labels, annotations and owners it had."""
    metadata = {
        "name": owed.object,
        "namespace": namespace,
        "labels": {**MANAGED, COPY_LABEL: "true"},
        "annotations": provenance.marks(owed),
    }
    return {"apiVersion": "v1", "kind": str(_COPIED[owed.kind]), "metadata": metadata, **copies.held(saved)}


def copies_of(run: Run) -> Copies:
    """What the copies of the run's plan are called, by the kind and name of what they were made of."""
    steps = (step for step in run.opened.plan.steps if isinstance(step, CopyObject))
    return {(step.object_kind, step.name): step.copy(run.id) for step in steps}


async def pods_would_read_another(cluster: Cluster, manifests: KeptManifests, run: Run) -> Message | None:
    """What somebody did to what the good release's pods start with; None if nothing. Raises `ClusterError`."""
    return await missing_copy(cluster, run) or await edited_since(cluster, manifests, run)


async def missing_copy(cluster: Cluster, run: Run) -> Message | None:
    """Which copy somebody took away that pods of the helper start with; None if none. Raises `ClusterError`."""
    for owed in (owed for borrowed in _COPIED for owed in run.borrowed(borrowed)):
        live = await _live(cluster, run, owed)
        if live is None:
            return CopyGone(_full(run, owed))
        foreign = _disowned(run, owed, live)
        if foreign is not None:
            return CopyNotOurs(_full(run, owed), foreign)
    return None


async def _live(cluster: Cluster, run: Run, owed: Compensation) -> Json | None:
    try:
        return await cluster.get(Kind(_COPIED[owed.kind]), run.opened.plan.namespace, owed.object)
    except NotFound:
        return None


def _disowned(run: Run, owed: Compensation, live: Json) -> Message | None:
    known = run.taken.get(owed.id)
    return NotMadeByRun(run.id, named=False) if known is None else provenance.disowned(live, known)


def _full(run: Run, owed: Compensation) -> str:
    return str(ConfigObject(_COPIED[owed.kind], run.opened.plan.namespace, owed.object))


def _owed(step: CopyObject, run: Run, ahead: float) -> Compensation:
    """What a copy is that is to be made now."""
    name, borrows = step.copy(run.id), BORROWED[step.object_kind]
    return provenance.owed(f"{borrows}/{name}", borrows, name, run, ahead)
