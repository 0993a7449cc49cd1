"""Configuration rollback: what the good release's pods read comes back, and the workload keeps its pod template.

With another template than the good release's, what that makes is a release of its own, which nobody has seen.
"""

from __future__ import annotations

from dataclasses import replace

from logcaster_guard.domain import releases
from logcaster_guard.domain.configuration_reasons import ConfigNothingDiffers, ConfigUnknown, ConfigWouldBeBad
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.steps import Plan
from logcaster_guard.rollbacks import config_restores, immediate
from logcaster_guard.rollbacks.immediate import Facts
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request, WayBack, only_told
from logcaster_guard.steps.restart_pods import RestartPods
from logcaster_guard.steps.restore_template import RestoreTemplate, TemplateWrite


async def gather(request: Request, ports: PlanningPorts) -> Facts:
    """Look at it now. Raises `ClusterError` and `BlobMissing`."""
    same = request.destination.template == request.workload.hash
    kept = await ports.release(request.destination) if same else releases.of_workload(request.workload)
    return await immediate.in_place(request, kept, ports)


def plan(facts: Facts) -> Plan | NotApplicable:
    """The plan that puts the differing objects back and replaces every pod, or why that would be no way back."""
    request, workload, good = facts.request, facts.request.workload, facts.request.destination
    restored = config_restores.restores(request, facts.configuration)
    if isinstance(restored, NotApplicable):
        return restored
    same = good.template == workload.hash
    if not restored.steps and not same:
        name = workload.full_name
        why = ConfigNothingDiffers(name, good.name) if good.contents else ConfigUnknown(name, good.name)
        return NotApplicable(restored.unrestored or (why,))
    restart = config_restores.restarts(workload, facts.release, facts.configuration, restored=bool(restored.steps))
    write: TemplateWrite = RestoreTemplate(good.blob, restart) if same else RestartPods(good.blob)
    rolled = immediate.rolling_update(facts, write, restored)
    if isinstance(rolled, NotApplicable):
        return rolled
    made = config_restores.configuration_after(facts.release.template, facts.configuration, restored)
    if ReleaseId(workload.hash, made) in request.bad:
        return NotApplicable((ConfigWouldBeBad(workload.full_name, good.name),))
    configuration = good.configuration if same and restored.complete else made
    return replace(rolled, strategy=WAY.strategy, to_configuration=configuration)


WAY = WayBack(Action.CONFIG, gather, plan, take_over=None, otherwise=only_told)
