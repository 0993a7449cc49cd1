"""Lists of pods, of which those targets that share a namespace have one together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from logcaster_guard.domain.configuration.spans import Look
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.labelled_objects import LabelledObjects
from logcaster_guard.ports import Clock, Json

SHARED_FOR = 1.0
"""Seconds for which a list serves those who poll."""

_TRIED_AGAIN = 600.0
"""Seconds after which everything in a namespace is listed again where that was too much, or not allowed."""

List = Callable[[str, str, str], Awaitable[tuple[Sequence[Json], str]]]
"""Lists the pods of a namespace that a selector matches, at a resourceVersion (empty: now), and tells that."""


@dataclass(slots=True)
class _Shown:
    """The last answer: `number` counts lists in the order in which they were sent, and `look` tells when that was."""

    number: int = 0
    look: Look = field(default_factory=lambda: Look("", float("-inf"), float("-inf")))
    pods: LabelledObjects = field(default_factory=lambda: LabelledObjects([]))
    error: ClusterError | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def matching(self, selector: str) -> tuple[Sequence[Json], Look]:
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self.pods.matching(selector), self.look


class SharedPods:
    """Every answer is told with the look that it was: when it was asked for, and of which state it is.

    So whoever is shown an older one knows no more of the order of things than it proves. Where one target alone wants
    the pods of a namespace, and where all of them may not be listed or are too much, each selector is listed by itself.
    """

    def __init__(self, list_pods: List, clock: Clock) -> None:
        self._list = list_pods
        self._clock = clock
        self._wanted: dict[str, set[str]] = {}
        self._alone: dict[str, float] = {}
        self._now: dict[str, _Shown] = {}
        self.begun = 0

    def want(self, target: str, namespace: str | None) -> None:
        """From now on the target asks for pods of this namespace; None: of none."""
        for targets in self._wanted.values():
            targets.discard(target)
        if namespace is not None:
            self._wanted.setdefault(namespace, set()).add(target)

    async def listed(self, namespace: str, selector: str, *, after: int | None = None) -> tuple[Sequence[Json], Look]:
        """The pods, as a list shows them that was begun after the first `after` ones (see `begun`).

        Without it one will do that is `SHARED_FOR` seconds old. Raises the `ClusterError` it met.
        """
        if not self._shares(namespace):
            return await self._asked(namespace, selector)
        shown, arrived = self._now.setdefault(namespace, _Shown()), self.begun
        async with shown.asking:
            # Whoever has waited for an answer that was asked for later has a newer one than if it had been asked.
            age = self._clock.monotonic() - (shown.look.asked or 0.0)
            fresh = shown.number > (arrived if after is None else after) or (after is None and age < SHARED_FOR)
            if not fresh:
                await self._ask(shown, namespace)
        if self._too_much(namespace, shown):
            return await self._asked(namespace, selector)
        return shown.matching(selector)

    async def as_of(self, namespace: str, selector: str, version: str) -> tuple[Sequence[Json], str]:
        """The pods at a resourceVersion, and the one that the server told of; raises the `ClusterError` it met.

        Each asks for its own: few share such a moment, and all pods of a namespace are more than one's own.
        """
        return await self._list(namespace, selector, version)

    def _shares(self, namespace: str) -> bool:
        now = self._clock.monotonic()
        several = len(self._wanted.get(namespace, ())) > 1
        return several and now - self._alone.get(namespace, float("-inf")) >= _TRIED_AGAIN

    def _too_much(self, namespace: str, shown: _Shown) -> bool:
        """Whether the answer was refused, or there but more than can be taken."""
        if shown.error is None or shown.error.status not in {200, 403}:
            return False
        self._alone[namespace] = self._clock.monotonic()
        return True

    async def _ask(self, shown: _Shown, namespace: str) -> None:
        self.begun += 1
        number, asked = self.begun, self._clock.monotonic()
        try:
            items, look = await self._asked(namespace, "")
        except ClusterError as error:
            shown.error, shown.look = error, Look("", asked, asked)
        else:
            shown.error, shown.look, shown.pods = None, look, LabelledObjects(items)
        shown.number = number

    async def _asked(self, namespace: str, selector: str) -> tuple[Sequence[Json], Look]:
        asked = self._clock.monotonic()
        items, version = await self._list(namespace, selector, "")
        return items, Look(version, asked, self._clock.monotonic())
