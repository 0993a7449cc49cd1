"""Keeps the journal small: what no projection needs any more goes from it.

Of a run that closed before the retention, what it was, what became of it and what people said stays, and is kept as one
summary; its attempts, waits and notices go. Of a target go the transitions of triggers, of the freeze and of what is
known of its configuration that later ones superseded, and the notices that every channel is done with, together with
what settled them.

Invariant: nothing goes unless the state of what stays equals the state of the whole. That is compared each time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from logcaster_guard import messages
from logcaster_guard.domain.errors import GuardError, JournalUnavailable
from logcaster_guard.domain.events import (
    AnswerDenied,
    ConfigurationSeen,
    Event,
    HoldReleased,
    NoticeQueued,
    NoticeSettled,
    PeopleReminded,
    StepIntended,
    StepStarted,
    TargetFrozen,
    TargetThawed,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.state import GUARD, State, target_of
from logcaster_guard.engine.channel_queues import LEFT_OUT, left_out
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.ports import Clock, Entry, Journal

ROOM = 8 * 1024 * 1024
"""Bytes from which on a journal is compacted without waiting for the night, and by less than the retention."""

PRESSED = 6 * 3_600.0
"""Seconds for which everything stays where the size asks for it: enough to follow an incident."""

FULL = 0.5
"""The share of its limit at which people are told that the journal grows."""

_LOOK = 60.0
_AGAIN = 1.5
"""How much larger a journal must be than compaction left it before it is tried again at once."""

_CONFIGURATION = "configuration of the target"
"""No name of a rule: those have no spaces."""

Place = tuple[str, int]
"""Stream and seq of an event."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What may go from the journal; `notices` are the ids that are then no longer in it."""

    superfluous: frozenset[Place]
    notices: frozenset[str]


def compaction(entries: Sequence[Entry], *, owed: Collection[str], before: datetime) -> Compaction:
    """What may go of a whole journal, in its order: of what is from before `before`, what no projection needs.

    `owed` are the notices that some channel has not taken yet. Raises `GuardError` if the state of what would stay is
    another one, which is a defect.
    """
    state = state_of(entries)
    last = {e.stream: e.seq for e in entries}
    found = (
        *_superseded(entries, before),
        *_forgotten(entries, state),
        *_notices(entries, state, owed, before),
        *_details(entries, state, before),
    )
    # The last event of a stream says where that stands.
    superfluous = frozenset((e.stream, e.seq) for e in found if e.seq != last[e.stream])
    kept = state_of(e for e in entries if (e.stream, e.seq) not in superfluous)
    notices = frozenset(state.notices - kept.notices)
    state.notices -= notices
    if kept != state:
        raise GuardError("What would stay of the journal tells something else than the whole of it.")
    return Compaction(superfluous, notices)


def state_of(entries: Iterable[Entry]) -> State:
    """The state that these entries, in their order, add up to."""
    state = State()
    for entry in entries:
        state.take(entry.stream, entry.event)
    return state


def _superseded(entries: Sequence[Entry], before: datetime) -> Iterator[Entry]:
    later = set[tuple[str, str | None]]()
    for entry in reversed(entries):
        match entry.event:
            case TriggerPending(rule=rule) | TriggerFired(rule=rule) | TriggerCleared(rule=rule):
                about: tuple[str, str | None] = (entry.stream, rule)
            case TargetFrozen() | TargetThawed():
                about = (entry.stream, None)
            case ConfigurationSeen():
                about = (entry.stream, _CONFIGURATION)
            case _:
                continue
        if about in later and entry.event.at < before:
            yield entry
        later.add(about)


def _forgotten(entries: Sequence[Entry], state: State) -> Iterator[Entry]:
    for entry in entries:
        if isinstance(entry.event, AnswerDenied):
            denied = state.denied.get(target_of(entry.stream) or "", {})
            if entry.event.digest not in denied:
                yield entry


def _notices(entries: Sequence[Entry], state: State, owed: Collection[str], before: datetime) -> Iterator[Entry]:
    # After a restart a breach that goes on is not told again: its notices are known by its onset.
    breaches = [t for t in state.triggers.values() if not isinstance(t, TriggerCleared)]
    onsets = {f"{t.onset:%Y%m%dT%H%M%S}" for t in breaches}
    needed = {*owed, *left_out([e.event for e in entries])}
    going_on, first, kept = set(state.open.values()), set[str](), set(needed)
    for entry in entries:
        match entry.event:
            case NoticeQueued(at, notice):
                told_again = entry.stream in going_on or any(onset in notice.id for onset in onsets)
                if at < before and notice.id not in needed and not told_again:
                    yield entry
                else:
                    kept.add(notice.id)
            case NoticeSettled(at, id_, channel, outcome):
                # From the first one on the outbox knows that it has this channel.
                begins = channel not in first and not outcome.startswith(LEFT_OUT)
                if at < before and id_ not in kept and not begins:
                    yield entry
                first |= {channel} if begins else set()
            case _:
                pass


def _details(entries: Sequence[Entry], state: State, before: datetime) -> Iterator[Entry]:
    by_run: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if isinstance(entry.event, StepStarted | StepIntended | PeopleReminded | HoldReleased):
            by_run[entry.event.run].append(entry)
    for name, told in by_run.items():
        run = state.runs[name]
        if run.closed is not None and run.closed.at < before:
            yield from _details_of(run, told)


def _details_of(run: Run, told: Sequence[Entry]) -> Iterator[Entry]:
    """Events that the run can lose and still fold to the same state.

    Kept are its first intent, the last event of each type, the intents that borrowed, and the releases of those holds.
    """
    intents = [e for e in told if isinstance(e.event, StepIntended)]
    needed = {e.seq for e in intents[:1]}
    needed |= {e.seq for e in {type(e.event): e for e in told}.values()}
    needed |= {e.seq for hold, e in {_held(e.event): e for e in intents}.items() if hold in run.taken}
    borrowed = {_held(e.event) for e in intents if e.seq in needed} | {h.id for h in run.opened.holds}
    for entry in told:
        released = isinstance(entry.event, HoldReleased) and entry.event.hold in borrowed
        if entry.seq not in needed and not released:
            yield entry


def _held(event: Event) -> str | None:
    return event.hold.id if isinstance(event, StepIntended) and event.hold is not None else None


class Compactor:
    """Compacts the journal of a guard that acts, when it is asked to and when the journal has grown; tells of growth.

    `retention` is for how many seconds the details of closed runs stay.
    """

    def __init__(
        self, state: JournalState, journal: Journal, outbox: Outbox, clock: Clock, *, retention: float
    ) -> None:  # fmt: skip
        self._state = state
        self._journal = journal
        self._outbox = outbox
        self._clock = clock
        self._retention = retention
        self._left = 0
        self._told = False
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Look at the size each minute, until cancelled."""
        while True:
            try:
                await self._look()
            except JournalUnavailable as error:
                self._log.warning("journal.not_compacted", detail=str(error))
            await self._clock.sleep_until(self._clock.monotonic() + _LOOK)

    async def compact(self, keep: float | None = None) -> None:
        """Once; `keep` are the seconds for which everything stays, the retention unless told otherwise.

        What fails is logged and left to the next time.
        """
        owed = self._outbox.owed()
        if owed is None or not self._state.loaded:
            return
        before = self._clock.now() - timedelta(seconds=self._retention if keep is None else keep)
        try:
            entries = await self._journal.read_all()
            # Beside the loop: it is as much work as a start.
            found = await asyncio.to_thread(compaction, entries, owed=owed, before=before)
            await self._journal.compact(found.superfluous)
            self._left = (await self._journal.size()).used
        except GuardError as error:
            self._log.error("journal.not_compacted", detail=str(error))
            return
        self._state.forget_notices(found.notices)
        self._log.info("journal.compacted", removed=len(found.superfluous), of=len(entries), bytes=self._left)

    async def _look(self) -> None:
        size = await self._journal.size()
        if self._outbox.owed() is not None and size.used > max(ROOM, _AGAIN * self._left):
            # First, so that one that cannot be compacted is not read whole each minute.
            self._left = size.used
            await self.compact(PRESSED)
            size = await self._journal.size()
        if size.used <= FULL * size.limit:
            self._told = False
        elif not self._told:
            self._log.error("journal.growing", bytes=size.used, limit=size.limit)
            at = self._clock.now()
            await self._state.tell(GUARD, NoticeQueued(at, messages.journal_growing(size.used, size.limit, at)))
            self._told = True
