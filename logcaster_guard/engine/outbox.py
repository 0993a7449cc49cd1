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

from logcaster_guard import messages
from logcaster_guard.domain.errors import JournalConflict, JournalUnavailable
from logcaster_guard.domain.events import Event, NoticeQueued, NoticeSettled
from logcaster_guard.domain.guard_reasons import ChannelCrashed, DeliveryNotEnded, NoticeTooOld
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater, Undeliverable
from logcaster_guard.engine.channel_queues import LEFT_OUT, ChannelQueue, Item, RetryPolicy, Settlement
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Channel, Clock, Entry, Journal

_SETTLE_TRIES = 50


class Outbox:
    """Delivers what the journal says is owed; see the module.

    `jitter` gives a random number in [0, 1). Notices that are more than `policy.max_age` older than a channel's first
    use are not sent to it.
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
        self._queues = [ChannelQueue(channel) for channel in channels]
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
        return {queue.channel.name: len(queue.pending) for queue in self._queues}

    def owed(self) -> frozenset[str] | None:
        """The notices whose delivery, or its entry in the journal, is outstanding; None before that is known."""
        if not self._loaded:
            return None
        waiting = [id_ for queue in self._queues for id_ in (*queue.pending, *(owed.notice for owed in queue.owed))]
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
            for queue in self._queues:
                tasks.create_task(self._serve(queue))

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
        return sum(len(queue.pending) for queue in self._queues)

    def _busy(self, deadline: float) -> bool:
        unread = not self._loaded or self._reading or bool(self._woken)
        dues = (queue.due() for queue in self._queues)
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
        for queue in self._queues:
            queue.since = min((s.at for s in settled if s.channel == queue.channel.name), default=self._clock.now())
            queue.remember(e.event for e in entries)
        self._enqueue(entries)

    def _enqueue(self, entries: Sequence[Entry]) -> None:
        settled = {(e.event.notice, e.event.channel) for e in entries if isinstance(e.event, NoticeSettled)}
        self._seq.update((entry.stream, entry.seq) for entry in entries)
        for queue in self._queues:
            for entry in entries:
                if isinstance(entry.event, NoticeQueued):
                    self._offer(queue, entry, entry.event, settled)
            queue.changed.set()

    def _offer(self, queue: ChannelQueue, entry: Entry, queued: NoticeQueued, settled: set[tuple[str, str]]) -> None:
        id_ = queued.notice.id
        known = (id_, queue.channel.name) in settled or id_ in queue.closed or id_ in queue.pending
        # A channel that was added today does not owe people last year's notices.
        before = queue.since is not None and queued.at < queue.since - timedelta(seconds=self._policy.max_age)
        if known or before:
            return
        # Counted on the monotonic clock from here on: a wall clock that jumps must not age what is already taken in.
        age = max(0.0, (self._clock.now() - queued.at).total_seconds())
        expires = self._clock.monotonic() + self._policy.max_age - age
        if not queue.pending:
            queue.attempt, queue.next_try = 0, self._clock.monotonic()
        queue.pending[id_] = Item(entry.position, entry.stream, entry.seq, queued.notice, expires)
        if len(queue.pending) > self._policy.most:
            self._leave_out(queue, queue.least())

    async def _serve(self, queue: ChannelQueue) -> None:
        while True:
            queue.changed.clear()
            self._moved.set()
            due = queue.due()
            if due is None:
                await queue.changed.wait()
                continue
            if due > self._clock.monotonic():
                alarm = asyncio.ensure_future(self._clock.sleep_until(due))
                try:
                    await _either(alarm, queue.changed)
                finally:
                    alarm.cancel()
                continue
            item = queue.head()
            if item is not None and queue.next_try <= self._clock.monotonic():
                await self._try(queue, item)
            if queue.owed and queue.next_settle <= self._clock.monotonic():
                await self._settle(queue)

    async def _try(self, queue: ChannelQueue, item: Item) -> None:
        if self._clock.monotonic() >= item.expires:
            self._give_up(queue, item, NoticeTooOld(), queue.attempt)
            return
        queue.attempt += 1
        began = self._clock.monotonic()
        match await self._deliver(queue, item.notice):
            case Delivered():
                queue.complained, queue.failing_since = False, None
                self._say(queue, item).info("notice.delivered", attempt=queue.attempt)
                self._close(queue, item, "delivered", ())
                self._sum_up(queue, item)
            case Undeliverable(detail=detail):
                said = english().text(detail)
                self._say(queue, item).error("notice.undeliverable", attempt=queue.attempt, detail=said)
                self._close(queue, item, f"undeliverable: {said}", self._lost(queue, item, detail))
            case TryLater(detail=detail) if queue.attempt >= self._policy.max_attempts:
                self._give_up(queue, item, detail, queue.attempt)
            case TryLater(detail=detail, after=after):
                wait = self._policy.wait(queue.attempt, after, self._jitter())
                queue.next_try = min(self._clock.monotonic() + wait, item.expires)
                say = self._say(queue, item)
                (say.warning if queue.attempt == 1 else say.info)(
                    "notice.retrying", attempt=queue.attempt, detail=english().text(detail), seconds=round(wait, 3)
                )
                queue.failing_since = began if queue.failing_since is None else queue.failing_since
                self._report_failing(queue, item, detail)

    async def _deliver(self, queue: ChannelQueue, notice: Notice) -> Delivery:
        queue.trying = notice.id
        try:
            async with asyncio.timeout(None) as limit:
                alarm = asyncio.ensure_future(self._cut_off(limit))
                try:
                    return await queue.channel.deliver(notice)
                finally:
                    alarm.cancel()
        except Exception as error:  # noqa: BLE001 # a channel's defect must not end the others' deliveries
            if isinstance(error, TimeoutError) and limit.expired():
                return TryLater(DeliveryNotEnded(self._policy.cut_off_after))
            self._log.exception("notice.channel_failed", channel=queue.channel.name, notice=notice.id)
            return TryLater(ChannelCrashed())
        finally:
            queue.trying = ""

    async def _cut_off(self, limit: asyncio.Timeout) -> None:
        """End what the limit is around when it has lasted too long by the guard's own clock."""
        await self._clock.sleep_until(self._clock.monotonic() + self._policy.cut_off_after)
        limit.reschedule(asyncio.get_running_loop().time())

    def _give_up(self, queue: ChannelQueue, item: Item, detail: Reason, attempts: int) -> None:
        said = english().text(detail)
        self._say(queue, item).error("notice.given_up", attempts=attempts, detail=said)
        self._close(
            queue,
            item,
            f"given up after {attempts} attempts: {said}",
            self._lost(queue, item, detail),
        )

    def _close(self, queue: ChannelQueue, item: Item, outcome: str, more: tuple[Event, ...]) -> None:
        queue.attempt, queue.next_try = 0, self._clock.monotonic()
        self._settled(queue, item, outcome, more)

    def _settled(self, queue: ChannelQueue, item: Item, outcome: str, more: tuple[Event, ...]) -> None:
        """The notice leaves the queue; its settlement is owed until the journal has it."""
        id_ = item.notice.id
        del queue.pending[id_]
        queue.closed.add(id_)
        settled = NoticeSettled(self._clock.now(), id_, queue.channel.name, outcome)
        self._owe(queue, Settlement(item.stream, item.seq, id_, (settled, *more)))

    def _leave_out(self, queue: ChannelQueue, item: Item) -> None:
        self._say(queue, item).warning("notice.left_out", waiting=self._policy.most)
        self._settled(queue, item, f"{LEFT_OUT}: more than {self._policy.most} were waiting", ())
        queue.left_out[item.notice.event] += 1

    def _sum_up(self, queue: ChannelQueue, item: Item) -> None:
        """Tell a channel that works again what it was not told; the others know."""
        if not queue.left_out:
            return
        at = self._clock.now()
        notice = messages.summed_up(queue.channel.name, queue.left_out, at)
        queue.left_out.clear()
        others = (o.channel.name for o in self._queues if o is not queue)
        settled = (NoticeSettled(at, notice.id, name, "not for other channels") for name in others)
        self._owe(queue, Settlement(item.stream, item.seq, notice.id, (NoticeQueued(at, notice), *settled)))

    def _report_failing(self, queue: ChannelQueue, item: Item, detail: Reason) -> None:
        """Tell the other channels, once, of one that has taken nothing for long; the notice itself stays pending."""
        now = self._clock.monotonic()
        lasted = now - (now if queue.failing_since is None else queue.failing_since)
        if queue.complained or lasted < self._policy.reported_after:
            return
        self._say(queue, item).error("channel.failing", seconds=round(lasted), detail=english().text(detail))
        notice = messages.channel_failing(item.notice, queue.channel.name, lasted, detail, self._clock.now())
        complaint = self._complaint(queue, item, notice)
        if complaint:
            self._owe(queue, Settlement(item.stream, item.seq, notice.id, complaint))

    def _lost(self, queue: ChannelQueue, item: Item, detail: Reason) -> tuple[Event, ...]:
        notice = messages.notice_lost(item.notice, queue.channel.name, detail, self._clock.now())
        return self._complaint(queue, item, notice)

    def _complaint(self, queue: ChannelQueue, item: Item, notice: Notice) -> tuple[Event, ...]:
        """The notice for the other channels, once until this one works again; a complaint's own loss is only logged."""
        if queue.complained or len(self._queues) < 2 or item.notice.event in messages.OF_A_CHANNEL:
            return ()
        queue.complained = True
        name = queue.channel.name
        settled = NoticeSettled(notice.at, notice.id, name, "not for the channel it tells about")
        return (NoticeQueued(notice.at, notice), settled)

    def _owe(self, queue: ChannelQueue, settlement: Settlement) -> None:
        if not queue.owed:
            queue.settle_failures, queue.next_settle = 0, self._clock.monotonic()
        queue.owed.append(settlement)

    async def _settle(self, queue: ChannelQueue) -> None:
        """Write what is owed; the journal's absence delays neither this channel's next notice nor anybody else."""
        try:
            while queue.owed:
                owed = queue.owed[0]
                await self._append(owed, queue.channel.name)
                queue.owed.pop(0)
                queue.settled.add(owed.notice)
                if any(isinstance(event, NoticeQueued) for event in owed.events):
                    self.wake(owed.stream)
            queue.settle_failures = 0
            if not self._reading:
                # Whoever reads the journal from now on finds these settled there.
                queue.closed -= queue.settled
                queue.settled.clear()
        except (JournalUnavailable, JournalConflict) as error:
            queue.settle_failures += 1
            pause = self._policy.wait(queue.settle_failures, None, self._jitter())
            queue.next_settle = self._clock.monotonic() + pause
            if queue.settle_failures == 1:
                self._log.error("outbox.journal_unavailable", channel=queue.channel.name, detail=str(error))

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

    def _say(self, queue: ChannelQueue, item: Item) -> structlog.typing.FilteringBoundLogger:
        notice = item.notice
        about: Mapping[str, str] = {"run": notice.run, "target": notice.target}
        bound: structlog.typing.FilteringBoundLogger = self._log.bind(
            channel=queue.channel.name, notice=notice.id, about=notice.event, **{k: v for k, v in about.items() if v}
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
