"""What each container may have read of an object.

A container reads its environment when it is started, and a subPath as the pod's volume has it then. What it mounts as a
whole reaches it within a while of the edit. So what it has read is a set: all contents that cannot be ruled out, one
where the order of edit and start is proven, and more where it is unclear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from logcaster_guard.domain.configuration.content import part, readable
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Unseen, Version
from logcaster_guard.domain.configuration.pod_starts import PodSeen
from logcaster_guard.domain.configuration.references import ConfigReference, ReadAt
from logcaster_guard.domain.configuration.spans import Span

Read: TypeAlias = Version | Unseen
"""A content that may have been read."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Monotonic `now`, and the seconds within which a volume follows an edit (`config.propagation`)."""

    now: float
    propagation: float


def may_have_read(
    reference: ConfigReference, versions: ObjectVersions, pod: PodSeen, moment: Moment
) -> tuple[Read, ...]:
    """All that the container may have read at its last start (or has read by now), the oldest first.

    Empty where it was not started yet. What a container follows all the time is told as of the last look at the object.
    """
    started = _started(reference, pod, moment)
    if started is None:
        return ()
    lag = 0.0 if reference.read_at is ReadAt.START else moment.propagation
    found: list[Read] = []
    over, until = False, started
    for content, came in reversed(list(versions.spells())):
        if _is_possible(reference, content):
            begun = came is None or reference.read_at is ReadAt.WHENEVER or not started.precedes(came)
            if begun and (not over or (isinstance(content, Version) and content.cached)):
                found.append(content)
            if isinstance(content, Version) and came is not None:
                over = over or came.precedes(pod.created) or came.precedes(until, by_seconds=lag)
        if lag and came is not None and not _reaches_volumes(reference, content):
            # A volume did not follow while this stood there: what came before must have had the time until then.
            until = Span(after_second=came.after_second)
    return tuple(reversed(found))


def _is_possible(reference: ConfigReference, content: Read) -> bool:
    """Whether the container could read this at all."""
    if isinstance(content, Version):
        return readable(reference, content.found)
    return content is not Unseen.LATER or reference.read_at is not ReadAt.WHENEVER


def _reaches_volumes(reference: ConfigReference, content: Read) -> bool:
    """Whether a volume is surely brought up to date with this; nobody knows of what was not seen."""
    return readable(reference, content.found) if isinstance(content, Version) else content is Unseen.LATER


def same_to(reference: ConfigReference, read: Read, version: Version) -> bool:
    """Whether its container finds the same in the one as in the other."""
    return isinstance(read, Version) and part(reference, read.found) == part(reference, version.found)


def _started(reference: ConfigReference, pod: PodSeen, moment: Moment) -> Span | None:
    """When the container read; None where it has not."""
    if reference.read_at is ReadAt.WHENEVER:
        return Span(after_second=moment.now) if pod.starts else None
    start = pod.starts.get(reference.container)
    return None if start is None else start.span
