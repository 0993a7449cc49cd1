"""What the engine is given, and what its parts work with: the services of a term, and the context of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Signal, SourceName, Target
from logcaster_guard.engine.guard_counters import Counters
from logcaster_guard.engine.hub import Hub
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.live_workload import LiveWorkload
from logcaster_guard.engine.operator_inbox import OperatorInbox
from logcaster_guard.engine.problem_tracker import Problems
from logcaster_guard.engine.sampling import Sampler
from logcaster_guard.engine.target_configuration import NotFollowed, TargetConfiguration
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import (
    Blobs,
    Channel,
    Clock,
    Cluster,
    Journal,
    Listings,
    Rights,
    SavedSecrets,
    Source,
    Watches,
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is guarded, by which rules, and how."""

    targets: Sequence[Target]
    signals: Mapping[str, Signal]
    rules: Sequence[Rule]
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPorts:
    """What the guard reaches the outside through.

    `view` is for what is only watched. `rights` tells what its account may do; if None, only a refused write shows it.
    Without `watches` and `listings` no configuration is followed, and without `saved_secrets` no Secret is read.
    """

    cluster: Cluster
    view: ClusterView
    sources: Mapping[SourceName, Source]
    journal: Journal | None
    blobs: Blobs
    channels: Sequence[Channel]
    clock: Clock
    rights: Rights | None = None
    watches: Watches | None = None
    listings: Listings | None = None
    saved_secrets: SavedSecrets | None = None


@dataclass(slots=True)
class SelfWorkload:
    """The workload in whose pods the guard runs. `uid` is empty for none, and None until that was found out."""

    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all targets share for a term of leadership."""

    cluster: Cluster
    clock: Clock
    state: JournalState
    blobs: Blobs
    policy: Policy
    sources: Mapping[SourceName, Source]
    sampler: Sampler
    signals: Mapping[str, Signal]
    hub: Hub
    problems: Problems
    inbox: OperatorInbox
    self_workload: SelfWorkload = field(default_factory=SelfWorkload)
    secrets: SavedSecrets | None = None

    @property
    def manifests(self) -> KeptManifests:
        """What ConfigMaps and Secrets have held."""
        return KeptManifests(self.blobs, self.secrets)


@dataclass(frozen=True, slots=True)
class TargetContext:
    """One target, where its live workload is found, what is counted of it, and the configuration that its pods read."""

    target: Target
    live_workload: LiveWorkload
    counters: Counters = field(default_factory=Counters)
    configuration: TargetConfiguration = field(default_factory=NotFollowed)
