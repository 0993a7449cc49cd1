"""Tells sources outside the cluster which pods belong to a target."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from logcaster_guard.adapters.kubernetes.pods import endpoints_of, roster_of
from logcaster_guard.adapters.kubernetes.signals import fault_of
from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.errors import ClusterError, NotFound
from logcaster_guard.domain.ownership import Roster
from logcaster_guard.domain.signals import Gap, NoData, SourceError, Target
from logcaster_guard.ports import Clock, Cluster, Endpoint, Reads

_FRESH = 1.0
"""Seconds for which one look at the cluster itself serves all who ask for one."""
_KEPT = 600.0
"""Seconds for which the last look serves while the API server does not answer: nothing is rolled out meanwhile."""
_MOST = 1_000


@dataclass(slots=True)
class _Known:
    """`at` is when it was shown last, `looked` when the cluster itself showed it."""

    at: float = float("-inf")
    looked: float = float("-inf")
    roster: Roster = field(default_factory=Roster)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Rosters:
    """The roster of a target, looked up when it is asked for."""

    def __init__(self, cluster: Cluster, view: ClusterView, clock: Clock) -> None:
        self._cluster = cluster
        self._view = view
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def __call__(self, target: Target, shared: bool) -> Roster | NoData | SourceError:
        """The target's roster, from the shared view if that will do; no data where its workload is not there."""
        if len(self._known) >= _MOST:
            self._known.clear()
        known = self._known.setdefault(f"{target.kind}/{target.key}", _Known())
        if shared:
            return await self._looked_up(target, known, self._view.look())
        async with known.looking:
            now = self._clock.monotonic()
            if now - known.looked < _FRESH:
                return known.roster
            found = await self._looked_up(target, known, self._cluster)
            known.looked = known.at
            return found

    async def _looked_up(self, target: Target, known: _Known, reads: Reads) -> Roster | NoData | SourceError:
        now = self._clock.monotonic()
        try:
            known.roster = await roster_of(reads, target)
        except NotFound as error:
            return NoData(now, Gap.EMPTY, str(error))
        except ClusterError as error:
            if now - known.at < _KEPT:
                return known.roster
            return SourceError(now, fault_of(error), str(error), error.retry_after)
        known.at = now
        return known.roster


class Pods:
    """The running pods of a target, looked up when they are asked for."""

    def __init__(self, cluster: Cluster, view: ClusterView, clock: Clock) -> None:
        self._cluster = cluster
        self._view = view
        self._clock = clock

    async def __call__(self, target: Target, shared: bool) -> Sequence[Endpoint] | SourceError:
        """The target's running pods, from the shared view if that will do; none where its workload is not there."""
        try:
            return await endpoints_of(self._view.look() if shared else self._cluster, target)
        except NotFound:
            return []
        except ClusterError as error:
            return SourceError(self._clock.monotonic(), fault_of(error), str(error), error.retry_after)
