"""What a target's pods have read of what they refer to, as it was looked at last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import ClassVar

from logcaster_guard.domain.configuration.container_reads import Moment, Read, may_have_read, same_to
from logcaster_guard.domain.configuration.content import NoContent, changed_keys, digest
from logcaster_guard.domain.configuration.edits import Edit, EditReaders, edits_of, pending_edits, readers_of
from logcaster_guard.domain.configuration.followed import SecretNotRead
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, Unseen, Version, first_seen
from logcaster_guard.domain.configuration.pod_starts import Checksums, PodSeen, checksums_of
from logcaster_guard.domain.configuration.references import (
    ConfigKind,
    ConfigObject,
    ConfigReference,
    named_in_settings,
    objects_of,
    references_of,
)
from logcaster_guard.domain.configuration.release_configuration import (
    ConfigurationState,
    InTransition,
    Known,
    Unknown,
    state_of,
)
from logcaster_guard.domain.configuration.spans import Look
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.followed_objects import FollowedObjects
from logcaster_guard.engine.followed_pods import FollowedPods
from logcaster_guard.engine.target_configuration import LeftOut
from logcaster_guard.ports import Clock

_UNREAD = first_seen(NoContent.UNREADABLE, Look("", None, 0.0))
"""What is known of a Secret where none is read."""


@dataclass(frozen=True, slots=True)
class PendingEdit:
    """An edit that no pod has read, the names of the keys that it changed, and since when the guard has seen it."""

    edit: Edit
    keys: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class ConfigurationStatus:
    """What is shown of the configuration of a target; `left_out` as in `TargetConfiguration`."""

    state: ConfigurationState
    pending: Sequence[PendingEdit]
    left_out: Sequence[LeftOut]
    words: ClassVar[Mapping[type[ConfigurationState], str]] = {
        Known: "known",
        InTransition: "in_transition",
        Unknown: "unknown",
    }

    @property
    def word(self) -> str:
        """The state in one word."""
        return self.words[type(self.state)]


class ReadConfiguration:
    """`TargetConfiguration` of one target, over what is followed. `refer` tells it the template of each look."""

    def __init__(
        self, name: str, objects: FollowedObjects, pods: FollowedPods, policy: Policy, clock: Clock
    ) -> None:  # fmt: skip
        self._named = policy.config.objects.get(name, ())
        self._propagation = policy.config.propagation
        self._staleness = policy.polling.staleness + policy.polling.interval
        self._objects = objects
        self._pods = pods
        self._clock = clock
        self._referred: tuple[ConfigReference, ...] = ()
        self._checksums: Checksums = ()
        self.template = ""

    def refer(self, workload: Workload) -> None:
        """From now on all is told of the pod template that the workload has."""
        own = references_of(workload.template, workload.namespace)
        named = [ConfigObject(ConfigKind.CONFIG_MAP, workload.namespace, name) for name in self._named]
        self._referred = (*own, *map(named_in_settings, named))
        self._checksums = checksums_of(workload.template)
        self.template = workload.hash

    @property
    def wanted(self) -> Sequence[ConfigObject]:
        """What is referred to and may be looked at, followed or not: Secrets only where settings say so."""
        return [one for one in objects_of(self._referred) if self._objects.manifests.keeps(one.kind)]

    @property
    def needs_pods(self) -> bool:
        """Whether it matters which pods there are: without references, and checksums of some, it does not."""
        return bool(self._referred or self._checksums)

    @property
    def references(self) -> Sequence[ConfigReference]:
        """See `TargetConfiguration`."""
        now = self._clock.now()
        out = {o for o in objects_of(self._referred) if (f := self._objects.of(o)) is not None and f.not_followed(now)}
        return [reference for reference in self._referred if reference.object not in out]

    @property
    def state(self) -> ConfigurationState:
        """See `TargetConfiguration`."""
        references, moment = self.references, self._moment()
        looked = self._pods.looked
        if self.needs_pods and (looked is None or moment.now - looked > self._staleness):
            return Unknown(objects_of(references))
        pods = self.pods if self.needs_pods else ()
        return state_of(references, self._versions(references), pods, moment)

    @property
    def latest(self) -> Known | None:
        """See `TargetConfiguration`."""
        references = self.references
        known = {one: versions.latest for one, versions in self._versions(references).items()}
        if known.keys() < set(objects_of(references)):
            return None
        found = digest(references, {one: v.found for one, v in known.items()}) if references else ""
        return Known(found, self._checksums, known)

    @property
    def pods(self) -> Sequence[PodSeen]:
        """The pods of the template."""
        return self._pods.of(self.template)

    @property
    def surely_read_latest(self) -> bool:
        """See `TargetConfiguration`."""
        if self.latest is None or not any(pod.starts for pod in self.pods):
            return False
        return all(
            same_to(reference, read, versions.latest)
            for reference, versions, found in self._reads()
            for read in found
        )  # fmt: skip

    def contents(self, versions: Mapping[ConfigObject, Version], /) -> Mapping[str, str]:
        """See `TargetConfiguration`."""
        found = {}
        for one, version in versions.items():
            followed = self._objects.of(one)
            blob = None if followed is None else followed.blob(version)
            if blob is not None:
                found[str(one)] = blob
        return found

    def edits(self) -> Sequence[tuple[Edit, EditReaders]]:
        """See `TargetConfiguration`."""
        references, moment, pods = self.references, self._moment(), self.pods
        return [
            (edit, readers_of(edit, references, versions, pods, moment))
            for one, versions in self._versions(references).items()
            for edit in edits_of(one, references, versions)
        ]

    def pending(self) -> Sequence[Edit]:
        """See `TargetConfiguration`."""
        references = self.references
        return pending_edits(references, self._versions(references), self.pods, self._moment())

    def pending_since(self) -> Sequence[PendingEdit]:
        """What no pod has read yet, with what it changed and when it was seen."""
        now, second = self._clock.now(), self._clock.monotonic()
        found = []
        for edit in self.pending():
            seen = second if edit.version.came.by_second is None else edit.version.came.by_second
            found.append(PendingEdit(edit, self._keys(edit), now - timedelta(seconds=second - seen)))
        return found

    def left_out(self) -> Sequence[LeftOut]:
        """See `TargetConfiguration`."""
        found = []
        for one in objects_of(self._referred):
            followed = self._objects.of(one)
            if not self._objects.manifests.keeps(one.kind):
                found.append(LeftOut(one, SecretNotRead(), followed=True))
            elif followed is not None and (reason := followed.not_followed(self._clock.now())) is not None:
                found.append(LeftOut(one, reason, followed=False))
            elif followed is not None and followed.fault:
                found.append(LeftOut(one, followed.fault, followed=True))
        return found

    def status(self) -> ConfigurationStatus | None:
        """What is shown of it; None before the first look."""
        return ConfigurationStatus(self.state, self.pending_since(), self.left_out()) if self.template else None

    def started_since_last_look(self) -> Sequence[ConfigObject]:
        """The objects that may have changed before a container was started, for they were not looked at since."""
        unclear = {
            reference.object for reference, versions, found in self._reads() if versions and Unseen.LATER in found
        }
        return sorted(unclear)

    def first_seen(self) -> Sequence[tuple[ConfigObject, str]]:
        """The objects that may have held something else when pods read them, before this resourceVersion of each.

        Pods that were not there then have read nothing older.
        """
        unseen = {
            (reference.object, versions.versions[0].resource_version)
            for reference, versions, found in self._reads()
            if Unseen.EARLIER in found and versions.versions[0].found is not NoContent.UNREADABLE
        }
        return sorted(unseen)

    def _reads(self) -> Iterator[tuple[ConfigReference, ObjectVersions, tuple[Read, ...]]]:
        """What each pod may have read by each reference."""
        references, moment = self.references, self._moment()
        known = self._versions(references)
        for reference in references:
            versions = known.get(reference.object)
            if versions is not None:
                for pod in self.pods:
                    yield reference, versions, may_have_read(reference, versions, pod, moment)

    def _versions(self, references: Sequence[ConfigReference]) -> Mapping[ConfigObject, ObjectVersions]:
        found = {}
        for one in objects_of(references):
            followed = self._objects.of(one)
            versions = None if followed is None else followed.versions
            if not self._objects.manifests.keeps(one.kind):
                versions = _UNREAD
            if versions is not None:
                found[one] = versions
        return found

    def _keys(self, edit: Edit) -> tuple[str, ...]:
        followed = self._objects.of(edit.object)
        versions = () if followed is None or followed.versions is None else followed.versions.versions
        before = next((one for one, other in pairwise(versions) if other == edit.version), None)
        return () if before is None else changed_keys(before.found, edit.version.found)

    def _moment(self) -> Moment:
        return Moment(self._clock.monotonic(), self._propagation)
