"""Watches of one kind in one namespace: a list first, and wherever changes may have been missed.

The library's own watch hangs in silence where a connection dies unnoticed, and asks thousands of times a second where
the server refuses. This one gives a silent connection up, asks at most once a second, and less often the longer it gets
no answer.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from logcaster_guard.adapters.kubernetes.answers import NoAnswer, error_of, parsed
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.cluster_faults import ApiWatch, CannotAsk, NoWatchEvent
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Bookmark, Change, Clock, Interruption, Kind, Listing, WatchEvent

SILENCE = 90.0
"""Seconds without a byte after which a connection is given up: an API server sends a bookmark about every minute."""

LASTING = 300
"""Seconds after which the server is asked to end a watch, so that it goes on at another server now and then."""

LEAST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds from one request to the next, and after many failures."""

SHORT = 5.0
"""Seconds: a watch that ends sooner, without an event, counts as a failure."""

FAILURES_BEFORE_LIST = 3
"""Failures in a row after which the place that the watch had come to is given up, and everything is listed anew."""

GONE = 410


class KubernetesWatches:
    """`ports.Watches` on an API server. `silence` is in seconds; `jitter` gives a number from 0 to 1."""

    def __init__(
        self,
        cluster: KubernetesCluster,
        clock: Clock,
        *,
        silence: float = SILENCE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._silence = silence
        self._jitter = jitter

    async def watch(self, kind: Kind, namespace: str, name: str = "") -> AsyncGenerator[WatchEvent, None]:
        """See the port."""
        version, failures = "", 0
        while True:
            asked, heard, error = self._clock.monotonic(), False, None
            try:
                if not version:
                    items, version = await self._cluster.listing(kind, namespace, name)
                    yield Listing(tuple(items), version, asked)
                async with aclosing(self._events(kind, namespace, name, version)) as events:
                    async for event in events:
                        version, heard = event.version, True
                        yield event
            except ClusterError as failed:
                error = failed
            briefly = not heard and self._clock.monotonic() - asked < SHORT
            failures = (0 if heard else failures) + 1 if error or briefly else 0
            gone = error is not None and error.status == GONE
            if gone or failures >= FAILURES_BEFORE_LIST:
                version = ""
            if error is not None and not gone:
                yield Interruption(error)
            await self._clock.sleep_until(self._next(asked, failures, error))

    def _next(self, asked: float, failures: int, error: ClusterError | None) -> float:
        """When the next request is sent."""
        if not failures:
            return asked + LEAST_PAUSE
        pause = min(LEAST_PAUSE * 2.0 ** min(failures, 10), LONGEST_PAUSE) * (1 + self._jitter()) / 2
        wanted = error.retry_after if error is not None else None
        return self._clock.monotonic() + max(pause, wanted or 0.0)

    async def _events(
        self, kind: Kind, namespace: str, name: str, version: str
    ) -> AsyncGenerator[Change | Bookmark, None]:  # fmt: skip
        lines = self._cluster.events(kind, namespace, name, version, lasting=LASTING, silence=self._silence)
        async with aclosing(lines):
            async for line in lines:
                yield _event(kind, namespace, line)


def _event(kind: Kind, namespace: str, line: bytes) -> Change | Bookmark:
    """An event of a watch. Convention: `{"type": "ADDED", "object": {…}}`, an error with a Status for its object.

    Raises a `ClusterError`, with status 410 where the watch asked for changes that the server has forgotten.
    """
    what, event = ApiWatch(kind.value, namespace), parsed(line) or {}
    told, sort = event.get("object"), event.get("type")
    told = told if isinstance(told, dict) else {}
    if sort == "ERROR":
        code, concealed = told.get("code"), kind is Kind.SECRET
        status = code if isinstance(code, int) else 500
        raise error_of(what, status, {}, json.dumps(told).encode(), concealed=concealed)
    metadata = told.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version or sort not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
        raise failure(NoAnswer, CannotAsk(what, NoWatchEvent()), fault=Fault.MALFORMED, status=200)
    return Bookmark(version) if sort == "BOOKMARK" else Change(told, version, deleted=sort == "DELETED")
