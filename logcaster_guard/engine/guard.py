"""The whole engine over ready-made ports: what the daemon, the demo and the tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Signal, SourceName, Target
from logcaster_guard.domain.steps import Step, VerifyRecovery
from logcaster_guard.effects.verification import Assessment, VerifyRecoveryHandler
from logcaster_guard.effects.workload import Handler, registry
from logcaster_guard.engine.chronicle import Chronicle
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.outages import Outages
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.watch import TargetWatch
from logcaster_guard.ports import Blobs, Channel, Clock, Cluster, Journal, Source

_DRAIN = 5.0
_YOUNG = 86_400.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What is guarded, by which rules, and how."""

    targets: Sequence[Target]
    signals: Mapping[str, Signal]
    rules: Sequence[Rule]
    policy: Policy


class Guard:
    """Watches every target and carries out their runs. Without a journal (`None`) it only watches."""

    def __init__(
        self,
        orders: Orders,
        *,
        cluster: Cluster,
        sources: Mapping[SourceName, Source],
        journal: Journal | None,
        blobs: Blobs,
        channels: Sequence[Channel],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._cluster = cluster
        self._blobs = blobs
        self._sources = sources
        self._orders = orders
        self.outbox = None if journal is None else Outbox(journal, channels, clock)
        self.chronicle = Chronicle(journal, on_append=self._appended)
        self._outages = Outages(self.chronicle, clock)
        handlers, lenders = registry(cluster, blobs, clock)
        verify: dict[type[Step], Handler] = {
            VerifyRecovery: VerifyRecoveryHandler(cluster, clock, self._assess, orders.policy.polling.staleness)
        }
        self.executor = Executor(
            chronicle=self.chronicle,
            clock=clock,
            handlers={**handlers, **verify},
            lenders=lenders,
            on_close=self._run_closed,
        )
        self.watches = {target.key: self._watch(target) for target in orders.targets}

    def _watch(self, target: Target) -> TargetWatch:
        orders, policy = self._orders, self._orders.policy
        watch = TargetWatch(
            target,
            rules=orders.rules,
            signals=orders.signals,
            sources=self._sources,
            policy=policy,
            clock=self._clock,
            chronicle=self.chronicle,
            outages=self._outages,
            executor=self.executor,
        )
        revisions = RevisionWatch(
            target,
            cluster=self._cluster,
            blobs=self._blobs,
            chronicle=self.chronicle,
            clock=self._clock,
            policy=policy,
            quiet=watch.quiet,
            template_changed=watch.template_changed,
        )
        decisions = Decisions(
            target,
            cluster=self._cluster,
            chronicle=self.chronicle,
            clock=self._clock,
            policy=policy,
            starter=self.executor,
        )
        watch.connect(revisions, decisions)
        return watch

    async def run(self) -> None:
        """Take up what the journal tells to be open, then watch until cancelled."""
        await self.chronicle.load()
        try:
            async with asyncio.TaskGroup() as group:
                if self.outbox is not None:
                    group.create_task(self.outbox.run(), name="outbox")
                self.executor.resume()
                for watch in self.watches.values():
                    group.create_task(watch.run(), name=f"watch {watch.target.key}")
        finally:
            await self.executor.stop()
            if self.outbox is not None:
                await self.outbox.drain(self._clock.monotonic() + _DRAIN)

    async def forget_old_releases(self) -> None:
        """Remove the saved releases that no rollback can need any more."""
        kept = self.chronicle.releases_to_keep(self._orders.policy.ledger)
        removed = await self._blobs.keep_only(kept, older_than=_YOUNG)
        structlog.get_logger().info("releases.forgotten", removed=removed, kept=len(kept))

    def _appended(self, stream: str) -> None:
        if self.outbox is not None:
            self.outbox.wake(stream)

    def _assess(self, target: str, rule: str, since: float) -> Assessment:
        if target not in self.watches:
            return Assessment(Verdict.UNKNOWN, f"{target} is no longer among the targets")
        return self.watches[target].assess(rule, since)

    def _run_closed(self, target: str) -> None:
        if target in self.watches:
            self.watches[target].run_closed()
