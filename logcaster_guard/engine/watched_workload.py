"""What the shared view shows of a target: enough to see that nothing has changed, and never what is decided on."""

from __future__ import annotations

from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.live_workload import live_target
from logcaster_guard.ports import Kind


class WatchedWorkload:
    """One target as it is watched. Everything here raises `ClusterError`."""

    def __init__(self, target: Target, view: ClusterView) -> None:
        self._target = target
        self._view = view

    async def live(self) -> Target | None:
        """The target with its live Deployment; None if its Service selects no environment."""
        return await live_target(self._view.look(), self._target)

    async def unchanged_at(self, live: Target, workload: Workload) -> float | None:
        """The monotonic second at which `live` was still live, and its workload still `workload`; None: it is not."""
        look = self._view.look()
        if await live_target(look, self._target) != live:
            return None
        try:
            shown = Workload(await look.get(Kind(live.kind), live.namespace, live.deployment))
        except NotFound:
            return None
        same = (shown.uid, shown.resource_version) == (workload.uid, workload.resource_version)
        return look.proven if same else None
