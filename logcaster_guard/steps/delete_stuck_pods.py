"""Deletes the pods that hold up the rollout of a StatefulSet."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, Observation, Pending, Unclear
from logcaster_guard.domain.plan_lines import ToDeleteStuckPods
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import PodsStuck, TemplateUnseen
from logcaster_guard.domain.steps import (
    ObjectReference,
    Plan,
    Purpose,
    Write,
)
from logcaster_guard.domain.workload import REVISION_LABEL, Workload
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.observe import (
    look,
)
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class DeleteStuckPods(Write):
    """Write: pods of the bad release that are not Ready are deleted, where their controller would wait for them.

    A StatefulSet with ordered pods does not go on while one of them is not Ready, even when its template is put back.
    """

    timeout: float
    kind: Literal["delete_stuck_pods"] = "delete_stuck_pods"
    blobs: ClassVar = ()
    claims: ClassVar = ()
    borrows: ClassVar = None
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return ()

    def rights(self, plan: Plan) -> Sequence[Right]:  # noqa: ARG002 - the base's shape
        return ()

    @property
    def deadline(self) -> float:
        """The rollout's own: the controller may have to see the good template first."""
        return self.timeout

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToDeleteStuckPods()


class DeleteStuckPodsHandler:
    """Deletes the pods that keep a StatefulSet from going on: not Ready, and of another revision than the good one.

    They serve nobody. Known as *forced rollback* in the Kubernetes documentation of StatefulSets.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def observe(self, step: DeleteStuckPods, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        """Done when none is left."""
        looked = await look(self._cluster, run)
        if not isinstance(looked, Done):
            return looked
        try:
            workload, stuck = await self._stuck(run)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        if not workload.observed or not workload.update_revision:
            return Pending(TemplateUnseen())
        return Before(PodsStuck(len(stuck))) if stuck else Done(PodsStuck(0))

    async def apply(self, step: DeleteStuckPods, run: Run) -> None:  # noqa: ARG002 - the protocol's shape
        """Delete each of them, bound to its uid."""
        workload, stuck = await self._stuck(run)
        if not workload.observed or external_workload_change(run, workload) is not None:
            return
        for pod in stuck:
            metadata = pod["metadata"]
            with contextlib.suppress(NotFound):
                await self._cluster.delete(
                    Kind.POD, metadata["namespace"], metadata["name"], uid=metadata["uid"], resource_version=None
                )

    async def _stuck(self, run: Run) -> tuple[Workload, list[Json]]:
        plan = run.opened.plan
        workload = Workload(await self._cluster.get(Kind(plan.kind), plan.namespace, plan.deployment))
        pods = await self._cluster.list(Kind.POD, plan.namespace)
        return workload, [p for p in pods if _is_stuck(p, workload)]


def _is_stuck(pod: Json, workload: Workload) -> bool:
    metadata = pod["metadata"]
    owned = any(o.get("uid") == workload.uid for o in metadata.get("ownerReferences") or [])
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    revision = (metadata.get("labels") or {}).get(REVISION_LABEL)
    return owned and not ready and "deletionTimestamp" not in metadata and revision != workload.update_revision


KIND = StepKind(DeleteStuckPods, lambda c: DeleteStuckPodsHandler(c.cluster), compensates=None)
