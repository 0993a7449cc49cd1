"""Old and new pods of one target side by side, while both live and the breach is on; `domain.attribution` compares."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from logcaster_guard.domain import attribution
from logcaster_guard.domain.attribution import Comparison, EditsRead, Level, Witness, Yardstick
from logcaster_guard.domain.configuration.edits import Blame
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.releases import ReleaseId
from logcaster_guard.domain.signals import Value
from logcaster_guard.domain.workload import Workload, revisions_of
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.ports import Divisible, Kind

_COUNTED = frozenset({"error_rate", "p95_latency"})
"""Signals that prove nothing on a few requests."""
_OLD_PODS, _UNREAD_PODS = "the old pods", "the pods that have not read it"


class PodComparison:
    """One target's. What cannot be read compares nothing; nothing is raised."""

    def __init__(self, context: TargetContext, services: Services, revisions: RevisionWatch) -> None:
        self._live_workload = context.live_workload
        self._cluster = services.cluster
        self._clock = services.clock
        self._policy = services.policy
        self._signals = services.signals
        self._sources = services.sources
        self._revisions = revisions
        self._log = structlog.get_logger().bind(target=context.target.key)

    async def compare(
        self,
        measures: Sequence[Yardstick],
        me: Witness,
        workload: Workload,
        suspected: frozenset[str],
        edits: EditsRead | None,
    ) -> Sequence[Comparison]:
        """What `measures` show of the `suspected` releases' pods and of older ones while both were in the breach.

        After `edits` it is the pods that have read them and those that have not. Empty where that cannot be told.
        """
        target, onset = self._live_workload.known, me.onset
        if target is None or onset is None or (edits is not None and edits.blame is not Blame.COMPARE):
            return []
        end = self._revisions.whole_since if workload.rolled_out and edits is None else self._clock.monotonic()
        if end is None or end - onset < self._policy.polling.interval:
            return []
        if edits is not None:
            groups = PodGroup(names=frozenset(edits.new)), PodGroup(names=frozenset(edits.old))
            return await self._compared(measures, me, groups, (onset, end), against=_UNREAD_PODS)
        templates = frozenset(ReleaseId.of_key(key).template for key in suspected)
        try:
            old = await self._releases(workload) - templates
        except ClusterError as error:
            self._log.warning("workload.unread", detail=str(error))
            return []
        if not old:
            return []
        groups = PodGroup(templates), PodGroup(old)
        return await self._compared(measures, me, groups, (onset, end), against=_OLD_PODS)

    async def _compared(
        self,
        measures: Sequence[Yardstick],
        me: Witness,
        groups: tuple[PodGroup, PodGroup],
        window: tuple[float, float],
        *,
        against: str,
    ) -> Sequence[Comparison]:
        found = await asyncio.gather(*(self._one_beside(y, me, groups, window, against) for y in measures))
        return [c for c in found if c is not None]

    async def _releases(self, workload: Workload) -> frozenset[str]:
        kept_in = Kind.REPLICA_SET if workload.kind == Kind.DEPLOYMENT else Kind.CONTROLLER_REVISION
        revisions = revisions_of(workload, await self._cluster.list(kept_in, workload.namespace))
        return frozenset(r.hash for r in revisions)

    async def _one_beside(
        self,
        yardstick: Yardstick,
        me: Witness,
        groups: tuple[PodGroup, PodGroup],
        window: tuple[float, float],
        against: str,
    ) -> Comparison | None:
        name = yardstick.signal
        shown, before = await self._both(name, groups, window), me.levels.get(name)
        if shown is None or before is None:
            return None
        least = 0.0
        if name in _COUNTED:
            rates, length = await self._both("request_rate", groups, window), window[1] - window[0]
            if rates is None or min(rates) * length < self._policy.attribution.min_requests:
                return None
            if name == "error_rate":
                least = attribution.chance(shown[0], rates[0] * length, shown[1], rates[1] * length)
        after_new, after_old = (Level(number, before.before) for number in shown)
        return attribution.compared(
            yardstick, after_new, after_old, against=against, policy=self._policy.attribution, least=least
        )

    async def _both(
        self, name: str, groups: tuple[PodGroup, PodGroup], window: tuple[float, float]
    ) -> tuple[float, float] | None:
        """The signal of the new pods and of the old ones; None unless both are known."""
        one, other = [await self._portion(name, group, window) for group in groups]
        return None if one is None or other is None else (one, other)

    async def _portion(self, name: str, group: PodGroup, window: tuple[float, float]) -> float | None:
        signal, target = self._signals.get(name), self._live_workload.known
        source: object = None if signal is None else self._sources.get(signal.source)
        if signal is None or target is None or not isinstance(source, Divisible):
            return None
        reading = await source.portion(target, signal, group, *window)
        return reading.number if isinstance(reading, Value) else None
