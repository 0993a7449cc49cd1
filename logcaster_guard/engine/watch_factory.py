"""Puts the parts of one target together, over what all targets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine.attribution import Attributor
from logcaster_guard.engine.configuration_follower import ConfigurationFollower
from logcaster_guard.engine.decision_loop import DecisionLoop
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.deployment_signals import SignalInspector
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.followed_objects import FollowedObjects
from logcaster_guard.engine.hub import RuleRefused
from logcaster_guard.engine.live_workload import LiveWorkload
from logcaster_guard.engine.manual_runs import ManualRuns
from logcaster_guard.engine.planning import Planner
from logcaster_guard.engine.reader import Reader
from logcaster_guard.engine.refused_triggers import Refusals
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.snapshotting import Snapshotter
from logcaster_guard.engine.source_health import SourceHealth
from logcaster_guard.engine.target_configuration import NotFollowed
from logcaster_guard.engine.triggers import Triggers
from logcaster_guard.engine.watch import TargetParts, TargetWatch
from logcaster_guard.engine.watched_workload import WatchedWorkload
from logcaster_guard.ports import Rights


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFactory:
    """Makes the watches of all targets, which watch by `view` and decide without it.

    `rights` is asked before each plan is given out; None: nobody is. `followed` are the ConfigMaps that pods read, None
    where none is followed.
    """

    rules: Sequence[Rule]
    services: Services
    health: SourceHealth
    executor: Executor
    inspector: SignalInspector
    view: ClusterView
    rights: Rights | None = None
    followed: FollowedObjects | None = None
    _attributors: dict[str, Attributor] = field(default_factory=dict)

    def watch(self, target: Target) -> TargetWatch:
        """The watch of one target, with everything that it needs."""
        services = self.services
        configuration = None if self.followed is None else ConfigurationFollower(target, services, self.followed)
        context = TargetContext(
            target,
            LiveWorkload(target, services.cluster),
            configuration=NotFollowed() if configuration is None else configuration.known,
        )
        services.hub.subscribe(RuleRefused, context.counters.refused, target=target.key)
        triggers = Triggers(context, services, self.rules)
        watched = WatchedWorkload(target, self.view)
        reader = Reader(context, services, triggers=triggers, health=self.health, watched=watched)
        snapshots = Snapshotter(target, services.cluster, services.manifests, services.clock)
        revisions = RevisionWatch(context, services, triggers, watched, snapshots)
        services.inbox.follow(target.key, revisions)
        attributor = self._attributors[target.key] = Attributor(
            context, services, triggers=triggers, reader=reader, revisions=revisions, all_targets=self._attributors
        )
        planner = self._planner(target)
        decisions = self._decisions(target, planner, attributor, snapshots)
        manual = ManualRuns(
            target, services, revisions=revisions, decisions=decisions, planner=planner, carrier=self.executor
        )
        deciding = DecisionLoop(
            context, services, triggers=triggers, revisions=revisions, decisions=decisions, executor=self.executor
        )
        self.executor.follow(target.key, deciding)
        parts = TargetParts(
            triggers=triggers,
            reader=reader,
            revisions=revisions,
            decisions=decisions,
            decision_loop=deciding,
            manual=manual,
            configuration=configuration,
        )
        return TargetWatch(context, services, parts)

    def _decisions(self, target: Target, planner: Planner, attributor: Attributor, snapshots: Snapshotter) -> Decisions:
        return Decisions(
            target,
            self.services,
            planner=planner,
            attributor=attributor,
            refusals=Refusals(target, self.services, planner),
            starter=self.executor,
            snapshots=snapshots,
        )

    def _planner(self, target: Target) -> Planner:
        return Planner(
            target,
            cluster=self.services.cluster,
            blobs=self.services.blobs,
            policy=self.services.policy,
            inspector=self.inspector,
            ledger=partial(self.services.state.ledger, target.key),
            rights=self.rights,
            secrets=self.services.secrets,
        )
