"""What stands beside a production tree: its names, and how one becomes the other.

.<name>.guard-draft.<epoch>.<operation>        what is being built, under a lock; whoever finds it free removes it
.<name>.guard-ready.<operation>                a whole tree, on disk
.<name>.guard-replaced.<time>.<operation>      what was production until then
.<name>.guard-json, .<name>.guard-lock         the marker and its lock
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from logcaster_guard.adapters.files import linux, marker
from logcaster_guard.adapters.files.attributes import without_acl
from logcaster_guard.adapters.files.faults import shown
from logcaster_guard.adapters.files.folder import DEEPEST, Folder, Root
from logcaster_guard.adapters.files.marker import Marker
from logcaster_guard.adapters.files.removal import remove
from logcaster_guard.domain.errors import NotExchangeable, TreeError
from logcaster_guard.file_trees import Doing, Order, Progress, Replaced
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import CannotExchange, ExchangeFault

_LONGEST_NAME = 120
_OPERATION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIME = "%Y%m%dT%H%M%SZ"
_REPLACED = re.compile(r"(\d{8}T\d{6}Z)\.(.+)", re.DOTALL)
_TREE, _LINKS = "tree", "links"
_CANNOT = {
    errno.EBUSY: ExchangeFault.MOUNT_POINT,
    errno.EXDEV: ExchangeFault.LAYERS,
    errno.EINVAL: ExchangeFault.UNSUPPORTED,
    errno.ENOSYS: ExchangeFault.UNSUPPORTED,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A tree that is being built in `around`, and the folder that keeps a name for each file which has several."""

    around: Folder
    tree: Folder
    links: Folder


@dataclass(frozen=True, slots=True)
class Beside:
    """The parent of a production tree; close it, or use it in `with`."""

    parent: Folder
    name: str
    place: str

    @classmethod
    def of(cls, production: Path) -> Self:
        """Raises `NotExchangeable` where no tree could take the place of this one."""
        name, place = production.name, str(production)
        if name in {"", ".."} or len(os.fsencode(name)) > _LONGEST_NAME:
            raise failure(NotExchangeable, CannotExchange(shown(place), ExchangeFault.NAME))
        # Drafts lie two folders below it, and their trees are as deep as any.
        made = cls(Folder.at(production.parent, DEEPEST + 2), name, place)
        try:
            made.check_place()
        except BaseException:
            os.close(made.parent.handle)
            raise
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.parent.handle)

    @property
    def prefix(self) -> str:
        """What the names of all that belongs to the guard begin with."""
        return f".{self.name}.guard-"

    def ready(self, operation: str) -> str:
        """The name of the whole tree of an operation."""
        return f"{self.prefix}ready.{_checked(operation)}"

    def replaced(self, order: Order, now: datetime) -> str:
        """The name of the tree that is production until now."""
        return f"{self.prefix}replaced.{now.astimezone(UTC).strftime(_TIME)}.{_checked(order.operation)}"

    def all_ready(self) -> Mapping[str, str]:
        """The names of the whole trees, by operation."""
        return {name.removeprefix(f"{self.prefix}ready."): name for name in self._all("ready.")}

    def all_unfinished(self) -> Sequence[str]:
        """The names of what nobody has finished, and nobody needs."""
        return self._all("draft.")

    def all_replaced(self) -> Sequence[Replaced]:
        """The replaced trees, the oldest first."""
        begin = len(f"{self.prefix}replaced.")
        found = ((name, _REPLACED.fullmatch(name[begin:])) for name in self._all("replaced."))
        return [
            Replaced(name, datetime.strptime(told[1], _TIME).replace(tzinfo=UTC), told[2])
            for name, told in found
            if told
        ]

    def is_whole(self, name: str) -> bool:
        """Whether a whole tree may have this name."""
        return name in self.all_ready().values() or name in {tree.beside for tree in self.all_replaced()}

    def inode(self, name: str) -> int:
        """The inode of the folder of this name; 0 if there is none."""
        status = self.parent.status(name)
        return status.st_ino if status and stat.S_ISDIR(status.st_mode) else 0

    def check_place(self) -> None:
        """Raise `NotExchangeable` where production is no folder of its parent's own file system and mount."""
        status = self.parent.status(self.name)
        fault = None
        if status is None:
            fault = ExchangeFault.MISSING
        elif not stat.S_ISDIR(status.st_mode):
            fault = ExchangeFault.LINK if stat.S_ISLNK(status.st_mode) else ExchangeFault.MISSING
        elif status.st_dev != self.parent.root.device or self._mount() != self.parent.root.mount:
            fault = ExchangeFault.MOUNT_POINT
        if fault:
            raise failure(NotExchangeable, CannotExchange(shown(self.place), fault))

    @contextmanager
    def led(self, epoch: int) -> Iterator[Marker]:
        """Hold the lock as the leader of this epoch, with what the marker says; raises `TreeSuperseded`."""
        with marker.locked(self.parent, self.prefix, self.place):
            found = marker.read(self.parent, self.prefix, self.place)
            led = marker.led_by(found, epoch, self.place)
            if led != found:
                marker.write(self.parent, self.prefix, led)
            self.settle(led)
            yield led

    @contextmanager
    def draft(self, order: Order) -> Iterator[Draft]:
        """A new draft, removed at the end; raises `FileExistsError` while another process builds the same."""
        name = self.draft_name(order)
        os.mkdir(name, 0o700, dir_fd=self.parent.handle)
        try:
            with self.parent.folder(name) as made:
                fcntl.flock(made.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                without_acl(made.handle)
                for part in (_TREE, _LINKS):
                    os.mkdir(part, 0o700, dir_fd=made.handle)
                # Both are empty: whether folders can be exchanged here is known before anything is copied.
                self.swap(made, _TREE, _LINKS)
                with made.folder(_TREE) as tree, made.folder(_LINKS) as links:
                    root = Root(self.place, tree.root.device, tree.root.mount, DEEPEST)
                    yield Draft(made, Folder(tree.handle, "", 0, root), links)
        finally:
            # What cannot be removed now is found by its name, and removed by whoever comes next.
            with suppress(OSError, TreeError):
                for _ in remove(self.parent, name):
                    pass

    def draft_name(self, order: Order) -> str:
        """What the draft of an order is called."""
        return f"{self.prefix}draft.{order.epoch}.{_checked(order.operation)}"

    def publish(self, draft: Draft, order: Order) -> str:
        """The draft of an order is whole and on disk: give it the name that says so. Returns that."""
        ready = self.ready(order.operation)
        with self.led(order.epoch):
            linux.move(draft.around.handle, _TREE, self.parent.handle, ready)
            os.fsync(self.parent.handle)
        return ready

    def swap(self, folder: Folder, one: str, other: str) -> None:
        """Let two folders change places; raises `NotExchangeable` where they cannot."""
        try:
            linux.exchange_names(folder.handle, one, other)
        except OSError as error:
            if fault := _CANNOT.get(error.errno or 0):
                raise failure(NotExchangeable, CannotExchange(shown(self.place), fault)) from error
            raise

    def put_away(self, name: str) -> None:
        """Make an unfinished one of a tree that nobody needs: however this ends, it is removed then."""
        linux.move(self.parent.handle, name, self.parent.handle, f"{self.prefix}draft.{name[len(self.prefix) :]}")

    def clear(self, doing: Doing) -> Generator[Progress, None, None]:
        """Remove what nobody has finished, and nobody is at work on."""
        for name in self._all("draft."):
            with self.parent.folder(name) as unfinished:
                try:
                    fcntl.flock(unfinished.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield from remove(self.parent, name, doing)

    def settle(self, led: Marker) -> None:
        """Give the tree that was production its name, if the exchange of which the marker tells was done.

        It is known by its inode, whatever is production now: it is not to be taken for a new tree of no use.
        """
        if led.operation and self.inode(led.beside) == led.old:
            linux.move(self.parent.handle, led.beside, self.parent.handle, led.replaced)
            os.fsync(self.parent.handle)

    def _all(self, kind: str) -> Sequence[str]:
        begin = self.prefix + kind
        return sorted(entry.name for entry in self.parent.entries() if entry.name.startswith(begin))

    def _mount(self) -> int:
        handle = os.open(
            self.name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.parent.handle
        )
        try:
            return linux.mount_of(handle)
        finally:
            os.close(handle)


def _checked(operation: str) -> str:
    if not _OPERATION.fullmatch(operation):
        raise ValueError(f"{operation!r} is no id of an operation")
    return operation
