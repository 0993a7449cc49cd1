"""Puts the parts of one target together, over what all targets share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Signal, SourceName, Target
from logcaster_guard.engine.aim import Aim
from logcaster_guard.engine.attribution import Attributor
from logcaster_guard.engine.chronicle import Chronicle
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.inspection import SignalInspector
from logcaster_guard.engine.manual import ManualRuns
from logcaster_guard.engine.operator_inbox import OperatorInbox
from logcaster_guard.engine.planning import Planner
from logcaster_guard.engine.problems import Problems
from logcaster_guard.engine.reader import Reader
from logcaster_guard.engine.refusing import Refusals
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.source_health import SourceHealth
from logcaster_guard.engine.tally import Tally
from logcaster_guard.engine.triggers import Triggers
from logcaster_guard.engine.watch import TargetWatch
from logcaster_guard.ports import Blobs, Clock, Cluster, Rights, Source


@dataclass(frozen=True, slots=True)
class Orders:
    """What is guarded, by which rules, and how."""

    targets: Sequence[Target]
    signals: Mapping[str, Signal]
    rules: Sequence[Rule]
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What all targets share.

    `own` gives the UID of the workload in whose pods the guard runs, empty for none. `rights` is asked before each plan
    is given out; None: nobody is.
    """

    orders: Orders
    cluster: Cluster
    sources: Mapping[SourceName, Source]
    blobs: Blobs
    clock: Clock
    chronicle: Chronicle
    health: SourceHealth
    problems: Problems
    inbox: OperatorInbox
    executor: Executor
    inspector: SignalInspector
    own: Callable[[], str]
    rights: Rights | None = None
    _attributors: dict[str, Attributor] = field(default_factory=dict)

    def watch(self, target: Target) -> TargetWatch:
        """The watch of one target, with everything that it needs."""
        aim, tally = Aim(target, self.cluster), Tally()
        triggers = self._triggers(target, aim, tally)
        reader = self._reader(target, aim, triggers, tally)
        revisions = self._revisions(target, aim, triggers)
        self.inbox.follow(target.key, revisions.look)
        planner = Planner(
            target,
            cluster=self.cluster,
            blobs=self.blobs,
            policy=self.orders.policy,
            inspector=self.inspector,
            rights=self.rights,
        )
        attributor = self._attributor(target, aim, triggers, reader, revisions)
        decisions = self._decisions(target, planner, attributor, tally)
        return TargetWatch(
            target,
            triggers=triggers,
            reader=reader,
            revisions=revisions,
            decisions=decisions,
            manual=self._manual(target, revisions, decisions, planner),
            executor=self.executor,
            chronicle=self.chronicle,
            clock=self.clock,
            tally=tally,
            problems=self.problems,
            interval=self.orders.policy.polling.interval,
        )

    def _triggers(self, target: Target, aim: Aim, tally: Tally) -> Triggers:
        return Triggers(
            target,
            aim=aim,
            rules=self.orders.rules,
            signals=self.orders.signals,
            sources=self.sources,
            policy=self.orders.policy,
            clock=self.clock,
            chronicle=self.chronicle,
            tally=tally,
            problems=self.problems,
        )

    def _reader(self, target: Target, aim: Aim, triggers: Triggers, tally: Tally) -> Reader:
        return Reader(
            target,
            aim=aim,
            signals=triggers.signals,
            sources=self.sources,
            interval=self.orders.policy.polling.interval,
            board=triggers.board,
            clock=self.clock,
            chronicle=self.chronicle,
            health=self.health,
            problems=self.problems,
            tally=tally,
        )

    def _revisions(self, target: Target, aim: Aim, triggers: Triggers) -> RevisionWatch:
        return RevisionWatch(
            target,
            aim=aim,
            cluster=self.cluster,
            blobs=self.blobs,
            chronicle=self.chronicle,
            clock=self.clock,
            policy=self.orders.policy,
            inbox=self.inbox,
            quiet=triggers.quiet,
            template_changed=triggers.template_changed,
        )

    def _attributor(
        self, target: Target, aim: Aim, triggers: Triggers, reader: Reader, revisions: RevisionWatch
    ) -> Attributor:
        made = self._attributors[target.key] = Attributor(
            target,
            triggers=triggers,
            reader=reader,
            aim=aim,
            revisions=revisions,
            cluster=self.cluster,
            clock=self.clock,
            chronicle=self.chronicle,
            policy=self.orders.policy,
            signals=self.orders.signals,
            sources=self.sources,
            others=lambda: [a for other, a in self._attributors.items() if other != target.key],
        )
        return made

    def _decisions(self, target: Target, planner: Planner, attributor: Attributor, tally: Tally) -> Decisions:
        refusals = Refusals(
            target,
            cluster=self.cluster,
            chronicle=self.chronicle,
            clock=self.clock,
            policy=self.orders.policy,
            planner=planner,
            on_refusal=tally.refused,
        )
        return Decisions(
            target,
            cluster=self.cluster,
            chronicle=self.chronicle,
            clock=self.clock,
            policy=self.orders.policy,
            planner=planner,
            blobs=self.blobs,
            starter=self.executor,
            attributor=attributor,
            units={name: signal.unit for name, signal in self.orders.signals.items()},
            refusals=refusals,
            own=self.own,
        )

    def _manual(self, target: Target, revisions: RevisionWatch, decisions: Decisions, planner: Planner) -> ManualRuns:
        return ManualRuns(
            target,
            revisions=revisions,
            decisions=decisions,
            planner=planner,
            chronicle=self.chronicle,
            inbox=self.inbox,
            carrier=self.executor,
            blobs=self.blobs,
            policy=self.orders.policy,
        )
