"""From what is to be done to a plan: looks at what the strategy rests on, and asks the strategy."""

from __future__ import annotations

from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.gradual import gathered
from logcaster_guard.ports import Blobs, Cluster, Json, Kind
from logcaster_guard.strategies import alert_then, gradual, immediate
from logcaster_guard.strategies.unfit import Unfit


class Planner:
    """Plans runs of one target. Nothing here writes; every method raises the `ClusterError` it met."""

    def __init__(self, target: Target, *, cluster: Cluster, blobs: Blobs, policy: Policy) -> None:
        self._target = target
        self._cluster = cluster
        self._blobs = blobs
        self._policy = policy

    async def plan(self, action: Action, workload: Workload, destination: Record, *, rule: Rule) -> Plan | Unfit:
        """The plan that takes `workload` to `destination` by `action`, or why that action does not fit it."""
        match action:
            case Action.IMMEDIATE:
                return await self._immediate(workload, destination, rule)
            case Action.GRADUAL:
                around = await gathered(self._cluster, self._blobs, self._target, destination)
                return gradual.plan(workload, destination, rule=rule, policy=self._policy, around=around)
            case Action.ALERT_THEN:
                planned = await self._immediate(workload, destination, rule)
                return (
                    planned if isinstance(planned, Unfit) else alert_then.plan(planned, rule=rule, policy=self._policy)
                )
            case _:
                return Unfit((f"The action {action} is not available in this version: decide yourself.",))

    async def take_over(self, old: Run, workload: Workload, destination: Record, *, rule: Rule) -> Plan | Unfit:
        """The immediate plan from what `old`, a slower run, has left half done."""
        if old.opened.plan.strategy == "gradual":
            return gradual.take_over(old, workload, destination, rule=rule, policy=self._policy)
        return await self._immediate(workload, destination, rule)

    async def _immediate(self, workload: Workload, destination: Record, rule: Rule) -> Plan | Unfit:
        return immediate.plan(
            workload,
            destination,
            rule=rule,
            policy=self._policy,
            service=await self._service(),
            autoscalers=await self._cluster.list(Kind.AUTOSCALER, self._target.namespace),
        )

    async def _service(self) -> Json | None:
        if self._target.service is None:
            return None
        try:
            return await self._cluster.get(Kind.SERVICE, self._target.namespace, self._target.service)
        except NotFound:
            return None
