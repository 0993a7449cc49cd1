"""The whole engine over ready-made ports: what the daemon, the demo and the tests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import structlog

from logcaster_guard import messages
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import ClusterError, JournalOutOfReach, JournalUnavailable, Rejected
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.leadership import Role
from logcaster_guard.domain.measurements import TargetGone
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.rules import Rule, RulesDiff, difference
from logcaster_guard.domain.state import GUARD
from logcaster_guard.domain.steps import CLUSTER
from logcaster_guard.engine import epoch_marker
from logcaster_guard.engine.clock_comparison import ClockComparison
from logcaster_guard.engine.command_writer import CommandWriter
from logcaster_guard.engine.compaction import Compactor
from logcaster_guard.engine.credible_source import CredibleSource
from logcaster_guard.engine.deferred_compensations import DeferredCompensations
from logcaster_guard.engine.deployment_signals import SignalInspector
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.fencing import fenced
from logcaster_guard.engine.followed_objects import FollowedObjects
from logcaster_guard.engine.guard_counters import CountedBlobs, CountedJournal
from logcaster_guard.engine.hub import Hub, JournalAppended, RunFound
from logcaster_guard.engine.journal_down import JournalDownNotifier
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.leader_elector import LeaderElector, during
from logcaster_guard.engine.left_copies import LeftCopies
from logcaster_guard.engine.manual_runs import ManualRuns
from logcaster_guard.engine.operator_inbox import OperatorInbox
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.engine.problem_tracker import Problems
from logcaster_guard.engine.read_model import Parts, ReadModel
from logcaster_guard.engine.release_retention import ReleaseRetention
from logcaster_guard.engine.sampling import Sampler
from logcaster_guard.engine.self_workload import OwnPod, own_workload
from logcaster_guard.engine.services import Configuration, GuardPorts, SelfWorkload, Services
from logcaster_guard.engine.source_health import SourceHealth
from logcaster_guard.engine.suspensions import Suspensions
from logcaster_guard.engine.sweeping import Sweeper
from logcaster_guard.engine.watch_factory import WatchFactory
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import Texts, english
from logcaster_guard.ports import Clock, Cluster, Entry
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import (
    Assessment,
    HandlerContext,
    Handlers,
    StepKind,
    compensations_of,
    handlers_of,
)

_DRAIN = 5.0
_SWEEP = 60.0
_LOAD_RETRY = 5.0
_STAMP_RETRY = 1.0


class Guard:
    """Watches every target and carries out their runs. Without a journal (`None`) it only watches.

    With an `authority` it acts only while that is held: it stands by until then, and its inside begins anew over the
    journal at each taking and each loss. It lives in one task, that of `run`.

    `own_pod` is the pod that it runs in, whose workload is then never rolled back. `journal_fault` is why there is no
    journal, empty where nobody is to be told. `kinds` are the steps that it can carry out.
    `reloads` counts what became of changed configuration files: `applied` or `refused`.
    """

    def __init__(
        self,
        configuration: Configuration,
        ports: GuardPorts,
        *,
        authority: LeaderElector | None = None,
        own_pod: OwnPod | None = None,
        journal_fault: Reason = "",
        kinds: Sequence[StepKind] = KINDS,
    ) -> None:
        self._clock = ports.clock
        self._whole_cluster = ports.cluster
        self._view = ports.view
        self._channels = ports.channels
        self.blobs = CountedBlobs(ports.blobs)
        self._manifests = KeptManifests(self.blobs, ports.saved_secrets)
        self._kept_kinds = [kind for kind in ConfigKind if self._manifests.keeps(kind)]
        self._sources = {name: CredibleSource(source) for name, source in ports.sources.items()}
        self._configuration = configuration
        self.authority = authority
        self._own_pod = own_pod
        self._kinds = kinds
        self._rights = ports.rights
        self._watches, self._listings = ports.watches, ports.listings
        self._self_workload = SelfWorkload()
        self.reloads: Counter[str] = Counter()
        self.journal = None if ports.journal is None else CountedJournal(ports.journal)
        places = {target.namespace for target in configuration.targets}
        self.journal_down = JournalDownNotifier(
            self.journal,
            self.blobs,
            ports.channels,
            ports.cluster,
            ports.clock,
            namespaces=places,
            copied=self._kept_kinds,
        )
        if journal_fault:
            self.journal_down.lost(journal_fault)
        self._begin()

    def _begin(self) -> None:
        """Make the inside anew, which knows nothing yet."""
        self._term = None if self.authority is None else self.authority.term()
        configuration, clock, hub = self._configuration, self._clock, Hub()
        cluster, journal, channels = fenced(self._whole_cluster, self.journal, self._channels, self._term)
        self._cluster = cluster
        self.state = JournalState(journal, clock, hub)
        self.problems = Problems(self.state, clock)
        services = self._services(cluster, hub)
        self.outbox = self._compactor = None
        if journal is not None:
            self.outbox = outbox = Outbox(journal, channels, clock)
            hub.subscribe(JournalAppended, lambda appended: outbox.wake(appended.stream))
            self._compactor = Compactor(self.state, journal, outbox, clock, retention=configuration.policy.retention)
        inspector = SignalInspector(configuration.targets, configuration.signals, self._sources, clock)
        handlers = self._handlers(services, inspector)
        self.executor = executor = Executor(self.state, clock, handlers, hub=hub, listener=services.inbox)
        hub.subscribe(RunFound, lambda found: executor.start(found.stream, found.run))
        copies = LeftCopies(cluster, clock, self._kept_kinds)
        self._retention = ReleaseRetention(self.state, self._manifests, configuration.policy, clock)
        self.sweeper = Sweeper(self.state, cluster, clock, configuration.targets, handlers, copies=copies)
        self._suspensions = Suspensions(
            state=self.state, cluster=cluster, clock=clock, interval=configuration.policy.polling.interval
        )
        self._deferred = DeferredCompensations(
            state=self.state, handlers=handlers, clock=clock, interval=configuration.policy.polling.interval
        )
        self._followed = self._followed_objects()
        shared = WatchFactory(
            rules=configuration.rules,
            services=services,
            health=SourceHealth(self.problems, clock),
            executor=executor,
            inspector=inspector,
            view=self._view,
            rights=self._rights,
            followed=self._followed,
        )
        self.watches = {target.key: shared.watch(target) for target in configuration.targets}
        self.commands = CommandWriter(cluster, self.state, clock, self.watches, configuration.policy.ledger)
        self.read_model = ReadModel(self._parts())

    def _services(self, cluster: Cluster, hub: Hub) -> Services:
        configuration, clock = self._configuration, self._clock
        return Services(
            cluster=cluster,
            clock=clock,
            state=self.state,
            blobs=self.blobs,
            policy=configuration.policy,
            sources=self._sources,
            sampler=Sampler(self._sources, clock, configuration.policy.polling.interval),
            signals=configuration.signals,
            hub=hub,
            problems=self.problems,
            inbox=OperatorInbox(cluster, self.state, clock, configuration.policy),
            self_workload=self._self_workload,
            secrets=self._manifests.secrets,
        )

    def _followed_objects(self) -> FollowedObjects | None:
        if self._watches is None or self._listings is None:
            return None
        limit = self._configuration.policy.config.volatile
        return FollowedObjects(self._watches, self._listings, self._manifests, self._clock, volatile=limit)

    def _parts(self) -> Parts:
        return Parts(
            watches=self.watches,
            state=self.state,
            problems=self.problems,
            sweeper=self.sweeper,
            outbox=self.outbox,
            journal=self.journal,
            blobs=self.blobs,
            journal_down=self.journal_down,
            authority=self.authority,
            reloads=self.reloads,
            policy=self._configuration.policy,
            clock=self._clock,
        )

    def _handlers(self, services: Services, inspector: SignalInspector) -> Handlers:
        context = HandlerContext(
            cluster=services.cluster,
            blobs=services.blobs,
            clock=services.clock,
            inspect=inspector,
            check=inspector.check,
            assess=self._assess,
            goes_on=self._goes_on,
            staleness=self._configuration.policy.polling.staleness,
            secrets=self._manifests.secrets,
        )
        return handlers_of(self._kinds, context)

    @property
    def clock(self) -> Clock:
        """The clock that everything here is told by."""
        return self._clock

    def manual(self, target: str) -> ManualRuns:
        """The rollbacks of this target that people ask for; raises `KeyError`."""
        return self.watches[target].manual

    async def read_journal(self) -> None:
        """Read the journal without watching anything; raises `JournalOutOfReach`."""
        await self.state.load()

    async def reload(self, rules: Sequence[Rule]) -> RulesDiff:
        """Go over to these rules between two evaluations, and tell people what is different."""
        before, diff = self._configuration.rules, difference(self._configuration.rules, rules)
        self._configuration = replace(self._configuration, rules=tuple(rules))
        for watch in self.watches.values():
            await watch.reload(rules, self._configuration.signals)
        self.reloads["applied"] += 1
        structlog.get_logger().info(
            "config.reloaded", added=diff.added, removed=diff.removed, changed=diff.changed
        )  # fmt: skip
        names = {*diff.added, *diff.removed, *diff.changed}
        edited = [rule for rule in (*before, *rules) if rule.name in names]
        concerned = [t for t in self._configuration.targets if any(rule.applies_to(t) for rule in edited)]
        await self._tell(messages.rules_reloaded(concerned, diff, self._clock.now()))
        return diff

    async def refuse_reload(self, faults: Sequence[Reason], texts: Texts) -> None:
        """Keep the configuration in force: the new files have these faults, which people are told in these texts."""
        self.reloads["refused"] += 1
        lines = list(map(english().text, faults))
        structlog.get_logger().error("config.refused", faults=lines, effect="the configuration in force stays")
        told = "\n".join(map(texts.text, faults))
        await self._tell(messages.configuration_refused(self._configuration.targets, told, self._clock.now()))

    async def settings_changed(self, keys: Sequence[str], rules: Sequence[Rule]) -> None:
        """Tell people that these settings are others, before a guard with them and with `rules` takes its place."""
        self.reloads["applied"] += 1
        structlog.get_logger().info(
            "config.settings_changed", changed=list(keys), effect="the guard begins anew over its journal"
        )
        diff = difference(self._configuration.rules, rules)
        await self._tell(messages.settings_changed(self._configuration.targets, keys, diff, self._clock.now()))

    async def _tell(self, notice: Notice) -> None:
        with contextlib.suppress(JournalUnavailable):
            await self.state.tell(GUARD, NoticeQueued(notice.at, notice))

    async def run(self) -> None:
        """Take up what the journal tells to be open, then watch, until cancelled; see the class for an authority."""
        async with asyncio.TaskGroup() as group:
            alarm = group.create_task(self.journal_down.run(), name="alarm")
            try:
                await self._run()
            finally:
                alarm.cancel()

    async def _run(self) -> None:
        authority = self.authority
        if authority is None:
            await self._act()
            return
        async with asyncio.TaskGroup() as group:
            keeping = None if self.journal is None else group.create_task(authority.run(), name="authority")
            try:
                while True:
                    await during(self._stand_by(), authority.taken())
                    self._begin()
                    await during(self._act(), authority.lost())
                    if authority.role is Role.HOLDING:
                        # Without the journal another guard may do better.
                        await authority.release(abstain=authority.terms.duration)
                    self._begin()
            finally:
                if keeping is not None:
                    keeping.cancel()
                    await asyncio.gather(keeping, return_exceptions=True)
                await authority.release()

    async def _stand_by(self) -> None:
        """Read the sources and nothing else: what some of them tell needs a past, which a new holder then has."""
        async with asyncio.TaskGroup() as group:
            for watch in self.watches.values():
                group.create_task(watch.run(deciding=False), name=f"read {watch.target.key}")
            await asyncio.Event().wait()

    async def _act(self) -> None:
        known = await self._load()
        if self.state.fault:
            self.journal_down.lost(self.state.fault)
        if self._term is not None and not self.state.available:
            return
        await self._find_itself()
        outbox = self.outbox if self.state.available else None
        async with asyncio.TaskGroup() as group:
            delivering = None if outbox is None else group.create_task(outbox.run(known), name="outbox")
            del known
            try:
                await self._take_over()
                await self._watch_all()
            finally:
                lost = self._term is not None and self._term.over
                await self.executor.stop(at_once=lost)
                if outbox is not None and delivering is not None:
                    if not lost:
                        await outbox.drain(self._clock.monotonic() + _DRAIN)
                    delivering.cancel()

    async def _find_itself(self) -> None:
        """Find out, once, which workload its pod is of, before anything is decided of any."""
        log = structlog.get_logger()
        while self._own_pod is not None and self._self_workload.uid is None:
            try:
                found = await own_workload(self._whole_cluster, self._own_pod)
                self._self_workload.uid = "" if found is None else found.uid
            except Rejected as error:
                self._self_workload.uid = ""
                log.warning("own_workload.unknown", detail=str(error))
            except ClusterError as error:
                log.warning("cluster.unreachable", detail=str(error))
                await self._clock.sleep_until(self._clock.monotonic() + _LOAD_RETRY)

    async def _load(self) -> Sequence[Entry] | None:
        """Read the journal; one that gives no answer is waited for, since only what it tells may be acted on."""
        while True:
            try:
                return await self.state.load()
            except JournalOutOfReach as error:
                detail = str(error)
            structlog.get_logger().error(
                "journal.out_of_reach", detail=detail, effect="nothing is done until it answers"
            )
            await self._clock.sleep_until(self._clock.monotonic() + _LOAD_RETRY)

    async def _take_over(self) -> None:
        """Make sure that nothing which an earlier holder has sent for a run that is open can still take hold."""
        if self._term is None:
            return
        kinds = compensations_of(self._kinds)
        kept = [(self.state.run(event.run).opened.plan, event.hold) for _, event in self.state.suspended()]
        places = frozenset().union(
            *(epoch_marker.touched_by(run, kinds) for run in self.state.open_runs().values()),
            *(epoch_marker.compensated_on(plan, [owed], kinds) for plan, owed in kept),
        )
        while True:
            try:
                await epoch_marker.stamp(
                    {CLUSTER: epoch_marker.cluster_marker(self._cluster)}, places, self._term.stamp
                )
            except ClusterError as error:
                structlog.get_logger().warning("authority.not_stamped", detail=str(error))
                await self._clock.sleep_until(self._clock.monotonic() + _STAMP_RETRY)
            else:
                return

    async def sweep(self) -> None:
        """Clear away what guards that are gone have left behind, whatever it is."""
        await self.sweeper.sweep()
        left = await self._retention.left_secrets.claims(self.state.since)
        told_to = {t.namespace: t.key for t in reversed(self._configuration.targets)}
        # What is kept together, in a namespace without targets, is told to the first one.
        claims = [(told_to.get(n, self._configuration.targets[0].key), claim) for n, claim in left]
        await self.sweeper.look_for_claims([*await self._suspensions.sweep(), *claims])
        if self._term is not None:
            with contextlib.suppress(JournalUnavailable):
                await self.executor.catch_up()

    async def _keep_swept(self) -> None:
        while True:
            await self.sweep()
            await self._clock.sleep_until(self._clock.monotonic() + _SWEEP)

    async def _watch_all(self) -> None:
        self.executor.resume()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_swept(), name="sweep")
            if self._compactor is not None and self.state.available:
                group.create_task(self._compactor.run(), name="journal size")
            group.create_task(self._suspensions.run(), name="suspensions")
            group.create_task(self._deferred.run(), name="deferred compensations")
            group.create_task(self.problems.run(), name="problems")
            group.create_task(self._clock_comparison().run(), name="clocks")
            if self._followed is not None:
                group.create_task(self._followed.run(), name="configuration")
            for watch in self.watches.values():
                group.create_task(watch.run(), name=f"watch {watch.target.key}")

    def _clock_comparison(self) -> ClockComparison:
        clocks = {"the API server": self._cluster.ahead, **{str(n): s.ahead for n, s in self._sources.items()}}
        return ClockComparison(clocks, self._configuration.targets, self.problems, self._clock)

    async def forget_old_releases(self) -> None:
        """Remove the saved releases that no rollback can need any more, if this guard acts."""
        if not (self._term is not None and self._term.over):
            await self._retention.forget()

    async def compact_journal(self) -> None:
        """Let go of what no decision can need any more, if this guard acts."""
        if self._compactor is not None and not (self._term is not None and self._term.over):
            await self._compactor.compact()

    def _assess(self, target: str, rule: str, since: float) -> Assessment:
        return self.watches[target].triggers.assess(rule, since) if target in self.watches else _unwatched(target)

    def _goes_on(self, target: str, rule: str) -> Assessment:
        return self.watches[target].triggers.goes_on(rule) if target in self.watches else _unwatched(target)


def _unwatched(target: str) -> Assessment:
    return Assessment(Verdict.UNKNOWN, TargetGone(target))
