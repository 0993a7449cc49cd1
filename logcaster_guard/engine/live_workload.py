"""Which workload a target is at this moment: where environments take turns, the one that its Service selects."""

from __future__ import annotations

from dataclasses import replace

from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.signals import Target
from logcaster_guard.ports import Cluster, Kind


class LiveWorkload:
    """Knows the live workload of one target; a target without environments is always the same one."""

    def __init__(self, target: Target, cluster: Cluster) -> None:
        self._target = target
        self._cluster = cluster
        self._known = None if target.environments else target

    @property
    def known(self) -> Target | None:
        """The target as it was looked at last, `deployment` being the live one; None before the first look."""
        return self._known

    async def look(self) -> Target | None:
        """The target with its live Deployment; None if its Service selects no environment. Raises `ClusterError`."""
        target = self._target
        if not target.environments:
            return target
        try:
            service = await self._cluster.get(Kind.SERVICE, target.namespace, str(target.service))
        except NotFound:
            return None
        live = target.live((service.get("spec") or {}).get("selector") or {})
        if live is None:
            return None
        self._known = replace(target, deployment=live)
        return self._known
