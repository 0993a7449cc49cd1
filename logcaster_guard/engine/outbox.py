"""Carries journalled notices to every channel: at least once, in order per channel, in nobody's way.

Whoever has something to say appends a `NoticeQueued` among its own events and calls `wake`. A notice is pending on a
channel until a `NoticeSettled` says otherwise, so a restart finds what is still owed. Each channel has its own task.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from logcaster_guard.domain import narration
from logcaster_guard.domain.errors import JournalConflict, JournalUnavailable
from logcaster_guard.domain.events import Event, NoticeQueued, NoticeSettled
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater, Undeliverable
from logcaster_guard.engine.lanes import LEFT_OUT, Item, Lane, RetryPolicy, Settlement
from logcaster_guard.ports import Channel, Clock, Entry, Journal

_SETTLE_TRIES = 50


class Outbox:
    """Delivers what the journal says is owed; see the module.

    `jitter` gives a random number in [0, 1). Notices of before a channel was first used are not owed to it beyond
    `policy.max_age`.
    """

    def __init__(
        self,
        journal: Journal,
        channels: Sequence[Channel],
        clock: Clock,
        *,
        policy: RetryPolicy | None = None,
        jitter: Callable[[], float] = random.random,
        log: structlog.typing.FilteringBoundLogger | None = None,
    ) -> None:
        names = [channel.name for channel in channels]
        if len(set(names)) != len(names):
            raise ValueError(f"channel names must differ: {', '.join(sorted(names))}")
        self._journal = journal
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self._jitter = jitter
        self._log: structlog.typing.FilteringBoundLogger = log or structlog.get_logger()
        self._lanes = [Lane(channel) for channel in channels]
        self._woken: dict[str, None] = {}
        self._seq: dict[str, int] = {}
        self._loaded = False
        self._reading = False
        self._arrived = asyncio.Event()
        self._moved = asyncio.Event()

    def wake(self, stream: str) -> None:
        """Something was queued in `stream`; returns at once."""
        self._woken[stream] = None
        self._arrived.set()

    def pending(self) -> Mapping[str, int]:
        """How many notices each channel still owes."""
        return {lane.channel.name: len(lane.pending) for lane in self._lanes}

    def owed(self) -> frozenset[str] | None:
        """The notices that some channel is still owed, or the journal as to it; None before that is known."""
        if not self._loaded:
            return None
        waiting = [id_ for lane in self._lanes for id_ in (*lane.pending, *(owed.notice for owed in lane.owed))]
        return frozenset(waiting)

    async def run(self, known: Sequence[Entry] | None = None) -> None:
        """Deliver until cancelled. What was under way then is delivered again after the next start.

        `known` is the whole journal, where it has just been read; every stream that grew since was told by `wake`.
        """
        self._loaded = self._reading = False
        if known is not None:
            self._load(known)
            self._loaded = True
            # This lives as long as the guard.
            del known
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_in())
            for lane in self._lanes:
                tasks.create_task(self._serve(lane))

    async def drain(self, deadline: float) -> int:
        """While `run` runs: wait until nothing more can be done by monotonic second `deadline`.

        Returns how many deliveries are still owed; a channel that waits for a later retry is not waited for.
        """
        alarm = asyncio.ensure_future(self._clock.sleep_until(deadline))
        try:
            while not alarm.done() and self._busy(deadline):
                self._moved.clear()
                await _either(alarm, self._moved)
        finally:
            alarm.cancel()
        return sum(len(lane.pending) for lane in self._lanes)

    def _busy(self, deadline: float) -> bool:
        unread = not self._loaded or self._reading or bool(self._woken)
        dues = (lane.due() for lane in self._lanes)
        return unread or any(due is not None and due <= deadline for due in dues)

    async def _take_in(self) -> None:
        """Turn journal streams into pending notices, the whole journal first."""
        failures = 0
        while True:
            self._arrived.clear()
            streams = list(self._woken)
            self._woken.clear()
            self._reading = True
            try:
                if not self._loaded:
                    self._load(await self._journal.read_all())
                    self._loaded = True
                else:
                    for stream in streams:
                        self._enqueue(await self._journal.read(stream, self._seq.get(stream, 0)))
                failures = 0
            except JournalUnavailable as error:
                self._woken.update(dict.fromkeys(streams))
                failures += 1
                if failures == 1:
                    self._log.error("outbox.journal_unavailable", detail=str(error))
            self._reading = False
            self._moved.set()
            if failures:
                pause = self._policy.wait(failures, None, self._jitter())
                await self._clock.sleep_until(self._clock.monotonic() + pause)
            elif not self._woken:
                await self._arrived.wait()

    def _load(self, entries: Sequence[Entry]) -> None:
        settled = [e.event for e in entries if isinstance(e.event, NoticeSettled)]
        for lane in self._lanes:
            lane.since = min((s.at for s in settled if s.channel == lane.channel.name), default=self._clock.now())
            lane.remember(e.event for e in entries)
        self._enqueue(entries)

    def _enqueue(self, entries: Sequence[Entry]) -> None:
        settled = {(e.event.notice, e.event.channel) for e in entries if isinstance(e.event, NoticeSettled)}
        self._seq.update((entry.stream, entry.seq) for entry in entries)
        for lane in self._lanes:
            for entry in entries:
                if isinstance(entry.event, NoticeQueued):
                    self._offer(lane, entry, entry.event, settled)
            lane.changed.set()

    def _offer(self, lane: Lane, entry: Entry, queued: NoticeQueued, settled: set[tuple[str, str]]) -> None:
        id_ = queued.notice.id
        known = (id_, lane.channel.name) in settled or id_ in lane.closed or id_ in lane.pending
        # A channel that was added today does not owe people last year's notices.
        before = lane.since is not None and queued.at < lane.since - timedelta(seconds=self._policy.max_age)
        if known or before:
            return
        # Counted on the monotonic clock from here on: a wall clock that jumps must not age what is already taken in.
        age = max(0.0, (self._clock.now() - queued.at).total_seconds())
        expires = self._clock.monotonic() + self._policy.max_age - age
        if not lane.pending:
            lane.attempt, lane.next_try = 0, self._clock.monotonic()
        lane.pending[id_] = Item(entry.position, entry.stream, entry.seq, queued.notice, expires)
        if len(lane.pending) > self._policy.most:
            self._leave_out(lane, lane.least())

    async def _serve(self, lane: Lane) -> None:
        while True:
            lane.changed.clear()
            self._moved.set()
            due = lane.due()
            if due is None:
                await lane.changed.wait()
                continue
            if due > self._clock.monotonic():
                alarm = asyncio.ensure_future(self._clock.sleep_until(due))
                try:
                    await _either(alarm, lane.changed)
                finally:
                    alarm.cancel()
                continue
            item = lane.head()
            if item is not None and lane.next_try <= self._clock.monotonic():
                await self._try(lane, item)
            if lane.owed and lane.next_settle <= self._clock.monotonic():
                await self._settle(lane)

    async def _try(self, lane: Lane, item: Item) -> None:
        if self._clock.monotonic() >= item.expires:
            self._give_up(lane, item, "it is older than notices are kept", lane.attempt)
            return
        lane.attempt += 1
        began = self._clock.monotonic()
        match await self._deliver(lane, item.notice):
            case Delivered():
                lane.complained, lane.failing_since = False, None
                self._say(lane, item).info("notice.delivered", attempt=lane.attempt)
                self._close(lane, item, "delivered", ())
                self._sum_up(lane, item)
            case Undeliverable(detail=detail):
                self._say(lane, item).error("notice.undeliverable", attempt=lane.attempt, detail=detail)
                self._close(lane, item, f"undeliverable: {detail}", self._lost(lane, item, detail))
            case TryLater(detail=detail) if lane.attempt >= self._policy.max_attempts:
                self._give_up(lane, item, detail, lane.attempt)
            case TryLater(detail=detail, after=after):
                wait = self._policy.wait(lane.attempt, after, self._jitter())
                lane.next_try = min(self._clock.monotonic() + wait, item.expires)
                say = self._say(lane, item)
                (say.warning if lane.attempt == 1 else say.info)(
                    "notice.retrying", attempt=lane.attempt, detail=detail, seconds=round(wait, 3)
                )
                lane.failing_since = began if lane.failing_since is None else lane.failing_since
                self._report_failing(lane, item, detail)

    async def _deliver(self, lane: Lane, notice: Notice) -> Delivery:
        lane.trying = notice.id
        try:
            async with asyncio.timeout(None) as limit:
                alarm = asyncio.ensure_future(self._cut_off(limit))
                try:
                    return await lane.channel.deliver(notice)
                finally:
                    alarm.cancel()
        except Exception as error:  # noqa: BLE001 # a channel's defect must not end the others' deliveries
            if isinstance(error, TimeoutError) and limit.expired():
                return TryLater(f"it has not ended after {self._policy.cut_off_after:.0f} s")
            self._log.exception("notice.channel_failed", channel=lane.channel.name, notice=notice.id)
            return TryLater("the channel failed unexpectedly")
        finally:
            lane.trying = ""

    async def _cut_off(self, limit: asyncio.Timeout) -> None:
        """End what the limit is around when it has lasted too long by the guard's own clock."""
        await self._clock.sleep_until(self._clock.monotonic() + self._policy.cut_off_after)
        limit.reschedule(asyncio.get_running_loop().time())

    def _give_up(self, lane: Lane, item: Item, detail: str, attempts: int) -> None:
        self._say(lane, item).error("notice.given_up", attempts=attempts, detail=detail)
        self._close(lane, item, f"given up after {attempts} attempts: {detail}", self._lost(lane, item, detail))

    def _close(self, lane: Lane, item: Item, outcome: str, more: tuple[Event, ...]) -> None:
        lane.attempt, lane.next_try = 0, self._clock.monotonic()
        self._settled(lane, item, outcome, more)

    def _settled(self, lane: Lane, item: Item, outcome: str, more: tuple[Event, ...]) -> None:
        """The notice leaves the queue; its settlement is owed until the journal has it."""
        id_ = item.notice.id
        del lane.pending[id_]
        lane.closed.add(id_)
        settled = NoticeSettled(self._clock.now(), id_, lane.channel.name, outcome)
        self._owe(lane, Settlement(item.stream, item.seq, id_, (settled, *more)))

    def _leave_out(self, lane: Lane, item: Item) -> None:
        self._say(lane, item).warning("notice.left_out", waiting=self._policy.most)
        self._settled(lane, item, f"{LEFT_OUT}: more than {self._policy.most} were waiting", ())
        lane.left_out[item.notice.event] += 1

    def _sum_up(self, lane: Lane, item: Item) -> None:
        """Tell a channel that works again what it was not told; the others know."""
        if not lane.left_out:
            return
        at = self._clock.now()
        notice = narration.summed_up(lane.channel.name, lane.left_out, at)
        lane.left_out.clear()
        others = (o.channel.name for o in self._lanes if o is not lane)
        settled = (NoticeSettled(at, notice.id, name, "not for other channels") for name in others)
        self._owe(lane, Settlement(item.stream, item.seq, notice.id, (NoticeQueued(at, notice), *settled)))

    def _report_failing(self, lane: Lane, item: Item, detail: str) -> None:
        """Tell the other channels, once, of one that has taken nothing for long; the notice itself stays pending."""
        now = self._clock.monotonic()
        lasted = now - (now if lane.failing_since is None else lane.failing_since)
        if lane.complained or lasted < self._policy.reported_after:
            return
        self._say(lane, item).error("channel.failing", seconds=round(lasted), detail=detail)
        notice = narration.channel_failing(item.notice, lane.channel.name, lasted, detail, self._clock.now())
        complaint = self._complaint(lane, item, notice)
        if complaint:
            self._owe(lane, Settlement(item.stream, item.seq, notice.id, complaint))

    def _lost(self, lane: Lane, item: Item, detail: str) -> tuple[Event, ...]:
        notice = narration.notice_lost(item.notice, lane.channel.name, detail, self._clock.now())
        return self._complaint(lane, item, notice)

    def _complaint(self, lane: Lane, item: Item, notice: Notice) -> tuple[Event, ...]:
        """The notice for the other channels, once until this one works again; a complaint's own loss is only logged."""
        if lane.complained or len(self._lanes) < 2 or item.notice.event in narration.OF_A_CHANNEL:
            return ()
        lane.complained = True
        name = lane.channel.name
        settled = NoticeSettled(notice.at, notice.id, name, "not for the channel it tells about")
        return (NoticeQueued(notice.at, notice), settled)

    def _owe(self, lane: Lane, settlement: Settlement) -> None:
        if not lane.owed:
            lane.settle_failures, lane.next_settle = 0, self._clock.monotonic()
        lane.owed.append(settlement)

    async def _settle(self, lane: Lane) -> None:
        """Write what is owed; the journal's absence delays neither this channel's next notice nor anybody else."""
        try:
            while lane.owed:
                owed = lane.owed[0]
                await self._append(owed, lane.channel.name)
                lane.owed.pop(0)
                lane.settled.add(owed.notice)
                if any(isinstance(event, NoticeQueued) for event in owed.events):
                    self.wake(owed.stream)
            lane.settle_failures = 0
            if not self._reading:
                # Whoever reads the journal from now on finds these settled there.
                lane.closed -= lane.settled
                lane.settled.clear()
        except (JournalUnavailable, JournalConflict) as error:
            lane.settle_failures += 1
            pause = self._policy.wait(lane.settle_failures, None, self._jitter())
            lane.next_settle = self._clock.monotonic() + pause
            if lane.settle_failures == 1:
                self._log.error("outbox.journal_unavailable", channel=lane.channel.name, detail=str(error))

    async def _append(self, owed: Settlement, channel: str) -> None:
        """Append behind whatever others wrote to the stream meanwhile, unless it is there already."""
        seq = owed.seq
        for left in reversed(range(_SETTLE_TRIES)):
            newer = await self._journal.read(owed.stream, seq)
            if _is_settled(newer, owed.notice, channel):
                return
            seq = newer[-1].seq if newer else seq
            try:
                await self._journal.append(owed.stream, owed.events, seq)
            except JournalConflict:
                if not left:
                    raise
            else:
                return

    def _say(self, lane: Lane, item: Item) -> structlog.typing.FilteringBoundLogger:
        notice = item.notice
        about: Mapping[str, str] = {"run": notice.run, "target": notice.target}
        bound: structlog.typing.FilteringBoundLogger = self._log.bind(
            channel=lane.channel.name, notice=notice.id, about=notice.event, **{k: v for k, v in about.items() if v}
        )
        return bound


def _is_settled(entries: Iterable[Entry], notice: str, channel: str) -> bool:
    return any(
        isinstance(e.event, NoticeSettled) and (e.event.notice, e.event.channel) == (notice, channel) for e in entries
    )


async def _either(alarm: asyncio.Future[None], event: asyncio.Event) -> None:
    """Return when the alarm rings or the event is set; the alarm stays the caller's."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        both: set[asyncio.Future[Any]] = {alarm, waiting}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
