"""Suspends the GitOps owner of a workload while it is rolled back, and resumes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, ClassVar, Literal

from logcaster_guard.domain import gitops, provenance
from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.events import OwnerSuspended
from logcaster_guard.domain.gitops import Owner
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToSuspendOwner
from logcaster_guard.domain.reasons import ResumeOwner, StaysSuspended
from logcaster_guard.domain.rights import Right, on_owner
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_reasons import MadeAnewByOthers, OwnerKeptByOthers, OwnerResumedByOthers
from logcaster_guard.domain.steps import (
    CLUSTER,
    Compensation,
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.theirs import WorkloadBeingDeleted, WorkloadGone, WorkloadMadeAnew
from logcaster_guard.domain.value_observations import OwnerIsActive, OwnerIsSuspended
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Clock, Cluster, Json, Kind
from logcaster_guard.steps.observe import undisturbed
from logcaster_guard.steps.step_services import StepKind

OWNER = "gitops_owner"
"""The kind of compensation that a suspended owner is."""


@dataclass(frozen=True, slots=True)
class SuspendOwner(Write):
    """Write: the GitOps owner `owner` (its `object`) is suspended, so that it does not undo the rollback.

    `revision` and `content` are what it wanted when its bad release was live (see `gitops.Desired`).
    """

    owner: str
    uid: str
    revision: str
    content: str
    kind: Literal["suspend_owner"] = "suspend_owner"
    blobs: ClassVar = ()
    claims: ClassVar = ()
    borrows: ClassVar = OWNER
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return owner_reference(self.owner)

    def rights(self, plan: Plan) -> Sequence[Right]:  # noqa: ARG002 - the base's shape
        return (on_owner("patch", self.owner),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToSuspendOwner(self.owner)


class SuspendOwnerHandler:
    """Borrows the owner's own pause. What stood there before is in the journal, and in the mark on the owner itself.

    The owner was planned with, but is not what the plan rests on: one that is gone, or that somebody else has
    suspended, undoes nothing.
    """

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def observe(self, step: SuspendOwner, run: Run) -> Observation:
        """Done when the owner is suspended, whoever did it."""
        try:
            theirs, _, _ = await undisturbed(self._cluster, run)
            if theirs is not None:
                return ExternalChange(theirs)
            raw = await _owner(self._cluster, step.owner)
        except NotFound:
            return Done(WorkloadGone(step.owner))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if raw["metadata"]["uid"] != step.uid:
            return ExternalChange(WorkloadMadeAnew(step.owner))
        if "deletionTimestamp" in raw["metadata"]:
            return ExternalChange(WorkloadBeingDeleted(step.owner))
        if gitops.is_suspended(raw):
            return Done(OwnerIsSuspended(step.owner, by_another=gitops.mark_of(raw) is None))
        return Before(OwnerIsActive(step.owner), borrows=_compensation(step, run, raw))

    async def apply(self, step: SuspendOwner, run: Run) -> None:
        """One request, bound to the resourceVersion of an owner that is not suspended."""
        with contextlib.suppress(NotFound):
            raw = await _owner(self._cluster, step.owner)
            owed = run.compensations[_compensation_id(step.owner)]
            if raw["metadata"]["uid"] != step.uid or gitops.is_suspended(raw) or _saved(raw) != owed.saved:
                return
            await _patch(self._cluster, raw, gitops.suspending(raw, owed.run, owed.token))

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """The owner is resumed only while it carries the mark of the run that suspended it.

        Not yet where the good release stays: it would roll the bad one out again.
        """
        try:
            raw = await _owner(self._cluster, owed.object)
        except NotFound:
            return Done(WorkloadGone(owed.object))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        seen = released(raw, owed)
        if isinstance(seen, Before) and run.leaves_destination:
            suspended = OwnerSuspended(self._clock.now(), run.id, owed)
            return Done(StaysSuspended(), suspended)
        return seen

    async def compensate(self, owed: Compensation, run: Run) -> None:  # noqa: ARG002 - the protocol's shape
        """Put back what stood there, if the owner still carries the mark."""
        with contextlib.suppress(NotFound):
            raw = await _owner(self._cluster, owed.object)
            if isinstance(released(raw, owed), Before):
                await resume(self._cluster, raw, json.loads(owed.saved))


def released(raw: Json, owed: Compensation) -> Observation:
    """`Before`: the owner is still the guard's to resume; `Done`: it is resumed; `ExternalChange`: it is theirs."""
    if raw["metadata"]["uid"] != owed.uid:
        return ExternalChange(MadeAnewByOthers(owed.object))
    marked, suspended = is_marked(raw, owed), gitops.is_suspended(raw)
    if marked and suspended and not gitops.is_suspended_by_another(raw):
        return Before(OwnerIsSuspended(owed.object, by_another=False))
    if marked and not suspended:
        return ExternalChange(OwnerResumedByOthers(owed.object))
    if suspended:
        return ExternalChange(OwnerKeptByOthers(owed.object))
    return Done(OwnerIsActive(owed.object))


def is_marked(raw: Json, owed: Compensation) -> bool:
    """Whether the owner carries the mark that was journalled with the compensation."""
    mark = gitops.mark_of(raw)
    if mark is None or mark.run != owed.run:
        return False
    # Anybody may write the annotation: JSON can hold half a surrogate pair, which UTF-8 cannot.
    return compare_digest(mark.token.encode(errors="replace"), owed.token.encode())


async def resume(cluster: Cluster, raw: Json, fields: Mapping[str, Any]) -> None:
    """Take the mark away and put `fields` back, in one request that is bound to this very look at a marked owner.

    One that somebody else has suspended since only loses the mark.
    """
    theirs = gitops.is_suspended_by_another(raw)
    await _patch(cluster, raw, gitops.unmarking(raw) if theirs else gitops.resuming(raw, fields))


def _compensation(step: SuspendOwner, run: Run, raw: Json) -> Compensation:
    # A run that took over suspends for the run that suspended first: that one's mark may still be on its way.
    known = run.taken.get(_compensation_id(step.owner))
    return Compensation(
        id=_compensation_id(step.owner),
        kind=OWNER,
        object=step.owner,
        uid=step.uid,
        original=None,
        written=1,
        run=run.id if known is None else known.run,
        token=provenance.new_token() if known is None else known.token,
        revision=step.revision,
        content=step.content,
        saved=_saved(raw),
    )


def _saved(raw: Json) -> str:
    return json.dumps(gitops.fields_of(raw))


def _compensation_id(owner: str) -> str:
    return f"owner/{owner}"


def owner_reference(owner: str) -> tuple[ObjectReference, ...]:
    """The object of the owner that a step or a compensation names; nothing for what is none."""
    found = gitops.owner_called(owner)
    return () if found is None else (ObjectReference(CLUSTER, found.kind, found.namespace, found.name),)


def remedy(owed: Compensation) -> Remedy:
    """How a person resumes it: by the owner's own command."""
    owner = gitops.owner_called(owed.object)
    command = "" if owner is None else owner.resuming(json.loads(owed.saved or "{}"))
    return Remedy(ResumeOwner(), command)


def place_of(owner: str) -> Owner:
    """The owner that a compensation or a step names; raises `NotFound` for what is none."""
    found = gitops.owner_called(owner)
    if found is None:
        raise failure(NotFound, WorkloadGone(owner), status=404)
    return found


async def _owner(cluster: Cluster, owner: str) -> Json:
    found = place_of(owner)
    return await cluster.get(Kind(found.kind), found.namespace, found.name)


async def _patch(cluster: Cluster, raw: Json, patch: list[Json]) -> None:
    metadata = raw["metadata"]
    await cluster.json_patch(Kind(str(raw["kind"])), metadata["namespace"], metadata["name"], patch)


KIND = StepKind(
    SuspendOwner,
    lambda c: SuspendOwnerHandler(c.cluster, c.clock),
    compensates=CompensationKind(
        OWNER,
        touches=lambda _, owed: owner_reference(owed.object),
        remedy=lambda _, owed: remedy(owed),
        stood_in_for=by_nothing,
        owner=None,
    ),
)
