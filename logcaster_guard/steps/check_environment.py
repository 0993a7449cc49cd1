"""Asks the other environment for its health before anybody is sent there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.plan_lines import ToCheckEnvironment
from logcaster_guard.domain.runs import DESTINATION_BAD, FAILED, Run
from logcaster_guard.domain.signals import Value
from logcaster_guard.domain.step_observations import NoPodReady, PodsWell, PodUnasked, PodUnwell
from logcaster_guard.domain.step_reasons import HealthUnanswered, NotHealthy
from logcaster_guard.domain.steps import Plan, Purpose, Wait
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.ports import Cluster
from logcaster_guard.steps.observe import (
    own_pods,
    service_of,
    undisturbed,
)
from logcaster_guard.steps.step_services import Checker, StepKind


@dataclass(frozen=True, slots=True)
class CheckEnvironment(Wait):
    """Wait: until every pod of the other environment answers its health check.

    `health_url` is the Service's; its port and path are asked of each pod. `timeout` in seconds.
    """

    health_url: str
    timeout: float
    kind: Literal["check_environment"] = "check_environment"
    inconclusive_if_unseen: ClassVar = False
    purpose: ClassVar = Purpose.PREPARATION

    def overdue(self, detail: Reason) -> tuple[str, Reason]:
        return FAILED, HealthUnanswered(detail)

    def line(self, plan: Plan) -> Message:  # noqa: ARG002 - the base's shape
        return ToCheckEnvironment()


class CheckEnvironmentHandler:
    """Asks each pod of the other environment for its health, since the Service does not lead there yet."""

    def __init__(self, cluster: Cluster, check: Checker) -> None:
        self._cluster = cluster
        self._check = check

    async def observe(self, step: CheckEnvironment, run: Run) -> Observation:
        """Done when each of them answers well at one look; what the guard cannot ask is no answer."""
        try:
            theirs, workload, _ = await undisturbed(self._cluster, run)
            service = await service_of(self._cluster, run)
            if theirs is not None or workload is None or service is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            pods = await own_pods(self._cluster, workload)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)
        ready = [p for p in pods if capacity.is_serving(p, None)]
        for pod in ready:
            name, url = pod["metadata"]["name"], pod_url(step.health_url, service, pod)
            answer = await self._check(run.opened.target, url)
            if not isinstance(answer, Value):
                return Unclear(PodUnasked(name, url, answer.detail))
            if answer.number:
                unwell = PodUnwell(name, url)
                return Before(unwell, overdue=(DESTINATION_BAD, NotHealthy(unwell)))
        return Done(PodsWell(len(ready))) if ready else Before(NoPodReady())

    async def apply(self, step: CheckEnvironment, run: Run) -> None:
        """Nothing to do: asking has no effect."""


def pod_url(url: str, service: Mapping[str, Any], pod: Mapping[str, Any]) -> str:
    """What the Service's `url` is on one of its pods: the pod's address, and the port behind the Service's own."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    behind = next((p.get("targetPort", port) for p in service["spec"].get("ports") or [] if p["port"] == port), port)
    if isinstance(behind, str):
        ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or []]
        behind = next((p["containerPort"] for p in ports if p.get("name") == behind), port)
    ip = str((pod.get("status") or {}).get("podIP", ""))
    host = f"[{ip}]" if ":" in ip else ip
    return urlunsplit((parts.scheme, f"{host}:{behind}", parts.path, parts.query, ""))


KIND = StepKind(CheckEnvironment, lambda c: CheckEnvironmentHandler(c.cluster, c.check), compensates=None)
