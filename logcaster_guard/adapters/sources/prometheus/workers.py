"""Blocking calls on daemon threads: bounded, cut off at their deadline, and never in the way of anything else.

A thread that hangs (a resolver, a server that drips) keeps its place until it truly ends, so their number stays
bounded, but whoever waits for it has been answered at the deadline. Places are counted by lane, so a lane whose calls
hang cannot take the places of the others. A daemon thread does not hold the exit of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
SHUTDOWN_GRACE = 2.0


class Line:
    """The connection of one call, which another thread may cut.

    It holds a duplicate of the socket, because TLS replaces the object that it wraps.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._cut = False

    def attach(self, connection: socket.socket) -> None:
        """Make `connection` the one to cut; raises TimeoutError if that has been asked for already."""
        with self._lock:
            if self._cut:
                raise TimeoutError("cut before it was connected")
            self._release()
            self._handle = connection.dup()

    def cut(self) -> None:
        """Shut the connection down: a blocked read or write in its thread ends at once."""
        with self._lock:
            self._cut = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the duplicate."""
        with self._lock:
            self._cut = True
            self._release()

    def _release(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _Call(Generic[T]):
    """One call, its thread and its outcome."""

    def __init__(self, work: Callable[[Line], T], release: Callable[[], None]) -> None:
        self.line = Line()
        self.outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._release = release

    def start(self) -> None:
        threading.Thread(target=self._run, name="prometheus-query", daemon=True).start()

    def _run(self) -> None:
        try:
            settle = partial(self.outcome.set_result, self._work(self.line))
        except Exception as defect:  # noqa: BLE001 - the edge of the thread: raised again where the call is awaited
            settle = partial(self.outcome.set_exception, defect)
        finally:
            self.line.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, settle)

    def _finish(self, settle: Callable[[], None]) -> None:
        self._release()
        if not self.outcome.done():
            settle()


class Workers:
    """At most `total` threads, at most `per_lane` of them for one lane."""

    def __init__(self, *, total: int, per_lane: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_lane = per_lane
        self._lanes: dict[str, asyncio.Semaphore] = {}
        self._running: set[Line] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, lane: str, work: Callable[[Line], T], timeout: float) -> T:  # noqa: ASYNC109 - it cuts the thread too
        """What `work` returns or raises; TimeoutError after `timeout` seconds, the wait for a free place included."""
        async with asyncio.timeout(timeout):
            call = await self._start(lane, work)
            try:
                return await call.outcome
            finally:
                call.line.cut()

    async def aclose(self) -> None:
        """Cut every call and give the threads a moment to close their sockets; a stuck one is left behind."""
        for line in list(self._running):
            line.cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), SHUTDOWN_GRACE)

    async def _start(self, lane: str, work: Callable[[Line], T]) -> _Call[T]:
        places = self._lanes.setdefault(lane, asyncio.Semaphore(self._per_lane))
        await places.acquire()
        try:
            await self._total.acquire()
        except BaseException:
            places.release()
            raise

        def release() -> None:
            places.release()
            self._total.release()
            self._running.discard(call.line)
            if not self._running:
                self._idle.set()

        call = _Call(work, release)
        self._running.add(call.line)
        self._idle.clear()
        try:
            call.start()
        except RuntimeError as error:
            release()
            raise OSError("no thread can be started") from error
        return call
