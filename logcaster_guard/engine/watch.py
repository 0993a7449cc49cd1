"""Watches one target: polls its sources, evaluates its rules, and hands fired triggers to the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from logcaster_guard.domain import triggers
from logcaster_guard.domain.conditions import Judgement, Verdict, judge
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.events import Event, SignalSeen, TriggerCleared, TriggerFired, TriggerPending
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.signals import Signal, SourceError, SourceName, Target, Value
from logcaster_guard.domain.triggers import Change, Phase, TriggerState
from logcaster_guard.effects.verification import Assessment
from logcaster_guard.engine.board import Board, text
from logcaster_guard.engine.chronicle import Chronicle, target_stream
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.history import ConditionHistory
from logcaster_guard.engine.outages import Outages
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.ports import Clock, Source

_PROBATION_RULES_NEEDED = 1


class TargetWatch:
    """One target's loops: one per source, one for dated evaluations, one for the Deployment, one for decisions."""

    def __init__(
        self,
        target: Target,
        *,
        rules: Sequence[Rule],
        signals: Mapping[str, Signal],
        sources: Mapping[SourceName, Source],
        policy: Policy,
        clock: Clock,
        chronicle: Chronicle,
        outages: Outages,
        executor: Executor,
    ) -> None:
        self.target = target
        self._rules = {r.name: r for r in rules if r.applies_to(target)}
        wanted = frozenset().union(*(r.signals for r in self._rules.values()))
        self._signals = {name: signals[name] for name in sorted(wanted)}
        self._sources = sources
        self._policy = policy
        self._clock = clock
        self._chronicle = chronicle
        self._outages = outages
        self._executor = executor
        self._staleness = max(policy.polling.staleness, policy.polling.interval)
        self._board = Board(self._staleness)
        self._states = {name: TriggerState() for name in self._rules}
        self._locks = {name: asyncio.Lock() for name in self._rules}
        self._evidence: dict[str, Mapping[str, str]] = {}
        self._history = ConditionHistory(target, self._signals, sources, policy.polling.interval)
        self._changed = asyncio.Event()
        self._firing = asyncio.Event()
        self._missed: dict[SourceName, int] = {}
        self._log = structlog.get_logger().bind(target=target.key)
        self._revisions: RevisionWatch | None = None
        self._decisions: Decisions | None = None

    def connect(self, revisions: RevisionWatch, decisions: Decisions) -> None:
        """Give it the parts that know it in turn."""
        self._revisions, self._decisions = revisions, decisions

    @property
    def states(self) -> Mapping[str, TriggerState]:
        """The triggers by rule name."""
        return dict(self._states)

    @property
    def missed(self) -> Mapping[SourceName, int]:
        """Poll slots that a slow source let pass."""
        return dict(self._missed)

    async def run(self) -> None:
        """Watch until cancelled."""
        self._restore()
        async with asyncio.TaskGroup() as group:
            for name in sorted({s.source for s in self._signals.values()}):
                group.create_task(self._poll(name), name=f"poll {name} {self.target.key}")
            group.create_task(self._evaluate_when_due(), name=f"due {self.target.key}")
            group.create_task(self._look_at_workload(), name=f"workload {self.target.key}")
            group.create_task(self._decide(), name=f"decide {self.target.key}")

    def quiet(self) -> bool:
        """Whether every rule that applies is quiet on values now.

        A rule applies once each of its signals has given a value of this target; if none does, nothing is known.
        """
        seen = self._chronicle.ledger(self.target.key).signals_seen
        applying = [r for r in self._rules.values() if r.signals <= seen]
        now = self._clock.monotonic()
        verdicts = [judge(r.condition, self._board.readings(r.signals, now), r.no_data).verdict for r in applying]
        return len(verdicts) >= _PROBATION_RULES_NEEDED and all(v is Verdict.NOT_MET for v in verdicts)

    def assess(self, fired: str, since: float) -> Assessment:
        """What the rules say on readings that reach back no further than `since` (monotonic seconds)."""
        now = self._clock.monotonic()
        breached, open_ = [], False
        evidence = ""
        for rule in self._rules.values():
            if rule.action is Action.ALERT_ONLY and rule.name != fired:
                continue
            readings = self._board.since([self._signals[n] for n in sorted(rule.signals)], now, since)
            verdict = judge(rule.condition, readings, rule.no_data).verdict
            detail = ", ".join(f"{n} {text(r, self._signals[n])}" for n, r in readings.items())
            if verdict is Verdict.MET:
                breached.append(f"{rule.name}: {detail}")
            if rule.name == fired:
                evidence, open_ = detail, verdict is Verdict.UNKNOWN
        if breached:
            return Assessment(Verdict.MET, "; ".join(breached))
        if fired not in self._rules:
            return Assessment(Verdict.UNKNOWN, f"rule {fired} is gone from the rules")
        return Assessment(Verdict.UNKNOWN if open_ else Verdict.NOT_MET, evidence)

    def template_changed(self) -> None:
        """Somebody else changed the pod template: theirs gets its whole duration."""
        now = self._clock.monotonic()
        self._states = {name: triggers.restart_clock(s, now) for name, s in self._states.items()}
        self._changed.set()

    def run_closed(self) -> None:
        """A run on this target has ended: what was seen before it no longer counts."""
        state = triggers.after_run(self._clock.monotonic(), self._policy.limits.cooldown)
        self._states = dict.fromkeys(self._states, state)
        self._changed.set()

    def _restore(self) -> None:
        closed = self._chronicle.last_closed(self.target.key)
        for name, rule in self._rules.items():
            last = self._chronicle.last_trigger(self.target.key, name)
            if last is None or isinstance(last, TriggerCleared) or (closed is not None and closed.at >= last.at):
                continue
            fired = self._monotonic(last.at) if isinstance(last, TriggerFired) else None
            self._states[name] = triggers.restored(rule, onset=self._monotonic(last.onset), fired_at=fired)
            self._log.info("trigger.restored", rule=name, onset=last.onset, fired=fired is not None)

    async def _poll(self, name: SourceName) -> None:
        signals = [s for s in self._signals.values() if s.source is name]
        touched = [r for r in self._rules.values() if r.signals & {s.name for s in signals}]
        slot = self._clock.monotonic()
        while True:
            retry_after = await self._read(name, signals)
            for rule in touched:
                await self._evaluate(rule, fresh=all(self._signals[n].source is name for n in rule.signals))
            slot = self._next_slot(name, slot, retry_after)
            await self._clock.sleep_until(slot)

    def _next_slot(self, name: SourceName, slot: float, retry_after: float) -> float:
        """The next slot that is not past: one that a slow read let pass is counted, never made up for."""
        interval, now = self._policy.polling.interval, self._clock.monotonic()
        following = slot + interval
        if now > following:
            missed = int((now - following) // interval) + 1
            self._missed[name] = self._missed.get(name, 0) + missed
            self._log.warning("poll.missed", source=str(name), slots=missed, total=self._missed[name])
            following += missed * interval
        while following < now + retry_after:
            following += interval
        return following

    async def _read(self, name: SourceName, signals: Sequence[Signal]) -> float:
        """Read into the board; returns the longest wait (seconds) that the source asked for."""
        readings = await self._sources[name].read(self.target, signals)
        self._board.put(readings)
        await self._outages.note(name, self.target, readings)
        seen = self._chronicle.ledger(self.target.key).signals_seen
        new = [SignalSeen(self._clock.now(), n) for n, r in readings.items() if isinstance(r, Value) and n not in seen]
        if new:
            await self._tell(*new)
        waits = [r.retry_after for r in readings.values() if isinstance(r, SourceError) and r.retry_after]
        return min(max(waits, default=0.0), 600.0)

    async def _evaluate(self, rule: Rule, *, fresh: bool) -> None:
        async with self._locks[rule.name]:
            if self._executor.busy(self.target.key):
                return
            now = self._clock.monotonic()
            readings = self._board.readings(sorted(rule.signals), now)
            judgement = judge(rule.condition, readings, rule.no_data)
            state, change = await self._advance(rule, judgement, now, fresh=fresh)
            self._states[rule.name] = state
            evidence = {n: text(r, self._signals[n]) for n, r in readings.items()}
            if judgement.verdict is Verdict.MET:
                self._evidence[rule.name] = evidence
            self._log.debug("rule.evaluated", rule=rule.name, verdict=str(judgement.verdict), evidence=evidence)
            await self._transition(rule, state, change, evidence)
            if state.phase is Phase.FIRING and judgement.verdict is Verdict.MET:
                self._firing.set()
            self._changed.set()

    async def _advance(
        self, rule: Rule, judgement: Judgement, now: float, *, fresh: bool
    ) -> tuple[TriggerState, Change | None]:
        state = self._states[rule.name]
        if judgement.verdict is Verdict.MET:
            since = state.unproven_since(now, self._staleness)
            if since is not None:
                state = await self._history.backfill(rule, state, since, now)
        state, change = triggers.advance(
            state, rule, judgement, now=now, staleness=self._staleness, fresh=fresh
        )  # fmt: skip
        if change is not Change.PENDING:
            return state, change
        state = await self._history.refine(rule, state, now)
        await self._transition(rule, state, change, {})
        return triggers.advance(state, rule, judgement, now=now, staleness=self._staleness, fresh=fresh)

    async def _transition(
        self, rule: Rule, state: TriggerState, change: Change | None, evidence: Mapping[str, str]
    ) -> None:
        at = self._clock.now()
        match change:
            case Change.PENDING:
                await self._tell(TriggerPending(at, rule.name, self._wall(state.onset)))
            case Change.FIRED:
                await self._tell(TriggerFired(at, rule.name, self._wall(state.onset), dict(evidence)))
            case Change.RECOVERED | Change.DATA_LOST:
                await self._tell(TriggerCleared(at, rule.name, str(change)))
            case None:
                pass

    async def _evaluate_when_due(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            dates = {n: s.due_at(self._rules[n]) for n, s in self._states.items()}
            busy = self._executor.busy(self.target.key)
            due = {n: d for n, d in dates.items() if d is not None and not busy}
            ready = [n for n, d in due.items() if d <= now]
            if ready:
                await self._read_and_evaluate([self._rules[n] for n in ready])
                continue
            await self._wait(self._changed, until=min(due.values(), default=None))

    async def _read_and_evaluate(self, rules: Sequence[Rule]) -> None:
        names = frozenset().union(*(r.signals for r in rules))
        by_source: dict[SourceName, list[Signal]] = {}
        for name in sorted(names):
            by_source.setdefault(self._signals[name].source, []).append(self._signals[name])
        await asyncio.gather(*(self._read(source, signals) for source, signals in by_source.items()))
        for rule in rules:
            await self._evaluate(rule, fresh=True)
            state = self._states[rule.name]
            if state.due_at(rule) is not None and state.phase is Phase.PENDING and not state.interrupted:
                # A clock that wakes a hair early would otherwise read again at once, over and over.
                await self._clock.sleep_until(self._clock.monotonic() + 0.01)

    async def _look_at_workload(self) -> None:
        interval = self._policy.polling.interval
        slot = self._clock.monotonic()
        while True:
            try:
                if self._revisions is not None:
                    await self._revisions.look()
            except ClusterError as error:
                self._log.warning("workload.unread", detail=str(error))
            except JournalUnavailable as error:
                self._log.error("journal.unavailable", detail=str(error))
            slot = max(slot + interval, self._clock.monotonic())
            await self._clock.sleep_until(slot)

    async def _decide(self) -> None:
        while True:
            await self._firing.wait()
            self._firing.clear()
            for name in self._most_urgent():
                try:
                    await self._decide_on(self._rules[name])
                except ClusterError as error:
                    self._log.warning("decision.postponed", rule=name, detail=str(error))
                except JournalUnavailable as error:
                    self._log.error("journal.unavailable", rule=name, detail=str(error))

    def _most_urgent(self) -> Iterable[str]:
        firing = [n for n, s in self._states.items() if s.phase is Phase.FIRING]
        return sorted(firing, key=lambda n: (self._rules[n].duration, n))

    async def _decide_on(self, rule: Rule) -> None:
        if self._revisions is None or self._decisions is None or self._executor.busy(self.target.key):
            return
        workload = await self._revisions.look()
        state = self._states[rule.name]
        if state.phase is not Phase.FIRING or state.onset is None:
            return
        await self._decisions.decide(
            rule, onset=self._wall(state.onset), workload=workload, evidence=self._evidence.get(rule.name, {})
        )

    async def _tell(self, *events: Event) -> None:
        try:
            await self._chronicle.tell(target_stream(self.target.key), *events)
        except JournalUnavailable as error:
            self._log.error("journal.unavailable", detail=str(error))

    async def _wait(self, event: asyncio.Event, *, until: float | None) -> None:
        if until is None:
            await event.wait()
            return
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._clock.sleep_until(until))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _wall(self, at: float | None) -> datetime:
        now = self._clock.monotonic()
        return self._clock.now() - timedelta(seconds=now - (now if at is None else at))

    def _monotonic(self, at: datetime) -> float:
        return self._clock.monotonic() - max(0.0, (self._clock.now() - at).total_seconds())
