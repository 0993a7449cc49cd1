"""The journal in the cluster itself: Secrets of one namespace (`stored` says why), for guards without a volume.

An append is one request: a patch bound to the resourceVersion that the stream's last object was seen at, or the
creation of the stream's next object under the name that only it can have. So whoever writes first wins, and a request
that arrives late or twice changes nothing. Where no answer came, the append is settled before anything else is said of
that stream: looked for, and if it is not there, shut out by a write that makes it stale.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from logcaster_guard.adapters.journal_codec import EventCodec, Unreadable
from logcaster_guard.adapters.kubernetes import segments
from logcaster_guard.adapters.kubernetes.api_requests import MAX_BYTES
from logcaster_guard.adapters.kubernetes.segments import LIMIT, SEGMENT, Segment, beginning, name_of, stream_label
from logcaster_guard.adapters.kubernetes.stored import Place, Untrusted
from logcaster_guard.domain.errors import (
    ClusterError,
    Conflict,
    JournalConflict,
    JournalOutOfReach,
    JournalUnavailable,
    NotFound,
    Unavailable,
)
from logcaster_guard.domain.events import Event
from logcaster_guard.messages.journal_faults import (
    AppendTooLarge,
    AppendUnknown,
    EventUnreadable,
    JournalClosed,
    JournalLostContent,
    JournalUnreached,
    SecretInTheWay,
    StoredUnsaid,
    StreamElsewhere,
)
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Cluster, Entry, JournalSize, Json, Kind

T = TypeVar("T")

ATTEMPTS = 3
"""How often one append is tried where it is known each time that it has not happened."""


class _TooLarge(JournalUnavailable):
    """What would stay of a stream does not fit into one object: the stream stays as it is."""


@dataclass(frozen=True, slots=True)
class _Write:
    """An append on its way: `before` is the stream's last segment, which `after` extends or follows."""

    before: Segment
    after: Segment

    @property
    def creates(self) -> bool:
        return self.after.number != self.before.number

    def shut_out(self, tip: Segment) -> bool:
        """Whether it can no longer take effect where the stream's last segment is `tip`."""
        return (tip.number, tip.version) != (self.before.number, self.before.version)


class KubernetesJournal:
    """The `Journal` port on Secrets of `place`. The cluster is not closed with it.

    Positions are nanoseconds of the wall clock (`now`), moved on where that would not rise. A cancelled append may have
    happened; a following `read` tells.
    """

    def __init__(
        self, codec: EventCodec, cluster: Cluster, place: Place, *, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._codec = codec
        self._cluster = cluster
        self._place = place
        self._now = now
        self._by = secrets.token_hex(8)
        self._position = 0
        self._tips: dict[str, Segment] = {}
        self._sizes: dict[str, int] = {}
        self._superfluous: dict[str, Sequence[Segment]] = {}
        self._doubtful: dict[str, _Write] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._closed = False

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        """Append all or nothing, durable on return; see the port.

        `JournalOutOfReach` says in its sentence whether nothing was written, or that this cannot be told yet: then it
        is settled before the stream is read or written again.
        """
        bodies = [self._codec.encode(event) for event in events]
        self._still_open()
        async with self._locks[stream]:
            await self._settle(stream)
            return await self._append(stream, bodies, expected_seq)

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        """The stream from the event after `after`; see the port."""
        self._still_open()
        async with self._locks[stream]:
            await self._settle(stream)
            row = await self._look_on(stream, after) or await self._look(stream)
            return self._entries({stream: row}, after)

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        """Let go of these events, and of objects that an interrupted compaction has left; see the port."""
        self._still_open()
        by_stream: dict[str, set[int]] = {stream: set() for stream, left in self._superfluous.items() if left}
        for stream, seq in superfluous:
            by_stream.setdefault(stream, set()).add(seq)
        too_large: _TooLarge | None = None
        for stream, seqs in by_stream.items():
            async with self._locks[stream]:
                await self._settle(stream)
                try:
                    await self._compact(stream, seqs)
                except _TooLarge as error:
                    too_large = error
                except ClusterError as error:
                    raise self._unusable("compacted", error) from error
        if too_large is not None:
            raise too_large

    async def size(self) -> JournalSize:
        """About what the one list takes that reads all of it, which is bounded; see the port."""
        return JournalSize(sum(self._sizes.values()), MAX_BYTES)

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        """Every event of the streams that start with `prefix`, by position; see the port. One list, in pages."""
        self._still_open()
        for stream in list(self._doubtful):
            async with self._locks[stream]:
                await self._settle(stream)
        known = dict(self._tips)
        found = await self._listed(self._place.selector(segments.KEEPS))
        self._learn(known, dict.fromkeys(known, ()) | dict(found))
        wanted = {stream: row for stream, row in found.items() if stream.startswith(prefix)}
        # Much of it takes seconds to decode, in which a lease has to be renewed.
        return await asyncio.to_thread(self._entries, wanted)

    async def aclose(self) -> None:
        """Every later call says that the journal is closed."""
        self._closed = True

    async def _append(self, stream: str, bodies: Sequence[str], expected_seq: int) -> int:
        met: ClusterError | None = None
        for _ in range(ATTEMPTS):
            tip = self._tips.get(stream) or beginning(self._place, stream)
            if tip.seq < expected_seq or not bodies:
                await self._look(stream)
                tip = self._tips.get(stream) or beginning(self._place, stream)
            if tip.seq != expected_seq:
                raise failure(JournalConflict, StreamElsewhere(stream, tip.seq, expected_seq))
            if not bodies:
                return expected_seq
            write = self._prepared(tip, bodies)
            try:
                self._doubtful[stream] = write
                self._tips[stream] = await self._send(write)
            except NotFound as error:
                # Compacted by somebody else, else it is lost.
                met = error
                del self._doubtful[stream]
                await self._look(stream)
                continue
            except (Conflict, Unavailable) as error:
                # A conflict too may be the second arrival of a request whose first one was taken.
                met = error
                if not await self._settle(stream):
                    continue
            except ClusterError as error:
                del self._doubtful[stream]
                raise self._unusable("written", error) from error
            self._doubtful.pop(stream, None)
            grown = write.after.listed - (0 if write.creates else tip.listed)
            self._sizes[stream] = self._sizes.get(stream, 0) + grown
            return write.after.seq
        assert met is not None  # noqa: S101 - the loop ends without an answer only after a failure
        raise self._unusable("nothing_written", met) from met

    async def _compact(self, stream: str, superfluous: Collection[int]) -> None:
        """Begin the stream anew with what stays, then delete what that covers; raises the `ClusterError` it met."""
        row = await self._look(stream)
        if any(record.seq in superfluous for record in _records(row)[:-1]):
            write = _Write(row[-1], segments.summary_of(self._place, row, superfluous))
            if write.after.size > LIMIT:
                raise _TooLarge(
                    f"the journal {self._place} cannot hold what stays of the stream {stream} in one object: that has "
                    f"{write.after.size} bytes, and the limit is {LIMIT}"
                )
            self._doubtful[stream] = write
            self._tips[stream] = await self._send(write)
            del self._doubtful[stream]
            await self._look(stream)
        for segment in self._superfluous.get(stream, ()):
            name = name_of(self._place, stream, segment.number)
            with contextlib.suppress(NotFound):
                await self._cluster.delete(
                    Kind.SECRET, self._place.namespace, name, uid=segment.uid, resource_version=segment.version
                )
        await self._look(stream)

    def _prepared(self, tip: Segment, bodies: Sequence[str]) -> _Write:
        positions = [self._next_position() for _ in bodies]
        after = tip.extended(bodies, positions, self._by)
        if tip.number == 0 or after.size > SEGMENT:
            after = tip.following.extended(bodies, positions, self._by)
        if after.size > LIMIT:
            raise failure(JournalUnavailable, AppendTooLarge(str(self._place), after.size, LIMIT))
        return _Write(tip, after)

    def _next_position(self) -> int:
        self._position = max(self._position + 1, self._now())
        return self._position

    async def _send(self, write: _Write) -> Segment:
        """The segment as it is once it is written; raises the `ClusterError` it met."""
        return await (self._create(write.after) if write.creates else self._patch(write.after, write.after.patch()))

    async def _settle(self, stream: str) -> bool:
        """Find out what became of the stream's last append, if that is not known; whether it is there.

        Raises `JournalUnavailable` while it cannot be told.
        """
        write = self._doubtful.get(stream)
        if write is None:
            return False
        try:
            there = await self._outcome(write)
        except (ClusterError, JournalUnavailable) as error:
            unknown = AppendUnknown(str(self._place), stream, error.reason)
            raise failure(JournalOutOfReach, unknown) from error
        del self._doubtful[stream]
        if there is None:
            name = name_of(self._place, stream, write.after.number)
            raise failure(JournalUnavailable, SecretInTheWay(name, self._place.namespace, self._place.name))
        return there

    async def _outcome(self, write: _Write) -> bool | None:
        """Whether the write has happened; if not, it never will. None: another object has the name that it needs.

        Raises `ClusterError` and `JournalUnavailable`.
        """
        stream = write.before.stream
        conflict: Conflict | None = None
        for _ in range(ATTEMPTS):
            row = await self._look(stream)
            if any(record.digest == write.after.digest for record in reversed(_records(row))):
                return True
            tip = self._tips.get(stream) or beginning(self._place, stream)
            if write.shut_out(tip):
                return False
            try:
                self._tips[stream] = await self._shut_out(write, tip)
            except Conflict as error:
                # It came after all, or somebody else was quicker.
                conflict = error
            else:
                return False
        assert conflict is not None  # noqa: S101 - the loop ends so only after a conflict
        if not write.creates:
            raise conflict
        return None

    async def _shut_out(self, write: _Write, tip: Segment) -> Segment:
        """Move the stream on without an event, so that the write is stale; raises the `ClusterError` it met."""
        if write.creates:
            return await self._create(tip.following)
        return await self._patch(tip, tip.fence(self._next_position()))

    async def _create(self, segment: Segment) -> Segment:
        return _seen(
            segment,
            await self._cluster.create(Kind.SECRET, self._place.namespace, segment.manifest(self._place)),
        )

    async def _patch(self, segment: Segment, operations: Sequence[Json]) -> Segment:
        name = name_of(self._place, segment.stream, segment.number)
        return _seen(segment, await self._cluster.json_patch(Kind.SECRET, self._place.namespace, name, operations))

    async def _look(self, stream: str) -> Sequence[Segment]:
        """The stream as it is now, learned."""
        known = dict(self._tips)
        found = await self._listed(self._place.selector(segments.KEEPS, stream=stream_label(stream)))
        row = found.get(stream, ())
        self._learn(known, {stream: row})
        return row

    async def _look_on(self, stream: str, after: int) -> Sequence[Segment]:
        """The stream from the last segment that is known, learned; empty where that is not enough or not there."""
        known = self._tips.get(stream)
        if known is None or known.number == 0 or after == 0:
            return ()
        items: list[Json] = []
        try:
            while True:
                name = name_of(self._place, stream, known.number + len(items))
                items.append(await self._cluster.get(Kind.SECRET, self._place.namespace, name))
        except NotFound:
            row = self._trusted(lambda: segments.following(self._place, known, items))
        except ClusterError as error:
            raise self._unusable("read", error) from error
        if not row or row[0].after > after:
            return ()
        self._learn({stream: known}, {stream: row})
        return row

    async def _listed(self, selector: str) -> Mapping[str, Sequence[Segment]]:
        try:
            items = await self._cluster.list(Kind.SECRET, self._place.namespace, selector)
        except ClusterError as error:
            raise self._unusable("read", error) from error
        found = self._trusted(lambda: segments.read(self._place, items))
        for stream, row in found.items():
            self._superfluous[stream] = row.superfluous
            self._sizes[stream] = sum(s.listed for s in (*row.segments, *row.superfluous))
        return {stream: row.segments for stream, row in found.items()}

    def _trusted(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except Untrusted as error:
            raise failure(JournalUnavailable, JournalUnreached(str(self._place), "read", error.reason)) from error

    def _learn(self, known: Mapping[str, Segment], found: Mapping[str, Sequence[Segment]]) -> None:
        """Take up what was listed; `known` is what was known before it was asked for."""
        for stream, row in found.items():
            before, now = known.get(stream), self._tips.get(stream)
            seq = row[-1].seq if row else 0
            if before is not None and seq < before.seq:
                raise failure(JournalUnavailable, JournalLostContent(str(self._place), stream, seq + 1))
            # An append may have been answered while the list was on its way.
            if row and (now is None or now is before or seq > now.seq):
                self._tips[stream] = row[-1].ended
            self._position = max([self._position, *(r.position for r in _records(row))])

    def _entries(self, found: Mapping[str, Sequence[Segment]], after: int = 0) -> Sequence[Entry]:
        rows = [
            (record.position, stream, record)
            for stream, row in found.items()
            for record in _records(row)
            if record.seq > after
        ]
        entries = []
        for position, stream, record in sorted(rows, key=lambda r: (r[0], r[1])):
            try:
                event = self._codec.decode(record.body)
            except Unreadable as error:
                unreadable = EventUnreadable(str(self._place), stream, record.seq, error.reason)
                raise failure(JournalUnavailable, unreadable) from error
            entries.append(Entry(stream=stream, seq=record.seq, position=position, event=event))
        return entries

    def _unusable(self, verb: str, error: ClusterError) -> JournalUnavailable:
        kind = JournalOutOfReach if isinstance(error, Unavailable) else JournalUnavailable
        return failure(kind, JournalUnreached(str(self._place), verb, error.reason))

    def _still_open(self) -> None:
        if self._closed:
            raise failure(JournalUnavailable, JournalClosed(str(self._place)))


def _seen(segment: Segment, item: Json) -> Segment:
    """What the stream's next append goes on from, the segment being stored as `item`."""
    try:
        return replace(segment.ended, version=segments.version_of(item))
    except ValueError as error:
        raise failure(Unavailable, StoredUnsaid(str(error))) from error


def _records(row: Sequence[Segment]) -> Sequence[segments.Record]:
    return [record for segment in row for record in segment.all_records]
