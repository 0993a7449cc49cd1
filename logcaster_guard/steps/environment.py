"""What the steps of the environment that is to take over share.

Nothing there touches what serves. What was borrowed for it goes back unless the Service sends its requests there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from logcaster_guard.domain import capacity
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.external_changes import selector_of
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import ServesNobody, ServesNow, ServiceMayComeBack
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Cluster
from logcaster_guard.steps.observe import (
    service_of,
    workload_of,
)
from logcaster_guard.steps.switch_service import SwitchService


class _Test(Protocol):
    def __call__(self, workload: Workload) -> bool: ...


async def given_back(cluster: Cluster, run: Run, is_theirs: _Test, theirs: Message) -> Observation:
    """Whether what was made for the switch is to go back: not where it serves, or where `is_theirs` says so."""
    try:
        workload, service = await workload_of(cluster, run), await service_of(cluster, run)
    except ClusterError as error:
        return Unclear(error.reason, error.retry_after)
    if workload is None or workload.deleting:
        return Done(WorkloadGone("the other environment"))
    if is_theirs(workload):
        return ExternalChange(theirs)
    if service is None and run.switched:
        # Whoever replaces a Service deletes it first.
        return ExternalChange(ServiceMayComeBack())
    if serves(workload, service) or _is_named(run, service):
        return Done(ServesNow())
    return Before(ServesNobody())


def _is_named(run: Run, service: Mapping[str, Any] | None) -> bool:
    """Whether the Service's selector names the environment, whatever else somebody has written into it."""
    selector = selector_of(service) or {}
    return any(isinstance(s, SwitchService) and selector.get(s.label) == s.after for s in run.opened.plan.steps)


def serves(workload: Workload, service: Mapping[str, Any] | None) -> bool:
    """Whether the Service's selector takes the workload's pods."""
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    return capacity.selects(selector, capacity.labels_of(workload.template))
