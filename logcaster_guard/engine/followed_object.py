"""One ConfigMap or Secret as a watch tells of it: what it has held, and what of that is saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from logcaster_guard.domain import rights
from logcaster_guard.domain.configuration.content import (
    Concealed,
    DigestKey,
    Found,
    NoContent,
    changed_keys,
    content_of,
    fingerprint_of,
)
from logcaster_guard.domain.configuration.followed import DAY, ReadsUnknown, never_followed, too_volatile
from logcaster_guard.domain.configuration.manifests import manifest_of
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Version, first_seen
from logcaster_guard.domain.configuration.references import ConfigObject
from logcaster_guard.domain.configuration.spans import Look
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.ports import Bookmark, Change, Interruption, Json, Listing, WatchEvent

FORBIDDEN = 403
_COUNTED = 1_000
"""Changes of one object that are counted: more of them within a day tell nothing new."""

_UNSAVED = 4
"""Manifests of one object that wait in memory until they can be saved."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks."""

    second: float
    at: datetime


class FollowedObject:
    """`volatile` is how often it may change within a day. `users` are the targets whose pods refer to it.

    `versions` is None before the first look. `fault` is why nothing is heard of it at present, empty while its watch
    answers; `forbidden`: because the guard may not read it. `key` makes a Secret's fingerprints, and has to be there
    before anything of it is taken in.
    """

    def __init__(self, one: ConfigObject, volatile: int) -> None:
        self.object = one
        self.users: set[str] = set()
        self.versions: ObjectVersions | None = None
        self.fault: Reason = ""
        self.forbidden = False
        self.key: DigestKey | None = None
        self.changes: deque[datetime] = deque(maxlen=_COUNTED)
        self._volatile = volatile
        self._listed = False
        self._never: Message | None = None
        self._blobs: dict[str, str] = {}
        self._unsaved: dict[str, Concealed] = {}

    @property
    def blobs(self) -> Mapping[str, str]:
        """The place of each version's manifest, by resourceVersion; empty where the object was absent."""
        return self._blobs

    @property
    def readable(self) -> bool:
        """Whether anything is known of what it holds."""
        return self.versions is not None and self.versions.latest.found is not NoContent.UNREADABLE

    def resume(self, versions: ObjectVersions, blobs: Mapping[str, str], changes: Sequence[datetime]) -> None:
        """Go on from what an earlier guard knew of it; before the first look."""
        self.versions, self._blobs = versions, dict(blobs)
        self.changes.extend(changes)

    def not_followed(self, now: datetime) -> Message | None:
        """Why its content counts for nothing; None where it does."""
        return self._never or too_volatile(self.changes, now, self._volatile)

    def take(self, event: WatchEvent, now: Moment) -> tuple[str, ...] | None:
        """Take in what the watch tells; the names of the keys that an edit changed, None where there was none."""
        if isinstance(event, Interruption):
            self._interrupted(event, now)
            return None
        self.fault, self.forbidden = "", False
        if isinstance(event, Bookmark):
            if self.versions is not None:
                self.versions = self.versions.still(Look(event.version, None, now.second))
            return None
        if isinstance(event, Change):
            raw = None if event.deleted else event.object
            return self._see(raw, Look(event.version, None, now.second), now, unbroken=True)
        return self._take_list(event, now)

    def confirm(self, items: Sequence[Json], version: str, asked: float, now: Moment) -> None:
        """Take in a list of it beside the watch, as far as that shows it as it was: a change is the watch's to tell."""
        if self.versions is None:
            return
        known = self.versions.latest.found
        absent = not items and known is NoContent.ABSENT
        if absent or (items and _version(items[0]) == self.versions.touched and known is not NoContent.ABSENT):
            self.versions = self.versions.still(Look(version, asked, now.second))

    def unsaved(self, now: datetime) -> Mapping[str, Concealed]:
        """The manifests that are still to be saved, by resourceVersion; none while its content counts for nothing."""
        return {} if self.not_followed(now) else dict(self._unsaved)

    def saved(self, resource_version: str, place: str) -> None:
        """A manifest is kept in this place."""
        if self._unsaved.pop(resource_version, None) is not None:
            self._blobs[resource_version] = place

    def blob(self, version: Version) -> str | None:
        """The place of the manifest in this version; empty: it was absent; None: it is not saved, or was not read."""
        return self._blobs.get(version.resource_version)

    def _take_list(self, event: Listing, now: Moment) -> tuple[str, ...] | None:
        raw = event.items[0] if event.items else None
        own = event.version if raw is None else _version(raw)
        keys = self._see(raw, Look(own, event.asked, now.second), now, unbroken=False)
        if self.versions is not None:
            self.versions = self.versions.still(Look(event.version, event.asked, now.second))
        return keys

    def _interrupted(self, event: Interruption, now: Moment) -> None:
        self.fault = event.error.reason
        if event.error.status != FORBIDDEN:
            self.forbidden = False
            return
        verb = "watch" if self._listed else "list"
        right = rights.to_read_configuration(self.object, verb)
        self.unreadable(right.missing(ReadsUnknown()), now)

    def unreadable(self, why: Reason, now: Moment) -> None:
        """The guard may not read it, or may not keep what it reads."""
        self.fault, self.forbidden = why, True
        if self.versions is None:
            self.versions = first_seen(NoContent.UNREADABLE, Look("", None, now.second))

    def _see(self, raw: Json | None, look: Look, now: Moment, *, unbroken: bool) -> tuple[str, ...] | None:
        self._listed = True
        self._never = None if raw is None else never_followed(self.object.kind, raw)
        found = self._found(raw)
        before = self.versions
        self.versions = first_seen(found, look) if before is None else before.seen(found, look, unbroken=unbroken)
        latest = self.versions.latest
        if before is not None and before.latest == latest:
            return None
        self._keep(latest, raw)
        if before is None or before.latest.found is NoContent.UNREADABLE or before.latest.found == found:
            return None
        while self.changes and self.changes[0] <= now.at - DAY:
            self.changes.popleft()
        self.changes.append(now.at)
        return changed_keys(before.latest.found, found)

    def _found(self, raw: Json | None) -> Found:
        if raw is None:
            return NoContent.ABSENT
        return fingerprint_of(self.object.kind, content_of(self.object.kind, raw), self.key)

    def _keep(self, latest: Version, raw: Json | None) -> None:
        """Have the manifest saved; what no remembered version needs is let go."""
        if raw is None:
            self._blobs[latest.resource_version] = ""
        else:
            self._unsaved[latest.resource_version] = manifest_of(self.object.kind, raw)
        needed = set() if self.versions is None else {v.resource_version for v in self.versions.versions}
        self._blobs = {version: place for version, place in self._blobs.items() if version in needed}
        newest = list(self._unsaved)[-_UNSAVED:]
        self._unsaved = {version: self._unsaved[version] for version in newest if version in needed}


def _version(raw: Json) -> str:
    return str(raw["metadata"].get("resourceVersion", ""))
