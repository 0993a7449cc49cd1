"""A tree is removed from the handle of its parent down; nothing that is mounted in it is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator

from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.file_trees import Doing, Progress

_ROUNDS = 3
"""How often a folder is read at most: some file systems do not show one whole while it is emptied."""


def remove(parent: Folder, name: str, doing: Doing = Doing.REMOVING) -> Generator[Progress, None, None]:
    """Remove what has this name: a tree, or anything else; it may be gone already."""
    found = parent.status(name)
    if found is None:
        return
    for removed, _ in enumerate(_remove(parent, name, is_folder=stat.S_ISDIR(found.st_mode)), start=1):
        yield Progress(doing, removed)


def _remove(parent: Folder, name: str, *, is_folder: bool) -> Generator[None, None, None]:
    if not is_folder:
        os.unlink(name, dir_fd=parent.handle)
        yield
        return
    with parent.folder(name) as folder:
        if os.fstat(folder.handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(folder.handle, stat.S_IRWXU)
        for _ in range(_ROUNDS):
            entry = None
            for entry in folder.entries():
                yield from _remove(folder, entry.name, is_folder=entry.is_dir(follow_symlinks=False))
            if entry is None:
                break
    os.rmdir(name, dir_fd=parent.handle)
    yield
