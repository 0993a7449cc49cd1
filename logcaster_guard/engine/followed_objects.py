"""Follows ConfigMaps and Secrets by watch, each once, whoever's pods refer to it, and saves what it has held."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from functools import partial

import structlog

from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.spans import share_sequence
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable, Unavailable
from logcaster_guard.engine.followed_object import FollowedObject, Moment
from logcaster_guard.engine.guard_counters import Counters
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.shared_pods import SharedPods
from logcaster_guard.engine.tasks import LoopTasks
from logcaster_guard.engine.watchdog import Watchdog
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock, Json, Kind, Listings, Watches, WatchEvent

_PAUSE = 30.0
"""Seconds after which a watch begins again that a defect has ended."""

_NAMED = 20
"""Keys that are named where an object was edited."""


class FollowedObjects:
    """What the targets' pods refer to, by watch while it runs; `volatile` is as `FollowedObject`'s.

    A watch begins when a target needs the object, and ends when none does. `manifests` is where it is kept.
    """

    def __init__(
        self, watches: Watches, listings: Listings, manifests: KeptManifests, clock: Clock, *, volatile: int
    ) -> None:  # fmt: skip
        self._watches = watches
        self._listings = listings
        self.manifests = manifests
        self._clock = clock
        self._volatile = volatile
        self._objects: dict[ConfigObject, FollowedObject] = {}
        self._tasks: LoopTasks | None = None
        self._ordered: dict[ConfigKind, bool] = {}
        self._log = structlog.get_logger()
        self._lines = RecurringLog(clock)
        self._told: dict[ConfigObject, str] = {}
        self._on_edit: dict[str, Callable[[int], Awaitable[None]]] = {}
        self.pods = SharedPods(self._list_pods, clock)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._tasks = LoopTasks(
                group, self._clock, Watchdog(self._clock, _PAUSE), Counters(), self._log, pause=_PAUSE
            )
            try:
                for one in self._objects:
                    self._begin(one)
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def of(self, one: ConfigObject) -> FollowedObject | None:
        """What is known of the object; None where nobody needs it."""
        return self._objects.get(one)

    def on_edit(self, target: str, look: Callable[[int], Awaitable[None]]) -> None:
        """Call `look`, which may raise a `ClusterError`, at each edit of an object that the target needs.

        It is told how many lists of pods had been begun when the edit was seen: none of these will do.
        """
        self._on_edit[target] = look

    def want(
        self, target: str, objects: Collection[ConfigObject], resume: Callable[[FollowedObject], None]
    ) -> None:  # fmt: skip
        """From now on the target needs these objects, and no others; `resume` tells one that is new what was known."""
        self.pods.want(target, next((one.namespace for one in objects), None))
        for one in set(objects) - self._objects.keys():
            self._objects[one] = made = FollowedObject(one, self._volatile)
            resume(made)
            self._begin(one)
        for one, followed in list(self._objects.items()):
            (followed.users.add if one in objects else followed.users.discard)(target)
            if not followed.users:
                self._end(one)

    async def save(self, objects: Collection[ConfigObject]) -> None:
        """Save what is not saved yet; what fails is tried again the next time."""
        now = self._clock.now()
        for followed in [f for f in map(self._objects.get, objects) if f is not None]:
            for version, manifest in followed.unsaved(now).items():
                try:
                    followed.saved(version, await self.manifests.put(followed.object, manifest))
                except (ClusterError, JournalUnavailable) as error:
                    self._lines.warning("configuration.not_saved", detail=str(error), about=str(followed.object))

    async def confirm(self, one: ConfigObject) -> None:
        """Look at an object beside its watch, so that it is known to have stood still; raises a `ClusterError`."""
        await self._list(one)

    async def _list_pods(self, namespace: str, selector: str, version: str) -> tuple[list[Json], str]:
        """A list of pods, and its resourceVersion: empty where that tells no order with what is followed.

        Etcd may keep kinds apart, which two lists of an object around the first one of pods show. Raises as
        `Listings.listing`.
        """
        witnesses = {one.kind: one for one, f in sorted(self._objects.items(), reverse=True) if not f.forbidden}
        before: dict[ConfigObject, str] = {}
        for one in (one for kind, one in witnesses.items() if kind not in self._ordered):
            with contextlib.suppress(ClusterError):
                before[one] = await self._list(one)
        items, at = await self._listings.listing(Kind.POD, namespace, selector=selector, version=version)
        for one, version_before in before.items():
            self._ordered[one.kind] = share_sequence(version_before, at, await self._list(one))
            if not self._ordered[one.kind]:
                self._log.warning("configuration.unordered", kind=str(one.kind))
        ordered = bool(witnesses) and all(self._ordered.get(kind) for kind in witnesses)
        return list(items), at if ordered else ""

    async def _list(self, one: ConfigObject) -> str:
        asked = self._clock.monotonic()
        items, version = await self._listings.listing(Kind(one.kind), one.namespace, one.name)
        followed = self._objects.get(one)
        if followed is not None:
            followed.confirm(items, version, asked, self._now())
        return version

    def _begin(self, one: ConfigObject) -> None:
        if self._tasks is not None:
            self._tasks.begin(str(one), partial(self._watch, one))

    def _end(self, one: ConfigObject) -> None:
        del self._objects[one]
        self._told.pop(one, None)
        if self._tasks is not None and self._tasks.running(str(one)):
            self._tasks.end(str(one))

    async def _watch(self, one: ConfigObject) -> None:
        while not await self._has_key(one):
            await self._clock.sleep_until(self._clock.monotonic() + _PAUSE)
        async with aclosing(self._watches.watch(Kind(one.kind), one.namespace, one.name)) as events:
            async for event in events:
                followed = self._objects.get(one)
                if followed is None:
                    return
                if self._take(followed, event):
                    await self._look_at_pods(followed)
                await self.save([one])

    async def _look_at_pods(self, followed: FollowedObject) -> None:
        """The sooner, the fewer pods come between the edit and the next look, of which it is unclear what they read."""
        begun = self.pods.begun
        for look in [self._on_edit[target] for target in sorted(followed.users) if target in self._on_edit]:
            with contextlib.suppress(ClusterError):
                await look(begun)

    def _take(self, followed: FollowedObject, event: WatchEvent) -> bool:
        """Whether it is an edit of an object whose content counts."""
        keys = followed.take(event, self._now())
        left_out = followed.not_followed(self._clock.now())
        self._tell(followed, "" if left_out is None else english().text(left_out))
        if keys is None or left_out is not None or followed.versions is None:
            return False
        latest = followed.versions.latest
        self._log.info(
            "configuration.edited",
            object=str(followed.object),
            keys=keys[:_NAMED],
            version=latest.resource_version,
            missed=latest.gap,
        )
        return True

    def _tell(self, followed: FollowedObject, left_out: str) -> None:
        """What keeps the object from being followed, once for each reason, and that nothing does any more."""
        one, fault = str(followed.object), english().text(followed.fault)
        if fault and not followed.forbidden:
            # A server that is away says each time a little else.
            self._lines.warning("configuration.unread", about=one, object=one, detail=fault)
            return
        before, reason = self._told.get(followed.object, ""), fault or left_out
        self._told[followed.object] = reason
        if reason == before:
            return
        if fault:
            self._log.warning("configuration.unread", object=one, detail=fault)
        elif left_out:
            self._log.warning("configuration.not_followed", object=one, detail=left_out)
        else:
            self._log.info("configuration.followed", object=one)

    async def _has_key(self, one: ConfigObject) -> bool:
        """Whether its fingerprints can be made; a Secret of which none can be is as one that may not be read."""
        followed = self._objects.get(one)
        if followed is None:
            return True
        try:
            followed.key = await self.manifests.key(one)
        except Unavailable as error:
            followed.fault = error.reason
        except (ClusterError, JournalUnavailable) as error:
            followed.unreadable(error.reason, self._now())
        else:
            return True
        self._tell(followed, "")
        return False

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now())
