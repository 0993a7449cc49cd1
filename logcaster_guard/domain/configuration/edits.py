"""Edits of what pods refer to: which are pending, which pods have read them, and what a breach has to do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from logcaster_guard.domain.configuration.container_reads import Moment, Read, may_have_read, same_to
from logcaster_guard.domain.configuration.content import readable
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Unseen, Version
from logcaster_guard.domain.configuration.pod_starts import PodSeen
from logcaster_guard.domain.configuration.references import ConfigObject, ConfigReference, ReadAt, objects_of


class Blame(StrEnum):
    """What a breach can have to do with an edit."""

    NOT_READ = "not read"
    """No pod has surely read it: it is blamed for nothing."""
    BEFORE = "before it was read"
    """The breach began before any pod can have read it."""
    COMPARE = "compare"
    """Pods that have read it stand beside pods that have not: it is blamed if they fare worse."""
    REPLACED = "replaced"
    """All pods have read it, as after any rollout: before and after are compared."""
    INDISTINCT = "indistinct"
    """Which pods have read it is unclear: `config.attribution` decides."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An object came to hold something else."""

    object: ConfigObject
    version: Version


@dataclass(frozen=True, slots=True)
class EditReaders:
    """The pods that have read an edit (`new`), that have not (`old`), and of which that is unclear, by name.

    `read`: some container surely has; `first` is the earliest monotonic second at which it can have.
    """

    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    read: bool = False
    first: float | None = None

    def blame(self, onset: float) -> Blame:
        """What a breach since monotonic `onset` can have to do with the edit."""
        if not self.read:
            return Blame.NOT_READ
        if self.first is None or onset < self.first:
            return Blame.BEFORE
        if self.old and self.new:
            return Blame.COMPARE
        return Blame.INDISTINCT if self.unclear else Blame.REPLACED


def edits_of(one: ConfigObject, references: Iterable[ConfigReference], versions: ObjectVersions) -> tuple[Edit, ...]:
    """The changes of an object that made a difference to one of the references, the oldest first."""
    own = [r for r in references if r.object == one]
    return tuple(
        Edit(one, version)
        for index, version in enumerate(versions.versions)
        if index and any(_changed(r, versions, index) for r in own)
    )


def pending_edits(
    references: Sequence[ConfigReference],
    objects: Mapping[ConfigObject, ObjectVersions],
    pods: Sequence[PodSeen],
    moment: Moment,
) -> tuple[Edit, ...]:
    """What objects hold now and no pod of the template has read, Ready or not: the next one that starts will."""
    found = []
    for one in objects_of(references):
        versions = objects.get(one)
        own = [r for r in references if r.object == one]
        if versions is not None and _is_pending(own, versions, pods, moment):
            found.append(Edit(one, versions.latest))
    return tuple(found)


def readers_of(
    edit: Edit,
    references: Iterable[ConfigReference],
    versions: ObjectVersions,
    pods: Iterable[PodSeen],
    moment: Moment,
) -> EditReaders:
    """Which of the pods, whose template has these references, have read the edit. Pods count that are not Ready."""
    index = versions.versions.index(edit.version) if edit.version in versions.versions else 0
    changed = [r for r in references if r.object == edit.object and index and _changed(r, versions, index)]
    by_verdict: dict[bool | None, list[str]] = {False: [], True: [], None: []}
    firsts: list[float | None] = []
    for pod in pods:
        verdicts = [
            (r, _has_read(edit.version, r, found))
            for r in changed
            if (found := may_have_read(r, versions, pod, moment))
        ]
        firsts += [_earliest(edit.version, r, pod) for r, verdict in verdicts if verdict]
        said = {verdict for _, verdict in verdicts}
        if said:
            by_verdict[said.pop() if len(said) == 1 else None].append(pod.name)
    known = [first for first in firsts if first is not None]
    old, new, unclear = (tuple(by_verdict[verdict]) for verdict in (False, True, None))
    return EditReaders(old, new, unclear, bool(firsts), min(known, default=None))


def _has_read(version: Version, reference: ConfigReference, found: Sequence[Read]) -> bool | None:
    """Whether a container that may have read `found` has read this version; None where that is unclear."""
    same = [same_to(reference, read, version) for read in found]
    if all(same):
        return True
    return None if any(same) or Unseen.LATER in found else False


def _changed(reference: ConfigReference, versions: ObjectVersions, index: int) -> bool:
    """Whether the version of this index made a difference to what its container read before."""
    version = versions.versions[index]
    before = [v for v in versions.versions[:index] if readable(reference, v.found)]
    return not before or not same_to(reference, before[-1], version)


def _is_pending(
    own: Sequence[ConfigReference], versions: ObjectVersions, pods: Sequence[PodSeen], moment: Moment
) -> bool:
    """Whether the latest content differs from what is read, and nobody who would notice has read it."""
    reads = [(r, may_have_read(r, versions, pod, moment)) for pod in pods for r in own]
    latest, read = versions.latest, {id(read): read for _, found in reads for read in found}
    changed = [r for r in own if any(not same_to(r, v, latest) for v in read.values() if isinstance(v, Version))]
    return bool(changed) and all(_has_read(latest, r, found) is False for r, found in reads if found and r in changed)


def _earliest(version: Version, reference: ConfigReference, pod: PodSeen) -> float | None:
    """The earliest second at which the container can have read it."""
    came = version.earliest
    start = pod.starts.get(reference.container)
    if start is None or reference.read_at is ReadAt.WHENEVER:
        return came
    known = [second for second in (came, start.span.after_second) if second is not None]
    return max(known, default=None)
