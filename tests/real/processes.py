"""Starting and ending the real programs that tests are run against."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

LOG_TAIL = 2000


class NotStarted(Exception):
    """A program did not come up; the message holds the end of what it said."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert isinstance(port, int)
        return port


class Program:
    """One process of its own session, its output in a file; it is of `user`, or of whoever runs the tests."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, *, user: str | None = None) -> None:
        self.name = name
        self._output = folder / f"{name}.log"
        with self._output.open("wb") as sink:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
            )

    def check(self) -> None:
        """Raises `NotStarted` if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise NotStarted(f"{self.name} ended with code {code}: {self.tail()}")

    def tail(self) -> str:
        return self._output.read_text(errors="replace")[-LOG_TAIL:]

    def stop(self, patience: float = 10.0, asking: signal.Signals = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(asking)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait(patience)


def version_of(binary: Path | str) -> str:
    """The first line that `binary --version` prints."""
    result = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=30, check=True)
    return (result.stdout or result.stderr).splitlines()[0].strip()
