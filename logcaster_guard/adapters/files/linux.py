"""System calls for which Python 3.11 has no name."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NO_REPLACE, _EXCHANGE = 1, 2
_FICLONE = 0x40049409


def exchange_names(folder: int, one: str, other: str) -> None:
    """Let two names in a folder change places, at once for whoever looks."""
    _rename(folder, one, folder, other, _EXCHANGE)


def move(folder: int, name: str, into: int, new_name: str) -> None:
    """Rename, and replace nothing; raises `FileExistsError` where the new name is taken."""
    _rename(folder, name, into, new_name, _NO_REPLACE)


def sync_file_system(handle: int) -> None:
    """Return when all that was written to the file system of this handle is on disk."""
    if _LIBC.syncfs(handle):
        raise _failed()


def clone(source: int, target: int) -> None:
    """Let a file share all blocks of another until one of them is written; raises `OSError` where that is not so."""
    fcntl.ioctl(target, _FICLONE, source)


def mount_of(handle: int) -> int:
    """The mount that an open file or folder was reached by: a bind mount has one of its own, on the same device."""
    told = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{handle}").read_text("ascii"), re.MULTILINE)
    if told is None:
        raise OSError("/proc does not tell the mount of a file")
    return int(told[1])


def _rename(folder: int, name: str, into: int, new_name: str, flags: int) -> None:
    if _LIBC.renameat2(folder, os.fsencode(name), into, os.fsencode(new_name), flags):
        raise _failed(new_name)


def _failed(name: str | None = None) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), name)
