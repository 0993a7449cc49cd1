"""Replaces every pod of the workload and keeps its template, so that all of them read what was put back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from logcaster_guard.domain import releases
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.plan_lines import ToRestartPods
from logcaster_guard.domain.releases import LEFT_OUT, RESTARTED_AT, Release
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.steps.restore_template import TemplateHandler, TemplateWrite
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class RestartPods(TemplateWrite):
    """Write: the workload's own pod template is stamped; `release` is the one whose configuration was put back."""

    release: str
    restart: bool = field(default=True, metadata=LEFT_OUT)
    kind: Literal["restart_pods"] = "restart_pods"

    def written(self, saved: Release, workload: Workload) -> Release:  # noqa: ARG002 - the base's shape
        return replace(releases.of_workload(workload), template=workload.template)

    def line(self, plan: Plan) -> Message:
        return ToRestartPods(f"{plan.kind} {plan.namespace}/{plan.deployment}", RESTARTED_AT)


KIND = StepKind(RestartPods, lambda c: TemplateHandler(c.cluster, c.manifests), compensates=None)
