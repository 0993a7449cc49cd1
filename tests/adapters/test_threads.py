from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from logcaster_guard.adapters.threads import DaemonThreads

HUNG_RESOLVER = """
import asyncio, contextlib, socket, threading, time
import httpx
from logcaster_guard.adapters.fetch import Fetcher
from logcaster_guard.adapters.threads import DaemonThreads

socket.getaddrinfo = lambda *_, **__: threading.Event().wait(600)

async def main():
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    fetcher = Fetcher(monotonic=time.monotonic, timeout=0.2, max_bytes=1000)
    print((await fetcher.get("http://logcaster.example/")).fault)
    await fetcher.aclose()

asyncio.run(main())
"""


def test_a_resolver_that_hangs_does_not_hold_the_exit_of_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HUNG_RESOLVER], capture_output=True, text=True, timeout=40, check=True
    )
    assert (ended.stdout, ended.stderr) == ("timed out\n", "")


async def test_results_and_exceptions_arrive_and_threads_are_used_again() -> None:
    threads = DaemonThreads(most=2)
    loop = asyncio.get_running_loop()
    assert await asyncio.gather(*(loop.run_in_executor(threads, abs, -n) for n in range(20))) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(threads, lambda: 1 // 0)
    names = {await loop.run_in_executor(threads, lambda: threading.current_thread().name) for _ in range(20)}
    assert names <= {"call-0", "call-1"}
    threads.shutdown()


async def test_calls_beyond_the_bound_wait_and_may_be_cancelled() -> None:
    threads = DaemonThreads(most=1)
    hold, begun = threading.Event(), threading.Event()

    def held() -> bool:
        begun.set()
        return hold.wait(30)

    first = threads.submit(held)
    assert begun.wait(30)
    second, third = threads.submit(abs, -1), threads.submit(abs, -2)
    assert second.cancel()
    assert not third.done()
    hold.set()
    assert first.result(30)
    assert third.result(30) == 2
    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.submit(abs, -1)
