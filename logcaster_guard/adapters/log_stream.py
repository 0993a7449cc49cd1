"""Log lines on their way to a file descriptor; whoever logs never waits for whoever reads.

A pipe that nobody reads, or a file on a volume that hangs, blocks a thread of its own alone. What it has not taken
waits in a bounded queue; what does not fit there, or cannot be written, is dropped and counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

BOUND = 4 * 2**20
"""Bytes of lines that wait."""

_LINGER = 2.0


class LogStream:
    """Lines for `descriptor`, written in their order by a daemon thread that the first of them starts.

    `on_dropped` is called in that thread, with the number of lines that were dropped, once lines can be written again.
    """

    def __init__(self, descriptor: int, on_dropped: Callable[[int], None]) -> None:
        self._descriptor = descriptor
        self._on_dropped = on_dropped
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._untold = 0
        self._torn = False
        self._idle = True
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def put(self, line: bytes) -> None:
        """Have the line, with its line break, written; returns at once."""
        with self._changed:
            if self._waiting + len(line) > BOUND:
                self._lost()
                return
            self._lines.append(line)
            self._waiting += len(line)
            self._idle = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, timeout: float = _LINGER) -> None:
        """Wait until every line is written, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle, timeout)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines[0]
            written = self._write(line)
            with self._changed:
                # It has counted as waiting until now: a line on its way takes room as well.
                self._lines.popleft()
                self._waiting -= len(line)
                if not written:
                    self._lost()
                caught_up = not self._lines
                untold, self._untold = (self._untold, 0) if written and caught_up else (0, self._untold)
            if untold:
                self._on_dropped(untold)
            with self._changed:
                self._idle = not self._lines
                self._changed.notify_all()

    def _lost(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _write(self, line: bytes) -> bool:
        """Whether the whole line could be written. A line that was cut off does not run into the next one."""
        left = b"\n" + line if self._torn else line
        try:
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
                else:
                    self._torn = bool(left)
        except OSError:
            return False
        return True
