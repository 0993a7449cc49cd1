"""The sandbox's users: a steady stream of requests to a Service, and what came of them.

It is the judge of every demo and drill: it knows nothing of the guard, of metrics or of pods, only of answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

BODY_BYTES = 4096


@dataclass(slots=True)
class Bucket:
    """One second of traffic; `second` is the floor of the monotonic second at which its requests ended.

    `failures` counts by what the user saw: an HTTP status, or `connection` or `timeout`.
    """

    second: int
    total: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Window:
    """What users saw over a span; latencies are in seconds and None without traffic."""

    total: int
    failed: int
    mean_latency: float | None
    p95_latency: float | None
    failures: dict[str, int]

    @property
    def error_share(self) -> float | None:
        """Failed / total, 0 to 1; None without traffic."""
        return self.failed / self.total if self.total else None


class Traffic:
    """Sends `rate` GET requests a second for `url` through the proxy that `proxy()` names.

    Anything but a 2xx or 3xx within `timeout` seconds is a failure. The last `keep` seconds are remembered.
    """

    def __init__(
        self,
        url: str,
        proxy: Callable[[], str],
        *,
        rate: float = 20.0,
        timeout: float = 5.0,
        keep: int = 1800,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self._url = url
        self._proxy = proxy
        self._timeout = timeout
        self._clock = clock
        self._buckets: deque[Bucket] = deque(maxlen=keep)
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.total = 0
        self.failed = 0

    async def start(self) -> None:
        """Begin to send."""
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        # A connection for each request: aiohttp silently repeats what failed on one that it had used before.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        self._task = asyncio.create_task(self._run(self._session), name="sandbox-traffic")

    async def stop(self) -> None:
        """Stop; requests under way are given up and not counted."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    def window(self, seconds: float) -> Window:
        """What the requests saw that ended in the last `seconds`, to whole seconds, the running one included."""
        return self._summary(math.floor(self._clock() - seconds) + 1)

    def since(self, at: float) -> Window:
        """What the requests saw that ended in the first whole second after monotonic `at` or later."""
        return self._summary(math.ceil(at))

    def buckets(self, seconds: float) -> list[Bucket]:
        """The last seconds of traffic, oldest first; seconds without an answer are left out."""
        first = math.floor(self._clock() - seconds) + 1
        return [b for b in self._buckets if b.second >= first]

    async def until(self, reached: Callable[[Traffic], bool], within: float) -> None:
        """Return once `reached`, asked after every request; raises `TimeoutError` after `within` seconds."""
        async with asyncio.timeout(within):
            while not reached(self):
                self._changed.clear()
                await self._changed.wait()

    def _summary(self, first: int) -> Window:
        chosen = [b for b in self._buckets if b.second >= first]
        latencies = sorted(x for b in chosen for x in b.latencies)
        failures: Counter[str] = Counter()
        for bucket in chosen:
            failures.update(bucket.failures)
        return Window(
            total=sum(b.total for b in chosen),
            failed=sum(b.failed for b in chosen),
            mean_latency=sum(latencies) / len(latencies) if latencies else None,
            p95_latency=latencies[math.ceil(0.95 * len(latencies)) - 1] if latencies else None,
            failures=dict(failures),
        )

    async def _run(self, session: aiohttp.ClientSession) -> None:
        # Each request ends within the timeout, so no more than rate * timeout of them are ever under way.
        async with asyncio.TaskGroup() as under_way:
            due = self._clock()
            while True:
                now = self._clock()
                if now >= due:
                    under_way.create_task(self._send(session))
                    # After a pause of the whole process the missed requests are not made up for in a burst.
                    due = max(due + 1.0 / self.rate, now - 1.0)
                else:
                    await asyncio.sleep(due - now)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        began = self._clock()
        failure: str | None = None
        try:
            async with session.get(self._url, proxy=self._proxy(), allow_redirects=False) as response:
                await response.content.read(BODY_BYTES)
                failure = None if response.status < 400 else str(response.status)
        except TimeoutError:
            failure = "timeout"
        except (aiohttp.ClientError, OSError):
            failure = "connection"
        self._count(self._clock(), began, failure)

    def _count(self, now: float, began: float, failure: str | None) -> None:
        second = math.floor(now)
        if not self._buckets or self._buckets[-1].second != second:
            self._buckets.append(Bucket(second))
        bucket = self._buckets[-1]
        bucket.total += 1
        bucket.latencies.append(now - began)
        self.total += 1
        if failure is not None:
            bucket.failed += 1
            bucket.failures[failure] += 1
            self.failed += 1
        self._changed.set()
