"""The contents that a ConfigMap or Secret has had, as far as the guard has seen them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from logcaster_guard.domain.configuration.content import Fingerprint, Found, NoContent
from logcaster_guard.domain.configuration.spans import Look, Span, place_of

MOST = 32
"""Contents that are remembered of one object. A pod that may have read an older one has read what is not known."""


class Unseen(Enum):
    """Contents that an object may have had without the guard seeing them."""

    EARLIER = "before the guard looked, or while it did not"
    LATER = "since it looked last"


@dataclass(frozen=True, slots=True)
class Version:
    """One content, and when it came. `resource_version` is that of the object when it was first seen so.

    `gap`: others may have come and gone between it and the one before.
    """

    found: Found
    resource_version: str
    came: Span
    gap: bool = False

    @property
    def cached(self) -> bool:
        """Whether a node may go on to serve it after the object was made anew (kubernetes#119733)."""
        return isinstance(self.found, Fingerprint) and self.found.immutable

    @property
    def earliest(self) -> float | None:
        """The earliest monotonic second at which it can have been there. An unbroken watch tells of it at once."""
        return self.came.after_second if self.gap else self.came.by_second


@dataclass(frozen=True, slots=True)
class ObjectVersions:
    """What one object has held, the oldest first.

    `touched` is its resourceVersion now; `standing` is after what the latest content is known to have stood still.
    """

    versions: tuple[Version, ...]
    touched: str
    standing: Span

    @property
    def latest(self) -> Version:
        """What the guard saw last."""
        return self.versions[-1]

    def seen(self, found: Found, look: Look, *, unbroken: bool) -> ObjectVersions:
        """After one more look at the object; `look.version` is the object's own, or that of the list without it.

        `unbroken`: it is the next event of a watch that has missed none since the last look, so the content changed
        just there or not at all. What cannot be read any more tells nothing of what it is. An object that is there only
        between two looks goes unnoticed.
        """
        if found is NoContent.UNREADABLE:
            return self
        if self.latest.found is NoContent.UNREADABLE:
            return first_seen(found, look)
        same = found == self.latest.found
        if same and (unbroken or found is NoContent.ABSENT or look.version == self.touched):
            return replace(self.still(look), touched=look.version)
        place = place_of(look.version)
        after = place - 1 if unbroken and place is not None else self.standing.after
        came = Span(after, place, self.standing.after_second, look.seen)
        version = Version(found, look.version, came, gap=not unbroken)
        return replace(self.still(look), versions=(*self.versions, version)[-MOST:], touched=look.version)

    def still(self, look: Look) -> ObjectVersions:
        """After a proof that it has not changed since: a bookmark of its watch, or a list that shows it as it was."""
        return replace(self, standing=self.standing.narrowed(Span(place_of(look.version), None, look.asked)))

    def spells(self) -> Iterator[tuple[Version | Unseen, Span | None]]:
        """What stood there one after the other, and when it came; None for what was there before the guard's time."""
        for index, version in enumerate(self.versions):
            if index == 0 and version.found is not NoContent.UNREADABLE:
                yield Unseen.EARLIER, None
            elif version.gap:
                yield Unseen.EARLIER, version.came
            yield version, version.came
        if self.latest.found is not NoContent.UNREADABLE:
            yield Unseen.LATER, self.standing

    def carried_over(self, now: float, recorded: float | None = None) -> ObjectVersions:
        """The same after a restart, at monotonic `now`; `recorded` as in `Span.carried_over`.

        What happened meanwhile the next look tells, as a gap.
        """
        versions = tuple(replace(v, came=v.came.carried_over(now, recorded)) for v in self.versions)
        return replace(self, versions=versions, standing=Span(self.standing.after))


def first_seen(found: Found, look: Look) -> ObjectVersions:
    """At the first look at an object. What it held before is not known."""
    place = place_of(look.version)
    version = Version(found, look.version, Span(by=place, by_second=look.seen))
    return ObjectVersions((version,), look.version, Span(after=place, after_second=look.asked))
