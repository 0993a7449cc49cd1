"""What happened since the guard was started, counted for whoever asks."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.events import Event, NoticeSettled
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.signals import Fault, Reading, SourceError, SourceName
from logcaster_guard.engine.hub import RuleRefused
from logcaster_guard.ports import Blobs, Entry, Journal, JournalSize


@dataclass(slots=True)
class Reads:
    """The reads of one source for one target.

    `errors` counts, by fault, the reads in which it kept at least one signal from being read. `up`: the last read gave
    an answer for at least one signal; `answered_at` is when that was last so.
    """

    count: int = 0
    errors: Counter[Fault] = field(default_factory=Counter)
    up: bool = False
    answered_at: datetime | None = None


@dataclass(slots=True)
class Counters:
    """The counts of one target, by rule and by source."""

    evaluations: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    firings: Counter[str] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    reads: defaultdict[SourceName, Reads] = field(default_factory=lambda: defaultdict(Reads))

    def read(self, source: SourceName, readings: Mapping[str, Reading], at: datetime) -> None:
        """A read ended at `at`."""
        entry = self.reads[source]
        entry.count += 1
        entry.errors.update({r.fault for r in readings.values() if isinstance(r, SourceError)})
        entry.up = any(not isinstance(r, SourceError) for r in readings.values())
        if entry.up:
            entry.answered_at = at

    def refused(self, refusal: RuleRefused) -> None:
        """A firing rule was refused."""
        self.refusals.update((refusal.rule, guardrail) for guardrail in refusal.guardrails)


class CountedJournal:
    """A `Journal` that counts what is appended to another.

    `settled` counts the notices that are settled, by channel and by the first word of the outcome. `fault` is why the
    last append could not be made durable, empty if it was. `seen_size` is what was found when it was looked at last.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.appends = 0
        self.failures = 0
        self.fault: Reason = ""
        self.seen_size: JournalSize | None = None
        self.settled: Counter[tuple[str, str]] = Counter()

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        """As the journal's own."""
        try:
            seq = await self._journal.append(stream, events, expected_seq)
        except JournalUnavailable as error:
            self.failures += 1
            self.fault = error.reason
            raise
        self.fault = ""
        self.appends += 1
        self.settled.update((e.channel, _outcome(e.outcome)) for e in events if isinstance(e, NoticeSettled))
        return seq

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        """As the journal's own."""
        return await self._journal.read(stream, after)

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        """As the journal's own."""
        return await self._journal.read_all(prefix)

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        """As the journal's own."""
        await self._journal.compact(superfluous)

    async def size(self) -> JournalSize:
        """As the journal's own."""
        self.seen_size = await self._journal.size()
        return self.seen_size

    async def aclose(self) -> None:
        """As the journal's own."""
        await self._journal.aclose()


class CountedBlobs:
    """`Blobs` that count what cannot be kept. `fault` is why the last content could not, empty if it was."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._owed = b""
        self.failures = 0
        self.fault: Reason = ""

    async def put(self, content: bytes) -> str:
        """As the blobs' own."""
        try:
            digest = await self._blobs.put(content)
        except JournalUnavailable as error:
            self.failures += 1
            self.fault, self._owed = error.reason, content
            raise
        self.fault = ""
        return digest

    async def try_again(self) -> Reason:
        """Try to keep what could not be kept last; returns why that cannot be, empty if it can."""
        if self.fault:
            with contextlib.suppress(JournalUnavailable, ClusterError):
                await self.put(self._owed)
        return self.fault

    async def get(self, digest: str) -> bytes:
        """As the blobs' own."""
        return await self._blobs.get(digest)

    async def digests(self) -> Sequence[str]:
        """As the blobs' own."""
        return await self._blobs.digests()

    async def keep_only(self, digests: Collection[str], *, older_than: float) -> int:
        """As the blobs' own."""
        return await self._blobs.keep_only(digests, older_than=older_than)


def _outcome(text: str) -> str:
    """A settlement's outcome without its free text."""
    known = {"delivered": "delivered", "undeliverable": "undeliverable", "given": "given_up", "left": "left_out"}
    return known.get(text.partition(" ")[0].rstrip(":"), "not_sent")
