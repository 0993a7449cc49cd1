"""The guard's marker beside a production tree: who leads there, and what the last exchange was to do.

It is written and on disk before the exchange, so that whoever comes after a crash tells by the two inodes whether it
was done. Whoever reads or writes it holds the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from logcaster_guard.adapters.files.faults import shown
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.domain.errors import TreeForeign, TreeSuperseded, TreeUnavailable
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import LaterLeader, MarkerUnreadable, TreeBusy

_MOST = 64 << 10
_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds to wait for the lock, which nobody holds for long, and between two tries."""


@dataclass(frozen=True, slots=True)
class Marker:
    """`old` and `new` are the inodes of production and of the tree `beside` it before the exchange (0: none yet)."""

    epoch: int = 0
    operation: str = ""
    beside: str = ""
    replaced: str = ""
    old: int = 0
    new: int = 0
    old_digest: str = ""
    new_digest: str = ""


@contextmanager
def locked(parent: Folder, prefix: str, place: str) -> Iterator[None]:
    """Be the only one who reads and writes the marker; raises `TreeUnavailable` where that cannot be had."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(f"{prefix}lock", flags, 0o600, dir_fd=parent.handle)
    try:
        until = time.monotonic() + _PATIENCE
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > until:
                raise failure(TreeUnavailable, TreeBusy(shown(place)))
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(handle)


def read(parent: Folder, prefix: str, place: str) -> Marker:
    """What it says; raises `TreeForeign` for what no guard wrote."""
    try:
        handle, _ = parent.file(f"{prefix}json")
    except FileNotFoundError:
        return Marker()
    with open(handle, "rb") as file:  # noqa: PTH123 - a handle has no path
        content = file.read(_MOST)
    try:
        return _marker(json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise failure(TreeForeign, MarkerUnreadable(shown(place))) from error


def led_by(marker: Marker, epoch: int, place: str) -> Marker:
    """The marker in the hands of the leader of this epoch; raises `TreeSuperseded` if it is in those of a later one."""
    if marker.epoch > epoch:
        raise failure(TreeSuperseded, LaterLeader(shown(place), epoch, marker.epoch))
    return replace(marker, epoch=epoch)


def write(parent: Folder, prefix: str, marker: Marker) -> None:
    """Have it on disk, whole, before anything else is done."""
    draft = f"{prefix}json.draft"
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=parent.handle)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(draft, flags, 0o600, dir_fd=parent.handle)
    with open(handle, "wb") as file:  # noqa: PTH123 - a handle has no path
        file.write(json.dumps(asdict(marker), indent=1).encode("ascii"))
        file.flush()
        os.fsync(handle)
    os.rename(draft, f"{prefix}json", src_dir_fd=parent.handle, dst_dir_fd=parent.handle)
    os.fsync(parent.handle)


def _marker(content: Any) -> Marker:  # noqa: ANN401 - whatever JSON holds
    """Raise `TypeError` or `ValueError` for anything but a marker."""
    made = Marker(**content)
    for key, standard in asdict(Marker()).items():
        value = getattr(made, key)
        if type(value) is not type(standard) or (isinstance(value, int) and value < 0):
            raise ValueError(f"{key} is not what a guard writes")
    return made
