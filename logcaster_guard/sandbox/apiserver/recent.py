"""What was made of objects that are never changed in place, for as long as they are among the last used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from logcaster_guard.sandbox.apiserver.jsontypes import Json

T = TypeVar("T")


class Recent(Generic[T]):
    """Remembers up to `size` objects, by their identity, and what `make` makes of them."""

    def __init__(self, make: Callable[[Json], T], size: int = 2048) -> None:
        self._make = make
        self._size = size
        self._made: OrderedDict[int, tuple[Json, T]] = OrderedDict()

    def of(self, item: Json) -> T:
        """What is made of `item`."""
        found = self._made.get(id(item))
        # The object is kept with it: else another one could come to have its identity.
        if found is not None and found[0] is item:
            self._made.move_to_end(id(item))
            return found[1]
        made = self._make(item)
        self.keep(item, made)
        return made

    def keep(self, item: Json, made: T) -> None:
        """Remember what was made of `item` elsewhere."""
        self._made[id(item)] = (item, made)
        self._made.move_to_end(id(item))
        if len(self._made) > self._size:
            self._made.popitem(last=False)
