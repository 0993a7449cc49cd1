"""The digest of a tree: the same in whatever order its entries are read, and in little memory.

Each entry is a record of its path, kind, content and attributes. A record is spread to 2,048 bits, and the sum of all,
with their number, is hashed. (A sum of plain SHA-256 could be forged; of so wide a one no forgery is known.)
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator
from dataclasses import dataclass, field

from logcaster_guard.adapters.files.attributes import Xattrs, link_xattrs_of, xattrs_of
from logcaster_guard.adapters.files.content import PIECE, data_of, is_dense, same_moment
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.file_trees import TreeDigest

BLOCK = 128 << 10
"""Bytes that are hashed together; a block of zeros counts as a hole."""

_WIDTH = 256
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Entry:
    """What was read of an entry. `content` is a hash, or the target of a link; `layout` tells where a file has data."""

    path: str
    status: os.stat_result
    xattrs: Xattrs
    content: bytes = b""
    layout: bytes = b""
    varied: bool = False

    @property
    def kind(self) -> int:
        """Its type, as `stat.S_IFMT` names it."""
        return stat.S_IFMT(self.status.st_mode)

    @property
    def mode(self) -> int:
        """Its permissions; a link has none."""
        return 0 if self.kind == stat.S_IFLNK else stat.S_IMODE(self.status.st_mode)

    @property
    def size(self) -> int:
        """The bytes that a file holds."""
        return self.status.st_size if self.kind == stat.S_IFREG else 0

    @property
    def has_names(self) -> bool:
        """Whether it may have further names."""
        return self.kind != stat.S_IFDIR and self.status.st_nlink > 1

    def record(self) -> bytes:
        """Everything that counts, each part after its length."""
        of = self.status
        numbers = f"{self.kind} {self.mode} {of.st_uid} {of.st_gid} {of.st_mtime_ns} {self.size}".encode("ascii")
        xattrs = [part for name, value in self.xattrs for part in (os.fsencode(name), value)]
        return _joined([os.fsencode(self.path), numbers, self.content, *xattrs])


@dataclass(slots=True)
class Summed:
    """The sum of the entries of a tree; files with several names add up apart, each by its inode."""

    entries: int = 0
    size: int = 0
    _sum: int = 0
    _names: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, entry: Entry, wide: int) -> None:
        """One more; `wide` is `spread` of its record."""
        self.entries += 1
        self.size += entry.size
        self._sum += wide
        if entry.has_names:
            inode = entry.status.st_ino
            count, names = self._names.get(inode, (0, 0))
            self._names[inode] = count + 1, names + _name(entry.path)

    def names_of(self, entry: Entry) -> tuple[int, int] | None:
        """How many names of its file have been added, and a sum over them; None while that is the only one."""
        found = self._names.get(entry.status.st_ino) if entry.has_names else None
        return found if found and found[0] > 1 else None

    def digest(self) -> TreeDigest:
        """That of the tree, when all is added."""
        total = self._sum
        for count, names in self._names.values():
            if count > 1:
                total += spread(b"names %d %d" % (count, names))
        whole = (total % (1 << 8 * _WIDTH)).to_bytes(_WIDTH, "big")
        return TreeDigest(hashlib.sha256(b"%d " % self.entries + whole).hexdigest(), self.entries, self.size)


def spread(record: bytes) -> int:
    """A record as a number of 2,048 bits."""
    return int.from_bytes(hashlib.shake_256(record).digest(_WIDTH), "big")


def read_folder(folder: Folder) -> Entry:
    """A folder itself; what is in it are further entries."""
    return Entry(folder.path, os.fstat(folder.handle), xattrs_of(folder.handle))


def read_entry(folder: Folder, name: str, kind: int) -> Generator[int, None, Entry]:
    """A file or a link in a folder; yields the bytes of each piece that was read."""
    if kind == stat.S_IFLNK:
        handle, status = folder.link(name)
        try:
            return Entry(
                folder.within(name), status, link_xattrs_of(handle), os.fsencode(os.readlink("", dir_fd=handle))
            )
        finally:
            os.close(handle)
    folder.check_kind(name, kind)
    handle, status = folder.file(name)
    try:
        xattrs = xattrs_of(handle)
        content, layout = yield from _hashed(handle, status)
        varied = not same_moment(status, os.fstat(handle))
        return Entry(folder.within(name), status, xattrs, content, layout, varied)
    finally:
        os.close(handle)


def _hashed(handle: int, status: os.stat_result) -> Generator[int, None, tuple[bytes, bytes]]:
    """The hash of the content, and of which blocks the file has."""
    size = status.st_size
    if size <= BLOCK:
        data = os.pread(handle, size, 0)
        return (hashlib.sha256(bytes(8) + data).digest() if data.strip(b"\0") else b""), b""
    content, layout, since = hashlib.sha256(), hashlib.sha256(), 0
    for at in _blocks(handle, status):
        data = os.pread(handle, min(BLOCK, size - at), at)
        number = at.to_bytes(8, "big")
        layout.update(number)
        if data != _ZEROS[: len(data)]:
            content.update(number)
            content.update(data)
        since += len(data)
        if since >= PIECE:
            yield since
            since = 0
    return content.digest(), layout.digest()


def _blocks(handle: int, status: os.stat_result) -> Generator[int, None, None]:
    """Where the blocks begin that hold data."""
    if is_dense(status):
        yield from range(0, status.st_size, BLOCK)
        return
    next_one = 0
    for start, end in data_of(handle, status.st_size):
        first = max(next_one, start - start % BLOCK)
        yield from range(first, end, BLOCK)
        next_one = max(next_one, end + -end % BLOCK)


def _name(path: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest(), "big")


def _joined(parts: list[bytes]) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)
