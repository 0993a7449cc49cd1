"""A disk that fails to keep what it took, or that turns read-only: what it refuses must not count as told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHIM = r"""
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
static int failing(void) { return access(getenv("FAILING_DISK"), F_OK) == 0; }
static int refuse(int error) { errno = error; return -1; }
int fsync(int fd) { return failing() ? refuse(EIO) : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return failing() ? refuse(EIO) : syscall(SYS_fdatasync, fd); }
#ifdef READ_ONLY
ssize_t pwrite64(int fd, const void *from, size_t size, off_t at) {
    return failing() ? refuse(EROFS) : syscall(SYS_pwrite64, fd, from, size, at);
}
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { return pwrite64(fd, from, size, at); }
#endif
"""
SCRIPT = """
import asyncio, os, sys
from datetime import UTC, datetime
from pathlib import Path
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.stores import CODEC
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import SignalSeen

async def main():
    event = SignalSeen(datetime(2026, 1, 1, tzinfo=UTC), "error_rate")
    switch = Path(os.environ["FAILING_DISK"])
    journal = await SqliteJournal.open(CODEC, Path(sys.argv[1]))
    await journal.append("target/a", [event], 0)
    switch.touch()
    try:
        await journal.append("target/a", [event], 1)
    except JournalUnavailable as error:
        print("refused:", error)
    switch.unlink()
    before = len(await journal.read("target/a"))
    await journal.append("target/a", [event], before)
    print("kept:", before, len(await journal.read("target/a")))
    await journal.aclose()

asyncio.run(main())
"""


def failing_disk(folder: Path, *, read_only: bool) -> dict[str, str]:
    """What a process needs in its environment for its disk to fail while the file `FAILING_DISK` is there."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on PATH to make a disk fail with")
    source, shim = folder / "disk.c", folder / "disk.so"
    source.write_text(SHIM)
    defines = ["-DREAD_ONLY"] if read_only else []
    subprocess.run([compiler, *defines, "-shared", "-fPIC", "-o", str(shim), str(source)], check=True, timeout=60)
    return {"LD_PRELOAD": str(shim), "FAILING_DISK": str(folder / "failing")}


@pytest.mark.parametrize("read_only", [False, True], ids=["cannot sync", "turned read-only"])
def test_an_append_that_is_not_kept_is_refused_and_a_later_one_works(tmp_path: Path, read_only: bool) -> None:
    environment = {**os.environ, **failing_disk(tmp_path, read_only=read_only)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "journal.db")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, kept = done.stdout.splitlines()
    assert refused.startswith("refused: ")
    assert kept == "kept: 1 2"
