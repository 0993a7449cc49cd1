"""The shared view of the cluster: one list for each kind, namespace and moment, whoever asks for what of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from logcaster_guard.adapters.kubernetes.answers import NoAnswer
from logcaster_guard.domain.errors import ClusterError, NotFound, Unavailable
from logcaster_guard.domain.labelled_objects import LabelledObjects
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.cluster_faults import NothingAsked, ObjectNotFound
from logcaster_guard.messages.reading_faults import ViewOld
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Clock, Cluster, Json, Kind

_TRIED_AGAIN = 600.0
"""Seconds after which a kind that could not be listed is listed again: the right may have been granted."""

_Question = tuple[Kind, str, str, str]
"""Kind, namespace, and the name or the selector; both empty for everything."""


@dataclass(slots=True)
class _Shown:
    """The last answer to a question, as of monotonic second `at`."""

    at: float = -math.inf
    objects: LabelledObjects | None = None
    error: ClusterError | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class SharedView:
    """`ClusterView` over a cluster.

    An answer serves whoever asks within `shared_for` seconds; an answer that took longer than `staleness` seconds is
    none. In the namespaces that are `crowded`, with several targets, everything is listed. Elsewhere, and where the
    guard may not list or there is too much of it, an object is asked for by its name and others by their labels.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, *, crowded: Collection[str], shared_for: float, staleness: float
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._crowded = crowded
        self._shared_for = shared_for
        self._staleness = staleness
        self._shown: dict[_Question, _Shown] = {}
        self._not_listed: dict[tuple[Kind, str], float] = {}
        self._cleared = clock.monotonic()

    def look(self) -> SharedLook:
        """Begin to look."""
        return SharedLook(self)

    async def object(self, kind: Kind, namespace: str, name: str) -> tuple[Json, float]:
        """The object, and the monotonic second as of which it is shown; raises `NotFound`."""
        objects, at = await self._all(kind, namespace) or await self._answer(
            (kind, namespace, name, ""), lambda: self._one(kind, namespace, name)
        )
        if name not in objects.by_name:
            raise failure(NotFound, ObjectNotFound(f"{kind} {namespace}/{name}"), status=404)
        return objects.by_name[name], at

    async def objects(self, kind: Kind, namespace: str, selector: str) -> tuple[Sequence[Json], float]:
        """What the selector matches, and the monotonic second as of which it is shown."""
        objects, at = await self._all(kind, namespace) or await self._answer(
            (kind, namespace, "", selector), lambda: self._cluster.list(kind, namespace, selector)
        )
        return objects.matching(selector), at

    async def _one(self, kind: Kind, namespace: str, name: str) -> Sequence[Json]:
        return [await self._cluster.get(kind, namespace, name)]

    async def _all(self, kind: Kind, namespace: str) -> tuple[LabelledObjects, float] | None:
        """Everything of the kind there; None where that is not to be listed, or cannot be."""
        place, now = (kind, namespace), self._clock.monotonic()
        if namespace not in self._crowded or now - self._not_listed.get(place, -math.inf) < _TRIED_AGAIN:
            return None
        try:
            return await self._answer((kind, namespace, "", ""), lambda: self._cluster.list(kind, namespace))
        except ClusterError as error:
            too_much = isinstance(error, NoAnswer) and error.fault is Fault.TOO_LARGE
            if error.status != 403 and not too_much:
                raise
            self._not_listed[place] = now
            return None

    async def _answer(
        self, question: _Question, ask: Callable[[], Awaitable[Sequence[Json]]]
    ) -> tuple[LabelledObjects, float]:  # fmt: skip
        arrived = self._clock.monotonic()
        self._forget(arrived)
        shown = self._shown.setdefault(question, _Shown())
        async with shown.asking:
            began = self._clock.monotonic()
            # Whoever has waited for an answer that was asked for later has a newer one than if it had been asked.
            if shown.at < arrived and began - shown.at >= self._shared_for:
                try:
                    # The API server leaves the kind out of a list's items.
                    items = [{**item, "kind": str(question[0])} for item in await ask()]
                    shown.objects, shown.error = LabelledObjects(items), None
                except ClusterError as error:
                    shown.objects, shown.error = None, error
                shown.at = began
        if shown.objects is None:
            raise shown.error.with_traceback(None) if shown.error else failure(Unavailable, NothingAsked())
        age = self._clock.monotonic() - shown.at
        if age > self._staleness:
            raise failure(Unavailable, ViewOld(question[0], question[1], age))
        return shown.objects, shown.at

    def _forget(self, now: float) -> None:
        """Let go of what nobody has asked for lately."""
        if now - self._cleared > self._staleness:
            self._cleared = now
            old = now - self._staleness
            self._shown = {q: s for q, s in self._shown.items() if s.at >= old or s.asking.locked()}


class SharedLook:
    """`Look` through the shared view."""

    def __init__(self, view: SharedView) -> None:
        self._view = view
        self._proven = math.inf

    @property
    def proven(self) -> float:
        """Monotonic second of the oldest answer that was shown."""
        return self._proven

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """The object; raises `NotFound`."""
        found, at = await self._view.object(kind, namespace, name)
        self._proven = min(self._proven, at)
        return found

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """Every object that the label selector matches."""
        found, at = await self._view.objects(kind, namespace, selector)
        self._proven = min(self._proven, at)
        return found
