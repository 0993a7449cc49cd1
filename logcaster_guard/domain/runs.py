"""One execution of a plan, told entirely by its events, and the pure decision what comes next.

Invariant: an effect is tried only after its intent is in the journal; a step is done only after it was *seen* to be
done; a run closes only when nothing is borrowed any more. Resuming is the same as going on: observe, then decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.events import (
    Event,
    HoldReleased,
    PeopleReminded,
    RevisionBad,
    RunAnswered,
    RunClosed,
    RunEnding,
    RunOpened,
    StepDone,
    StepIntended,
    StepStarted,
)
from logcaster_guard.domain.guard_reasons import RunNeverOpened
from logcaster_guard.domain.inbox.commands import RunCommand
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.reasons import (
    DestinationMarkedBad,
    IsPutBack,
    NothingObserved,
    Quiet,
    Said,
    UnseenInTime,
)
from logcaster_guard.domain.steps import FAILED as FAILED  # noqa: PLC0414 - one of the outcomes of a run, for all who ask for them here
from logcaster_guard.domain.steps import Compensation, Consultation, Field, Purpose, Step

RECOVERED = "recovered"
ABANDONED = "abandoned"
NOT_RECOVERED = "not recovered"
INCONCLUSIVE = "inconclusive"
DESTINATION_BAD = "destination bad"
VETOED = "vetoed"
NOT_APPROVED = "not approved"
SUBSIDED = "subsided"
ESCALATED = "escalated"
PUT_BACK = "put back"

_IN_PLACE = frozenset({RECOVERED, NOT_RECOVERED, INCONCLUSIVE})
"""Ends of a run that leaves the good release where it has put it."""
HARMLESS = frozenset({VETOED, NOT_APPROVED, SUBSIDED})
"""Ends of a run that changed nothing: the target is not frozen."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Append these events; nothing else."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Perform:
    """Append the intent, then apply step `step`."""

    intent: StepIntended
    step: Step


@dataclass(frozen=True, slots=True)
class Compensate:
    """Put back what was borrowed (again, if need be): writing it twice does no harm."""

    compensation: Compensation


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Look again in `seconds`."""

    seconds: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Close:
    """Append the closing event: the run is over."""

    closed: RunClosed


Decision = Commit | Perform | Compensate | WaitUntil | Close


@dataclass(frozen=True, slots=True)
class Run:
    """A run folded from its events. `step` is the index of the present step; `attempts` counts its intents.

    `reminded` counts how often people were reminded of a question; `touched`: the run has begun to change something.
    `said` is what a person answered to the present step, and stays until it is acted upon. `compensations` are owed
    for what is still borrowed; `taken` are all that it ever took or took over, also those that were given back.
    """

    opened: RunOpened
    step: int = 0
    started: datetime | None = None
    attempts: int = 0
    compensations: Mapping[str, Compensation] = field(default_factory=dict)
    taken: Mapping[str, Compensation] = field(default_factory=dict)
    done_at: Mapping[int, datetime] = field(default_factory=dict)
    reminded: int = 0
    touched: bool = False
    said: RunAnswered | None = None
    ending: RunEnding | None = None
    closed: RunClosed | None = None

    @property
    def id(self) -> str:
        """The run's name."""
        return self.opened.run

    @property
    def present(self) -> Step | None:
        """The step that is to be done, None when all are."""
        steps = self.opened.plan.steps
        return steps[self.step] if self.step < len(steps) else None

    @property
    def asks(self) -> Consultation | None:
        """The question that it waits for people to answer; None if it asks nothing now."""
        return None if self.present is None else self.present.asks

    @property
    def owed(self) -> Compensation | None:
        """What to give back next: what was taken last."""
        return list(self.compensations.values())[-1] if self.compensations else None

    @property
    def done(self) -> Sequence[Step]:
        """The steps that were seen to be done."""
        return [self.opened.plan.steps[index] for index in sorted(self.done_at)]

    def wrote(self, field: Field) -> bool:
        """Whether a step that writes this field was seen to be done."""
        return any(claim.field is field for step in self.done for claim in step.claims)

    def borrowed(self, kind: str) -> Sequence[Compensation]:
        """What it has borrowed of this kind, and not given back."""
        return [owed for owed in self.compensations.values() if owed.kind == kind]

    @property
    def leaves_destination(self) -> bool:
        """Whether it is ending with the good release in place: whoever owns the workload would undo that."""
        taken_over = any(step.purpose is Purpose.TAKEOVER for step in self.done)
        return taken_over and self.ending is not None and self.ending.outcome in _IN_PLACE

    @property
    def witnessed(self) -> float:
        """Seconds for which guards are known to have waited in the present step: the journal tells of each reminder."""
        return 0.0 if self.asks is None else self.reminded * self.asks.remind_every

    def lasted(self, now: datetime) -> float:
        """Seconds since the present step was begun, by the wall clock."""
        return 0.0 if self.started is None else (now - self.started).total_seconds()

    @property
    def verifies(self) -> bool:
        """Whether the run judges what it has done, as all do but one that puts the release before back."""
        return any(step.purpose is Purpose.VERIFICATION for step in self.opened.plan.steps)

    @property
    def switched(self) -> bool:
        """Whether the Service was seen to have left the environment that the plan calls live."""
        return any(c.field is Field.SELECTOR for step in self.opened.plan.steps[: self.step] for c in step.claims)

    @property
    def restoring(self) -> bool:
        """Whether the destination takes the bad release's place already, or the run is ending: too late for more."""
        steps = self.opened.plan.steps
        places = [i for i, step in enumerate(steps) if step.purpose is Purpose.TAKEOVER]
        return self.ending is not None or not places or self.step > places[0]


def superfluous(runs: Iterable[Run]) -> Sequence[Run]:
    """Of open runs on one target, in the order of their opening, those that are not carried on.

    There can be two where a guard opened one and its append came only after it had lost the lease, when another guard
    had begun its own. The one that has changed or borrowed something is carried on, else the first.
    """
    found = sorted(runs, key=lambda run: not (run.touched or run.compensations))
    return [run for run in found[1:] if not run.touched and not run.compensations]


def fold(events: Iterable[Event]) -> Mapping[str, Run]:
    """The runs that a stream tells, by id, in the order of their opening."""
    runs: dict[str, Run] = {}
    for event in events:
        run = extend(runs, event)
        if run is not None:
            runs[run.id] = run
    return runs


def extend(runs: Mapping[str, Run], event: Event) -> Run | None:
    """The run that `event` tells of as it is then, `runs` being those before; None if it tells of none."""
    match event:
        case RunOpened():
            held = {h.id: h for h in event.holds}
            return Run(event, compensations=held, taken=held)
        case (
            StepStarted()
            | StepIntended()
            | StepDone()
            | PeopleReminded()
            | RunAnswered()
            | RunEnding()
            | HoldReleased()
            | RunClosed()
        ):
            if event.run not in runs:
                raise GuardError(reason=RunNeverOpened(event.run))
            return _after(runs[event.run], event)
        case _:
            return None


def _after(
    run: Run,
    event: StepStarted | StepIntended | StepDone | PeopleReminded | RunAnswered | RunEnding | HoldReleased | RunClosed,
) -> Run:
    match event:
        case StepStarted():
            return replace(run, step=event.step, started=event.at, attempts=0)
        case StepIntended():
            held = {} if event.hold is None else {event.hold.id: event.hold}
            return replace(
                run,
                attempts=event.attempt,
                compensations={**run.compensations, **held},
                taken={**run.taken, **held},
                touched=True,
            )
        case StepDone():
            done = {**run.done_at, event.step: event.at}
            return replace(run, step=event.step + 1, started=None, attempts=0, done_at=done, said=None)
        case PeopleReminded():
            return replace(run, reminded=event.number)
        case RunAnswered():
            return replace(run, said=event)
        case RunEnding():
            return replace(run, ending=event)
        case HoldReleased():
            return replace(run, compensations={k: h for k, h in run.compensations.items() if k != event.hold})
        case RunClosed():
            return replace(run, closed=event)


def next(  # noqa: A001 - the protocol's word
    run: Run,
    observation: Observation | None,
    now: datetime,
    elapsed: float,
    *,
    objection: Reason = "",
    stood_in_for: bool = False,
) -> Decision:
    """What the run does next.

    `observation` is of the present step, or of what is owed when the run is ending; None if there is nothing
    to observe yet. `elapsed` is how many seconds the present step (or the ending) has lasted. `objection` is what a
    person said who has marked the destination bad, empty where nobody did. `stood_in_for`: something carries what the
    owed compensation is missing, and goes only after it, so that it is not given up.
    """
    if run.closed is not None:
        raise GuardError(f"Run {run.id} is closed.")
    if run.ending is not None:
        return _ending(run, run.ending, observation, now, elapsed, stood_in_for=stood_in_for)
    if run.said is not None and run.said.answer is RunCommand.ABANDON:
        return _end(run, now, ABANDONED, Said(run.said.answer, run.said.words), freeze=True)
    step = run.present
    if step is None and not run.verifies:
        return _end(run, now, PUT_BACK, IsPutBack(run.opened.reason), freeze=True)
    if step is None:
        return _end(run, now, RECOVERED, Quiet(), freeze=False)
    if objection:
        outcome = ABANDONED if step.asks is None else VETOED
        return _end(run, now, outcome, DestinationMarkedBad(objection), freeze=True)
    if run.started is None:
        return Commit((StepStarted(now, run.id, run.step),))
    return _answered(run, step, observation, now) or _working(run, step, observation, now, elapsed)


def _answered(run: Run, step: Step, observation: Observation | None, now: datetime) -> Commit | None:
    """What follows from a person's answer to the question; an approval counts once the question can be looked at."""
    if run.said is None or step.asks is None:
        return None
    if run.said.answer is RunCommand.VETO:
        return _end(run, now, VETOED, Said(run.said.answer, run.said.words), freeze=False)
    if isinstance(observation, Before | Done):
        return Commit((StepDone(now, run.id, run.step, Said(run.said.answer, run.said.words)),))
    return None


def _working(run: Run, step: Step, observation: Observation | None, now: datetime, elapsed: float) -> Decision:
    match observation:
        case None:
            return WaitUntil(0.0, NothingObserved())
        case Done(detail):
            return Commit((StepDone(now, run.id, run.step, detail),))
        case ExternalChange(detail):
            return _end(run, now, ABANDONED, detail, freeze=step.asks is None)
        case Failed(outcome, detail):
            return _end(run, now, outcome, detail, freeze=True)
        case Unclear(detail) if step.inconclusive_if_unseen and elapsed >= step.deadline:
            return _end(run, now, INCONCLUSIVE, UnseenInTime(detail), freeze=True)
        case Unclear(detail) | Pending(detail) if elapsed >= step.deadline:
            return _end(run, now, *step.overdue(detail), freeze=True)
        case Unclear(detail, retry_after):
            return WaitUntil(_pause(run.attempts, retry_after), detail)
        case Pending(detail):
            return WaitUntil(POLL, detail)
        case Before():
            return _before(run, step, observation, now, elapsed)


def _before(run: Run, step: Step, observation: Before, now: datetime, elapsed: float) -> Decision:
    if elapsed >= step.deadline:
        return _end(run, now, *(observation.overdue or step.overdue(observation.detail)), freeze=True)
    if step.writes:
        return Perform(StepIntended(now, run.id, run.step, run.attempts + 1, observation.borrows), step)
    if step.asks is not None and elapsed >= (run.reminded + 1) * step.asks.remind_every:
        return Commit((PeopleReminded(now, run.id, int(elapsed // step.asks.remind_every)),))
    return WaitUntil(POLL, observation.detail)


POLL = 1.0
"""Seconds between two looks at a step that is waited for."""


def _ending(
    run: Run, ending: RunEnding, observation: Observation | None, now: datetime, elapsed: float, *, stood_in_for: bool
) -> Decision:
    owed = run.owed
    if owed is None:
        return Close(RunClosed(now, run.id, ending.outcome, ending.reason, ending.freeze))
    match observation:
        case Done(detail, also):
            released = HoldReleased(now, run.id, owed.id, detail)
            return Commit((released,) if also is None else (also, released))
        case ExternalChange(detail):
            return Commit((HoldReleased(now, run.id, owed.id, detail, theirs=owed.original is not None),))
        case Failed(_, detail) if stood_in_for:
            return WaitUntil(_pause(int(elapsed), None), detail)
        case Failed(_, detail):
            return Commit((HoldReleased(now, run.id, owed.id, detail, kept_out=True),))
        case Before():
            return Compensate(owed)
        case Pending(detail):
            return WaitUntil(POLL, detail)
        case Unclear(detail, retry_after):
            return WaitUntil(_pause(int(elapsed), retry_after), detail)
        case None:
            return WaitUntil(0.0, NothingObserved())


def _end(run: Run, now: datetime, outcome: str, reason: Reason, *, freeze: bool) -> Commit:
    ending = RunEnding(now, run.id, outcome, reason, freeze and outcome not in HARMLESS)
    if outcome == DESTINATION_BAD:
        plan = run.opened.plan
        bad = dict.fromkeys((plan.destination, plan.good))
        told = (RevisionBad(now, b.template, reason, run.id, configuration=b.configuration) for b in bad)
        return Commit((ending, *told))
    return Commit((ending,))


def _pause(attempts: int, retry_after: float | None) -> float:
    backoff = min(0.5 * 2.0 ** min(attempts, 6), 15.0)
    return backoff if retry_after is None else min(max(backoff, retry_after), 60.0)
