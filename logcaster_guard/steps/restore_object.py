"""Gives a ConfigMap or Secret back what it held when the good release's pods read it: what both steps share."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from logcaster_guard.domain.configuration import restoring
from logcaster_guard.domain.configuration.content import DigestKey
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.restoring import DATA, Apply, ConfigWrite, KeyChange
from logcaster_guard.domain.errors import BlobMissing, ClusterError, NotFound, Rejected
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToRestoreConfigMap
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.releases import LEFT_OUT
from logcaster_guard.domain.rights import Right, to_read_configuration
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_reasons import MadeAnewByOthers
from logcaster_guard.domain.steps import ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import (
    ConfigMapEdited,
    DigestKeyLost,
    WorkloadBeingDeleted,
    WorkloadDeleted,
    WorkloadMadeAnew,
)
from logcaster_guard.domain.value_observations import ConfigMapHolds
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.observe import undisturbed

_SHOWN = 20
"""Keys that a plan's line names."""


@dataclass(frozen=True, slots=True)
class RestoreObject(Write):
    """Write: the object `name` holds again what the manifest shows that is kept in the place `manifest`.

    `uid` is empty where it is gone, and is made again. `changes` are the keys that held something else when that was
    planned: one that then holds a third thing is somebody else's. `made_with` is the name of the key that the digests
    in them were made with, empty for a ConfigMap's.
    """

    name: str
    uid: str
    manifest: str
    changes: tuple[KeyChange, ...]
    made_with: str = field(default="", kw_only=True, metadata=LEFT_OUT)
    claims: ClassVar = ()
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.PREPARATION
    object_kind: ClassVar[ConfigKind]

    def object(self, plan: Plan) -> ConfigObject:
        """What it writes."""
        return ConfigObject(self.object_kind, plan.namespace, self.name)

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object(Kind(self.object_kind), self.name),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        verbs = ("get", "patch") if self.uid else ("get", "patch", "create")
        return tuple(to_read_configuration(self.object(plan), verb) for verb in verbs)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.manifest,)

    def line(self, plan: Plan) -> Message:
        marks = tuple(change.mark for change in self.changes)
        more = max(0, len(marks) - _SHOWN)
        return ToRestoreConfigMap(str(self.object(plan)), marks[:_SHOWN], more, gone=not self.uid)


class RestoreHandler:
    """Writes under the names of the field managers that had the fields, each write bound to one look."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests) -> None:
        self._cluster = cluster
        self._manifests = manifests

    async def observe(self, step: RestoreObject, run: Run) -> Observation:
        """Done when it holds what was saved, whoever wrote it."""
        try:
            theirs, _, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        return ExternalChange(theirs) if theirs is not None else await self.look(step, run)

    async def look(self, step: RestoreObject, run: Run) -> Observation:
        """Likewise of the object alone."""
        try:
            return await self._judged(step, run, await self._live(step, run), await self._saved(step))
        except BlobMissing as error:
            return Failed(FAILED, SavedUnreadable(error.reason))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)

    async def apply(self, step: RestoreObject, run: Run) -> None:
        """One write for each manager that had a part of it."""
        theirs, _, _ = await undisturbed(self._cluster, run)
        if theirs is None:
            await self.restore(step, run)

    async def restore(self, step: RestoreObject, run: Run) -> None:
        """Likewise, whatever else there is. Raises the `ClusterError` it met."""
        try:
            saved = await self._saved(step)
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error
        live = await self._live(step, run)
        for _ in range(restoring.writes_at_most(saved)):
            if not isinstance(await self._judged(step, run, live, saved), Before):
                return
            write = await self._creation(saved) if live is None else restoring.next_write(live, saved)
            if write is None:
                return
            live = await self._write(step, run, write)

    async def edited_before(self, step: RestoreObject, run: Run) -> Reason | None:
        """What somebody else has made of it since it was planned; None if nothing. Raises `ClusterError`."""
        try:
            seen = await self._judged(step, run, await self._live(step, run), await self._saved(step))
        except BlobMissing:
            return None
        return seen.detail if isinstance(seen, ExternalChange) else None

    async def edited_since(self, step: RestoreObject, run: Run) -> Message | None:
        """What somebody else has made of it since it held what was saved; None if nothing. Raises `ClusterError`."""
        try:
            saved, live = await self._saved(step), await self._live(step, run)
        except BlobMissing:
            return None
        name = str(step.object(run.opened.plan))
        if live is None:
            return WorkloadDeleted(name)
        digests = await self._manifests.key(step.object(run.opened.plan))
        keys = tuple(change.key for change in restoring.changes(live, saved, digests))
        who = written_by(live, *((DATA, key) for key in keys), since=run.opened.at)
        return ConfigMapEdited(name, keys[:_SHOWN], who) if keys else None

    async def _judged(self, step: RestoreObject, run: Run, live: Json | None, saved: Json) -> Observation:
        return _judged(step, run, live, saved, await self._manifests.key(step.object(run.opened.plan)))

    async def _write(self, step: RestoreObject, run: Run, write: ConfigWrite) -> Json:
        namespace = run.opened.plan.namespace
        if isinstance(write, Apply):
            return await self._cluster.apply(
                Kind(step.object_kind), namespace, step.name, write.body, manager=write.manager, force=True
            )
        return await self._cluster.json_patch(
            Kind(step.object_kind), namespace, step.name, write.operations, manager=write.manager
        )

    async def _creation(self, saved: Json) -> Apply:
        return restoring.creation(saved, await self._living_owners(saved))

    async def _living_owners(self, saved: Json) -> Collection[str]:
        """The uids of its owners that are surely there: one of a kind that the guard does not know is left out."""
        found: set[str] = set()
        for reference in saved["metadata"].get("ownerReferences") or []:
            if reference.get("kind") not in set(Kind):
                continue
            try:
                owner = await self._cluster.get(
                    Kind(reference["kind"]), saved["metadata"]["namespace"], str(reference.get("name"))
                )
            except (NotFound, Rejected):
                continue
            found.add(str(owner["metadata"]["uid"]))
        return found

    async def _live(self, step: RestoreObject, run: Run) -> Json | None:
        try:
            return await self._cluster.get(Kind(step.object_kind), run.opened.plan.namespace, step.name)
        except NotFound:
            return None

    async def _saved(self, step: RestoreObject) -> Json:
        saved: Json = json.loads((await self._manifests.get(step.manifest)).reveal())
        return saved


async def edited_before(cluster: Cluster, manifests: KeptManifests, run: Run) -> Reason | None:
    """What somebody else has made of an object that the run is still to put back; None if nothing.

    Raises `ClusterError`.
    """
    handler = RestoreHandler(cluster, manifests)
    for step in run.opened.plan.steps[run.step :]:
        if isinstance(step, RestoreObject):
            theirs = await handler.edited_before(step, run)
            if theirs is not None:
                return theirs
    return None


async def edited_since(cluster: Cluster, manifests: KeptManifests, run: Run) -> Message | None:
    """What somebody else has made of an object that the run has put back; None if nothing. Raises `ClusterError`."""
    handler = RestoreHandler(cluster, manifests)
    for step in run.done:
        if isinstance(step, RestoreObject):
            theirs = await handler.edited_since(step, run)
            if theirs is not None:
                return theirs
    return None


def _judged(
    step: RestoreObject, run: Run, live: Json | None, saved: Json, key: DigestKey | None
) -> Observation:  # fmt: skip
    name = str(step.object(run.opened.plan))
    if live is None:
        return ExternalChange(WorkloadDeleted(name)) if step.uid else Before()
    if restoring.entries(live) == restoring.entries(saved):
        return Done(ConfigMapHolds(name))
    if "deletionTimestamp" in live["metadata"]:
        return ExternalChange(WorkloadBeingDeleted(name))
    if not step.uid and not restoring.made_from(live, saved):
        return ExternalChange(MadeAnewByOthers(name))
    if step.uid not in {"", live["metadata"]["uid"]}:
        return ExternalChange(WorkloadMadeAnew(name))
    if key is not None and step.made_with not in {"", key.name} and any(change.seen for change in step.changes):
        return ExternalChange(DigestKeyLost(name))
    edited = restoring.edited(live, saved, step.changes, key)
    if edited or live.get("immutable"):
        paths: list[tuple[str, ...]] = [(DATA, key) for key in edited] or [("immutable",)]
        return ExternalChange(ConfigMapEdited(name, edited[:_SHOWN], written_by(live, *paths, since=run.opened.at)))
    return Before()
