"""Waits until the Service's requests can only reach the new environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToAwaitEndpoints
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import ListsOnly, OthersListed
from logcaster_guard.domain.steps import Plan, Purpose, RolloutWait
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.observe import (
    own_pods,
    undisturbed,
)
from logcaster_guard.steps.step_services import StepKind

SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class AwaitEndpoints(RolloutWait):
    """Wait: until the Service's EndpointSlices list the new environment's pods only, at least `least` of them Ready."""

    least: int
    timeout: float
    kind: Literal["await_endpoints"] = "await_endpoints"
    inconclusive_if_unseen: ClassVar = True
    purpose: ClassVar = Purpose.SETTLING

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToAwaitEndpoints(self.least)


class AwaitEndpointsHandler:
    """Waits until the Service's requests can only reach the new environment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def observe(self, step: AwaitEndpoints, run: Run) -> Observation:
        """Done when the EndpointSlices list nobody else's pods, and enough of them are ready."""
        plan = run.opened.plan
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            pods = await own_pods(self._cluster, workload)
            slices = await self._cluster.list(Kind.ENDPOINT_SLICE, plan.namespace, f"{SERVICE_NAME}={plan.service}")
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        own = {p["metadata"]["uid"] for p in pods}
        listed = _ready_pods(slices)
        others = sorted(name for uid, name in listed.items() if uid not in own)
        if others:
            return Before(OthersListed(len(others), others[0]))
        alone = ListsOnly(len(listed), workload.name)
        return Done(alone) if len(listed) >= min(step.least, plan.floor or 1) else Before(alone)

    async def apply(self, step: AwaitEndpoints, run: Run) -> None:
        """Nothing to do: the EndpointSlice controller does it."""


def _ready_pods(slices: Sequence[Json]) -> dict[str, str]:
    """The names of the pods that are listed as ready, by uid."""
    found = {}
    for endpoint in (e for s in slices for e in s.get("endpoints") or []):
        reference = endpoint.get("targetRef") or {}
        # An endpoint that does not say so is ready, by the API's convention.
        if reference.get("kind") == "Pod" and (endpoint.get("conditions") or {}).get("ready") is not False:
            found[str(reference.get("uid"))] = str(reference.get("name"))
    return found


KIND = StepKind(AwaitEndpoints, lambda c: AwaitEndpointsHandler(c.cluster), compensates=None)
