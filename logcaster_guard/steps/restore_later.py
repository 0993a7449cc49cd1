"""Promises to give a shared ConfigMap or Secret back what it held, once the environment that was left has no pods.

Until then those would read it, and the good release's pods read a copy. The promise is kept when the run is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, Literal

from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing, editing
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.configuration.restoring import KeyChange
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import HoldDeferred
from logcaster_guard.domain.field_owners import released_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToRestoreLater
from logcaster_guard.domain.reasons import NothingToPutBack, PutObjectBack, StaysUntilEmpty, WaitedTooLong
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import IsPromised, PodsLeft
from logcaster_guard.domain.step_reasons import SelectorIsTheirs
from logcaster_guard.domain.steps import Compensation, ObjectReference, Plan, Purpose, Write
from logcaster_guard.domain.theirs import AnotherReleaseOut, WorkloadGone
from logcaster_guard.domain.workload import Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Clock, Cluster, Kind
from logcaster_guard.steps.environment import serves
from logcaster_guard.steps.observe import belonging, live_of, own_pods, service_of, undisturbed, workload_of
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_object import RestoreHandler, RestoreObject
from logcaster_guard.steps.restore_secret import RestoreSecret
from logcaster_guard.steps.step_services import StepKind

SHARED: Final = "shared_configuration"
"""What promising to put a shared object back borrows."""

_STEPS: Mapping[ConfigKind, type[RestoreConfigMap | RestoreSecret]] = {
    ConfigKind.CONFIG_MAP: RestoreConfigMap,
    ConfigKind.SECRET: RestoreSecret,
}

LONGEST = timedelta(days=7)
"""An environment that still has pods by then is left alone."""


@dataclass(frozen=True, slots=True)
class RestoreLater(Write):
    """Write: it is written down that an object is put back once the environment that is left is empty.

    The fields are those of the step that puts it back; `of_kind` is its kind's name.
    """

    of_kind: str
    name: str
    uid: str
    manifest: str
    changes: tuple[KeyChange, ...]
    kind: Literal["restore_later"] = "restore_later"
    claims: ClassVar = ()
    borrows: ClassVar = SHARED
    purpose: ClassVar = Purpose.PREPARATION

    @classmethod
    def put_off(cls, step: RestoreObject) -> RestoreLater:
        """What `step` does, at a later time."""
        return cls(str(step.object_kind), step.name, step.uid, step.manifest, step.changes)

    @property
    def restore(self) -> RestoreObject:
        """What is to be done."""
        return _STEPS[ConfigKind(self.of_kind)](self.name, self.uid, self.manifest, self.changes)

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:
        return self.restore.touches(plan)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return self.restore.rights(plan)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.manifest,)

    def line(self, plan: Plan) -> Message:
        return ToRestoreLater(plan.live, self.restore.line(plan))


class RestoreLaterHandler:
    """Waits, after the run, until no bad pod can read the object, and puts it back where nobody else has changed it."""

    def __init__(self, cluster: Cluster, manifests: KeptManifests, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._objects = RestoreHandler(cluster, manifests)

    async def observe(self, step: RestoreLater, run: Run) -> Observation:
        """Done when the journal tells of it."""
        try:
            theirs, _, _ = await undisturbed(self._cluster, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if theirs is not None:
            return ExternalChange(theirs)
        id_, promised = _compensation_id(step), IsPromised(str(step.restore.object(run.opened.plan)))
        if id_ in run.compensations:
            return Done(promised)
        owed = Compensation(id_, SHARED, step.name, step.uid, original=None, written=step.manifest, run=run.id)
        return Before(promised, borrows=owed)

    async def apply(self, step: RestoreLater, run: Run) -> None:
        """Nothing: the intent is the effect."""

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """Where the good release stays it is put off until the run is over; see `_after`."""
        step = _step(run, owed)
        if step is None:
            return Done(NothingToPutBack())
        if run.closed is None:
            if not (run.leaves_destination and run.switched):
                return Done(NothingToPutBack())
            reason = StaysUntilEmpty(str(step.object(run.opened.plan)), run.opened.plan.live)
            return Done(reason, HoldDeferred(self._clock.now(), run.id, owed, reason))
        if self._clock.now() >= run.closed.at + LONGEST:
            return ExternalChange(WaitedTooLong(LONGEST.days))
        try:
            return await self._after(step, run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)

    async def _after(self, step: RestoreObject, run: Run) -> Observation:
        """`Before` once the environment that was left has no pods, and nobody has moved on from what the run did.

        Whoever deploys into one of the environments meant what the shared object holds. Raises `ClusterError`.
        """
        plan = run.opened.plan
        workload, service = await workload_of(self._cluster, run), await service_of(self._cluster, run)
        left = await live_of(self._cluster, run)
        if workload is None or workload.deleting:
            return ExternalChange(WorkloadGone(f"{plan.kind} {plan.namespace}/{plan.deployment}"))
        if not serves(workload, service):
            return ExternalChange(SelectorIsTheirs(""))
        if workload.hash != plan.to_template:
            return ExternalChange(_another_release(workload, run))
        if left is not None and (left.uid, left.hash) != (plan.live_uid, plan.from_template):
            return ExternalChange(_another_release(left, run))
        pods = 0 if left is None else await self._pods_of(left)
        return Pending(PodsLeft(pods)) if pods else await self._objects.look(step, run)

    async def _pods_of(self, left: Workload) -> int:
        """How many pods it has, or wants to have."""
        replica_sets = await self._cluster.list(Kind.REPLICA_SET, left.namespace)
        return max(left.replicas, len(belonging(await own_pods(self._cluster, left), left, replica_sets)))

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Put it back, if it is still so."""
        step = _step(run, owed)
        if step is not None and isinstance(await self._after(step, run), Before):
            await self._objects.restore(step, run)


def _another_release(workload: Workload, run: Run) -> Message:
    return AnotherReleaseOut(workload.key, workload.images, released_by(workload.raw, since=run.opened.at))


def _compensation_id(step: RestoreLater) -> str:
    return f"{SHARED}/{step.of_kind}/{step.name}"


def _step(run: Run, owed: Compensation) -> RestoreObject | None:
    """What was promised; None where another run that has taken over plans otherwise."""
    later = (step for step in run.opened.plan.steps if isinstance(step, RestoreLater))
    return next((step.restore for step in later if _compensation_id(step) == owed.id), None)


KIND = StepKind(
    RestoreLater,
    lambda c: RestoreLaterHandler(c.cluster, c.manifests, c.clock),
    compensates=CompensationKind(
        SHARED,
        # It is written when the run is over, by then bound to one look.
        touches=lambda _, __: (),
        remedy=lambda plan, owed: Remedy(PutObjectBack(), editing(plan, owed.object, owed.id.split("/")[1])),
        stood_in_for=by_nothing,
        owner=None,
    ),
)
