"""The journal as the engine uses it: facts are appended, logged, and folded into what is known."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

import structlog

from logcaster_guard.domain.errors import GuardError, JournalConflict, JournalOutOfReach, JournalUnavailable
from logcaster_guard.domain.events import (
    ConfigurationSeen,
    Event,
    HoldDeferred,
    NoticeQueued,
    NoticeSettled,
    OwnerSuspended,
    RunClosed,
    RunOpened,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.guard_reasons import JournalContradicts, StreamContended, WithoutJournal
from logcaster_guard.domain.guardrails import PastRun
from logcaster_guard.domain.inbox.commands import Heard
from logcaster_guard.domain.ledger import Ledger, ReleaseStatus
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.state import State, target_of
from logcaster_guard.engine.event_lines import write
from logcaster_guard.engine.hub import Hub, JournalAppended, RunFound
from logcaster_guard.messages.texts import english, failure
from logcaster_guard.ports import Clock, Entry, Journal

_ATTEMPTS = 20
_USABLE = (ReleaseStatus.GOOD, ReleaseStatus.UNMEASURED, ReleaseStatus.PRESUMED_GOOD)


def target_stream(target: str) -> str:
    """The stream of a target, by its key."""
    return f"target/{target}"


def run_stream(run: str) -> str:
    """The stream of a run and of those that follow from it, by the first one's id."""
    return f"run/{run}"


def releases_to_keep(state: State, policy: LedgerPolicy) -> frozenset[str]:
    """Digests and places of what a rollback may need: present, newest good and presumed ones, what runs need.

    Also the newest bad ones that would be good if a person lifted that, and what is known of the configuration.
    """
    kept = set()
    for ledger in state.ledgers.values():
        present = ledger.records.get(ledger.present or "")
        kept |= {present.blob, *present.contents.values()} - {""} if present is not None else set()
        lifted = [r.lifted for r in ledger.records.values() if r.bad_since is not None]
        for records, status in itertools.product((ledger.records.values(), lifted), _USABLE):
            usable = [r for r in records if r.status(policy) is status]
            newest = sorted(usable, key=lambda r: r.last_live)[-policy.keep :]
            kept |= {digest for r in newest for digest in r.blobs}
    for run in map(state.runs.__getitem__, {*state.open, *(run for run, _ in state.deferred)}):
        kept |= {digest for step in run.opened.plan.steps for digest in step.blobs}
        kept |= {run.opened.snapshot} - {""}
    for seen in state.configurations.values():
        kept |= {seen.blob, *seen.manifests}
    return frozenset(kept)


class JournalState:
    """Everything the guard knows from its journal, kept in step with it: what events add up to, not the events.

    Each append is published on the `hub`. Without a journal (`None`) nothing can be appended: the guard only watches.
    An append that failed, or was cut short, may have happened all the same: `settle` tells, and publishes each open run
    that was not known of. `fault` is why a journal was given up.
    """

    def __init__(
        self,
        journal: Journal | None,
        clock: Clock,
        hub: Hub | None = None,
    ) -> None:
        self._journal = journal
        self._hub = Hub() if hub is None else hub
        self._clock = clock
        self._opened_at: dict[str, float] = {}
        self._closed_at: dict[str, float] = {}
        self._counting = asyncio.Lock()
        self._unsure: set[str] = set()
        self._seq: dict[str, int] = {}
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._state = State()
        self.loaded = False
        self._loaded_at = clock.monotonic()
        self.fault: Reason = ""
        self._log = structlog.get_logger()

    @property
    def available(self) -> bool:
        """Whether there is a journal at all."""
        return self._journal is not None

    async def load(self) -> Sequence[Entry] | None:
        """Read the whole journal, once; returns it, None where nothing was read.

        One that cannot be read, or contradicts itself, is told and given up. Raises `JournalOutOfReach`: one that gives
        no answer now may be read later.
        """
        if self._journal is None or self.loaded:
            return None
        try:
            entries = await self._journal.read_all()
            for entry in entries:
                self._remember(entry.stream, entry.seq, [entry.event])
            self.loaded, self._loaded_at = True, self._clock.monotonic()
        except JournalOutOfReach:
            raise
        except GuardError as error:
            self._log.error("journal.unavailable", detail=english().text(error.reason), effect="the guard only watches")
            self._journal, self.fault = None, error.reason
            self._state = State()
            return None
        return entries

    def ledger(self, target: str) -> Ledger:
        """What is known of the target's releases."""
        return self._state.ledgers.get(target, Ledger())

    def runs(self, target: str | None = None) -> Sequence[Run]:
        """Every run, or those of one target, in the order of their opening."""
        found = self._state.runs if target is None else self._state.runs_of.get(target, {})
        return list(found.values())

    def run(self, run: str) -> Run:
        """The run as its stream tells it."""
        return self._state.runs[run]

    def open_runs(self) -> Mapping[str, Run]:
        """The runs that are not closed, by the name of their stream."""
        return {stream: self._state.runs[run] for run, stream in self._state.open.items()}

    def open_runs_stream(self, run: str) -> str | None:
        """The stream of the run while it is open."""
        return self._state.open.get(run)

    def open_run_on(self, target: str) -> Run | None:
        """The target's run that is not closed, if there is one."""
        return next((r for r in map(self._state.runs.get, self._state.open) if r and r.opened.target == target), None)

    def past_runs(self) -> Sequence[PastRun]:
        """All runs, as the limits count them."""
        now = self._clock.monotonic()
        return [
            PastRun(
                r.id,
                r.opened.target,
                r.opened.at,
                None if r.closed is None else r.closed.at,
                touched=r.touched,
                outcome="" if r.closed is None else r.closed.outcome,
                opened_ago=now - self._opened_at[r.id] if r.id in self._opened_at else None,
                closed_ago=now - self._closed_at[r.id] if r.id in self._closed_at else None,
                known_for=now - self._loaded_at,
            )
            for r in self._state.runs.values()
        ]

    def last_trigger(self, target: str, rule: str) -> TriggerPending | TriggerFired | TriggerCleared | None:
        """The newest transition of a trigger that the journal tells; None if there was none."""
        return self._state.triggers.get((target, rule))

    def trigger_to_resume(self, target: str, rule: str) -> TriggerPending | TriggerFired | None:
        """The breach that a restarted guard takes up; None if it was cleared, or a run has ended it."""
        last = self._state.triggers.get((target, rule))
        return None if isinstance(last, TriggerCleared) or (target, rule) in self._state.over else last

    def knows_notice(self, notice: str) -> bool:
        """Whether a notice with this id was ever queued in the stream of a target or of a run."""
        return notice in self._state.notices

    def knows_answer(self, digest: str) -> bool:
        """Whether the annotation with this digest has counted, or was denied, at any time before."""
        return self._state.knows_answer(digest)

    def heard(self, target: str) -> Sequence[Heard]:
        """What became of the newest of people's annotations, the newest last."""
        return list(self._state.heard.get(target, ()))

    def suspended(self) -> Sequence[tuple[str, OwnerSuspended]]:
        """The GitOps owners that stay suspended after a run, each with the target that it is for."""
        return [(target, event) for (target, _), event in self._state.suspended.items()]

    def deferred(self) -> Sequence[tuple[str, HoldDeferred]]:
        """What closed runs still have borrowed, each with its target."""
        return [(self._state.runs[e.run].opened.target, e) for e in self._state.deferred.values()]

    def resuming(self, target: str, owner: str) -> Reason | None:
        """Why the guard meant to resume this suspended owner; None if it did not yet."""
        return self._state.resuming.get((target, owner))

    def configuration(self, target: str) -> ConfigurationSeen | None:
        """What was known last of the configuration of the target; None if nothing was."""
        return self._state.configurations.get(target)

    def last_closed(self, target: str) -> RunClosed | None:
        """How the run of the target that closed last ended."""
        return self._state.last_closed.get(target)

    @property
    def since(self) -> datetime | None:
        """When the journal first told of a release; None while it tells of none."""
        return self._state.since

    def releases_to_keep(self, policy: LedgerPolicy) -> frozenset[str]:
        """Digests of the blobs that a rollback may need; see the function of that name."""
        return releases_to_keep(self._state, policy)

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Held by whoever counts the runs and opens one: limits go over all targets. Raises `JournalUnavailable`."""
        async with self._counting:
            await self.settle()
            yield

    async def settle(self) -> None:
        """Read the streams again whose last append nobody confirmed; raises `JournalUnavailable`."""
        for stream in sorted(self._unsure):
            async with self._writing[stream]:
                if stream in self._unsure:
                    await self._catch_up(stream)

    async def tell(self, stream: str, *events: Event) -> None:
        """Append facts that hold whatever else was appended meanwhile; raises `JournalUnavailable`."""
        async with self._writing[stream]:
            for _ in range(_ATTEMPTS):
                try:
                    await self._append(stream, events)
                except JournalConflict as error:
                    if not await self._catch_up(stream):
                        raise failure(JournalUnavailable, JournalContradicts(error.reason)) from error
                else:
                    return
        raise failure(JournalUnavailable, StreamContended(stream))

    async def decide(self, stream: str, *events: Event, of: Run | None = None) -> bool:
        """Append events that follow from what the stream told; False if it tells more now and must be looked at again.

        A delivered notice changes no decision, so it is passed over. `of` is the run as it was when this was decided.
        """
        async with self._writing[stream]:
            for _ in range(_ATTEMPTS):
                if of is not None and self._state.runs.get(of.id) is not of:
                    return False
                try:
                    await self._append(stream, events)
                except JournalConflict as error:
                    newer = await self._catch_up(stream)
                    if not newer:
                        raise failure(JournalUnavailable, JournalContradicts(error.reason)) from error
                    if any(not isinstance(e, NoticeSettled | NoticeQueued) for e in newer):
                        return False
                else:
                    return True
        return False

    def forget_notices(self, notices: Collection[str]) -> None:
        """These are no longer in the journal, and no later notice can have one of these ids."""
        self._state.notices.difference_update(notices)

    async def newcomers(self) -> Mapping[str, Run]:
        """Read again; the open runs, by stream, that somebody else appended since. Raises `JournalUnavailable`."""
        if self._journal is None:
            return {}
        entries = await self._journal.read_all(run_stream(""))
        found: dict[str, Run] = {}
        for stream in {e.stream for e in entries if e.seq > self._seq.get(e.stream, 0)}:
            # Under its lock nothing of one's own is on its way to the stream.
            async with self._writing[stream]:
                opened = [e.run for e in await self._catch_up(stream) if isinstance(e, RunOpened)]
            for run in (self._state.runs[name] for name in opened):
                if run.closed is None:
                    found[stream] = run
        return found

    async def _append(self, stream: str, events: Sequence[Event]) -> None:
        if self._journal is None:
            raise failure(JournalUnavailable, WithoutJournal())
        self._unsure.add(stream)
        seq = await self._journal.append(stream, events, self._seq.get(stream, 0))
        self._unsure.discard(stream)
        self._remember(stream, seq, events)
        self.log(stream, *events)
        self._hub.publish(JournalAppended(stream))

    async def _catch_up(self, stream: str) -> Sequence[Event]:
        if self._journal is None:
            return []
        known = self._seq.get(stream, 0)
        newer = await self._journal.read(stream, known)
        self._unsure.discard(stream)
        for entry in newer:
            self._remember(stream, entry.seq, [entry.event])
        for run in [e.event.run for e in newer if isinstance(e.event, RunOpened)]:
            if run in self._state.open:
                self._hub.publish(RunFound(stream, run))
        return [e.event for e in newer]

    def _remember(self, stream: str, seq: int, events: Sequence[Event]) -> None:
        self._seq[stream] = seq
        for event in events:
            before = len(self._state.runs)
            run = self._state.take(stream, event)
            if run is None or not self.loaded:
                continue
            if len(self._state.runs) > before:
                self._opened_at[run.id] = self._clock.monotonic()
            if run.closed is not None:
                self._closed_at[run.id] = self._clock.monotonic()

    def log(self, stream: str, *events: Event) -> None:
        """Write a line for each fact, whether or not it could be appended."""
        for event in events:
            if not isinstance(event, NoticeSettled):
                run = self._state.runs.get(getattr(event, "run", ""))
                write(self._log, event, target=target_of(stream) if run is None else run.opened.target)
