"""Whether a second tree has room, before it is begun, and what it was that ran out in the middle."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from dataclasses import dataclass

from logcaster_guard.adapters.files.faults import shown
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.adapters.files.links import fault_of
from logcaster_guard.domain.errors import NoRoom
from logcaster_guard.file_trees import Doing, Progress
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import RoomFault, RoomRanOut, TooLittleRoom

_SHARE, _LEAST = 0.05, 16 << 20
"""What must stay free: this share of what is needed, and so many bytes."""

_FOR_ENTRY = 4 << 10
"""Bytes that an entry takes beside its content, at most."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a tree takes: entries, bytes that they hold, and bytes of disk."""

    entries: int
    size: int
    disk: int


def measure(tree: Folder) -> Generator[Progress, None, Need]:
    """Add a tree up; raises `TreeRefused` for whatever may not be in one."""
    entries = size = disk = 0
    for status in _statuses(tree):
        entries += 1
        # Each name of a file has its share: which ones are of one file need not be kept for that.
        share = max(1, status.st_nlink) if stat.S_ISREG(status.st_mode) else 1
        size += status.st_size // share if stat.S_ISREG(status.st_mode) else 0
        disk += status.st_blocks * 512 // share
        yield Progress(Doing.MEASURING, entries, size)
    return Need(entries, size, disk)


def check(folder: Folder, need: Need, *, shared: bool) -> None:
    """Raise `NoRoom` where a copy of a tree does not fit; `shared`: it shares its blocks with the tree."""
    room = os.fstatvfs(folder.handle)
    needed = (0 if shared else need.disk) + need.entries * _FOR_ENTRY
    needed += max(int(needed * _SHARE), _LEAST)
    free = room.f_bavail * room.f_frsize
    if needed > free:
        raise failure(NoRoom, TooLittleRoom(shown(folder.root.path), RoomFault.BYTES, needed, free))
    inodes = need.entries + int(need.entries * _SHARE) + 16
    if room.f_files and inodes > room.f_favail:
        raise failure(NoRoom, TooLittleRoom(shown(folder.root.path), RoomFault.INODES, inodes, room.f_favail))


def ran_out(error: OSError, folder: Folder, path: str) -> NoRoom:
    """What to raise for a file system that is full, or a quota that is used up, in the middle."""
    room = os.fstatvfs(folder.handle)
    if error.errno == errno.EDQUOT:
        fault = RoomFault.QUOTA
    else:
        fault = RoomFault.INODES if room.f_files and not room.f_favail else RoomFault.BYTES
    return failure(NoRoom, RoomRanOut(shown(folder.root.path), shown(path), fault))


def _statuses(folder: Folder) -> Generator[os.stat_result, None, None]:
    for entry in folder.entries():
        status = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        folder.check_kind(entry.name, kind)
        if kind == stat.S_IFLNK and (fault := fault_of(os.readlink(entry.name, dir_fd=folder.handle), folder.depth)):
            raise folder.refused(entry.name, fault)
        yield status
        if kind == stat.S_IFDIR:
            with folder.folder(entry.name) as below:
                yield from _statuses(below)
