"""Puts environment variables of the good release into the workload, and leaves the rest of its template alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from logcaster_guard.domain import releases
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.plan_lines import ToRestart, ToRestoreVariables
from logcaster_guard.domain.releases import LEFT_OUT, RESTARTED_AT, Release
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.variables import with_variables_of
from logcaster_guard.domain.workload import Workload
from logcaster_guard.steps.restore_template import TemplateHandler, TemplateWrite
from logcaster_guard.steps.step_services import StepKind


@dataclass(frozen=True, slots=True)
class RestoreVariables(TemplateWrite):
    """Write: the variables `only` (all if empty) become those of the release saved under `release` (a blob digest).

    `revision` and `images` are what people know that release by.
    """

    release: str
    revision: str
    images: tuple[str, ...]
    only: tuple[str, ...] = ()
    restart: bool = field(default=False, metadata=LEFT_OUT)
    kind: Literal["restore_variables"] = "restore_variables"

    def written(self, saved: Release, workload: Workload) -> Release:
        """The present release with these variables, in last-applied's own copy as well where both are known."""
        present = releases.of_workload(workload)
        now, then = present.applied_template, saved.applied_template
        return replace(
            present,
            template=with_variables_of(workload.template, saved.template, self.only),
            applied_template=with_variables_of(now, then, self.only) if now and then else None,
        )

    def line(self, plan: Plan) -> Message:
        workload = f"{plan.kind} {plan.namespace}/{plan.deployment}"
        line = ToRestoreVariables(workload, tuple(self.only), self.revision, tuple(self.images))
        return ToRestart(line, RESTARTED_AT) if self.restart else line


KIND = StepKind(RestoreVariables, lambda c: TemplateHandler(c.cluster, c.manifests), compensates=None)
