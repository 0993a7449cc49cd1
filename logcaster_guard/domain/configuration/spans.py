"""When something happened, as far as the guard can prove it, and which of two things came first.

ConfigMaps, Secrets and pods share one sequence of resourceVersions, so what was seen of them can be put in order,
whenever the guard saw it. Where they cannot be compared (an API server may keep kinds apart), the guard's own clock
still orders what it has asked for and been answered. What neither orders is unclear, and stays so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

Place = TypeVar("Place", int, float)


def place_of(resource_version: str) -> int | None:
    """A resourceVersion's place in the sequence; None for one that is no number: it tells nothing."""
    return int(resource_version) if resource_version.isascii() and resource_version.isdigit() else None


def share_sequence(before: str, between: str, after: str) -> bool:
    """Whether two kinds can be compared, by the resourceVersions of three lists, read one after the other.

    The first and the last list are of one kind, the second is of the other. Etcd split by kind counts each by itself.
    """
    places = [place_of(version) for version in (before, between, after)]
    known = [place for place in places if place is not None]
    return len(known) == len(places) and known == sorted(known)


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the API server.

    `version` is the resourceVersion of what was seen, empty where it must not be compared. `asked` is the monotonic
    second at which the request was sent, None for an event of a watch, which may come late. `seen` is the second of the
    answer. Only reads that are never served from an older state count (no `resourceVersion` in the request).
    """

    version: str
    asked: float | None
    seen: float


@dataclass(frozen=True, slots=True)
class Span:
    """Something happened after all that the guard had seen without it, and by the first that it saw with it.

    `after` and `by` are places in the sequence: not yet at `after`, already at `by`. `after_second` is when the last
    request was sent that did not find it, `by_second` when the first answer came that did.
    """

    after: int | None = None
    by: int | None = None
    after_second: float | None = None
    by_second: float | None = None

    def precedes(self, other: Span, *, by_seconds: float = 0.0) -> bool:
        """Whether this surely came first; with `by_seconds`, by as much at least, which no sequence tells."""
        if self.by_second is not None and other.after_second is not None:
            # What happens within one second of the clock has no order there.
            in_time = self.by_second + by_seconds < other.after_second
        else:
            in_time = False
        in_sequence = self.by is not None and other.after is not None and self.by <= other.after
        return in_time or (in_sequence and by_seconds == 0)

    def narrowed(self, other: Span) -> Span:
        """What both tell of the same event."""
        after, by = _known(self.after, other.after), _known(self.by, other.by)
        after_second = _known(self.after_second, other.after_second)
        by_second = _known(self.by_second, other.by_second)
        return Span(
            max(after, default=None),
            min(by, default=None),
            max(after_second, default=None),
            min(by_second, default=None),
        )

    def carried_over(self, now: float, recorded: float | None = None) -> Span:
        """The same after a restart, at monotonic `now`: the seconds of the process before mean nothing any more.

        With `recorded`, the second on its clock at which this was written down, it had happened so long before that,
        and so no later than so long before `now`.
        """
        age = 0.0 if recorded is None or self.by_second is None else max(0.0, recorded - self.by_second)
        return Span(self.after, self.by, None, now - age)


def _known(*places: Place | None) -> list[Place]:
    return [place for place in places if place is not None]
