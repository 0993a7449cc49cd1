"""Two trees, read side by side, folder by folder: the digest of each, and where they differ."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path

from logcaster_guard.adapters.files.digest import Entry, Summed, read_entry, read_folder, spread
from logcaster_guard.adapters.files.faults import shown, told
from logcaster_guard.adapters.files.folder import Folder
from logcaster_guard.file_trees import Aspect, Comparison, Difference, Doing, Progress

MOST_DIFFERENCES = 100
"""Differences that are named; further ones are counted."""

Steps = Generator[Progress, None, None]


def compare(first: Path, second: Path) -> Generator[Progress, None, Comparison]:
    """Read both trees whole; see `FileTrees.compare`."""
    with told(str(first)), Folder.at(first) as one, told(str(second)), Folder.at(second) as other:
        pair = _Pair()
        yield from pair.folders(one, other)
        return pair.result()


class _Pair:
    def __init__(self) -> None:
        self._one, self._other = Summed(), Summed()
        self._differences: list[Difference] = []
        self._more = 0

    def result(self) -> Comparison:
        """When all was read."""
        first, second = self._one.digest(), self._other.digest()
        return Comparison(first, second, self._differences, self._more)

    def folders(self, one: Folder, other: Folder) -> Steps:
        """Two folders of one path, and all below."""
        self._add(read_folder(one), read_folder(other))
        shared = 0
        for entry in one.entries():
            shared += yield from self._name(one, other, entry)
        if shared == sum(1 for _ in other.entries()):
            return
        for entry in other.entries():
            if not one.has(entry.name):
                self._differ(other.within(entry.name), Aspect.ADDED)
                yield from _alone(other, entry.name, self._other)

    def _name(self, one: Folder, other: Folder, entry: os.DirEntry[str]) -> Generator[Progress, None, bool]:
        """What has a name in the first; whether the second has it too."""
        name, kind, twin = entry.name, _kind_of(one, entry), _kind(other, entry.name)
        if kind == twin == stat.S_IFDIR:
            with one.folder(name) as below, other.folder(name) as beside:
                yield from self.folders(below, beside)
        elif kind == twin:
            first = yield from _read(one, name, kind, self._one)
            second = yield from _read(other, name, twin, self._other, first)
            self._add(first, second)
            yield self._progress()
        else:
            self._differ(one.within(name), Aspect.KIND if twin else Aspect.MISSING)
            yield from _alone(one, name, self._one)
            if twin:
                yield from _alone(other, name, self._other)
        return bool(twin)

    def _add(self, one: Entry, other: Entry) -> None:
        wide = spread(one.record())
        same = one.kept == other.kept
        self._one.add(one, wide)
        self._other.add(other, wide if same else spread(other.record()))
        if not same or one.layout != other.layout or one.varied or other.varied:
            for aspect in _differing(one, other):
                self._differ(one.path, aspect)
        if self._one.names_of(one) != self._other.names_of(other):
            self._differ(one.path, Aspect.LINKS)

    def _differ(self, path: str, aspect: Aspect) -> None:
        if len(self._differences) < MOST_DIFFERENCES:
            self._differences.append(Difference(shown(path), aspect))
        else:
            self._more += 1

    def _progress(self) -> Progress:
        return Progress(Doing.COMPARING, self._one.entries, self._one.size)


def _differing(one: Entry, other: Entry) -> Iterator[Aspect]:
    first, second = one.kept, other.kept
    if one.varied or other.varied:
        yield Aspect.VARYING
    if (first.size, first.content) != (second.size, second.content):
        yield Aspect.TARGET if first.kind == stat.S_IFLNK else Aspect.CONTENT
    elif one.layout != other.layout:
        yield Aspect.HOLES
    if (first.uid, first.gid) != (second.uid, second.gid):
        yield Aspect.OWNER
    if first.mode != second.mode:
        yield Aspect.MODE
    if first.mtime_ns != second.mtime_ns:
        yield Aspect.MODIFIED
    if first.xattrs != second.xattrs:
        yield Aspect.XATTRS


def _alone(folder: Folder, name: str, summed: Summed) -> Steps:
    """Add what only one of the trees has."""
    kind = _kind(folder, name)
    if kind != stat.S_IFDIR:
        read = yield from _read(folder, name, kind, summed)
        summed.add(read, spread(read.record()))
        yield Progress(Doing.COMPARING, summed.entries, summed.size)
        return
    with folder.folder(name) as below:
        itself = read_folder(below)
        summed.add(itself, spread(itself.record()))
        for entry in below.entries():
            yield from _alone(below, entry.name, summed)


def _read(
    folder: Folder, name: str, kind: int, summed: Summed, like: Entry | None = None
) -> Generator[Progress, None, Entry]:
    reading, read = read_entry(folder, name, kind, like), 0
    try:
        while True:
            read += next(reading)
            yield Progress(Doing.COMPARING, summed.entries, summed.size + read)
    except StopIteration as end:
        entry: Entry = end.value
        return entry


def _kind(folder: Folder, name: str) -> int:
    """0 for what is not there."""
    status = folder.status(name)
    return stat.S_IFMT(status.st_mode) if status else 0


def _kind_of(folder: Folder, entry: os.DirEntry[str]) -> int:
    """The same of what the folder has told of, which mostly tells it as well."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else _kind(folder, entry.name)
