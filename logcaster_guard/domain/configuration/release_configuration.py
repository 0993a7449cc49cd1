"""Which configuration a workload's release has: what all its Ready pods have read, and nothing else.

The invariant: never `Known` while a Ready pod may have read anything else that it refers to. So a release earns nothing
while its configuration is in transition, and one that older pods may not have read is no destination.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from logcaster_guard.domain.configuration.container_reads import Moment, Read, may_have_read, same_to
from logcaster_guard.domain.configuration.content import FORMAT, digest, readable
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Unseen, Version
from logcaster_guard.domain.configuration.pod_starts import Checksums, PodSeen
from logcaster_guard.domain.configuration.references import ConfigObject, ConfigReference, objects_of

Reads: TypeAlias = Sequence[tuple[ConfigReference, tuple[Read, ...]]]
"""References to one object, each with what one pod may have read there."""


@dataclass(frozen=True, slots=True)
class Known:
    """All Ready pods of the template have read the same.

    `digest` is that of what they refer to, empty where they refer to nothing. `checksums` are the annotations that tell
    of more, perhaps of what the guard cannot read: they belong to the release, and cannot be put back alone. `contents`
    are the versions in which the objects have to be kept with it.
    """

    digest: str
    checksums: Checksums = ()
    contents: Mapping[ConfigObject, Version] = field(default_factory=dict)

    @property
    def configuration(self) -> str:
        """What tells this configuration from others in a `ReleaseId`; empty where there is nothing to tell."""
        if not self.checksums:
            return self.digest
        return hashlib.sha256(json.dumps([FORMAT, self.digest, self.checksums]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class InTransition:
    """Pods have read different contents of `objects`, or their order is unclear; none: no pod is Ready yet.

    `checksums`: their annotations differ, so that some pods are still to be replaced.
    """

    objects: tuple[ConfigObject, ...] = ()
    checksums: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Pods may have read what `objects` held before the guard saw them, or while it did not look."""

    objects: tuple[ConfigObject, ...]


ConfigurationState: TypeAlias = Known | InTransition | Unknown


def state_of(
    references: Sequence[ConfigReference],
    objects: Mapping[ConfigObject, ObjectVersions],
    pods: Iterable[PodSeen],
    moment: Moment,
) -> ConfigurationState:
    """The configuration of the release whose template has these references and `pods`.

    An object that is not among `objects` has not been looked at yet. One that may not be read is told as such there.
    """
    ready = [pod for pod in pods if pod.ready]
    if not ready and references:
        return InTransition()
    unseen: list[ConfigObject] = []
    moving: list[ConfigObject] = []
    contents: dict[ConfigObject, Version] = {}
    for one in objects_of(references):
        versions = objects.get(one)
        own = [r for r in references if r.object == one]
        reads = [] if versions is None else [(r, may_have_read(r, versions, p, moment)) for p in ready for r in own]
        if versions is None or any(Unseen.EARLIER in found for _, found in reads):
            unseen.append(one)
            continue
        agreed = _agreed(versions, reads)
        if agreed is None:
            moving.append(one)
        else:
            contents[one] = agreed
    checksums = {pod.checksums for pod in ready}
    if unseen:
        return Unknown(tuple(unseen))
    if moving or len(checksums) > 1:
        return InTransition(tuple(moving), len(checksums) > 1)
    found = digest(references, {one: v.found for one, v in contents.items()}) if references else ""
    return Known(found, next(iter(checksums), ()), contents)


def _agreed(versions: ObjectVersions, reads: Reads) -> Version | None:
    """The latest content that is the same as all that was read, or may have been, to whoever read it."""
    # Most pods have read the same.
    alike = {(r, tuple(map(id, found))): (r, found) for r, found in reads}.values()
    for version in reversed(versions.versions):
        if all(readable(r, version.found) and found and _reads_alike(r, found, version) for r, found in alike):
            return version
    return None


def _reads_alike(reference: ConfigReference, found: Iterable[Read], version: Version) -> bool:
    return all(same_to(reference, v, version) for v in found)
