"""A `.tar.gz` becomes a tree beside production: member by member, each checked before anything of it is made."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from logcaster_guard.adapters.files import space
from logcaster_guard.adapters.files.attributes import Attributes, give, give_link
from logcaster_guard.adapters.files.beside import Draft
from logcaster_guard.adapters.files.content import same_moment
from logcaster_guard.adapters.files.faults import FULL, refused, told, unusable
from logcaster_guard.adapters.files.folder import DEEPEST, Folder
from logcaster_guard.adapters.files.inflating import Inflating
from logcaster_guard.adapters.files.links import fault_of
from logcaster_guard.adapters.files.making import Work, make
from logcaster_guard.adapters.files.tar_members import Member, MemberKind, members
from logcaster_guard.domain.errors import TreeRefused
from logcaster_guard.file_trees import Built, Doing, Order, Progress, UnpackPolicy
from logcaster_guard.messages.tree_faults import ArchiveFault, EntryFault

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_LONGEST, _LONGEST_PATH = 255, 4_096
_SET_ID = stat.S_ISUID | stat.S_ISGID

Steps = Generator[Progress, None, None]
Parts = tuple[str, ...]


def unpack(archive: Path, production: Path, order: Order, policy: UnpackPolicy) -> Work:
    """Unpack an archive to beside production; see `FileTrees.unpack`."""

    def fill(draft: Draft) -> Work:
        with told(str(archive)), Folder.at(archive.parent) as folder:
            handle, status = folder.file(archive.name)
            with open(handle, "rb", buffering=0):  # noqa: PTH123 - a handle has no path
                stream = Inflating(handle, str(archive), policy.most_bytes)
                built = yield from _Unpacking(stream, str(archive), draft, policy).run()
                if not same_moment(status, os.fstat(handle)):
                    raise stream.refused(ArchiveFault.VARIED)
                return built

    return make(production, order, fill)


class _Unpacking:
    """One archive on its way; `at` is the member that it is at."""

    def __init__(self, stream: Inflating, archive: str, draft: Draft, policy: UnpackPolicy) -> None:
        self._stream, self._archive, self._root, self._policy = stream, archive, draft.tree, policy
        self._at = ""
        self._entries = self._size = 0
        self._folders: dict[Parts, Member | None] = {}
        """Those that were made, with the members that tell of them: what they have is given when all is in them."""
        self._open: list[Folder] = []
        """The folder of the last member and those above it, but the root."""

    def run(self) -> Work:
        """Unpack all of it."""
        try:
            for member in members(self._stream, self._archive, self._policy.most_members):
                self._at = member.name
                self._entries += 1
                yield from self._member(member)
            sha256 = self._stream.finish()
            self._leave(0)
            self._finish_folders()
        except OSError as error:
            if error.errno in FULL:
                raise space.ran_out(error, self._root, self._at) from error
            raise unusable(self._archive, self._at, error) from error
        finally:
            self._leave(0)
        return Built("", entries=self._entries, size=self._size, archive=sha256)

    def _refused(self, fault: EntryFault) -> TreeRefused:
        return refused(self._archive, self._at, fault)

    def _member(self, member: Member) -> Steps:
        parts = self._parts(member.name)
        if member.kind is MemberKind.FOLDER:
            if self._folders.get(parts):
                raise self._refused(EntryFault.TWICE)
            self._enter(parts)
            self._folders[parts] = member
        elif not parts:
            raise self._refused(EntryFault.NO_NAME)
        else:
            folder = self._enter(parts[:-1])
            if folder.has(parts[-1]):
                raise self._refused(EntryFault.TWICE)
            if member.kind is MemberKind.FILE:
                yield from self._file(folder, parts[-1], member)
            elif member.kind is MemberKind.LINK:
                self._link(folder, parts[-1], member)
            else:
                self._hard_link(folder, parts[-1], member)
        yield self._progress()

    def _parts(self, name: str) -> Parts:
        """The names on the way to a member; raises `TreeRefused`."""
        parts = tuple(part for part in name.split("/") if part not in {"", "."})
        fault = None
        if not name:
            fault = EntryFault.NO_NAME
        elif name.startswith("/"):
            fault = EntryFault.ABSOLUTE
        elif ".." in parts:
            fault = EntryFault.CLIMBS
        elif len(parts) > DEEPEST:
            fault = EntryFault.TOO_DEEP
        elif len(os.fsencode(name)) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST for part in parts):
            fault = EntryFault.TOO_LONG
        if fault:
            raise self._refused(fault)
        return parts

    def _enter(self, parts: Parts) -> Folder:
        """The folder of this path, made where it is not there; what is no folder is never gone through."""
        now = self._open[-1].path.split("/") if self._open else []
        common = next(
            (n for n, (a, b) in enumerate(zip(now, parts, strict=False)) if a != b), min(len(now), len(parts))
        )
        self._leave(common)
        for depth in range(common, len(parts)):
            folder = self._open[-1] if self._open else self._root
            status = folder.status(parts[depth])
            if status is None:
                os.mkdir(parts[depth], 0o700, dir_fd=folder.handle)
                self._folders[parts[: depth + 1]] = None
            elif not stat.S_ISDIR(status.st_mode):
                raise self._refused(EntryFault.THROUGH)
            self._open.append(folder.folder(parts[depth]))
        return self._open[-1] if self._open else self._root

    def _leave(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop().handle)

    def _file(self, folder: Folder, name: str, member: Member) -> Steps:
        if member.mode & _SET_ID and not self._policy.set_id:
            raise self._refused(EntryFault.PRIVILEGED)
        if member.size > self._policy.most_bytes:
            raise self._refused(EntryFault.TOO_LARGE)
        if member.size > _PIECE:
            space.check(self._root, space.Need(1, member.size, member.size), shared=False)
        handle = os.open(name, _NEW, 0o600, dir_fd=folder.handle)
        with open(handle, "wb", buffering=0) as file:  # noqa: PTH123 - a handle has no path
            for at in range(0, member.size, _PIECE):
                file.write(self._stream.take(min(_PIECE, member.size - at)))
                self._size += min(_PIECE, member.size - at)
                if at:
                    yield self._progress()
            self._stream.take(-member.size % 512)
            give(handle, _attributes(member), self._archive, self._at)

    def _link(self, folder: Folder, name: str, member: Member) -> None:
        if fault := fault_of(member.target, folder.depth):
            raise self._refused(fault)
        os.symlink(member.target, name, dir_fd=folder.handle)
        give_link(folder.handle, name, _attributes(member), self._archive, self._at)

    def _hard_link(self, folder: Folder, name: str, member: Member) -> None:
        *above, file = self._parts(member.target) or ("",)
        with ExitStack() as opened:
            place = self._root
            for part in above:
                status = place.status(part)
                if status is None or not stat.S_ISDIR(status.st_mode):
                    raise self._refused(EntryFault.LINK_NOWHERE)
                place = opened.enter_context(place.folder(part))
            status = place.status(file) if file else None
            if status is None or not stat.S_ISREG(status.st_mode):
                raise self._refused(EntryFault.LINK_NOWHERE)
            os.link(file, name, src_dir_fd=place.handle, dst_dir_fd=folder.handle, follow_symlinks=False)

    def _finish_folders(self) -> None:
        """Give the folders what they have, the deepest first; one that no member tells of can be read by all."""
        for parts in sorted(self._folders, key=len, reverse=True):
            member = self._folders[parts]
            self._at = "/".join(parts)
            folder = self._enter(parts)
            if member:
                give(folder.handle, _attributes(member), self._archive, self._at)
            else:
                os.fchmod(folder.handle, 0o755)
        if () not in self._folders:
            os.fchmod(self._root.handle, 0o755)

    def _progress(self) -> Progress:
        return Progress(Doing.UNPACKING, self._entries, self._size)


def _attributes(member: Member) -> Attributes:
    return Attributes(*member.owner, member.mode, member.mtime_ns, member.mtime_ns, member.xattrs)
