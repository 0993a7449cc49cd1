"""Watches one target: polls its sources, evaluates its rules, and looks at its workload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from logcaster_guard.domain.errors import ClusterError, JournalUnavailable, Unavailable
from logcaster_guard.domain.guard_reasons import Named
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.problems import OfSource, ProblemKind
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.signals import Signal, SourceName, Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.configuration_follower import ConfigurationFollower
from logcaster_guard.engine.decision_loop import DECIDE, DecisionLoop
from logcaster_guard.engine.decisions import Decisions
from logcaster_guard.engine.manual_runs import ManualRuns
from logcaster_guard.engine.read_configuration import ReadConfiguration
from logcaster_guard.engine.reader import Reader
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.source_health import KUBERNETES
from logcaster_guard.engine.tasks import LoopTasks, until
from logcaster_guard.engine.triggers import Trigger, Triggers
from logcaster_guard.engine.watchdog import Watchdog
from logcaster_guard.messages.texts import english

_BREATH = 0.01
_LOOK = "look at the workload"
_WORKLOAD = "workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetParts:
    """The parts of one target's watch; `manual` are the rollbacks that people ask for.

    `configuration` is None where none is followed.
    """

    triggers: Triggers
    reader: Reader
    revisions: RevisionWatch
    decisions: Decisions
    decision_loop: DecisionLoop
    manual: ManualRuns
    configuration: ConfigurationFollower | None = None


class TargetWatch:
    """One target's loops: one per source, one per rule, one for the workload, one for decisions.

    A source's loop only reads; a rule's loop alone evaluates it, after each poll of a source that it needs and, with a
    read of its own, at the instant at which its duration is full. So nothing slow holds up anything else.
    `looked_at` is when the workload was looked at last. The parts are there to be read by `engine/read_model.py`.
    """

    def __init__(self, context: TargetContext, services: Services, parts: TargetParts) -> None:
        target, clock, interval = context.target, services.clock, services.policy.polling.interval
        self.target = target
        self.triggers = parts.triggers
        self.reader = parts.reader
        self.decisions = parts.decisions
        self._decision_loop = parts.decision_loop
        self.manual = parts.manual
        self.counters = context.counters
        self.watchdog = Watchdog(clock, interval)
        self.looked_at: datetime | None = None
        self._revisions = parts.revisions
        self._configuration = parts.configuration
        self._state = services.state
        self._sampler = services.sampler
        self._clock = clock
        self._problems = services.problems
        self._interval = interval
        self._workload: Workload | None = None
        self._loops: LoopTasks | None = None
        self._deciding = True
        self._log = structlog.get_logger().bind(target=target.key)
        self._lines = RecurringLog(clock, target=target.key)

    @property
    def workload(self) -> Workload | None:
        """The workload as it was looked at last; None before the first look, or if there is none."""
        return self._workload

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are for this target, by name."""
        return self.triggers.rules

    @property
    def sources(self) -> Sequence[SourceName]:
        """The sources that its rules read from."""
        return sorted({s.source for s in self.triggers.signals.values()})

    async def run(self, *, deciding: bool = True) -> None:
        """Watch until cancelled; without `deciding` only read the sources, so that they are warm."""
        self._deciding = deciding
        self.triggers.restore()
        async with asyncio.TaskGroup() as group:
            self._loops = LoopTasks(group, self._clock, self.watchdog, self.counters, self._log, pause=self._interval)
            self._begin()
            if not deciding:
                return
            self._loops.begin(_LOOK, self._look_at_workload)
            self._loops.begin(DECIDE, partial(self._decision_loop.run, self.watchdog))

    def _begin(self) -> None:
        """Begin the loop of every source and rule that has none yet."""
        loops: dict[str, Callable[[], Awaitable[None]]] = {_poll_of(n): partial(self._poll, n) for n in self.sources}
        if self._deciding:
            loops |= {_follow_of(t): partial(self._follow, t) for t in self.triggers.all()}
        for name, loop in loops.items():
            if self._loops is not None and not self._loops.running(name):
                self._loops.begin(name, loop)

    async def reload(self, rules: Sequence[Rule], signals: Mapping[str, Signal]) -> None:
        """Follow these rules from now on; one that is what it was keeps its window and its place in time."""
        gone = self.triggers.reload(rules, signals)
        self._problems.keep(ProblemKind.SOURCE, self.target, {*self.triggers.signals, _WORKLOAD})
        self._problems.keep(ProblemKind.LAG, self.target, self.triggers.signals)
        self._problems.keep(ProblemKind.RULE, self.target, self.rules)
        self._problems.keep(ProblemKind.POLLS, self.target, self.sources)
        for trigger in gone:
            if self._loops is not None and self._loops.running(_follow_of(trigger)):
                self._loops.end(_follow_of(trigger))
        self._begin()
        await self.triggers.tell_gone(gone)

    async def _poll(self, name: SourceName) -> None:
        slot = self._sampler.slot_before(self._clock.monotonic())
        while True:
            self.watchdog.owes(_poll_of(name))
            signals = self.reader.of(name)
            retry_after = await self.reader.poll(name, signals)
            for trigger in self.triggers.read(name, frozenset(s.name for s in signals)):
                if self._deciding:
                    self.watchdog.owes(_follow_of(trigger))
            slot = self.reader.next_slot(name, slot, retry_after)
            self.watchdog.made(_poll_of(name), again=slot)
            await self._sampler.until(slot)

    async def _follow(self, trigger: Trigger) -> None:
        """Evaluate the rule whenever there is news of it, and when its duration is full."""
        rule, sources = trigger.rule, self.triggers.sources_of(trigger)
        while True:
            due = None if self.triggers.silenced(rule) else trigger.state.due_at(rule)
            due = None if due is None else max(due, self.reader.free_at(sources))
            if due is not None and due <= self._clock.monotonic():
                await self.reader.read_all(rule.signals)
                # What came with it is judged with it: later it would count for time that nobody has read.
                trigger.news = set()
                if not await self._evaluate(trigger, fresh=True):
                    trigger.news |= sources
                # A clock that wakes a hair early would otherwise read again at once, over and over.
                await self._clock.sleep_until(self._clock.monotonic() + _BREATH)
            elif trigger.news:
                news, trigger.news = trigger.news, set()
                if not await self._evaluate(trigger, fresh=news >= sources):
                    trigger.news |= news
            else:
                trigger.changed.clear()
                await until(self._clock, trigger.changed, due)

    async def _evaluate(self, trigger: Trigger, *, fresh: bool) -> bool:
        done = await self.triggers.evaluate(trigger, fresh=fresh)
        if trigger.undecided:
            self.watchdog.owes(DECIDE)
        self.watchdog.made(_follow_of(trigger))
        return done

    async def _look_at_workload(self) -> None:
        slot = self._clock.monotonic()
        while True:
            self.watchdog.owes(_LOOK)
            await self._settle()
            try:
                # First, so that what pods have read since the last look counts in this one.
                await self._follow_configuration(self._workload)
                before, self._workload = self._workload, await self._revisions.watch()
                self.looked_at = self._clock.now()
                self._note_presence()
                if self._workload is not None and (before is None or before.hash != self._workload.hash):
                    await self._follow_configuration(self._workload)
                if self._workload is not None:
                    await self.manual.look(self._workload)
            except ClusterError as error:
                self._note_unread(error)
            except JournalUnavailable as error:
                self._lines.error("journal.unavailable", detail=str(error))
            slot = max(slot + self._interval, self._clock.monotonic())
            self.watchdog.made(_LOOK, again=slot)
            await self._clock.sleep_until(slot)

    async def _follow_configuration(self, workload: Workload | None) -> None:
        """Where the pods cannot be listed, what they have read becomes unknown; everything else goes on."""
        if self._configuration is None or workload is None:
            return
        try:
            await self._configuration.look(workload)
        except ClusterError as error:
            self._lines.warning("configuration.unread", detail=str(error))
        except JournalUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a part: a defect in it must not hide the workload
            self.counters.crashes["configuration"] += 1
            self._log.error("watch.crashed", loop="configuration", exc_info=error)

    @property
    def configuration(self) -> ReadConfiguration | None:
        """What the pods have read, as it was looked at last; None where nobody follows it."""
        return None if self._configuration is None else self._configuration.known

    def _note_presence(self) -> None:
        """The API server has answered: the workload is there, or is not."""
        self._problems.clear(KUBERNETES, self.target, _WORKLOAD)
        if self._workload is None:
            self._lines.warning("target.missing", detail=english().text(self._revisions.absence))
            self._note_unseen(self._revisions.absence)
        elif (lasted := self._problems.clear(_unseen(self.target), self.target, _WORKLOAD)) is not None:
            self._lines.info("workload.seen", after_seconds=round(lasted, 1))

    def _note_unread(self, error: ClusterError) -> None:
        """It could not be looked at: the API server is away, for everybody, or does not let the guard."""
        self._lines.warning("workload.unread", detail=str(error))
        if isinstance(error, Unavailable):
            self._problems.note(
                ProblemKind.SOURCE,
                KUBERNETES,
                self.target,
                _WORKLOAD,
                what=OfSource(SourceName.KUBERNETES),
                cause=error.reason,
            )
        else:
            self._note_unseen(error.reason)

    def _note_unseen(self, cause: Reason) -> None:
        key = _unseen(self.target)
        self._problems.note(ProblemKind.WORKLOAD, key, self.target, _WORKLOAD, what=Named(self.target.key), cause=cause)

    async def _settle(self) -> None:
        try:
            await self._state.settle()
        except JournalUnavailable as error:
            self._lines.error("journal.unavailable", detail=str(error))


def _unseen(target: Target) -> str:
    return f"workload {target.key}"


def _poll_of(source: SourceName) -> str:
    return f"poll {source}"


def _follow_of(trigger: Trigger) -> str:
    return f"follow {trigger.rule.name}"
