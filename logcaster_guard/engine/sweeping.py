"""Clears away what a request of a guard that is gone created after its run had closed."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import timedelta

import structlog

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import CreateHelper, RestoreEnvironment
from logcaster_guard.effects import environment, helper_deployment
from logcaster_guard.engine.chronicle import Chronicle
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.ports import Clock, Cluster

_LATEST = timedelta(days=1)
"""How long after the end of a run a request of its own is looked out for."""


class Sweeper:
    """Looks for the helpers and environments that closed runs would have created, and deletes them."""

    def __init__(self, chronicle: Chronicle, cluster: Cluster, clock: Clock) -> None:
        self._chronicle = chronicle
        self._cluster = cluster
        self._clock = clock
        self._log = structlog.get_logger()
        self._lines = RecurringLog(clock)

    async def sweep(self) -> None:
        """Once; what fails is logged and left to the next time."""
        since = self._clock.now() - _LATEST
        # What a run has handed over serves the one that took over from it.
        handed = {hold.run for run in self._chronicle.open_runs().values() for hold in run.holds.values()}
        closed = [r for r in self._chronicle.runs() if r.closed is not None and r.closed.at >= since]
        late = [r for r in closed if r.id not in handed]
        helped = [r for r in late if _creates(r, CreateHelper)]
        # Where the creation was seen to be done, the run itself has given the environment back, or left it to serve.
        unseen = [r for r in late if _creates(r, RestoreEnvironment) and not r.done_instant("restore_environment")]
        for namespace in sorted({r.opened.plan.namespace for r in helped}):
            runs = {r.id for r in helped if r.opened.plan.namespace == namespace}
            await self._swept(namespace, helper_deployment.sweep(self._cluster, namespace, runs))
        for run in unseen:
            plan = run.opened.plan
            swept = environment.sweep(self._cluster, plan.namespace, plan.service or "", {run.id})
            await self._swept(plan.namespace, swept)

    async def _swept(self, namespace: str, sweep: Awaitable[Sequence[str]]) -> None:
        try:
            for name in await sweep:
                self._log.warning("helper.removed", namespace=namespace, deployment=name)
        except ClusterError as error:
            self._lines.warning("helper.left", about=namespace, namespace=namespace, detail=str(error))


def _creates(run: Run, kind: type[CreateHelper | RestoreEnvironment]) -> bool:
    return any(isinstance(step, kind) for step in run.opened.plan.steps)
