"""Owner, mode, times and extended attributes of a file, a folder or a link, by its handle."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple, Self

from logcaster_guard.adapters.files.faults import FULL, not_kept

Xattrs = Sequence[tuple[str, bytes]]
_NONE = frozenset({errno.ENOTSUP, errno.ENODATA})


def xattrs_of(handle: int) -> Xattrs:
    """The extended attributes, ACLs among them, in the order of their names."""
    try:
        return [(name, os.getxattr(handle, name)) for name in sorted(os.listxattr(handle))]
    except OSError as error:
        if error.errno in _NONE:
            return []
        raise


def link_xattrs_of(handle: int) -> Xattrs:
    """Those of a symbolic link, of which there is a handle without rights (`O_PATH`)."""
    link = f"/proc/self/fd/{handle}"
    try:
        return [(name, os.getxattr(link, name)) for name in sorted(os.listxattr(link))]
    except OSError as error:
        if error.errno in _NONE:
            return []
        raise


class Attributes(NamedTuple):
    """What is kept of an entry beside its content."""

    uid: int
    gid: int
    mode: int
    atime_ns: int
    mtime_ns: int
    xattrs: Xattrs

    @classmethod
    def of(cls, status: os.stat_result, xattrs: Xattrs) -> Self:
        """Those of what was looked at."""
        mode = stat.S_IMODE(status.st_mode)
        return cls(status.st_uid, status.st_gid, mode, status.st_atime_ns, status.st_mtime_ns, xattrs)


def give(handle: int, kept: Attributes, place: str, path: str) -> None:
    """Give an open file or folder what another has; raises `TreeRefused` for what it cannot have.

    The order matters: a change of owner takes setuid and capabilities away, an ACL changes the mode, all change times.
    """
    doing = "owner"
    try:
        os.fchown(handle, kept.uid, kept.gid)
        for doing, value in kept.xattrs:
            _give_xattr(handle, doing, value)
        doing = "mode"
        os.fchmod(handle, kept.mode)
        doing = "time"
        os.utime(handle, ns=(kept.atime_ns, kept.mtime_ns))
    except OSError as error:
        raise _failed(error, place, path, doing) from error


def give_link(folder: int, name: str, kept: Attributes, place: str, path: str) -> None:
    """The same for a symbolic link, which has no mode."""
    doing = "owner"
    try:
        os.chown(name, kept.uid, kept.gid, dir_fd=folder, follow_symlinks=False)
        for doing, value in kept.xattrs:
            _give_xattr(f"/proc/self/fd/{folder}/{name}", doing, value)
        doing = "time"
        os.utime(name, ns=(kept.atime_ns, kept.mtime_ns), dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        raise _failed(error, place, path, doing) from error


def _failed(error: OSError, place: str, path: str, doing: str) -> Exception:
    return error if error.errno in FULL else not_kept(place, path, doing, error)


def without_acl(handle: int) -> None:
    """Take away the ACLs that a new folder has from the one that it was made in: it and what it gets has its own."""
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        try:
            os.removexattr(handle, name)
        except OSError as error:
            if error.errno not in _NONE:
                raise


def _give_xattr(where: int | str, name: str, value: bytes) -> None:
    try:
        os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
    except OSError as error:
        # A label that the system gives by itself may not be given, and is what it should be.
        if _has(where, name, value):
            return
        if error.errno == errno.ENOSPC and os.statvfs(where).f_bavail:
            # There is room, but not for so many attributes of one file.
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG)) from error
        raise


def _has(where: int | str, name: str, value: bytes) -> bool:
    try:
        return os.getxattr(where, name, follow_symlinks=isinstance(where, int)) == value
    except OSError:
        return False
