"""Kills a child at each system call that changes something, and looks what whoever comes next makes of it.

`python -m tests.adapters.files.killed <folder> <build|repeat|other>=<each n-th call> …` prints how often it killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from logcaster_guard.adapters.files import linux
from logcaster_guard.adapters.files.exchange import look
from logcaster_guard.file_trees import Order
from tests.adapters.files.samples import Site, in_tree, small

CALLS = ("mkdir", "open", "link", "symlink", "rename", "unlink", "rmdir", "fsync", "fchmod", "utime")
OTHER = Order("second", 4)


def die_at(point: int) -> None:
    """End this process before its `point / 2`-th call, or after it if `point` is odd."""
    calls = count()

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            number = next(calls)
            if 2 * number == point:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*arguments, **more)
            finally:
                if 2 * number + 1 == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        return called

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
    for name in ("_rename", "sync_file_system"):
        setattr(linux, name, dying(getattr(linux, name)))


def killed(point: int, what: Callable[[], object]) -> bool:
    """Whether a child that does this is killed at this point; else it has done it."""
    child = os.fork()
    if child == 0:
        die_at(point)
        what()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status != 0


class Scene:
    """A site for each kill, with the same trees."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.site = Site("tmpfs", folder)
        small(self.site.source)
        self.new, self.old = in_tree(self.site.source), in_tree(self.site.production)

    def build(self, point: int) -> bool:
        """Killed while it is built: built again, or found, and nothing is left."""
        died = killed(point, self.site.build)
        seen = look(self.site.production)
        assert (len(seen.ready), len(seen.unfinished)) <= (1, 1)
        built = self.site.build()
        assert built.found == bool(seen.ready)
        assert self.site.compare(built.beside).same
        assert in_tree(self.site.production) == self.old
        assert self.site.others == {built.beside}
        return died

    def repeat(self, point: int) -> bool:
        """Killed while it is exchanged: old or new, whole; exchanged, or found so, when it is asked for again."""
        beside = self.site.build().beside
        died = killed(point, lambda: self.site.exchange(beside))
        before = in_tree(self.site.production)
        assert before in (self.old, self.new)
        done = self.site.exchange(beside)
        assert done.found == (before == self.new)
        self._exchanged(done.replaced)
        return died

    def other(self, point: int) -> bool:
        """Killed while it is exchanged, and another operation follows: what was replaced is not taken for a draft."""
        beside = self.site.build().beside
        died = killed(point, lambda: self.site.exchange(beside))
        was_new = in_tree(self.site.production) == self.new
        (self.site.source / "link").unlink()
        second = self.site.build(OTHER).beside
        if was_new:
            (replaced,) = look(self.site.production).replaced
            assert in_tree(self.site.folder / replaced.beside) == self.old
        else:
            assert self.site.others == {second}
        self.new = in_tree(self.site.source)
        self.old = in_tree(self.site.production)
        self._exchanged(self.site.exchange(second, OTHER).replaced, others=int(was_new))
        return died

    def _exchanged(self, replaced: str, others: int = 0) -> None:
        assert in_tree(self.site.production) == self.new
        assert in_tree(self.site.folder / replaced) == self.old
        assert len(self.site.others - {replaced}) == others


def main() -> None:
    folder = Path(sys.argv[1])
    for way, every in (argument.split("=") for argument in sys.argv[2:]):
        for point in count(0, int(every)):
            scene = Scene(folder / f"{way}{point}")
            if not getattr(scene, way)(point):
                print(point // int(every))  # noqa: T201 - what the test asks for
                break
            shutil.rmtree(scene.site.folder)


if __name__ == "__main__":
    main()
