"""Environment rollback: variables of the good release come back on the workload, and everything else of it stays.

What that makes is a release of its own, which nobody has seen: it is unproven until it earns good.
"""

from __future__ import annotations

from dataclasses import replace

from logcaster_guard.domain.planning_reasons import NothingToRestore, UnknownVariables, WouldBeBad
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.variables import names_in
from logcaster_guard.rollbacks import config_restores, immediate
from logcaster_guard.rollbacks.immediate import Facts
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request, WayBack, only_told
from logcaster_guard.steps.restore_variables import RestoreVariables

_SHOWN = 50
"""Names of variables that are told where one is unknown."""


async def gather(request: Request, ports: PlanningPorts) -> Facts:
    """Look at it now. Raises `ClusterError` and `BlobMissing`."""
    return await immediate.in_place(request, await ports.release(request.destination), ports)


def plan(facts: Facts) -> Plan | NotApplicable:
    """The plan that rolls the rule's variables out (all if it names none), or why that would be no way back."""
    request, workload, good = facts.request, facts.request.workload, facts.request.destination
    name = f"{workload.kind} {workload.namespace}/{workload.name}"
    write = RestoreVariables(good.blob, good.name, good.images, request.rule.variables)
    known = names_in(workload.template, facts.release.template)
    unknown = tuple(variable for variable in write.only if variable not in known)
    if unknown:
        return NotApplicable((UnknownVariables(name, unknown, tuple(sorted(known)[:_SHOWN])),))
    made = write.written(facts.release, workload)
    if made.hash == workload.hash:
        return NotApplicable((NothingToRestore(name, write.only, good.name, good.images),))
    if made.hash in {release.template for release in request.bad}:
        return NotApplicable((WouldBeBad(name, good.name, made.hash[:8]),))
    restored = config_restores.restores(request, facts.configuration)
    if isinstance(restored, NotApplicable):
        return restored
    restart = config_restores.restarts(workload, made, facts.configuration, restored=bool(restored.steps))
    rolled = immediate.rolling_update(facts, replace(write, restart=restart), restored)
    if isinstance(rolled, NotApplicable):
        return rolled
    return replace(rolled, strategy=WAY.strategy, to_template=made.hash)


WAY = WayBack(Action.ENV, gather, plan, take_over=None, otherwise=only_told)
