"""The triggers of one target: its rules, evaluated on what was read, and how far each of them is from firing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from logcaster_guard.domain import triggers
from logcaster_guard.domain.conditions import Judgement, Verdict, judge, out_of_reach
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import Event, RunClosed, TriggerCleared, TriggerFired, TriggerPending
from logcaster_guard.domain.guard_reasons import Named, RuleChanged
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.problems import ProblemKind
from logcaster_guard.domain.rules import Rule, difference, quicker
from logcaster_guard.domain.runs import SUBSIDED
from logcaster_guard.domain.signals import NoData, Reading, Signal, SourceError, SourceName, Value, is_lagging
from logcaster_guard.domain.triggers import Change, Phase, TriggerState
from logcaster_guard.engine import event_lines, verdicts
from logcaster_guard.engine.condition_history import ConditionHistory
from logcaster_guard.engine.hub import ReleaseChanged, RunEnded
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.reading_cache import ReadingCache, shown
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.steps.step_services import Assessment


@dataclass(frozen=True, slots=True)
class PastBreach:
    """A breach of more than one poll that a reading showed to be over at monotonic second `ended`.

    Its onset is on both clocks.
    """

    onset: float
    began: datetime
    ended: float


@dataclass(slots=True, eq=False)
class Trigger:
    """One rule applied to the target.

    `news`: the sources that were read since it was evaluated; `changed` is set whenever there is something to look at.
    `undecided`: it fires, by `evidence`, and nobody has decided on that yet. `unseen_since`: since when the rule has
    seen nothing (monotonic seconds), None while it sees; `blind_told`: that was logged. `last` is the breach before.
    """

    rule: Rule
    state: TriggerState = field(default_factory=TriggerState)
    news: set[SourceName] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    evidence: Mapping[str, Reason] = field(default_factory=dict)
    undecided: bool = False
    known_onset: tuple[float, datetime] | None = None
    last: PastBreach | None = None
    unseen_since: float | None = None
    blind_told: bool = False
    told_out_of_reach: bool = False


class Triggers:
    """All that are for the target, by rule name; `signals` are those that its rules read, and change with them.

    Only the target's own loops evaluate: this decides what follows from it, and keeps it.
    """

    def __init__(self, context: TargetContext, services: Services, rules: Sequence[Rule]) -> None:
        target, policy, clock = context.target, services.policy, services.clock
        self._target = target
        self._policy = policy
        self._clock = clock
        self._state = services.state
        self._counters = context.counters
        self._problems = services.problems
        self._staleness = max(policy.polling.staleness, 2 * policy.polling.interval)
        self._triggers = {r.name: Trigger(r) for r in rules if r.applies_to(target)}
        self._signals = _read_by(self.rules.values(), services.signals)
        self._history = ConditionHistory(
            context.live_workload, self._signals, services.sources, policy.polling.interval
        )
        self._firing = asyncio.Event()
        self._resets = 0
        self._released = float("-inf")
        self.cache = ReadingCache(self._staleness)
        self._log = structlog.get_logger().bind(target=target.key)
        self._lines = RecurringLog(clock, target=target.key)
        services.hub.subscribe(ReleaseChanged, self._release_changed, target=target.key)
        services.hub.subscribe(RunEnded, self._run_ended, target=target.key)

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are for this target, by name."""
        return {name: trigger.rule for name, trigger in self._triggers.items()}

    @property
    def signals(self) -> Mapping[str, Signal]:
        """The signals that the rules read, by name; always the same mapping."""
        return self._signals

    @property
    def states(self) -> Mapping[str, TriggerState]:
        """How far each trigger is, by rule name."""
        return {name: trigger.state for name, trigger in self._triggers.items()}

    @property
    def resets(self) -> int:
        """How often what was seen before has stopped to count, for all of them at once."""
        return self._resets

    def all(self) -> Sequence[Trigger]:
        """Every trigger."""
        return list(self._triggers.values())

    def of(self, rule: str) -> Trigger:
        """The trigger of this rule; raises `KeyError`."""
        return self._triggers[rule]

    def has(self, trigger: Trigger) -> bool:
        """Whether its rule is what it was when this trigger was made."""
        return self._triggers.get(trigger.rule.name) is trigger

    def sources_of(self, trigger: Trigger) -> frozenset[SourceName]:
        """The sources that its condition is read from."""
        return frozenset(self._signals[n].source for n in trigger.rule.signals)

    def quiet(self, since: float) -> Mapping[str, bool | None]:
        """Whether each rule is quiet now, by name; None where it has seen nothing since monotonic second `since`."""
        now = self._clock.monotonic()
        return verdicts.quiet(self.rules.values(), self.cache, seen=self._seen, now=now, since=since)

    @property
    def _seen(self) -> frozenset[str]:
        """The signals that have given a value of the target, ever."""
        return self._state.ledger(self._target.key).signals_seen | self.cache.seen

    def assess(self, fired: str, since: float) -> Assessment:
        """What the rules say on values that reach back no further than `since` (monotonic seconds)."""
        now = self._clock.monotonic()
        return verdicts.assess(self.rules, self._signals, self.cache, fired=fired, since=since, now=now)

    def goes_on(self, fired: str) -> Assessment:
        """What the rule that fired says by itself, now."""
        now, alone = self._clock.monotonic(), {name: rule for name, rule in self.rules.items() if name == fired}
        return verdicts.assess(alone, self._signals, self.cache, fired=fired, since=float("-inf"), now=now)

    def phase(self, trigger: Trigger) -> Phase:
        """The trigger's phase as people are shown it: a rule that would look inactive may be blind."""
        phase = trigger.state.phase_at(self._clock.monotonic())
        return Phase.BLIND if phase is Phase.INACTIVE and self._is_blind(trigger) else phase

    def blind_since(self, trigger: Trigger) -> datetime | None:
        """Since when the rule has seen nothing; None if it sees, or has not for less than its duration."""
        if not self._is_blind(trigger) or trigger.unseen_since is None:
            return None
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - trigger.unseen_since)

    def _is_blind(self, trigger: Trigger) -> bool:
        since = trigger.unseen_since
        return since is not None and self._clock.monotonic() - since >= self._blind_after(trigger.rule)

    def _blind_after(self, rule: Rule) -> float:
        """Seconds without a value after which a rule is blind: two polls at least."""
        return max(rule.duration, self._staleness)

    def silenced(self, rule: Rule) -> bool:
        """Whether an open run keeps the rule from being evaluated.

        A rule with a quicker action is evaluated until the run restores: it may take the run over.
        """
        run = self._state.open_run_on(self._target.key)
        return run is not None and (run.restoring or not quicker(rule.action, run.opened.plan.strategy))

    def onset(self, trigger: Trigger) -> datetime:
        """The onset as an instant, taken from the wall clock once: a jump of that clock must not move it."""
        return self._onset(trigger, trigger.state)

    def read(self, source: SourceName, signals: frozenset[str]) -> Sequence[Trigger]:
        """These signals were read from the source; returns the triggers that it is news for."""
        concerned = [t for t in self._triggers.values() if t.rule.signals & signals]
        for trigger in concerned:
            trigger.news.add(source)
            trigger.changed.set()
        return concerned

    async def fired(self) -> Sequence[Trigger]:
        """Those that wait for a decision, the most urgent first, once there are any."""
        await self._firing.wait()
        self._firing.clear()
        return sorted((t for t in self._triggers.values() if t.undecided), key=lambda t: (t.rule.duration, t.rule.name))

    def reload(self, rules: Sequence[Rule], signals: Mapping[str, Signal]) -> Sequence[Trigger]:
        """Go over to these rules; returns the triggers that are gone. A rule that is what it was keeps its own."""
        new = {r.name: r for r in rules if r.applies_to(self._target)}
        diff = difference(list(self.rules.values()), list(new.values()))
        gone = [self._triggers.pop(name) for name in (*diff.removed, *diff.changed)]
        kept = self._triggers
        self._triggers = {name: kept.get(name) or Trigger(rule) for name, rule in new.items()}
        for name, trigger in kept.items():
            trigger.rule = new[name]
        wanted = _read_by(new.values(), signals)
        self._signals.clear()
        self._signals.update(wanted)
        return gone

    async def tell_gone(self, gone: Sequence[Trigger]) -> None:
        """Tell of the breaches that ended because their rule was changed."""
        at = self._clock.now()
        ended = [t.rule.name for t in gone if t.state.phase is not Phase.INACTIVE]
        if ended:
            await self._tell(*(TriggerCleared(at, name, RuleChanged()) for name in ended))

    def _release_changed(self, change: ReleaseChanged) -> None:
        """After somebody else's release, a breach that began before it counts its duration anew.

        One that began later is left alone.
        """
        at = self._clock.monotonic() if change.earliest is None else self._monotonic(change.earliest)
        self._released = at
        for trigger in self._triggers.values():
            if trigger.state.onset is not None and trigger.state.onset < at:
                trigger.state = triggers.restart_clock(trigger.state, at)
        self._note_reset()

    def _run_ended(self, _: RunEnded) -> None:
        """What was seen before the end of a run no longer counts."""
        state = self._after(self._state.last_closed(self._target.key), self._clock.monotonic())
        for trigger in self._triggers.values():
            trigger.state = state
        self._note_reset()

    def _after(self, closed: RunClosed | None, at: float) -> TriggerState:
        subsided = closed is not None and closed.outcome == SUBSIDED
        return triggers.after_run(at, 0.0 if subsided else self._policy.limits.cooldown)

    def _note_reset(self) -> None:
        self._resets += 1
        for trigger in self._triggers.values():
            trigger.undecided = False
            trigger.changed.set()

    def restore(self) -> None:
        """Take up what the journal tells of each trigger."""
        ledger, closed = self._state.ledger(self._target.key), self._state.last_closed(self._target.key)
        rollout = ledger.rollout
        if rollout is not None and rollout.by_guard is None:
            self._released = self._monotonic(rollout.earliest or rollout.at)
        for trigger in self._triggers.values():
            if closed is not None:
                trigger.state = self._after(closed, self._monotonic(closed.at))
            last = self._state.trigger_to_resume(self._target.key, trigger.rule.name)
            # An event that is dated in the future was written by another clock: how long ago it was is unknown.
            if last is not None and last.at <= self._clock.now():
                self._resume(trigger, last)

    def _resume(self, trigger: Trigger, last: TriggerPending | TriggerFired) -> None:
        fired = self._monotonic(last.at) if isinstance(last, TriggerFired) else None
        onset = self._monotonic(last.onset)
        trigger.known_onset = (onset, last.onset)
        state = triggers.restored(trigger.rule, onset=onset, fired_at=fired)
        theirs = (onset if fired is None else fired) < self._released
        trigger.state = triggers.restart_clock(state, self._released) if theirs else state
        self._log.info("trigger.restored", rule=trigger.rule.name, onset=last.onset, fired=fired is not None)

    async def evaluate(self, trigger: Trigger, *, fresh: bool) -> bool:
        """Judge the latest readings; False if a new release came in between, so that it has to be done again.

        `fresh`: each of them was taken for this evaluation.
        """
        rule = trigger.rule
        if self.silenced(rule):
            return True
        resets, now = self._resets, self._clock.monotonic()
        readings = self.cache.readings(sorted(rule.signals), now)
        judgement = judge(rule.condition, readings, rule.no_data)
        self._tell_out_of_reach(trigger, readings)
        state, changes = await self._history.advance(
            rule, trigger.state, judgement, now=now, staleness=self._staleness, fresh=fresh, credit_from=self._released
        )
        if self._resets != resets or self.silenced(rule):
            return self.silenced(rule)
        if Change.RECOVERED in changes:
            self._note_recovery(trigger, now)
        trigger.state = state
        self._counters.evaluations[rule.name, judgement.verdict] += 1
        evidence = {n: shown(r, self._signals[n]) for n, r in readings.items()}
        told, verdict = event_lines.shown(evidence), str(judgement.verdict)
        self._log.debug("rule.evaluated", rule=rule.name, verdict=verdict, evidence=told)
        self._note_sight(trigger, judgement, readings, evidence)
        for change in changes:
            await self._tell_change(trigger, state, change, evidence)
        if judgement.verdict is not Verdict.MET:
            trigger.undecided = False
        elif trigger.state.phase is Phase.FIRING:
            trigger.evidence, trigger.undecided = evidence, True
            self._firing.set()
        return True

    def _note_recovery(self, trigger: Trigger, now: float) -> None:
        """Keep the breach that is over now; what only one poll has shown leaves the one before it in place."""
        onset, shown = trigger.state.onset, trigger.state.credited_to
        if onset is not None and shown is not None and shown - onset > self._policy.polling.interval:
            trigger.last = PastBreach(onset, self.onset(trigger), now)

    def _note_sight(
        self, trigger: Trigger, judgement: Judgement, readings: Mapping[str, Reading], evidence: Mapping[str, Reason]
    ) -> None:
        """Keep how long the rule has seen nothing; people are told once for all rules that lack a source's values.

        That a source fails or lags is told by itself.
        """
        rule, now, key = trigger.rule, self._clock.monotonic(), ""
        seeing = verdicts.sees(rule, judgement, self._seen)
        if not seeing and trigger.unseen_since is None:
            trigger.unseen_since = now
        missing = [n for n, r in readings.items() if isinstance(r, NoData)]
        failing = any(isinstance(r, SourceError) or is_lagging(r) for r in readings.values())
        if not seeing and missing and not failing and trigger.unseen_since is not None:
            source = self._signals[missing[0]].source
            key = f"values/{source}/{self._target.key}"
            left = trigger.unseen_since + self._blind_after(rule) - now
            self._problems.note(
                ProblemKind.RULE, key, self._target, rule.name,
                what=Named(source), cause=shown(readings[missing[0]]), tell_after=left,
            )  # fmt: skip
        for other in self._problems.keys_at(ProblemKind.RULE, self._target, rule.name):
            if other != key:
                self._problems.clear(other, self._target, rule.name)
        self._log_sight(trigger, evidence, seeing=seeing)

    def _log_sight(self, trigger: Trigger, evidence: Mapping[str, Reason], *, seeing: bool) -> None:
        name = trigger.rule.name
        if seeing:
            if trigger.blind_told:
                self._lines.info("trigger.seeing", about=name, rule=name, evidence=event_lines.shown(evidence))
            trigger.unseen_since, trigger.blind_told = None, False
        elif self._is_blind(trigger) and not trigger.blind_told:
            trigger.blind_told = True
            detail = ", ".join(f"{signal} {reading}" for signal, reading in event_lines.shown(evidence).items())
            self._lines.warning(
                "trigger.blind", about=name, rule=name, since=self.blind_since(trigger), detail=detail
            )  # fmt: skip

    def _tell_out_of_reach(self, trigger: Trigger, readings: Mapping[str, Reading]) -> None:
        highest = {n: r.ceiling for n, r in readings.items() if isinstance(r, Value) and r.ceiling is not None}
        if trigger.told_out_of_reach or not out_of_reach(trigger.rule.condition, highest):
            return
        trigger.told_out_of_reach = True
        rule, largest = trigger.rule, max(highest.values())
        self._log.warning("rule.out_of_reach", rule=rule.name, condition=rule.text, largest_bucket=largest)

    async def _tell_change(
        self, trigger: Trigger, state: TriggerState, change: Change, evidence: Mapping[str, Reason]
    ) -> None:
        at, name = self._clock.now(), trigger.rule.name
        match change:
            case Change.PENDING:
                await self._tell(TriggerPending(at, name, self._onset(trigger, state)))
            case Change.FIRED:
                self._counters.firings[name] += 1
                await self._tell(TriggerFired(at, name, self._onset(trigger, state), event_lines.shown(evidence)))
            case Change.RECOVERED | Change.DATA_LOST:
                await self._tell(TriggerCleared(at, name, str(change)))

    async def _tell(self, *events: Event) -> None:
        stream = target_stream(self._target.key)
        if not self._state.available:
            self._state.log(stream, *events)
            return
        try:
            await self._state.tell(stream, *events)
        except JournalUnavailable as error:
            self._lines.error("journal.unavailable", detail=str(error))

    def _onset(self, trigger: Trigger, state: TriggerState) -> datetime:
        now = self._clock.monotonic()
        onset = now if state.onset is None else state.onset
        known = trigger.known_onset
        if known is None or known[0] != onset:
            known = trigger.known_onset = (onset, self._clock.now() - timedelta(seconds=now - onset))
        return known[1]

    def _monotonic(self, at: datetime) -> float:
        return self._clock.monotonic() - max(0.0, (self._clock.now() - at).total_seconds())


def _read_by(rules: Iterable[Rule], signals: Mapping[str, Signal]) -> dict[str, Signal]:
    wanted = frozenset().union(*(r.signals for r in rules))
    return {name: signals[name] for name in sorted(wanted)}
