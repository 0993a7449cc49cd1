"""The content of a file: copied with its holes, or shared where the file system can."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from logcaster_guard.adapters.files import linux

PIECE = 8 << 20
"""Bytes between two places where work can be ended."""

_SMALL = 1 << 20
_BUFFER = 1 << 20
_CANNOT = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
)


@dataclass(slots=True)
class Copier:
    """Copies contents from one file system to another; what that cannot do is tried once."""

    clones: bool = True
    in_kernel: bool = True

    def copy(self, source: int, target: int, status: os.stat_result) -> Generator[int, None, None]:
        """Fill the new file `target` with what `source` holds; yields the bytes of each piece that is done."""
        size = status.st_size
        if size == 0 or (self.clones and self._cloned(source, target)):
            yield size
        elif size <= _SMALL and is_dense(status):
            data = os.pread(source, size, 0)
            _write(target, data, 0)
            yield len(data)
        else:
            os.truncate(target, size)
            for start, end in data_of(source, size):
                yield from self._copy_range(source, target, start, end)

    def _cloned(self, source: int, target: int) -> bool:
        try:
            linux.clone(source, target)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            # One file alone may be such that its blocks cannot be shared: EINVAL.
            self.clones = error.errno == errno.EINVAL
            return False
        return True

    def _copy_range(self, source: int, target: int, start: int, end: int) -> Generator[int, None, None]:
        at = start
        while at < end:
            copied = self._copy_piece(source, target, at, min(PIECE, end - at))
            if copied == 0:
                return  # somebody has cut it short
            at += copied
            yield copied

    def _copy_piece(self, source: int, target: int, at: int, most: int) -> int:
        if self.in_kernel:
            try:
                return os.copy_file_range(source, target, most, at, at)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self.in_kernel = False
        data = os.pread(source, min(most, _BUFFER), at)
        _write(target, data, at)
        return len(data)


def is_dense(status: os.stat_result) -> bool:
    """Whether the file cannot have holes, by the blocks that it takes."""
    return status.st_blocks * 512 >= status.st_size


def data_of(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data up to `size`, as ranges of bytes in their order; all else are holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(handle, start, os.SEEK_HOLE), size)
        yield start, end


def same_moment(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether nobody has written the file between the two."""
    first, second = ((of.st_size, of.st_mtime_ns, of.st_ctime_ns) for of in (before, after))
    return first == second


def _write(target: int, data: bytes, at: int) -> None:
    done = os.pwrite(target, data, at)
    while done < len(data):
        done += os.pwrite(target, data[done:], at + done)
