"""What the events of a journal add up to: the projection that the guard decides by.

Invariant: an event that is not needed here may go from the journal. `engine/compaction.py` removes such events only
where the state of those that stay equals the state of all.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime

from logcaster_guard.domain import ledger_events
from logcaster_guard.domain import runs as run_domain
from logcaster_guard.domain.events import (
    AnswerDenied,
    ConfigurationSeen,
    Event,
    HoldDeferred,
    HoldSettled,
    NoticeQueued,
    OwnerResumed,
    OwnerResuming,
    OwnerSuspended,
    RevisionBad,
    RevisionLive,
    RevisionMarked,
    RunAnswered,
    RunClosed,
    RunOpened,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.inbox.annotations import MARK, ROLLBACK
from logcaster_guard.domain.inbox.commands import Heard
from logcaster_guard.domain.ledger import Ledger
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.runs import Run

GUARD = "guard"
"""The stream of what concerns the guard itself."""

DENIALS = 1_000
"""Denied answers that are remembered, of each target: a workload's annotations can be changed without end."""

_HEARD = 20
"""Answers of people that are shown, of each target."""

_UNKNOWN = Ledger()
_OF_RUNS = (RevisionBad, OwnerSuspended, HoldDeferred, HoldSettled)
"""What is told of the target of a run, and changes nothing of the run."""

Transition = TriggerPending | TriggerFired | TriggerCleared


def target_of(stream: str) -> str | None:
    """The key of the target whose stream it is; None for a stream of something else."""
    return stream.removeprefix("target/") if stream.startswith("target/") else None


@dataclass(slots=True)
class State:
    """The state after the events that it has taken in, in the order of the journal.

    `runs` are in the order of their opening, and `runs_of` are those of each target. `open` names the stream of each
    run that is not closed. `over` are the triggers whose breach a run has ended. `notices` are the ids that were queued
    in the stream of a target or of a run; `counted` and `denied` are the digests of people's annotations, the denied
    ones by target, the newest last. `suspended` and `resuming` are by target and GitOps owner. `configurations` tell
    what was known last of the configuration of each target. `deferred` is what closed runs still have borrowed, by run
    and id. `since` is when the first release was told of: what was kept before then, another journal knew.
    """

    ledgers: dict[str, Ledger] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    runs_of: defaultdict[str, dict[str, Run]] = field(default_factory=lambda: defaultdict(dict), compare=False)
    open: dict[str, str] = field(default_factory=dict)
    last_closed: dict[str, RunClosed] = field(default_factory=dict)
    triggers: dict[tuple[str, str], Transition] = field(default_factory=dict)
    over: set[tuple[str, str]] = field(default_factory=set)
    notices: set[str] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)
    denied: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    heard: defaultdict[str, deque[Heard]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_HEARD)))
    suspended: dict[tuple[str, str], OwnerSuspended] = field(default_factory=dict)
    resuming: dict[tuple[str, str], Reason] = field(default_factory=dict)
    configurations: dict[str, ConfigurationSeen] = field(default_factory=dict)
    deferred: dict[tuple[str, str], HoldDeferred] = field(default_factory=dict)
    since: datetime | None = None

    def take(self, stream: str, event: Event) -> Run | None:
        """Take in the next event; the run that it tells of, as it is then, if it tells of one.

        Raises `GuardError` for one that contradicts what was before.
        """
        run = run_domain.extend(self.runs, event)
        if run is not None:
            self._take_run(stream, run)
        about = run
        if run is None and isinstance(event, _OF_RUNS):
            about = self.runs.get(event.run)
        if isinstance(event, NoticeQueued) and stream != GUARD:
            self.notices.add(event.notice.id)
        target = about.opened.target if about is not None else target_of(stream)
        if target is not None:
            self._take_of_target(target, event)
        return run

    def knows_answer(self, digest: str) -> bool:
        """Whether the annotation with this digest has counted, or was denied, before."""
        return digest in self.counted or any(digest in denied for denied in self.denied.values())

    def _take_run(self, stream: str, run: Run) -> None:
        self.runs[run.id] = self.runs_of[run.opened.target][run.id] = run
        if run.closed is None:
            self.open[run.id] = stream
            return
        self.open.pop(run.id, None)
        self.last_closed[run.opened.target] = run.closed
        # By the order of the journal: a wall clock that was set in between tells nothing.
        self.over |= {key for key in self.triggers if key[0] == run.opened.target}

    def _take_of_target(self, target: str, event: Event) -> None:
        self.ledgers[target] = ledger_events.extend(self.ledgers.get(target, _UNKNOWN), [event])
        match event:
            case RevisionLive():
                self.since = self.since or event.at
            case TriggerPending() | TriggerFired() | TriggerCleared():
                self.triggers[target, event.rule] = event
                self.over.discard((target, event.rule))
            case RunAnswered() | AnswerDenied() | RunOpened() | RevisionMarked():
                self._take_answer(target, event)
            case ConfigurationSeen():
                self.configurations[target] = event
            case HoldDeferred():
                self.deferred[event.run, event.hold.id] = event
            case HoldSettled():
                self.deferred.pop((event.run, event.hold), None)
            case OwnerSuspended():
                self.suspended[target, event.hold.object] = event
            case OwnerResuming():
                self.resuming[target, event.owner] = event.reason
            case OwnerResumed():
                self.suspended.pop((target, event.owner), None)
                self.resuming.pop((target, event.owner), None)
            case _:
                pass

    def _take_answer(self, target: str, event: RunAnswered | AnswerDenied | RunOpened | RevisionMarked) -> None:
        match event:
            case RunAnswered(at, run, command, digest, words, _):
                heard = Heard(at, command.annotation, digest, run, counted=True, words=words)
            case AnswerDenied(at, annotation, digest, reason, run_or_none):
                heard = Heard(at, annotation, digest, run_or_none, counted=False, words=reason)
            case RevisionMarked(at, _, _, digest, words):
                heard = Heard(at, MARK, digest, None, counted=True, words=words)
            case RunOpened():
                if not event.request:
                    return
                heard = Heard(event.at, ROLLBACK, event.request, event.run, counted=True, words=event.reason)
        if heard.counted:
            self.counted.add(heard.digest)
        else:
            self._deny(target, heard.digest)
        self.heard[target].append(heard)

    def _deny(self, target: str, digest: str) -> None:
        denied = self.denied[target]
        denied.pop(digest, None)
        denied[digest] = None
        if len(denied) > DENIALS:
            del denied[next(iter(denied))]
