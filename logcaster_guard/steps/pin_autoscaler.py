"""Sets both bounds of an autoscaler to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from logcaster_guard.domain import field_owners
from logcaster_guard.domain.compensations import CompensationKind, Remedy, patching
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.external_changes import external_change, external_workload_change
from logcaster_guard.domain.field_owners import owners_of, written_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToPinAutoscaler
from logcaster_guard.domain.reasons import SetBoundsBack
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_reasons import BoundsAreTheirs, MadeAnewByOthers
from logcaster_guard.domain.steps import (
    Claim,
    Compensation,
    Field,
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import BothBoundsAre, BoundsAre
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.field_ownership import FieldOwnership
from logcaster_guard.steps.observe import (
    both,
    workload_of,
)
from logcaster_guard.steps.remove_helper import helper_serves
from logcaster_guard.steps.step_services import StepKind

BOUNDS = (field_owners.MINIMUM, field_owners.MAXIMUM)


@dataclass(frozen=True, slots=True)
class PinAutoscaler(Write):
    """Write: both bounds of an autoscaler become `size`, so that it keeps the target at that many pods."""

    autoscaler: str
    uid: str
    size: int
    kind: Literal["pin_autoscaler"] = "pin_autoscaler"
    blobs: ClassVar = ()
    borrows: ClassVar = "autoscaler_bounds"
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return (plan.object("HorizontalPodAutoscaler", self.autoscaler),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (Right("patch", "autoscaling", "horizontalpodautoscalers", plan.namespace, self.autoscaler),)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToPinAutoscaler(self.autoscaler, self.size)

    @property
    def claims(self) -> Sequence[Claim]:
        return (Claim(Field.AUTOSCALED_SIZE, self.size),)


class PinAutoscalerHandler:
    """Borrows both bounds of an autoscaler, so that it wants what the guard wants."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fields = FieldOwnership(cluster)

    async def observe(self, step: PinAutoscaler, run: Run) -> Observation:
        """Done when both bounds are the size, or the autoscaler is gone; bounds of somebody else's end the run."""
        try:
            workload, service = await both(self._cluster, run)
            theirs = external_change(run, workload, service)
            if theirs is not None:
                return ExternalChange(theirs)
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, step.autoscaler)
        except NotFound:
            return Done(WorkloadGone("the autoscaler"))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if raw["metadata"]["uid"] != step.uid:
            return ExternalChange(MadeAnewByOthers("the autoscaler"))
        bounds, known = bounds_of(raw), run.compensations.get(_compensation_id(step.autoscaler))
        if known is None:
            if bounds == (step.size, step.size):
                return Done(BothBoundsAre(step.size))
            owed = Compensation(
                id=_compensation_id(step.autoscaler),
                kind=step.borrows,
                object=step.autoscaler,
                uid=step.uid,
                original=bounds[0],
                original_maximum=bounds[1],
                written=step.size,
                owners=owners_of(raw, *BOUNDS),
            )
            return Before(BoundsAre(*bounds, ours=False), borrows=owed)
        if bounds not in bounds_written(known):
            who = written_by(raw, *BOUNDS, since=run.opened.at)
            before = str(known.original), str(known.original_maximum)
            return ExternalChange(BoundsAreTheirs(str(bounds[0]), str(bounds[1]), *before, who))
        if bounds == (step.size, step.size) and known.written == step.size:
            return Done(BothBoundsAre(step.size))
        owed = _rewritten(known, step.size)
        return Before(BoundsAre(*bounds, ours=False), borrows=owed)

    async def apply(self, step: PinAutoscaler, run: Run) -> None:
        """One request, bound to the resourceVersion that was looked at."""
        if external_workload_change(run, await workload_of(self._cluster, run)) is not None:
            return
        await _pin(self._cluster, run, run.compensations[_compensation_id(step.autoscaler)], step.size)

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """The originals come back only while the autoscaler still shows what the guard wrote."""
        try:
            raw = await self._cluster.get(Kind.AUTOSCALER, run.opened.plan.namespace, owed.object)
        except NotFound:
            return Done(WorkloadGone("the autoscaler"))
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if raw["metadata"]["uid"] != owed.uid:
            return ExternalChange(MadeAnewByOthers("the autoscaler"))
        bounds, due = bounds_of(raw), _given_back(raw, owed)
        if bounds != due:
            return Before(BoundsAre(*bounds, ours=False))
        if self._fields.due(raw, owed, *_mended(raw, owed)):
            return Before(BoundsAre(*bounds, ours=True))
        if bounds == (owed.original, owed.original_maximum):
            return Done(BoundsAre(*bounds, ours=False))
        who = written_by(raw, *BOUNDS, since=run.opened.at)
        now, before = (str(bounds[0]), str(bounds[1])), (str(owed.original), str(owed.original_maximum))
        return ExternalChange(BoundsAreTheirs(*now, *before, who))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Write each bound back that still shows what the guard wrote, and then hand it back."""
        namespace = run.opened.plan.namespace
        try:
            raw = await self._cluster.get(Kind.AUTOSCALER, namespace, owed.object)
        except NotFound:
            return
        due = _given_back(raw, owed)
        if raw["metadata"]["uid"] != owed.uid:
            return
        if bounds_of(raw) != due:
            await _write_bounds(self._cluster, raw, *due)
        else:
            await self._fields.hand_back(raw, owed, *_mended(raw, owed))


def pins(run: Run) -> Sequence[Compensation]:
    """The autoscalers that the run has pinned."""
    return run.borrowed(PinAutoscaler.borrows)


def _compensation_id(autoscaler: str) -> str:
    return f"autoscaler/{autoscaler}"


def bounds_of(raw: Json) -> tuple[int, int]:
    """The least and the most pods that the autoscaler may ask for."""
    # The API server fills an absent minimum in as 1.
    return int(raw["spec"].get("minReplicas", 1)), int(raw["spec"]["maxReplicas"])


def bounds_written(owed: Compensation) -> set[tuple[int | None, int | None]]:
    """Every pair of bounds that the guard wrote, and the one that was there before."""
    return {(size, size) for size in owed.ours} | {(owed.original, owed.original_maximum)}


def _given_back(raw: Json, owed: Compensation) -> tuple[int, int]:
    """The bounds that the autoscaler is to have: each that is still the guard's as it was, others' as they are.

    One that was could be on the wrong side of the other that is somebody's: then it stays as well.
    """
    minimum, maximum = bounds_of(raw)
    own_minimum, own_maximum = _guards_bounds(raw, owed)
    least = owed.original if own_minimum and owed.original is not None else minimum
    most = owed.original_maximum if own_maximum and owed.original_maximum else maximum
    if least <= most:
        return least, most
    return (minimum, most) if minimum <= most else (least, maximum) if least <= maximum else (minimum, maximum)


def _guards_bounds(raw: Json, owed: Compensation) -> tuple[bool, bool]:
    """Whether each bound is still as the guard wrote it: a person may have set the very number that it wrote before.

    The field's manager tells. Without one, what stands beside somebody's bound is the guard's if it wrote that last.
    """
    bounds = bounds_of(raw)
    if field_owners.entries_of(raw):
        owned = [field_owners.is_guards(raw, path) for path in BOUNDS]
    else:
        alone = all(bound in owed.ours for bound in bounds)
        owned = [alone or bound == owed.written for bound in bounds]
    minimum, maximum = (own and bound in owed.ours for own, bound in zip(owned, bounds, strict=True))
    return minimum, maximum


def _mended(raw: Json, owed: Compensation) -> list[tuple[str, ...]]:
    """The fields of the bounds that are as they were."""
    were = (owed.original, owed.original_maximum)
    return [path for path, now, was in zip(BOUNDS, bounds_of(raw), were, strict=True) if now == was]


def _rewritten(owed: Compensation, size: int) -> Compensation:
    return replace(owed, written=size, earlier=tuple(sorted(set(owed.ours))))


async def _pin(cluster: Cluster, run: Run, owed: Compensation, size: int) -> None:
    await set_bounds(cluster, run, owed, size, size)


async def set_bounds(cluster: Cluster, run: Run, owed: Compensation, minimum: int, maximum: int) -> None:
    """Write these bounds while the autoscaler shows others of the guard's; raises the `ClusterError` it met."""
    namespace = run.opened.plan.namespace
    try:
        raw = await cluster.get(Kind.AUTOSCALER, namespace, owed.object)
    except NotFound:
        return
    if (
        raw["metadata"]["uid"] == owed.uid
        and bounds_of(raw) in bounds_written(owed)
        and bounds_of(raw) != (minimum, maximum)
    ):
        await _write_bounds(cluster, raw, minimum, maximum)


async def _write_bounds(cluster: Cluster, raw: Json, minimum: int, maximum: int) -> None:
    metadata = raw["metadata"]
    patch: list[Json] = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/spec/minReplicas", "value": minimum},
        {"op": "replace", "path": "/spec/maxReplicas", "value": maximum},
    ]
    await cluster.json_patch(Kind.AUTOSCALER, metadata["namespace"], metadata["name"], patch)


def _remedy(plan: Plan, owed: Compensation) -> Remedy:
    bounds = {"minReplicas": owed.original, "maxReplicas": owed.original_maximum}
    command = patching(plan, "hpa", owed.object, bounds)
    return Remedy(SetBoundsBack(str(owed.written), str(owed.original), str(owed.original_maximum)), command)


KIND = StepKind(
    PinAutoscaler,
    lambda c: PinAutoscalerHandler(c.cluster),
    compensates=CompensationKind(
        PinAutoscaler.borrows,
        touches=lambda plan, owed: (plan.object("HorizontalPodAutoscaler", owed.object),),
        remedy=_remedy,
        stood_in_for=helper_serves,
        owner=None,
    ),
)
