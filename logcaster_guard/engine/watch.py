"""Watches one target: polls its sources, evaluates its rules, and hands fired triggers to the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from logcaster_guard.domain import triggers
from logcaster_guard.domain.conditions import Judgement, Verdict, judge
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.events import Event, RunClosed, RunOpened, TriggerCleared, TriggerFired, TriggerPending
from logcaster_guard.domain.rules import Policy, Rule, difference, quicker
from logcaster_guard.domain.runs import SUBSIDED, Run
from logcaster_guard.domain.signals import Signal, SourceName, Target, Unit
from logcaster_guard.domain.triggers import Change, Phase, TriggerState
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.verification import Assessment
from logcaster_guard.engine import verdicts
from logcaster_guard.engine.account import Account
from logcaster_guard.engine.aim import Aim
from logcaster_guard.engine.board import Board, text
from logcaster_guard.engine.chronicle import Chronicle, target_stream
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.history import ConditionHistory
from logcaster_guard.engine.loops import LoopTasks, until
from logcaster_guard.engine.manual import ManualRuns
from logcaster_guard.engine.outages import Outages
from logcaster_guard.engine.pulse import Pulse
from logcaster_guard.engine.reader import Reader
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.tally import Tally
from logcaster_guard.ports import Clock, Source

_BREATH = 0.01
_LOOK = "look at the workload"
_DECIDE = "decide"


class TargetWatch:
    """One target's loops: one per source, one per rule, one for the Deployment, one for decisions.

    A source's loop only reads; a rule's loop alone evaluates it, after each poll of a source that it needs and, with a
    read of its own, at the instant at which its duration is full. So nothing slow holds up anything else.
    """

    def __init__(
        self,
        target: Target,
        *,
        aim: Aim,
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
        self._policy = policy
        self._clock = clock
        self._chronicle = chronicle
        self._executor = executor
        self._staleness = max(policy.polling.staleness, 2 * policy.polling.interval)
        self._board = Board(self._staleness)
        self._states = {name: TriggerState() for name in self._rules}
        self._news: dict[str, set[SourceName]] = {name: set() for name in self._rules}
        self._changed = {name: asyncio.Event() for name in self._rules}
        self._onsets: dict[str, tuple[float, datetime]] = {}
        self._resets = 0
        self._released = float("-inf")
        self._evidence: dict[str, Mapping[str, str]] = {}
        self._to_decide: set[str] = set()
        self._history = ConditionHistory(aim, self._signals, sources, policy.polling.interval)
        self._firing = asyncio.Event()
        self._workload: Workload | None = None
        self._loops: LoopTasks | None = None
        self._deciding = True
        self.pulse = Pulse(clock, policy.polling.interval)
        self.tally = Tally()
        self.looked_at: datetime | None = None
        self._reader = Reader(
            target,
            aim=aim,
            signals=self._signals,
            sources=sources,
            interval=policy.polling.interval,
            board=self._board,
            clock=clock,
            chronicle=chronicle,
            outages=outages,
            tally=self.tally,
        )
        self._log = structlog.get_logger().bind(target=target.key)
        self._revisions: RevisionWatch | None = None
        self._decisions: Decisions | None = None
        self._manual: ManualRuns | None = None

    def connect(self, revisions: RevisionWatch, decisions: Decisions, manual: ManualRuns) -> None:
        """Give it the parts that know it in turn."""
        self._revisions, self._decisions, self._manual = revisions, decisions, manual

    @property
    def manual(self) -> ManualRuns | None:
        """Rollbacks that people ask for; None before it is connected."""
        return self._manual

    @property
    def workload(self) -> Workload | None:
        """The workload as it was looked at last; None before the first look, or if there is none."""
        return self._workload

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are for this target, by name."""
        return dict(self._rules)

    @property
    def units(self) -> Mapping[str, Unit]:
        """The units of the signals that its rules read."""
        return {name: signal.unit for name, signal in self._signals.items()}

    @property
    def board(self) -> Board:
        """The latest readings."""
        return self._board

    @property
    def reader(self) -> Reader:
        """Reads signals into the board."""
        return self._reader

    @property
    def states(self) -> Mapping[str, TriggerState]:
        """The triggers by rule name."""
        return dict(self._states)

    @property
    def missed(self) -> Mapping[SourceName, int]:
        """Poll slots that a slow source let pass."""
        return self._reader.missed

    @property
    def phases(self) -> Mapping[str, Phase]:
        """The triggers' phases as people are shown them, by rule name."""
        now = self._clock.monotonic()
        return {name: state.phase_at(now) for name, state in self._states.items()}

    @property
    def sources(self) -> Sequence[SourceName]:
        """The sources that its rules read from."""
        return sorted({s.source for s in self._signals.values()})

    def account(self, name: str) -> Account:
        """Why the rule did or did not fire; raises `KeyError`."""
        rule, state, now = self._rules[name], self._states[name], self._clock.monotonic()
        readings = self._board.readings(sorted(rule.signals), now)
        onset = None if state.onset is None else self._onset(rule, state)
        refusals = weighed = None
        if self.looked_at is not None and self._decisions is not None:
            began = self._clock.now() if onset is None else onset
            refusals = self._decisions.objections(rule, onset=began, workload=self._workload)
            weighed = self._decisions.weighed(rule, onset=began)
        return Account(
            rule=rule,
            phase=state.phase_at(now),
            onset=onset,
            credit=state.credit,
            judgement=judge(rule.condition, readings, rule.no_data),
            evidence={n: text(r, self._signals[n]) for n, r in readings.items()},
            refusals=refusals,
            attribution=weighed,
        )

    async def run(self, *, deciding: bool = True) -> None:
        """Watch until cancelled; without `deciding` only read the sources, so that they are warm."""
        self._deciding = deciding
        self._restore()
        async with asyncio.TaskGroup() as group:
            self._loops = LoopTasks(group)
            self._begin()
            if not deciding:
                return
            self._loops.begin(_LOOK, self._lasting(self._look_at_workload, _LOOK))
            self._loops.begin(_DECIDE, self._lasting(self._decide, _DECIDE))

    def _begin(self) -> None:
        """Begin the loop of every source and rule that has none yet."""
        for name in self.sources:
            if self._loops is not None and not self._loops.running(_poll_of(name)):
                self._loops.begin(_poll_of(name), self._lasting(partial(self._poll, name), _poll_of(name)))
        for rule in self._rules.values() if self._deciding else ():
            if self._loops is not None and not self._loops.running(_follow_of(rule.name)):
                self._loops.begin(
                    _follow_of(rule.name), self._lasting(partial(self._follow, rule), _follow_of(rule.name))
                )

    async def reload(self, rules: Sequence[Rule], signals: Mapping[str, Signal]) -> None:
        """Follow these rules from now on; one that is what it was keeps its window and its place in time."""
        new = {r.name: r for r in rules if r.applies_to(self.target)}
        diff = difference(list(self._rules.values()), list(new.values()))
        ended = [n for n in (*diff.removed, *diff.changed) if self._states[n].phase is not Phase.INACTIVE]
        for name in (*diff.removed, *diff.changed):
            if self._loops is not None and self._loops.running(_follow_of(name)):
                self._loops.end(_follow_of(name))
            for kept in (self._states, self._news, self._changed, self._onsets, self._evidence):
                kept.pop(name, None)
            self._to_decide.discard(name)
        self._rules = new
        wanted = frozenset().union(*(r.signals for r in new.values()))
        self._signals.clear()
        self._signals.update({name: signals[name] for name in sorted(wanted)})
        for name in (*diff.added, *diff.changed):
            self._states[name], self._news[name], self._changed[name] = TriggerState(), set(), asyncio.Event()
        self._begin()
        if ended:
            at = self._clock.now()
            await self._tell(*(TriggerCleared(at, name, "its rule was changed") for name in ended))

    async def _lasting(self, loop: Callable[[], Awaitable[None]], name: str) -> None:
        """Begin a loop again that a defect has ended: one must not blind the guard to everything else."""
        try:
            while True:
                try:
                    await loop()
                except Exception as error:  # noqa: BLE001 - the edge of a task: a defect must not pass in silence
                    self.tally.crashes[name] += 1
                    self._log.error("watch.crashed", loop=name, exc_info=error)
                await self._clock.sleep_until(self._clock.monotonic() + self._policy.polling.interval)
        finally:
            self.pulse.ended(name)

    def quiet(self) -> bool:
        """Whether every rule that applies is quiet on values now."""
        seen = self._chronicle.ledger(self.target.key).signals_seen
        return verdicts.quiet(self._rules.values(), self._board, seen=seen, now=self._clock.monotonic())

    def assess(self, fired: str, since: float) -> Assessment:
        """What the rules say on values that reach back no further than `since` (monotonic seconds)."""
        now = self._clock.monotonic()
        return verdicts.assess(self._rules, self._signals, self._board, fired=fired, since=since, now=now)

    def template_changed(self, earliest: datetime | None) -> None:
        """Somebody else changed the pod template, at `earliest` or since: theirs gets its whole duration.

        A breach that began only after it has nothing to start again for.
        """
        at = self._clock.monotonic() if earliest is None else self._monotonic(earliest)
        self._released = at
        older = {n: s for n, s in self._states.items() if s.onset is not None and s.onset < at}
        self._reset({**self._states, **{n: triggers.restart_clock(s, at) for n, s in older.items()}})

    def run_closed(self) -> None:
        """A run on this target has ended: what was seen before it no longer counts."""
        state = self._after(self._chronicle.last_closed(self.target.key), self._clock.monotonic())
        self._reset(dict.fromkeys(self._states, state))

    def _after(self, closed: RunClosed | None, at: float) -> TriggerState:
        subsided = closed is not None and closed.outcome == SUBSIDED
        return triggers.after_run(at, 0.0 if subsided else self._policy.limits.cooldown)

    def _reset(self, states: Mapping[str, TriggerState]) -> None:
        self._states = dict(states)
        self._resets += 1
        self._to_decide.clear()
        for changed in self._changed.values():
            changed.set()

    def _restore(self) -> None:
        ledger, closed = self._chronicle.ledger(self.target.key), self._chronicle.last_closed(self.target.key)
        released = ledger.changed_earliest or ledger.changed_at
        if released is not None and ledger.restored_by is None:
            self._released = self._monotonic(released)
        for name, rule in self._rules.items():
            if closed is not None:
                self._states[name] = self._after(closed, self._monotonic(closed.at))
            last = self._chronicle.trigger_to_resume(self.target.key, name)
            # What is told of an instant to come was written by another clock: how long ago it was, nobody knows.
            if last is None or last.at > self._clock.now():
                continue
            fired = self._monotonic(last.at) if isinstance(last, TriggerFired) else None
            onset = self._monotonic(last.onset)
            self._onsets[name] = (onset, last.onset)
            state = triggers.restored(rule, onset=onset, fired_at=fired)
            theirs = (onset if fired is None else fired) < self._released
            self._states[name] = triggers.restart_clock(state, self._released) if theirs else state
            self._log.info("trigger.restored", rule=name, onset=last.onset, fired=fired is not None)

    async def _poll(self, name: SourceName) -> None:
        slot = self._clock.monotonic()
        while True:
            self.pulse.owes(_poll_of(name))
            signals = self._reader.of(name)
            retry_after = await self._reader.read(name, signals)
            read = {s.name for s in signals}
            for rule in [r.name for r in self._rules.values() if r.signals & read]:
                self._news[rule].add(name)
                self._changed[rule].set()
                if self._deciding:
                    self.pulse.owes(_follow_of(rule))
            slot = self._reader.next_slot(name, slot, retry_after)
            self.pulse.made(_poll_of(name), again=slot)
            await self._clock.sleep_until(slot)

    async def _follow(self, rule: Rule) -> None:
        """Evaluate the rule whenever there is news of it, and when its duration is full."""
        sources = {self._signals[n].source for n in rule.signals}
        while True:
            due = None if self._silenced(rule) else self._states[rule.name].due_at(rule)
            if due is not None and due <= self._clock.monotonic():
                await self._reader.read_all(rule.signals)
                await self._evaluate(rule, fresh=True)
                self.pulse.made(_follow_of(rule.name))
                # A clock that wakes a hair early would otherwise read again at once, over and over.
                await self._clock.sleep_until(self._clock.monotonic() + _BREATH)
            elif self._news[rule.name]:
                news, self._news[rule.name] = self._news[rule.name], set()
                if not await self._evaluate(rule, fresh=news >= sources):
                    self._news[rule.name] |= news
                self.pulse.made(_follow_of(rule.name))
            else:
                self._changed[rule.name].clear()
                await until(self._clock, self._changed[rule.name], due)

    async def _evaluate(self, rule: Rule, *, fresh: bool) -> bool:
        """Judge the latest readings; False if a new release came in between, so that it has to be done again."""
        if self._silenced(rule):
            return True
        resets, now = self._resets, self._clock.monotonic()
        readings = self._board.readings(sorted(rule.signals), now)
        judgement = judge(rule.condition, readings, rule.no_data)
        state, changes = await self._advance(rule, judgement, now, fresh=fresh)
        if self._resets != resets or self._silenced(rule):
            return self._silenced(rule)
        self._states[rule.name] = state
        self.tally.evaluations[rule.name, judgement.verdict] += 1
        evidence = {n: text(r, self._signals[n]) for n, r in readings.items()}
        self._log.debug("rule.evaluated", rule=rule.name, verdict=str(judgement.verdict), evidence=evidence)
        for change in changes:
            await self._tell_change(rule, state, change, evidence)
        if judgement.verdict is not Verdict.MET:
            self._to_decide.discard(rule.name)
        elif self._states[rule.name].phase is Phase.FIRING:
            self._evidence[rule.name] = evidence
            self._to_decide.add(rule.name)
            self._firing.set()
            self.pulse.owes(_DECIDE)
        return True

    async def _advance(
        self, rule: Rule, judgement: Judgement, now: float, *, fresh: bool
    ) -> tuple[TriggerState, Sequence[Change]]:
        """The state after an evaluation at `now`, with what range data says of the time that nobody looked at."""
        changes = []
        before = state = self._states[rule.name]
        if judgement.verdict is Verdict.MET:
            since = state.unproven_since(now, self._staleness)
            if since is not None:
                state = await self._history.backfill(rule, state, since, now)
                if state.onset != before.onset:
                    changes.append(Change.PENDING)
        state, change = triggers.advance(
            state, rule, judgement, now=now, staleness=self._staleness, fresh=fresh
        )  # fmt: skip
        if change is Change.PENDING:
            changes.append(change)
            state = await self._history.refine(rule, state, now, hole=self._staleness, credit_from=self._released)
            state, change = triggers.advance(
                state, rule, judgement, now=now, staleness=self._staleness, fresh=fresh
            )  # fmt: skip
        return state, [*changes, change] if change is not None else changes

    async def _tell_change(
        self, rule: Rule, state: TriggerState, change: Change, evidence: Mapping[str, str]
    ) -> None:  # fmt: skip
        at = self._clock.now()
        match change:
            case Change.PENDING:
                await self._tell(TriggerPending(at, rule.name, self._onset(rule, state)))
            case Change.FIRED:
                self.tally.firings[rule.name] += 1
                await self._tell(TriggerFired(at, rule.name, self._onset(rule, state), dict(evidence)))
            case Change.RECOVERED | Change.DATA_LOST:
                await self._tell(TriggerCleared(at, rule.name, str(change)))

    async def _look_at_workload(self) -> None:
        interval = self._policy.polling.interval
        slot = self._clock.monotonic()
        while True:
            self.pulse.owes(_LOOK)
            await self._settle()
            try:
                if self._revisions is not None:
                    self._workload = await self._revisions.look()
                    self.looked_at = self._clock.now()
                if self._manual is not None and self._workload is not None:
                    await self._manual.look(self._workload)
            except ClusterError as error:
                self._log.warning("workload.unread", detail=str(error))
            except JournalUnavailable as error:
                self._log.error("journal.unavailable", detail=str(error))
            slot = max(slot + interval, self._clock.monotonic())
            self.pulse.made(_LOOK, again=slot)
            await self._clock.sleep_until(slot)

    async def _settle(self) -> None:
        try:
            await self._chronicle.settle()
        except JournalUnavailable as error:
            self._log.error("journal.unavailable", detail=str(error))

    async def _decide(self) -> None:
        while True:
            await self._firing.wait()
            self._firing.clear()
            for name in self._most_urgent():
                self._to_decide.discard(name)
                rule = self._rules.get(name)
                try:
                    if rule is not None:
                        await self._decide_on(rule)
                except ClusterError as error:
                    self._log.warning("decision.postponed", rule=name, detail=str(error))
                except JournalUnavailable as error:
                    self._log.error("journal.unavailable", rule=name, detail=str(error))
            self.pulse.made(_DECIDE)

    def _most_urgent(self) -> Iterable[str]:
        return sorted(self._to_decide, key=lambda n: (self._rules[n].duration, n))

    async def _decide_on(self, rule: Rule) -> None:
        if self._revisions is None or self._decisions is None or self._silenced(rule):
            return
        resets = self._resets
        workload = await self._revisions.look()
        state = self._states.get(rule.name)
        if self._resets != resets or state is None or state.phase is not Phase.FIRING:
            return
        onset, evidence = self._onset(rule, state), self._evidence[rule.name]
        slower = self._chronicle.open_run_on(self.target.key)
        if slower is None:
            await self._decisions.decide(rule, onset=onset, workload=workload, evidence=evidence)
            return
        await self._executor.take_over(slower, partial(self._escalated, slower, rule, onset=onset, evidence=evidence))

    async def _escalated(
        self, slower: Run, rule: Rule, *, onset: datetime, evidence: Mapping[str, str]
    ) -> RunOpened | None:
        if self._revisions is None or self._decisions is None:
            return None
        # The write that was under way when the run was made to stand still has had its effect only now.
        workload = await self._revisions.look()
        return await self._decisions.escalated(slower, rule, onset=onset, workload=workload, evidence=evidence)

    def _silenced(self, rule: Rule) -> bool:
        """Whether a run under way leaves the rule nothing to say: one that is slower may still be taken over."""
        run = self._chronicle.open_run_on(self.target.key)
        return run is not None and (run.restoring or not quicker(rule.action, run.opened.plan.strategy))

    async def fall_back(self, run: Run, closed: RunClosed, rungs: int) -> RunOpened | None:
        """The run that follows from the end of `run`, if one may; raises `ClusterError`."""
        if self._revisions is None or self._decisions is None:
            return None
        rule = self._rules.get(run.opened.rule)
        # Where nothing can follow, an API server that is away must not keep people from being told.
        if rule is None or not self._decisions.may_fall_back(closed.outcome, rungs):
            return None
        workload = await self._revisions.look()
        return await self._decisions.fallen_back(run, closed, rule=rule, workload=workload)

    async def _tell(self, *events: Event) -> None:
        stream = target_stream(self.target.key)
        if not self._chronicle.available:
            self._chronicle.log(stream, *events)
            return
        try:
            await self._chronicle.tell(stream, *events)
        except JournalUnavailable as error:
            self._log.error("journal.unavailable", detail=str(error))

    def _onset(self, rule: Rule, state: TriggerState) -> datetime:
        """The onset as an instant, taken from the wall clock once: a jump of that clock must not move it."""
        now = self._clock.monotonic()
        onset = now if state.onset is None else state.onset
        known = self._onsets.get(rule.name)
        if known is None or known[0] != onset:
            known = self._onsets[rule.name] = (onset, self._clock.now() - timedelta(seconds=now - onset))
        return known[1]

    def _monotonic(self, at: datetime) -> float:
        return self._clock.monotonic() - max(0.0, (self._clock.now() - at).total_seconds())


def _poll_of(source: SourceName) -> str:
    return f"poll {source}"


def _follow_of(rule: str) -> str:
    return f"follow {rule}"
