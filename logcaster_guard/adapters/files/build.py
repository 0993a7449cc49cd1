"""A tree is copied from one folder to another: each entry whole, with all that it has, and its folder's times last."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from logcaster_guard.adapters.files import linux, space
from logcaster_guard.adapters.files.attributes import Attributes, give, give_link, link_xattrs_of, xattrs_of
from logcaster_guard.adapters.files.beside import Draft
from logcaster_guard.adapters.files.content import Copier, same_moment
from logcaster_guard.adapters.files.faults import FULL, refused, shown, told, unusable
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.adapters.files.links import fault_of
from logcaster_guard.adapters.files.making import Work, make
from logcaster_guard.adapters.files.space import Need
from logcaster_guard.file_trees import Built, Doing, Order, Progress
from logcaster_guard.messages.tree_faults import EntryFault

MOST_VARIED = 20
"""Files that were written while they were copied, which are named; further ones are not."""

_TOLD = 1 << 20
"""Bytes of a piece of one file that are told by themselves."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def build(source: Path, production: Path, order: Order) -> Work:
    """Copy the tree `source` to beside production; see `FileTrees.build`."""

    def fill(draft: Draft) -> Work:
        with told(str(source)), Folder.at(source) as tree:
            if _is_around(tree, draft.tree):
                raise refused(str(source), "", EntryFault.AROUND)
            need = yield from space.measure(tree)
            clones = tree.root.device == draft.tree.root.device and _can_clone(draft.links)
            space.check(draft.tree, need, shared=clones)
            return (yield from _Copy(tree, draft, need, Copier(clones=clones)).run())

    return make(production, order, fill)


class _Copy:
    """One tree on its way; `at` is where it is, as people are told."""

    def __init__(self, source: Folder, draft: Draft, need: Need, copier: Copier) -> None:
        self._source, self._draft, self._need, self._copier = source, draft, need, copier
        self._at = ""
        self._entries = self._size = 0
        self._varied: list[str] = []

    def run(self) -> Work:
        """Copy all of it."""
        try:
            yield from self._folder(self._source, self._draft.tree)
        except OSError as error:
            if error.errno in FULL:
                raise space.ran_out(error, self._draft.tree, self._at) from error
            raise unusable(self._source.root.path, self._at, error) from error
        return Built("", entries=self._entries, size=self._size, varied=self._varied)

    def _folder(self, source: Folder, target: Folder) -> Generator[Progress, None, None]:
        status = os.fstat(source.handle)
        for entry in source.entries():
            self._at = source.within(entry.name)
            self._entries += 1
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(entry.name, 0o700, dir_fd=target.handle)
                with source.folder(entry.name) as below, target.folder(entry.name) as new:
                    yield from self._folder(below, new)
            elif entry.is_symlink():
                self._link(source, entry.name, target)
            else:
                yield from self._file(source, entry.name, target)
            yield self._progress()
        give(target.handle, Attributes.of(status, xattrs_of(source.handle)), source.root.path, source.path)

    def _file(self, source: Folder, name: str, target: Folder) -> Generator[Progress, None, None]:
        handle, status = source.file(name)
        try:
            if status.st_nlink == 1:
                yield from self._content(handle, status, name, target)
                return
            # The first name of a file with several makes it among the links, by its inode; each name is one more.
            inode = str(status.st_ino)
            if not self._draft.links.has(inode):
                yield from self._content(handle, status, inode, self._draft.links)
            self._one_more(inode, name, target)
        finally:
            os.close(handle)

    def _content(
        self, source: int, status: os.stat_result, name: str, target: Folder
    ) -> Generator[Progress, None, None]:
        handle = os.open(name, _NEW, 0o600, dir_fd=target.handle)
        try:
            for piece in self._copier.copy(source, handle, status):
                self._size += piece
                if piece >= _TOLD:
                    yield self._progress()
            give(handle, Attributes.of(status, xattrs_of(source)), self._source.root.path, self._at)
        finally:
            os.close(handle)
        if not same_moment(status, os.fstat(source)) and len(self._varied) < MOST_VARIED:
            self._varied.append(shown(self._at))

    def _link(self, source: Folder, name: str, target: Folder) -> None:
        handle, status = source.link(name)
        try:
            leads_to = os.readlink("", dir_fd=handle)
            if fault := fault_of(leads_to, source.depth):
                raise source.refused(name, fault)
            place, inode = (target, name) if status.st_nlink == 1 else (self._draft.links, str(status.st_ino))
            if place is target or not place.has(inode):
                os.symlink(leads_to, inode, dir_fd=place.handle)
                kept = Attributes.of(status, link_xattrs_of(handle))
                give_link(place.handle, inode, kept, source.root.path, self._at)
            if place is not target:
                self._one_more(inode, name, target)
        finally:
            os.close(handle)

    def _one_more(self, inode: str, name: str, target: Folder) -> None:
        os.link(inode, name, src_dir_fd=self._draft.links.handle, dst_dir_fd=target.handle, follow_symlinks=False)

    def _progress(self) -> Progress:
        return Progress(Doing.COPYING, self._entries, self._size, self._need.entries, self._need.size)


def _is_around(tree: Folder, folder: Folder) -> bool:
    """Whether a folder lies in a tree, looked for from the folder up, as far as that may be looked at."""
    top, here, way = os.fstat(tree.handle), os.fstat(folder.handle), ".."
    while not os.path.samestat(top, here):
        try:
            above = os.stat(way, dir_fd=folder.handle)
        except PermissionError:
            return False
        if os.path.samestat(above, here):
            return False
        here, way = above, f"{way}/.."
    return True


def _can_clone(folder: Folder) -> bool:
    """Whether files of this file system can share their blocks; tried with two empty ones."""
    handles = []
    try:
        for name in ("one", "other"):
            handles.append(
                os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder.handle)
            )
            os.unlink(name, dir_fd=folder.handle)
        linux.clone(*handles)
    except OSError as error:
        if error.errno in FULL:
            raise
        return False
    else:
        return True
    finally:
        for handle in handles:
            os.close(handle)
