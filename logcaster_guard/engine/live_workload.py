"""Which workload a target is at this moment: where environments take turns, the one that its Service selects."""

from __future__ import annotations

from dataclasses import replace

from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.signals import Target
from logcaster_guard.ports import Cluster, Kind, Reads


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
        live = await live_target(self._cluster, self._target)
        self._known = live or self._known
        return live


async def live_target(reads: Reads, target: Target) -> Target | None:
    """The target with the Deployment that its Service selects; None if it selects no environment."""
    if not target.environments:
        return target
    try:
        service = await reads.get(Kind.SERVICE, target.namespace, str(target.service))
    except NotFound:
        return None
    live = target.live((service.get("spec") or {}).get("selector") or {})
    return None if live is None else replace(target, deployment=live)
