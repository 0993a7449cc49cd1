"""A new tree beside production: filled under a draft's name, synced, and whole from when it has its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

from logcaster_guard.adapters.files import linux, space
from logcaster_guard.adapters.files.beside import Beside, Draft
from logcaster_guard.adapters.files.faults import FULL, shown, told
from logcaster_guard.domain.errors import TreeUnavailable
from logcaster_guard.file_trees import Built, Doing, Order, Progress
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import TreeBusy

Work = Generator[Progress, None, Built]


def make(production: Path, order: Order, fill: Callable[[Draft], Work]) -> Work:
    """Have the tree of an order beside production; what was not finished is removed, however it ends."""
    place = str(production)
    with told(place), Beside.of(production) as beside:
        found = _found(beside, order)
        yield from beside.clear(Doing.CLEARING)
        if found:
            return found
        try:
            with beside.draft(order) as draft:
                filled = yield from fill(draft)
                yield Progress(Doing.SYNCING, filled.entries, filled.size)
                linux.sync_file_system(draft.tree.handle)
                return replace(filled, beside=beside.publish(draft, order))
        except (FileExistsError, BlockingIOError) as error:
            raise failure(TreeUnavailable, TreeBusy(shown(place))) from error
        except OSError as error:
            raise space.ran_out(error, beside.parent, "") if error.errno in FULL else error from error


def _found(beside: Beside, order: Order) -> Built | None:
    """What an earlier call has built; whole trees of other operations are put away."""
    ready = beside.ready(order.operation)
    with beside.led(order.epoch) as marker:
        exchanged = marker.operation == order.operation and beside.inode(beside.name) == marker.new
        if exchanged or beside.inode(ready):
            return Built(ready, found=True)
        for other in beside.all_ready().values():
            beside.put_away(other)
    return None
