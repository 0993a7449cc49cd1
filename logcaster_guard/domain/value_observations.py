"""What a look at a value shows that a run writes or gives back, as messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class BothBoundsAre(Message):
    """An autoscaler's bounds are the size that is wanted."""

    size: int
    kind: Literal["seen.both_bounds_are"] = "seen.both_bounds_are"


@dataclass(frozen=True, slots=True)
class BoundsAre(Message):
    """An autoscaler's bounds; `ours`: the guard still owns the fields."""

    minimum: int
    maximum: int
    ours: bool
    kind: Literal["seen.bounds_are"] = "seen.bounds_are"


@dataclass(frozen=True, slots=True)
class MinimumIs(Message):
    """An autoscaler's minimum; `ours`: the guard still owns the field."""

    minimum: str
    ours: bool
    kind: Literal["seen.minimum_is"] = "seen.minimum_is"


@dataclass(frozen=True, slots=True)
class PodsWanted(Message):
    """How many pods a workload asks for."""

    count: int
    kind: Literal["seen.pods_wanted"] = "seen.pods_wanted"


@dataclass(frozen=True, slots=True)
class AnotherSize(Message):
    """It has a size that the run has not given it."""

    kind: Literal["seen.another_size"] = "seen.another_size"


@dataclass(frozen=True, slots=True)
class AnotherTemplate(Message):
    """It has a pod template that the run has not given it."""

    kind: Literal["seen.another_template"] = "seen.another_template"


@dataclass(frozen=True, slots=True)
class NamesAreGuards(Message):
    """Its pods start with what the run wants them to read."""

    kind: Literal["seen.names_are_guards"] = "seen.names_are_guards"


@dataclass(frozen=True, slots=True)
class NamesAsBefore(Message):
    """Its pods read by the names that its template had before."""

    kind: Literal["seen.names_as_before"] = "seen.names_as_before"


@dataclass(frozen=True, slots=True)
class SizeIsGuards(Message):
    """The size is as it is to stay, and the guard still owns the field."""

    detail: Reason
    kind: Literal["seen.size_is_guards"] = "seen.size_is_guards"


@dataclass(frozen=True, slots=True)
class SelectorIsGuards(Message):
    """The selector is as it is to stay, and the guard still owns the field."""

    detail: Reason
    kind: Literal["seen.selector_is_guards"] = "seen.selector_is_guards"


@dataclass(frozen=True, slots=True)
class PinnedTo(Message):
    """An autoscaler is still pinned to another size."""

    autoscaler: str
    size: int
    kind: Literal["seen.pinned_to"] = "seen.pinned_to"


@dataclass(frozen=True, slots=True)
class OwnerIsSuspended(Message):
    """A GitOps owner is suspended; `by_another`: not by the guard."""

    owner: str
    by_another: bool
    kind: Literal["seen.owner_is_suspended"] = "seen.owner_is_suspended"


@dataclass(frozen=True, slots=True)
class OwnerIsActive(Message):
    """A GitOps owner is not suspended."""

    owner: str
    kind: Literal["seen.owner_is_active"] = "seen.owner_is_active"


@dataclass(frozen=True, slots=True)
class NotSuspendedAnyMore(Message):
    """A GitOps owner was resumed by somebody."""

    kind: Literal["seen.not_suspended_any_more"] = "seen.not_suspended_any_more"


@dataclass(frozen=True, slots=True)
class WantsRevision(Message):
    """A GitOps owner wants another revision, which may be unknown."""

    revision: str
    kind: Literal["seen.wants_revision"] = "seen.wants_revision"


@dataclass(frozen=True, slots=True)
class ConfigMapHolds(Message):
    """A ConfigMap holds what was saved of it."""

    config_map: str
    kind: Literal["seen.config_map_holds"] = "seen.config_map_holds"


@dataclass(frozen=True, slots=True)
class ServiceSelects(Message):
    """What the Service selects, as `label=value`."""

    label: str
    kind: Literal["seen.service_selects"] = "seen.service_selects"


@dataclass(frozen=True, slots=True)
class ServiceKeeps(Message):
    """The Service stays with what it selects."""

    label: str
    kind: Literal["seen.service_keeps"] = "seen.service_keeps"


@dataclass(frozen=True, slots=True)
class ServiceIsAnother(Message):
    """The Service was deleted and created again."""

    kind: Literal["seen.service_is_another"] = "seen.service_is_another"


@dataclass(frozen=True, slots=True)
class ServiceMayComeBack(Message):
    """The Service that led there is gone, perhaps for a moment."""

    kind: Literal["seen.service_may_come_back"] = "seen.service_may_come_back"


@dataclass(frozen=True, slots=True)
class ServesNow(Message):
    """The Service sends its requests there."""

    kind: Literal["seen.serves_now"] = "seen.serves_now"


@dataclass(frozen=True, slots=True)
class ServesNobody(Message):
    """Nothing sends requests there."""

    kind: Literal["seen.serves_nobody"] = "seen.serves_nobody"
