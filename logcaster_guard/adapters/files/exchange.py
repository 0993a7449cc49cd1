"""Two folders change places in one call: told on disk before, found done after, and refused to who leads no more."""

from __future__ import annotations

import os
from collections.abc import Generator
from datetime import datetime
from pathlib import Path

from logcaster_guard.adapters.files import marker
from logcaster_guard.adapters.files.beside import Beside
from logcaster_guard.adapters.files.faults import shown, told
from logcaster_guard.adapters.files.marker import Marker
from logcaster_guard.domain.errors import NotExchangeable, TreeForeign
from logcaster_guard.file_trees import Doing, Exchange, Exchanged, Order, Progress, Pruned, Surroundings
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import OtherExchange, TreeNotThere, TreeOfSomebodyElse


def exchange(production: Path, wanted: Exchange, order: Order, now: datetime) -> Exchanged:
    """Put a tree that stands beside production into its place; see `FileTrees.exchange`."""
    with told(str(production)), Beside.of(production) as beside, beside.led(order.epoch) as found:
        if found.operation == order.operation and _done(beside, found, wanted):
            return Exchanged(found.replaced, found=True)
        begun = _marker(beside, wanted, order, now)
        marker.write(beside.parent, beside.prefix, begun)
        try:
            beside.swap(beside.parent, beside.name, wanted.beside)
        except NotExchangeable:
            marker.write(beside.parent, beside.prefix, found)
            raise
        os.fsync(beside.parent.handle)
        beside.settle(begun)
        return Exchanged(begun.replaced)


def look(production: Path) -> Surroundings:
    """What stands at production; see `FileTrees.look`. Nothing is changed but that the lock is taken."""
    with (
        told(str(production)),
        Beside.of(production) as beside,
        marker.locked(beside.parent, beside.prefix, beside.place),
    ):
        found = marker.read(beside.parent, beside.prefix, beside.place)
        done = bool(found.operation) and beside.inode(beside.name) == found.new
        return Surroundings(
            beside.all_ready(), beside.all_replaced(), beside.all_unfinished(), found.operation, done, found.epoch
        )


def fence(production: Path, epoch: int) -> None:
    """Let no earlier leader do anything here from now on; see `FileTrees.fence`."""
    with told(str(production)), Beside.of(production) as beside, beside.led(epoch):
        pass


def prune(production: Path, epoch: int, before: datetime) -> Generator[Progress, None, Pruned]:
    """Remove what was replaced long ago, and what was never finished; see `FileTrees.prune`."""
    with told(str(production)), Beside.of(production) as beside:
        with beside.led(epoch):
            old = [tree.beside for tree in beside.all_replaced() if tree.at < before]
            for name in old:
                beside.put_away(name)
            os.fsync(beside.parent.handle)
        yield from beside.clear(Doing.REMOVING)
        return Pruned(old)


def _done(beside: Beside, found: Marker, wanted: Exchange) -> bool:
    """Whether the operation that the marker tells of has exchanged; raises `TreeForeign` for what it cannot be."""
    if (found.beside, found.new_digest, found.old_digest) != (wanted.beside, wanted.new, wanted.replaced):
        raise failure(TreeForeign, OtherExchange(shown(beside.place), found.operation))
    production = beside.inode(beside.name)
    if production not in {found.old, found.new}:
        raise failure(TreeForeign, TreeOfSomebodyElse(shown(beside.place), found.operation))
    return production == found.new


def _marker(beside: Beside, wanted: Exchange, order: Order, now: datetime) -> Marker:
    new = beside.inode(wanted.beside) if beside.is_whole(wanted.beside) else 0
    if not new:
        raise failure(TreeForeign, TreeNotThere(shown(beside.place), shown(wanted.beside)))
    return Marker(
        order.epoch,
        order.operation,
        wanted.beside,
        beside.replaced(order, now),
        beside.inode(beside.name),
        new,
        wanted.replaced,
        wanted.new,
    )
