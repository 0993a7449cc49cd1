"""What the parts of the engine work with: the services of a term of leadership, and the context of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import Signal, SourceName, Target
from logcaster_guard.engine.aim import Aim
from logcaster_guard.engine.chronicle import Chronicle
from logcaster_guard.engine.hub import Hub
from logcaster_guard.engine.operator_inbox import OperatorInbox
from logcaster_guard.engine.problems import Problems
from logcaster_guard.engine.tally import Tally
from logcaster_guard.ports import Blobs, Clock, Cluster, Source


@dataclass(slots=True)
class SelfWorkload:
    """The workload in whose pods the guard runs. `uid` is empty for none, and None until that was found out."""

    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all targets share for a term of leadership."""

    cluster: Cluster
    clock: Clock
    chronicle: Chronicle
    blobs: Blobs
    policy: Policy
    sources: Mapping[SourceName, Source]
    signals: Mapping[str, Signal]
    hub: Hub
    problems: Problems
    inbox: OperatorInbox
    self_workload: SelfWorkload = field(default_factory=SelfWorkload)


@dataclass(frozen=True, slots=True)
class TargetContext:
    """One target, where its live workload is found, and what is counted of it."""

    target: Target
    aim: Aim
    tally: Tally = field(default_factory=Tally)
