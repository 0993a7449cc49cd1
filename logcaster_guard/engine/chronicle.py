"""The journal as the engine uses it: facts are appended, logged, and folded into what is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import structlog

from logcaster_guard.domain import ledger as ledgers
from logcaster_guard.domain import runs as run_domain
from logcaster_guard.domain.errors import JournalConflict, JournalUnavailable
from logcaster_guard.domain.events import (
    Event,
    NoticeQueued,
    NoticeSettled,
    RevisionLive,
    RevisionSeeded,
    RunClosed,
    RunOpened,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.guardrails import PastRun
from logcaster_guard.domain.ledger import Ledger, Standing
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import RestoreTemplate
from logcaster_guard.ports import Journal

GUARD = "guard"
_ATTEMPTS = 20


def target_stream(target: str) -> str:
    """The stream of a target, by its key."""
    return f"target/{target}"


def run_stream(run: str) -> str:
    """The stream of a run and of those that follow from it, by the first one's id."""
    return f"run/{run}"


class Chronicle:
    """Everything the guard knows from its journal, kept in step with it.

    `on_append` is called with the stream's name after each append. Without a journal (`None`) nothing can be appended:
    the guard only watches.
    """

    def __init__(self, journal: Journal | None, *, on_append: Callable[[str], None] = lambda _: None) -> None:
        self._journal = journal
        self._on_append = on_append
        self._seq: dict[str, int] = {}
        self._events: dict[str, list[Event]] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._target_of_run: dict[str, str] = {}
        self._stream_of_run: dict[str, str] = {}
        self._notices: set[str] = set()
        self._log = structlog.get_logger()

    @property
    def available(self) -> bool:
        """Whether there is a journal at all."""
        return self._journal is not None

    async def load(self) -> None:
        """Read the whole journal; raises `JournalUnavailable`."""
        if self._journal is None:
            return
        for entry in await self._journal.read_all():
            self._remember(entry.stream, entry.seq, [entry.event])

    def ledger(self, target: str) -> Ledger:
        """What is known of the target's releases."""
        return self._ledgers.get(target, Ledger())

    def runs(self) -> Mapping[str, Run]:
        """Every run ever opened, by id."""
        found: dict[str, Run] = {}
        for stream, events in self._events.items():
            if stream.startswith("run/"):
                found.update(run_domain.fold(events))
        return found

    def run(self, stream: str, run: str) -> Run:
        """The run as its stream tells it."""
        return run_domain.fold(self._events[stream])[run]

    def open_runs(self) -> Mapping[str, Run]:
        """The runs that are not closed, by the name of their stream."""
        return {self._stream_of_run[r.id]: r for r in self.runs().values() if r.closed is None}

    def past_runs(self) -> Sequence[PastRun]:
        """All runs, as the limits count them."""
        return [
            PastRun(r.id, r.opened.target, r.opened.at, None if r.closed is None else r.closed.at)
            for r in self.runs().values()
        ]

    def last_trigger(self, target: str, rule: str) -> TriggerPending | TriggerFired | TriggerCleared | None:
        """The newest transition of a trigger that the journal tells, None after a run on the target closed since."""
        for event in reversed(self._events.get(target_stream(target), [])):
            if isinstance(event, TriggerPending | TriggerFired | TriggerCleared) and event.rule == rule:
                return event
        return None

    def knows_notice(self, notice: str) -> bool:
        """Whether a notice with this id was ever queued."""
        return notice in self._notices

    def last_closed(self, target: str) -> RunClosed | None:
        """How the newest closed run of the target ended."""
        closed = [r.closed for r in self.runs().values() if r.opened.target == target and r.closed is not None]
        return max(closed, key=lambda c: c.at, default=None)

    def releases_to_keep(self, policy: LedgerPolicy) -> frozenset[str]:
        """Digests of the releases that a rollback may need: the present ones, the newest usable, open runs' own."""
        kept = set()
        for ledger in self._ledgers.values():
            usable = [r for r in ledger.records.values() if r.standing(policy) is not Standing.BAD]
            newest = sorted(usable, key=lambda r: r.last_live)[-policy.keep :]
            kept |= {r.blob for r in ledger.records.values() if r.template == ledger.present or r in newest}
        for run in self.open_runs().values():
            kept |= {s.release for s in run.opened.plan.steps if isinstance(s, RestoreTemplate)}
        return frozenset(kept)

    async def tell(self, stream: str, *events: Event) -> None:
        """Append facts that hold whatever else was appended meanwhile; raises `JournalUnavailable`."""
        for _ in range(_ATTEMPTS):
            try:
                await self._append(stream, events)
            except JournalConflict:
                await self._catch_up(stream)
            else:
                return
        raise JournalUnavailable(f"Stream {stream} is written by somebody else all the time: stop the other guard.")

    async def decide(self, stream: str, *events: Event) -> bool:
        """Append events that follow from what the stream told; False if it tells more now and must be looked at again.

        A delivered notice changes no decision, so it is passed over.
        """
        for _ in range(_ATTEMPTS):
            try:
                await self._append(stream, events)
            except JournalConflict:
                newer = await self._catch_up(stream)
                if any(not isinstance(e, NoticeSettled | NoticeQueued) for e in newer):
                    return False
            else:
                return True
        return False

    async def _append(self, stream: str, events: Sequence[Event]) -> None:
        if self._journal is None:
            raise JournalUnavailable("There is no journal: the guard only watches.")
        seq = await self._journal.append(stream, events, self._seq.get(stream, 0))
        self._remember(stream, seq, events)
        for event in events:
            self._tell_log(stream, event)
        self._on_append(stream)

    async def _catch_up(self, stream: str) -> Sequence[Event]:
        if self._journal is None:
            return []
        known = self._seq.get(stream, 0)
        newer = [e for e in await self._journal.read(stream) if e.seq > known]
        for entry in newer:
            self._remember(stream, entry.seq, [entry.event])
        return [e.event for e in newer]

    def _remember(self, stream: str, seq: int, events: Sequence[Event]) -> None:
        self._seq[stream] = seq
        self._events.setdefault(stream, []).extend(events)
        for event in events:
            if isinstance(event, NoticeQueued):
                self._notices.add(event.notice.id)
            if isinstance(event, RunOpened):
                self._target_of_run[event.run] = event.target
                self._stream_of_run[event.run] = stream
            target = self._target_of_run.get(getattr(event, "run", ""), "")
            target = stream.removeprefix("target/") if stream.startswith("target/") else target
            if target:
                self._ledgers[target] = ledgers.extend(self._ledgers.get(target, Ledger()), [event])

    def _tell_log(self, stream: str, event: Event) -> None:
        if isinstance(event, NoticeSettled):
            return
        target = stream.removeprefix("target/") if stream.startswith("target/") else None
        fields = {k: v for k, v in asdict(event).items() if v is not None and k not in {"at", "plan", "blob", "uid"}}
        if isinstance(event, NoticeQueued):
            fields = {"notice": event.notice.id, "about": event.notice.event, "title": event.notice.title}
        if isinstance(event, RunOpened):
            plan = event.plan
            fields |= {
                "strategy": plan.strategy,
                "plan": plan.digest,
                "from_images": plan.from_images,
                "to_images": plan.to_images,
                "steps": [s.kind for s in plan.steps],
            }
        if isinstance(event, RevisionLive | RevisionSeeded):
            fields["template"] = event.template[:12]
        run = self._target_of_run.get(str(fields.get("run", "")))
        self._log.info(event_name(event), **({"target": target or run} if target or run else {}), **_without(fields))


def _without(fields: dict[str, object]) -> dict[str, object]:
    fields.pop("target", None)
    return {("event_" + k if k == "event" else k): v for k, v in fields.items()}


def event_name(event: Event) -> str:
    """The log's name of a fact: `TriggerFired` is `trigger.fired`."""
    words = re.findall(r"[A-Z][a-z]*", type(event).__name__)
    return f"{words[0]}.{'_'.join(words[1:])}".lower()
