"""What each channel still owes people, and how it is tried again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from logcaster_guard import messages
from logcaster_guard.domain.events import Event, NoticeQueued, NoticeSettled
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.ports import Channel

LEFT_OUT = "left out"
"""How the outcome begins of a notice that was dropped because its channel's queue was full."""


def left_out(events: Iterable[Event]) -> frozenset[str]:
    """The notices that were left out on a channel which has had no summary since; `events` are in journal order."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        match event:
            case NoticeQueued(notice=notice):
                for channel in [c for c in found if notice.id == messages.summed_up_id(c, notice.at)]:
                    found[channel].clear()
            case NoticeSettled(notice=id_, channel=channel, outcome=outcome) if outcome.startswith(LEFT_OUT):
                found[channel].add(id_)
            case _:
                pass
    return frozenset().union(*found.values())


_LOUDNESS = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a notice is tried again: seconds, and a number of attempts.

    The n-th wait is `first · 2ⁿ⁻¹`, at most `longest`, times a random 0.5 to 1 (so that guards do not knock together).
    A Retry-After is honoured up to `longest_asked`. A notice older than `max_age` is not sent any more. A channel that
    has taken nothing for `reported_after` seconds is reported through the others; a delivery that has no end after
    `cut_off_after` has failed. A channel owes `most` notices: beyond, one is left out, and counted.
    """

    first: float = 1.0
    longest: float = 300.0
    longest_asked: float = 3_600.0
    max_age: float = 86_400.0
    max_attempts: int = 100
    reported_after: float = 60.0
    cut_off_after: float = 120.0
    most: int = 1_000

    def wait(self, attempt: int, asked: float | None, chance: float) -> float:
        """Seconds from the `attempt`-th failure (from 1) to the next try; `chance` is random in [0, 1)."""
        own = min(self.longest, self.first * 2.0 ** min(attempt - 1, 30)) * (0.5 + chance / 2)
        return max(own, min(asked or 0.0, self.longest_asked))


@dataclass(frozen=True, slots=True)
class Item:
    """A notice that a channel owes, from the place `seq` of its stream; `expires` on the monotonic clock."""

    position: int
    stream: str
    seq: int
    notice: Notice
    expires: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """What ends the wait for a notice, and whatever else is to be told with it; owed to the journal after `seq`."""

    stream: str
    seq: int
    notice: str
    events: tuple[Event, ...]


@dataclass(slots=True)
class ChannelQueue:
    """One channel's queue.

    `closed` are the notices that need nothing more but the settlements in `owed`; `settled` are those of them whose
    settlement the journal has. `trying` is the notice under way; `left_out` counts by event those that were too many.
    """

    channel: Channel
    pending: dict[str, Item] = field(default_factory=dict)
    owed: list[Settlement] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    trying: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    since: datetime | None = None
    attempt: int = 0
    next_try: float = 0.0
    settle_failures: int = 0
    next_settle: float = 0.0
    failing_since: float | None = None
    complained: bool = False

    def head(self) -> Item | None:
        """The oldest pending notice: no later one overtakes it."""
        return min(self.pending.values(), key=lambda item: item.position, default=None)

    def least(self) -> Item:
        """What people miss least where there are too many: what tells of no run, the oldest of the least severe first.

        The one that is tried already keeps its turn.
        """
        head = self.head()
        idle = (item for id_, item in self.pending.items() if id_ != self.trying and item is not head)
        return min(idle, key=lambda item: (bool(item.notice.run), _LOUDNESS.index(item.notice.severity), item.position))

    def due(self) -> float | None:
        """Monotonic second of the next thing to do; None if there is nothing."""
        times = ([self.next_try] if self.pending else []) + ([self.next_settle] if self.owed else [])
        return min(times, default=None)

    def remember(self, events: Iterable[Event]) -> None:
        """Take up, of a journal in its order, what was left out and not summed up since."""
        about: dict[str, str] = {}
        for event in events:
            match event:
                case NoticeQueued(notice=notice):
                    about[notice.id] = notice.event
                    if notice.id == messages.summed_up_id(self.channel.name, notice.at):
                        self.left_out.clear()
                case NoticeSettled(notice=id_, channel=self.channel.name, outcome=outcome):
                    self.left_out.update([about.get(id_, "")] if outcome.startswith(LEFT_OUT) else [])
                case _:
                    pass
