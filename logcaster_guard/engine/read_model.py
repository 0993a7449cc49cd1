"""The read model: makes the values of `status` when they are asked for.

Nothing outside the engine looks at its parts; everything that is shown is asked for here.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logcaster_guard.domain.conditions import judge
from logcaster_guard.domain.guard_reasons import (
    JournalUnread,
    JournalUnusable,
    LoopStuck,
    NobodyCarriesOn,
    NotSeenYet,
    ReleasesUnsaved,
    SourceUnread,
    StandsBy,
)
from logcaster_guard.domain.leadership import Role
from logcaster_guard.domain.ledger import Ledger, Record
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.problems import Problem
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import SourceName
from logcaster_guard.engine.guard_counters import CountedBlobs, CountedJournal
from logcaster_guard.engine.journal_down import JournalDownNotifier
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.engine.problem_tracker import Problems
from logcaster_guard.engine.reading_cache import shown
from logcaster_guard.engine.status import (
    Explanation,
    GuardStatus,
    LeadershipStatus,
    ReleaseSummary,
    RuleStatus,
    SourceStatus,
    StorageStatus,
    TargetStatus,
)
from logcaster_guard.engine.sweeping import Sweeper
from logcaster_guard.engine.watch import TargetWatch
from logcaster_guard.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the read model is made from: the parts of one term, and those that outlive it."""

    watches: Mapping[str, TargetWatch]
    state: JournalState
    problems: Problems
    sweeper: Sweeper
    outbox: Outbox | None
    journal: CountedJournal | None
    blobs: CountedBlobs
    journal_down: JournalDownNotifier
    authority: LeaderElector | None
    reloads: Counter[str]
    policy: Policy
    clock: Clock


class ReadModel:
    """Answers what is asked of the guard, as of now; changes nothing, and asks nobody else."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watches, self._state = parts.watches, parts.state

    @property
    def targets(self) -> Sequence[str]:
        """The key of each target."""
        return list(self._watches)

    @property
    def triggers(self) -> Sequence[str]:
        """Each trigger as `namespace/deployment/rule`."""
        return [f"{key}/{rule}" for key, watch in self._watches.items() for rule in watch.rules]

    @property
    def standby(self) -> bool:
        """Whether another guard may act, and this one may not."""
        authority = self._parts.authority
        return authority is not None and authority.role is not Role.HOLDING

    @property
    def standing_by(self) -> Message | None:
        """Where to ask instead, if this guard stands by and so knows of no run; None if it acts."""
        authority = self._parts.authority
        if authority is None or not self.standby:
            return None
        return StandsBy(authority.lease, authority.holder)

    @property
    def journal_usable(self) -> bool:
        """Whether what people say can be taken in; without a journal the guard only watches."""
        return self._state.available

    @property
    def journal_read(self) -> bool:
        """Whether the journal was read, so that the runs are known."""
        return self._state.loaded

    def stuck(self) -> Sequence[Message]:
        """The loops that are over their bound; empty if the guard is alive."""
        return [
            LoopStuck(target, loop, over, watch.watchdog.grace)
            for target, watch in self._watches.items()
            for loop, over in watch.watchdog.stuck().items()
        ]

    def missing(self) -> Sequence[Message]:
        """What is still missing before the guard can act; empty if it is ready."""
        parts, found = self._parts, list[Message]()
        if self.standby and parts.journal is not None:
            return found
        if not self._state.available:
            found.append(JournalUnusable())
            found += [NobodyCarriesOn(left) for left in parts.journal_down.stranded]
        elif not self._state.loaded:
            found.append(JournalUnread())
        if parts.blobs.fault:
            found.append(ReleasesUnsaved(parts.blobs.fault))
        for target, watch in self._watches.items():
            if watch.looked_at is None:
                found.append(NotSeenYet(target))
            found += [SourceUnread(target, s) for s in watch.sources if not watch.counters.reads[s].count]
        return found

    def problems(self) -> Sequence[Problem]:
        """What keeps the guard from seeing, or from keeping up, the oldest first."""
        return self._parts.problems.current()

    def status(self) -> GuardStatus:
        """The guard and every target."""
        parts = self._parts
        return GuardStatus(
            at=parts.clock.now(),
            polling_interval=parts.policy.polling.interval,
            stuck=self.stuck(),
            missing=self.missing(),
            problems=self.problems(),
            leadership=self._leadership(),
            standing_by=self.standing_by,
            targets=[self.target(key) for key in self._watches],
            storage=self._storage(),
            reloads=dict(parts.reloads),
            notices_pending={} if parts.outbox is None else parts.outbox.pending(),
            notices_settled={} if parts.journal is None else dict(parts.journal.settled),
        )

    def target(self, key: str) -> TargetStatus:
        """One target; raises `KeyError`."""
        watch, ledger = self._watches[key], self._state.ledger(key)
        present, destination = ledger.live, ledger.destination(self._parts.policy.ledger)
        runs = self._state.runs(key)
        return TargetStatus(
            target=watch.target,
            workload=watch.target.deployment if watch.workload is None else watch.workload.name,
            looked_at=watch.looked_at,
            present=None if present is None else self._release(key, ledger, present),
            destination=None if destination is None else self._release(key, ledger, destination),
            freeze=ledger.freeze,
            suspended=[event for target, event in self._state.suspended() if target == key],
            deferred=[event for target, event in self._state.deferred() if target == key],
            unproven=[claim.summary for claim in self._parts.sweeper.unproven.get(key, ())],
            configuration=None if watch.configuration is None else watch.configuration.status(),
            run=self._state.open_run_on(key),
            runs_opened=len(runs),
            runs_closed=Counter(run.closed.outcome for run in runs if run.closed is not None),
            heard=self._state.heard(key),
            rules=[self._rule(watch, name) for name in watch.rules],
            sources=[_source(watch, source) for source in watch.sources],
            stuck_loops=list(watch.watchdog.stuck()),
            crashes=watch.counters.crashes.total(),
        )

    def runs(self, target: str | None = None, *, limit: int | None = None) -> Sequence[Run]:
        """The runs of one target or of all, the newest first; the newest `limit` of them."""
        runs = self._state.runs(target)
        return heapq.nlargest(len(runs) if limit is None else limit, runs, key=lambda run: run.opened.at)

    def releases(self, target: str | None = None) -> Sequence[ReleaseSummary]:
        """What is known of each release, of one target or of all."""
        ledgers = {key: self._state.ledger(key) for key in self._watches if target in {None, key}}
        return [self._release(key, ledger, r) for key, ledger in ledgers.items() for r in ledger.records.values()]

    def explain(self, rule: str, target: str | None = None) -> Sequence[Explanation]:
        """Why the rule did or did not fire, on one target (by key or name) or on each that it is for."""
        chosen = [w for key, w in self._watches.items() if target in {None, key, w.target.name} and rule in w.rules]
        return [self._explanation(watch, rule) for watch in chosen]

    def _explanation(self, watch: TargetWatch, name: str) -> Explanation:
        status, key = self._rule(watch, name), watch.target.key
        refusals = weighed = None
        if watch.looked_at is not None:
            onset = self._parts.clock.now() if status.onset is None else status.onset
            refusals = watch.decisions.objections(status.rule, onset=onset, workload=watch.workload)
            weighed = watch.decisions.weighed(status.rule, onset=onset)
        return Explanation(
            target=key,
            status=status,
            refusals=refusals,
            attribution=weighed,
            units={name: signal.unit for name, signal in watch.triggers.signals.items()},
            last_change=self._state.last_trigger(key, name),
            run=self._state.open_run_on(key),
        )

    def _rule(self, watch: TargetWatch, name: str) -> RuleStatus:
        triggers, counters = watch.triggers, watch.counters
        trigger, now = triggers.of(name), self._parts.clock.monotonic()
        rule = trigger.rule
        readings = triggers.cache.readings(sorted(rule.signals), now)
        return RuleStatus(
            rule=rule,
            phase=triggers.phase(trigger),
            blind_since=triggers.blind_since(trigger),
            onset=None if trigger.state.onset is None else triggers.onset(trigger),
            credit=trigger.state.credit,
            judgement=judge(rule.condition, readings, rule.no_data),
            evidence={n: shown(reading, triggers.signals[n]) for n, reading in readings.items()},
            evaluations={verdict: n for (r, verdict), n in counters.evaluations.items() if r == name},
            firings=counters.firings[name],
            refusals={guardrail: n for (r, guardrail), n in counters.refusals.items() if r == name},
        )

    def _release(self, target: str, ledger: Ledger, record: Record) -> ReleaseSummary:
        status = record.status(self._parts.policy.ledger)
        return ReleaseSummary(target, record, status, present=record.release.key == ledger.present)

    def _leadership(self) -> LeadershipStatus | None:
        found = self._parts.authority
        if found is None:
            return None
        return LeadershipStatus(found.lease, found.identity, found.role, found.holder or None, found.epoch)

    def _storage(self) -> StorageStatus:
        journal = self._parts.journal
        return StorageStatus(
            usable=self._state.available or (self.standby and journal is not None),
            appends=0 if journal is None else journal.appends,
            failures=0 if journal is None else journal.failures,
            size=None if journal is None else journal.seen_size,
            blob_failures=self._parts.blobs.failures,
        )


def _source(watch: TargetWatch, source: SourceName) -> SourceStatus:
    reads = watch.counters.reads[source]
    return SourceStatus(
        source=source,
        up=reads.up,
        reads=reads.count,
        errors=dict(reads.errors),
        last_answer_at=reads.answered_at,
        missed_polls=watch.reader.missed.get(source, 0),
    )
