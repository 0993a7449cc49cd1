"""Gives a ConfigMap back what it held when the good release's pods read it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.configuration import restoring
from logcaster_guard.domain.configuration.restoring import DATA, Apply, ConfigWrite, KeyChange
from logcaster_guard.domain.errors import BlobMissing, ClusterError, NotFound, Rejected
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToRestoreConfigMap
from logcaster_guard.domain.planning_reasons import SavedUnreadable
from logcaster_guard.domain.rights import CONFIG_ROLE, Right
from logcaster_guard.domain.runs import FAILED, Run
from logcaster_guard.domain.step_reasons import MadeAnewByOthers
from logcaster_guard.domain.steps import ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import ConfigMapEdited, WorkloadBeingDeleted, WorkloadDeleted, WorkloadMadeAnew
from logcaster_guard.domain.value_observations import ConfigMapHolds
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.steps.observe import undisturbed
from logcaster_guard.steps.step_services import StepKind

_SHOWN = 20
"""Keys that a plan's line names."""


@dataclass(frozen=True, slots=True)
class RestoreConfigMap(Write):
    """Write: the ConfigMap `name` holds again what the manifest saved under `manifest` (a blob digest) shows.

    `uid` is empty where it is gone, and is made again. `changes` are the keys that held something else when that was
    planned: one that then holds a third thing is somebody else's.
    """

    name: str
    uid: str
    manifest: str
    changes: tuple[KeyChange, ...]
    kind: Literal["restore_config_map"] = "restore_config_map"
    claims: ClassVar = ()
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object(Kind.CONFIG_MAP, self.name),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        verbs = ("get", "patch") if self.uid else ("get", "patch", "create")
        return tuple(Right(verb, "", "configmaps", plan.namespace, self.name, CONFIG_ROLE) for verb in verbs)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.manifest,)

    def line(self, plan: Plan) -> Message:
        marks = tuple(change.mark for change in self.changes)
        named = f"{Kind.CONFIG_MAP} {plan.namespace}/{self.name}"
        return ToRestoreConfigMap(named, marks[:_SHOWN], max(0, len(marks) - _SHOWN), gone=not self.uid)


class RestoreConfigMapHandler:
    """Writes under the names of the field managers that had the fields, each write bound to one look."""

    def __init__(self, cluster: Cluster, blobs: Blobs) -> None:
        self._cluster = cluster
        self._blobs = blobs

    async def observe(self, step: RestoreConfigMap, run: Run) -> Observation:
        """Done when it holds what was saved, whoever wrote it."""
        try:
            theirs, _, _ = await undisturbed(self._cluster, run)
            if theirs is not None:
                return ExternalChange(theirs)
            return _judged(step, run, await self._live(step, run), await self._saved(step))
        except BlobMissing as error:
            return Failed(FAILED, SavedUnreadable(error.reason))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)

    async def apply(self, step: RestoreConfigMap, run: Run) -> None:
        """One write for each manager that had a part of it, and one for what no manager applied."""
        theirs, _, _ = await undisturbed(self._cluster, run)
        if theirs is not None:
            return
        try:
            saved = await self._saved(step)
        except BlobMissing as error:
            raise failure(Rejected, SavedUnreadable(error.reason)) from error
        live = await self._live(step, run)
        for _ in range(restoring.writes_at_most(saved)):
            if not isinstance(_judged(step, run, live, saved), Before):
                return
            write = await self._creation(saved) if live is None else restoring.next_write(live, saved)
            if write is None:
                return
            live = await self._write(step, run, write)

    async def edited_before(self, step: RestoreConfigMap, run: Run) -> Reason | None:
        """What somebody else has made of it since it was planned; None if nothing. Raises `ClusterError`."""
        try:
            seen = _judged(step, run, await self._live(step, run), await self._saved(step))
        except BlobMissing:
            return None
        return seen.detail if isinstance(seen, ExternalChange) else None

    async def edited_since(self, step: RestoreConfigMap, run: Run) -> Message | None:
        """What somebody else has made of it since it held what was saved; None if nothing. Raises `ClusterError`."""
        try:
            saved, live = await self._saved(step), await self._live(step, run)
        except BlobMissing:
            return None
        name = f"{Kind.CONFIG_MAP} {run.opened.plan.namespace}/{step.name}"
        if live is None:
            return WorkloadDeleted(name)
        keys = tuple(change.key for change in restoring.changes(live, saved))
        who = written_by(live, *((DATA, key) for key in keys), since=run.opened.at)
        return ConfigMapEdited(name, keys[:_SHOWN], who) if keys else None

    async def _write(self, step: RestoreConfigMap, run: Run, write: ConfigWrite) -> Json:
        namespace = run.opened.plan.namespace
        if isinstance(write, Apply):
            return await self._cluster.apply(
                Kind.CONFIG_MAP, namespace, step.name, write.body, manager=write.manager, force=True
            )
        return await self._cluster.json_patch(Kind.CONFIG_MAP, namespace, step.name, write.operations)

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

    async def _live(self, step: RestoreConfigMap, run: Run) -> Json | None:
        try:
            return await self._cluster.get(Kind.CONFIG_MAP, run.opened.plan.namespace, step.name)
        except NotFound:
            return None

    async def _saved(self, step: RestoreConfigMap) -> Json:
        saved: Json = json.loads(await self._blobs.get(step.manifest))
        return saved


async def edited_before(cluster: Cluster, blobs: Blobs, run: Run) -> Reason | None:
    """What somebody else has made of a ConfigMap that the run is still to put back; None if nothing.

    Raises `ClusterError`.
    """
    handler = RestoreConfigMapHandler(cluster, blobs)
    for step in run.opened.plan.steps[run.step :]:
        if isinstance(step, RestoreConfigMap):
            theirs = await handler.edited_before(step, run)
            if theirs is not None:
                return theirs
    return None


async def edited_since(cluster: Cluster, blobs: Blobs, run: Run) -> Message | None:
    """What somebody else has made of a ConfigMap that the run has put back; None if nothing. Raises `ClusterError`."""
    handler = RestoreConfigMapHandler(cluster, blobs)
    for step in run.done:
        if isinstance(step, RestoreConfigMap):
            theirs = await handler.edited_since(step, run)
            if theirs is not None:
                return theirs
    return None


def _judged(step: RestoreConfigMap, run: Run, live: Json | None, saved: Json) -> Observation:
    name = f"{Kind.CONFIG_MAP} {run.opened.plan.namespace}/{step.name}"
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
    edited = restoring.edited(live, saved, step.changes)
    if edited or live.get("immutable"):
        paths: list[tuple[str, ...]] = [(DATA, key) for key in edited] or [("immutable",)]
        return ExternalChange(ConfigMapEdited(name, edited[:_SHOWN], written_by(live, *paths, since=run.opened.at)))
    return Before()


KIND = StepKind(RestoreConfigMap, lambda c: RestoreConfigMapHandler(c.cluster, c.blobs), compensates=None)
