"""Tells people of what the journal cannot carry: that it, or the store of releases, is not there or takes nothing.

What is told so goes straight to every channel and is kept by this process alone: one that is started again tells it
again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

import structlog

from logcaster_guard import messages
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import Event, NoticeQueued
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.provenance import RUN
from logcaster_guard.domain.provenance_reasons import CopyLeft
from logcaster_guard.engine import left_copies
from logcaster_guard.engine.guard_counters import CountedBlobs, CountedJournal
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Channel, Clock, Cluster, Entry, JournalSize, Json
from logcaster_guard.steps import remove_helper

_STREAM = "alarm"
_LOOK = 5.0
_FAILING = 60.0
"""Seconds for which nothing can be written down before people are told."""
_LOOK_FOR_LEFT = 60.0


class JournalDownNotifier:
    """Looks after journal and blobs while the guard runs; `journal` is None where there was none to begin with.

    `stranded` are the helpers and the copies of configuration of the kinds `copied` that some run has left in the
    targets' `namespaces`, while nobody can carry that run on.
    """

    def __init__(
        self,
        journal: CountedJournal | None,
        blobs: CountedBlobs,
        channels: Sequence[Channel],
        cluster: Cluster,
        clock: Clock,
        *,
        namespaces: Collection[str],
        copied: Collection[ConfigKind] = (),
    ) -> None:
        self._journal = journal
        self._blobs = blobs
        self._cluster = cluster
        self._clock = clock
        self._namespaces = sorted(set(namespaces))
        self._copied = sorted(copied)
        self._kept = _Kept()
        self._outbox = Outbox(self._kept, channels, clock)
        self._lost = asyncio.Event()
        self._fault: Reason = ""
        self.stranded: Sequence[Message] = ()
        self._log = structlog.get_logger()

    def lost(self, fault: Reason) -> None:
        """There is no journal, for this reason: the guard only watches from now on. Told once."""
        self._fault = self._fault or fault
        self._lost.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._outbox.run(), name="alarms")
            group.create_task(self._tell_lost(), name="journal lost")
            words = messages.journal_failing, messages.journal_recovered
            group.create_task(self._tell_failing(self._journal_fault, *words), name="journal failing")
            words = messages.blobs_failing, messages.blobs_recovered
            group.create_task(self._tell_failing(self._blobs.try_again, *words), name="blobs failing")

    async def _tell_lost(self) -> None:
        await self._lost.wait()
        told = False
        while True:
            unseen = await self._look_for_left()
            if not told:
                await self._tell(messages.journal_lost(self._fault, self.stranded, unseen, self._clock.now()))
                told = True
            await self._clock.sleep_until(self._clock.monotonic() + _LOOK_FOR_LEFT)

    async def _look_for_left(self) -> Reason:
        """Find what is there; returns why it could not be looked for, empty if it could."""
        found: list[Message] = []
        try:
            for namespace in self._namespaces:
                found += await remove_helper.left(self._cluster, namespace)
                for kind in self._copied:
                    copies = await left_copies.left(self._cluster, kind, namespace)
                    found += [CopyLeft(f"{kind} {namespace}/{c['metadata']['name']}", _run(c)) for c in copies]
        except ClusterError as error:
            self._log.warning("helper.left", detail=str(error))
            return error.reason
        for left in [one for one in found if one not in self.stranded]:
            self._log.warning("run.stranded", detail=english().text(left))
        self.stranded = found
        return ""

    async def _journal_fault(self) -> Reason:
        return "" if self._journal is None else self._journal.fault

    async def _tell_failing(
        self,
        look: Callable[[], Awaitable[Reason]],
        failing: Callable[[Reason, datetime], Notice],
        recovered: Callable[[datetime], Notice],
    ) -> None:
        since, told = None, False
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + _LOOK)
            fault, now = await look(), self._clock.monotonic()
            since = (since or now) if fault else None
            if since is not None and now - since >= _FAILING and not told:
                await self._tell(failing(fault, self._clock.now()))
                told = True
            elif told and not fault:
                await self._tell(recovered(self._clock.now()))
                told = False

    async def _tell(self, notice: Notice) -> None:
        await self._kept.append(_STREAM, [NoticeQueued(notice.at, notice)], len(await self._kept.read(_STREAM)))
        self._outbox.wake(_STREAM)


def _run(raw: Json) -> str:
    return str((raw["metadata"].get("annotations") or {}).get(RUN, ""))


class _Kept:
    """A `Journal` in memory, for notices that have nowhere else to be."""

    def __init__(self) -> None:
        self._streams: defaultdict[str, list[Entry]] = defaultdict(list)

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        kept = self._streams[stream]
        kept += [Entry(stream, n, n, event) for n, event in enumerate(events, start=expected_seq + 1)]
        return len(kept)

    async def read(self, stream: str, after: int = 0) -> Sequence[Entry]:
        return self._streams[stream][after:]

    async def read_all(self, prefix: str = "") -> Sequence[Entry]:
        return [entry for name, kept in self._streams.items() if name.startswith(prefix) for entry in kept]

    async def compact(self, superfluous: Collection[tuple[str, int]]) -> None:
        """It lives no longer than its process."""

    async def size(self) -> JournalSize:
        return JournalSize(0, 1)

    async def aclose(self) -> None:
        pass
