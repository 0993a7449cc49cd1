"""A handle of a folder in a tree: what is below is opened from it by one name, and never through a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from logcaster_guard.adapters.files.faults import refused
from logcaster_guard.adapters.files.linux import mount_of
from logcaster_guard.messages.tree_faults import EntryFault

DEEPEST = 128
"""Folders below each other: each takes a handle of each tree, of which a process has a thousand."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFBLK: EntryFault.DEVICE,
    stat.S_IFCHR: EntryFault.DEVICE,
    stat.S_IFIFO: EntryFault.FIFO,
    stat.S_IFSOCK: EntryFault.SOCKET,
}


@dataclass(frozen=True, slots=True)
class Root:
    """What all folders of a tree share: its path as people know it, device and mount, and how deep they may lie."""

    path: str
    device: int
    mount: int
    deepest: int


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder; `path` leads to it from the root of its tree, which has none. Close it, or use it in `with`."""

    handle: int
    path: str
    depth: int
    root: Root

    @classmethod
    def at(cls, path: Path, deepest: int = DEEPEST) -> Self:
        """The root of a tree; links are followed on the way to it, as whoever named it will have it."""
        handle = os.open(path, _OPEN)
        return cls(handle, "", 0, Root(str(path), os.fstat(handle).st_dev, mount_of(handle), deepest))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)

    def within(self, name: str) -> str:
        """The path of what has this name here."""
        return f"{self.path}/{name}" if self.path else name

    def refused(self, name: str, fault: EntryFault) -> Exception:
        """What to raise where `name` may not be here."""
        return refused(self.root.path, self.within(name), fault)

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """What is in it now, in no order."""
        # btrfs shows a handle nothing that was made since it was last at the begin.
        os.lseek(self.handle, 0, os.SEEK_SET)
        with os.scandir(self.handle) as found:
            yield from found

    def has(self, name: str) -> bool:
        """Whether there is something of this name."""
        return self.status(name) is not None

    def status(self, name: str) -> os.stat_result | None:
        """What stands under the name itself; None if nothing does."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def folder(self, name: str) -> Folder:
        """Open a folder in it; raises `TreeRefused` for one that is mounted there, or lies too deep."""
        if self.depth >= self.root.deepest:
            raise self.refused(name, EntryFault.TOO_DEEP)
        try:
            handle = os.open(name, _OPEN, dir_fd=self.handle)
        except NotADirectoryError:
            raise self.refused(name, EntryFault.NO_FOLDER) from None
        below = Folder(handle, self.within(name), self.depth + 1, self.root)
        if not below.is_of_its_root():
            os.close(handle)
            raise self.refused(name, EntryFault.FILE_SYSTEM)
        return below

    def is_of_its_root(self) -> bool:
        """Whether it is on the file system and mount of the root."""
        return os.fstat(self.handle).st_dev == self.root.device and mount_of(self.handle) == self.root.mount

    def file(self, name: str) -> tuple[int, os.stat_result]:
        """Open a regular file in it to read; raises `TreeRefused` for what is none, or is mounted there."""
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.handle)
        return handle, self._checked(name, handle, stat.S_IFREG)

    def link(self, name: str) -> tuple[int, os.stat_result]:
        """A handle of a symbolic link itself; raises `TreeRefused` for what is none."""
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.handle)
        return handle, self._checked(name, handle, stat.S_IFLNK)

    def check_kind(self, name: str, kind: int) -> None:
        """Raise `TreeRefused` for anything but a file, a folder or a link."""
        if kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            raise self.refused(name, _KINDS.get(kind, EntryFault.OTHER_KIND))

    def _checked(self, name: str, handle: int, kind: int) -> os.stat_result:
        found = os.fstat(handle)
        fault = None if found.st_dev == self.root.device else EntryFault.FILE_SYSTEM
        if stat.S_IFMT(found.st_mode) != kind:
            fault = _KINDS.get(stat.S_IFMT(found.st_mode), EntryFault.OTHER_KIND)
        if fault:
            os.close(handle)
            raise self.refused(name, fault)
        return found
