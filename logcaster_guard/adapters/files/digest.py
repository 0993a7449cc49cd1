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
from typing import NamedTuple, Self

from logcaster_guard.adapters.files.attributes import Xattrs, link_xattrs_of, xattrs_of
from logcaster_guard.adapters.files.content import PIECE, data_of, is_dense, same_moment
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.file_trees import TreeDigest

BLOCK = 128 << 10
"""Bytes that are hashed together; a block of zeros counts as a hole."""

_WIDTH = 256
_ZEROS = bytes(BLOCK)


class Kept(NamedTuple):
    """What counts of an entry: `content` is the hash of a file, or the target of a link, which has no mode."""

    kind: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    content: bytes
    xattrs: Xattrs


class Entry(NamedTuple):
    """What was read of an entry. `names` is how many it has, `layout` tells where a file has data.

    `data` is what a small file holds.
    """

    path: str
    kept: Kept
    inode: int
    names: int
    layout: bytes = b""
    varied: bool = False
    data: bytes = b""

    @classmethod
    def of(cls, path: str, status: os.stat_result, content: bytes, xattrs: Xattrs) -> Self:
        """One of which the file system tells this."""
        kind = stat.S_IFMT(status.st_mode)
        mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
        size = status.st_size if kind == stat.S_IFREG else 0
        kept = Kept(kind, mode, status.st_uid, status.st_gid, status.st_mtime_ns, size, content, xattrs)
        return cls(path, kept, status.st_ino, 1 if kind == stat.S_IFDIR else status.st_nlink)

    def record(self) -> bytes:
        """Everything that counts, each part after its length."""
        xattrs = [part for name, value in self.kept.xattrs for part in (os.fsencode(name), value)]
        parts = [os.fsencode(self.path), b"%d %d %d %d %d %d" % self.kept[:6], self.kept.content, *xattrs]
        return b"".join([b"%d:%b" % (len(part), part) for part in parts])


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
        self.size += entry.kept.size
        self._sum += wide
        if entry.names > 1:
            count, names = self._names.get(entry.inode, (0, 0))
            self._names[entry.inode] = count + 1, names + _name(entry.path)

    def names_of(self, entry: Entry) -> tuple[int, int] | None:
        """How many names of its file have been added, and a sum over them; None while that is the only one."""
        found = self._names.get(entry.inode) if entry.names > 1 else None
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
    return Entry.of(folder.path, os.fstat(folder.handle), b"", xattrs_of(folder.handle))


def read_entry(folder: Folder, name: str, kind: int, like: Entry | None = None) -> Generator[int, None, Entry]:
    """A file or a link in a folder; yields the bytes of each piece that was read. What is `like` it has its hash."""
    if kind == stat.S_IFLNK:
        return _read_link(folder, name)
    folder.check_kind(name, kind)
    handle, status = folder.file(name)
    try:
        xattrs, layout, data = xattrs_of(handle), b"", b""
        if status.st_size > BLOCK:
            content, layout = yield from _hashed(handle, status)
        else:
            data = os.pread(handle, status.st_size, 0)
            content = like.kept.content if like and data and like.data == data else _hash(data)
        varied = not same_moment(status, os.fstat(handle))
        entry = Entry.of(folder.within(name), status, content, xattrs)
        return entry._replace(layout=layout, varied=varied, data=data)
    finally:
        os.close(handle)


def _read_link(folder: Folder, name: str) -> Entry:
    handle, status = folder.link(name)
    try:
        target = os.fsencode(os.readlink("", dir_fd=handle))
        return Entry.of(folder.within(name), status, target, link_xattrs_of(handle))
    finally:
        os.close(handle)


def _hash(data: bytes) -> bytes:
    """That of one block, which is none if it holds zeros alone."""
    return hashlib.sha256(data).digest() if data.strip(b"\0") else b""


def _hashed(handle: int, status: os.stat_result) -> Generator[int, None, tuple[bytes, bytes]]:
    """The hash of the content of several blocks, and of which blocks the file has."""
    content, layout, since = hashlib.sha256(), hashlib.sha256(), 0
    for at in _blocks(handle, status):
        data = os.pread(handle, min(BLOCK, status.st_size - at), at)
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
