"""What is known of a target's configuration, through a restart of the guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from logcaster_guard.domain.configuration.content import Found, NoContent
from logcaster_guard.domain.configuration.kept import key_of
from logcaster_guard.domain.configuration.manifests import found_in
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Version
from logcaster_guard.domain.configuration.pod_starts import PodsSeen
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.release_configuration import ConfigurationState, Known
from logcaster_guard.domain.configuration.remembered import (
    Remembered,
    RememberedObject,
    RememberedUnreadable,
    remembered_object,
)
from logcaster_guard.domain.errors import BlobMissing, ClusterError, JournalUnavailable
from logcaster_guard.domain.events import ConfigurationSeen
from logcaster_guard.engine.followed_object import FollowedObject
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock

LEAST = 600.0
"""Seconds between two records where only what tells no new content was changed."""


class RememberedConfiguration:
    """Keeps it when something of it changes, not at each look; `load` comes first."""

    def __init__(self, target: str, state: JournalState, manifests: KeptManifests, clock: Clock) -> None:
        self._target = target
        self._state = state
        self._blobs = manifests.blobs
        self._manifests = manifests
        self._clock = clock
        self._objects: dict[ConfigObject, tuple[ObjectVersions, Mapping[str, str], RememberedObject]] = {}
        self._told: tuple[object, str, object] = ((), "", ())
        self._told_at = float("-inf")
        self._log = structlog.get_logger().bind(target=target)
        self._lines = RecurringLog(clock, target=target)

    async def load(self) -> Mapping[str, PodsSeen]:
        """The pods as they were known last, by workload; what cannot be read is not known any more."""
        seen = self._state.configuration(self._target)
        if seen is None:
            return {}
        now = self._clock.monotonic()
        try:
            kept = Remembered.from_bytes(await self._blobs.get(seen.blob))
            for one, known in kept.objects.items():
                await self._load(one, known, now)
        except (BlobMissing, ClusterError, RememberedUnreadable, JournalUnavailable) as error:
            self._log.warning("configuration.forgotten", detail=english().text(error.reason))
            return {}
        return {workload: pods.carried_over(now) for workload, pods in kept.pods.items()}

    def resume(self, followed: FollowedObject) -> None:
        """Tell an object that is followed from now on what was known of it."""
        found = self._objects.pop(followed.object, None)
        if found is not None:
            versions, blobs, known = found
            followed.resume(versions, blobs, known.changes)

    async def keep(
        self, objects: Sequence[FollowedObject], pods: Mapping[str, PodsSeen], state: ConfigurationState
    ) -> None:
        """Record it where other contents or another known configuration were recorded last, and else now and then.

        Raises `JournalUnavailable`.
        """
        if not self._state.available:
            return
        now = self._clock.monotonic()
        kept = {
            f.object: found
            for f in objects
            if f.versions is not None and (found := remembered_object(f.versions, f.blobs, f.changes, now)) is not None
        }
        contents = {one: [v.resource_version for v in found.versions] for one, found in kept.items()}
        # What is in transition is recorded with what it leads to: pods may come and go at each look.
        configuration = state.configuration if isinstance(state, Known) else self._told[1]
        told = (contents, configuration, {one: found.touched for one, found in kept.items()})
        if told == self._told or (told[:2] == self._told[:2] and now - self._told_at < LEAST):
            return
        known = Remembered(kept, pods)
        try:
            blob = await self._blobs.put(known.to_bytes())
        except (ClusterError, JournalUnavailable) as error:
            self._lines.warning("configuration.not_saved", detail=str(error))
            return
        event = ConfigurationSeen(self._clock.now(), blob, known.manifests)
        await self._state.tell(target_stream(self._target), event)
        self._told, self._told_at = told, now

    async def _load(self, one: ConfigObject, known: RememberedObject, now: float) -> None:
        """What is older than a version whose manifest is gone is not known any more."""
        versions: list[Version] = []
        places: dict[str, str] = {}
        for version in reversed(known.versions):
            loaded = await self._found(one, version.blob) if version.blob else (NoContent.ABSENT, "")
            if loaded is None:
                break
            found, places[version.resource_version] = loaded
            versions.insert(0, Version(found, version.resource_version, version.came, version.gap))
        if versions:
            kept = ObjectVersions(tuple(versions), known.touched, known.standing).carried_over(now, recorded=0.0)
            self._objects[one] = (kept, places, known)

    async def _found(self, one: ConfigObject, place: str) -> tuple[Found, str] | None:
        """What the object held by its manifest, and the place of that; None where it is gone.

        A Secret that cannot be read costs no more than that. What was kept with a key that is lost is kept anew.
        """
        try:
            manifest, key = await self._manifests.get(place), await self._manifests.key(one)
            found = found_in(one.kind, manifest, key)
            lost = key is not None and key.name != key_of(place)
            return found, await self._manifests.put(one, manifest) if lost else place
        except (BlobMissing, ValueError):
            return None
        except (ClusterError, JournalUnavailable):
            if one.kind is ConfigKind.SECRET:
                return None
            raise
