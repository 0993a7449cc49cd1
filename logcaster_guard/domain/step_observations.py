"""What a look at a step shows, as messages: what it waits for, and what is there. Lengths of time are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class NotApprovedYet(Message):
    """Nobody has approved the run yet."""

    kind: Literal["seen.not_approved_yet"] = "seen.not_approved_yet"


@dataclass(frozen=True, slots=True)
class VetoTimeLeft(Message):
    """For how long people may still veto."""

    seconds: float
    kind: Literal["seen.veto_time_left"] = "seen.veto_time_left"


@dataclass(frozen=True, slots=True)
class OthersListed(Message):
    """The Service still lists pods of the environment before, such as `pod`."""

    count: int
    pod: str
    kind: Literal["seen.others_listed"] = "seen.others_listed"


@dataclass(frozen=True, slots=True)
class ListsOnly(Message):
    """The Service lists pods of one Deployment, and no other."""

    count: int
    deployment: str
    kind: Literal["seen.lists_only"] = "seen.lists_only"


@dataclass(frozen=True, slots=True)
class PodsReady(Message):
    """How many pods of a Deployment are Ready; `refusal` is why some are not made, or empty."""

    ready: int
    wanted: int
    deployment: str
    refusal: Reason
    kind: Literal["seen.pods_ready"] = "seen.pods_ready"


@dataclass(frozen=True, slots=True)
class RolloutGoesOn(Message):
    """Enough pods are Ready, and the controller is not done."""

    pods: Reason
    progress: Reason
    kind: Literal["seen.rollout_goes_on"] = "seen.rollout_goes_on"


@dataclass(frozen=True, slots=True)
class HelperPodsServe(Message):
    """How many pods of the helper serve; `refusal` is why some are not made, or empty."""

    serving: int
    wanted: int
    helper: str
    refusal: Reason
    kind: Literal["seen.helper_pods_serve"] = "seen.helper_pods_serve"


@dataclass(frozen=True, slots=True)
class ChangeUnseen(Message):
    """Enough pods serve, and the controller has not seen the last change."""

    pods: Reason
    kind: Literal["seen.change_unseen"] = "seen.change_unseen"


@dataclass(frozen=True, slots=True)
class RolloutProgress(Message):
    """How far a rollout is; `refusal` is why some pods are not made, or empty."""

    updated: int
    wanted: int
    available: int
    total: int
    refusal: Reason
    kind: Literal["seen.rollout_progress"] = "seen.rollout_progress"


@dataclass(frozen=True, slots=True)
class DaemonsUpdated(Message):
    """How far a DaemonSet's rollout is."""

    updated: int
    wanted: int
    available: int
    kind: Literal["seen.daemons_updated"] = "seen.daemons_updated"


@dataclass(frozen=True, slots=True)
class ContainerWaits(Message):
    """A container that will not start, by the kubelet's `reason` and `words`. `exit` is how it ended before."""

    container: str
    pod: str
    reason: str
    restarts: int
    exit: str
    words: Reason
    kind: Literal["seen.container_waits"] = "seen.container_waits"


@dataclass(frozen=True, slots=True)
class PodUnasked(Message):
    """A pod could not be asked for its health."""

    pod: str
    url: str
    detail: Reason
    kind: Literal["seen.pod_unasked"] = "seen.pod_unasked"


@dataclass(frozen=True, slots=True)
class PodUnwell(Message):
    """A pod answers its health check badly."""

    pod: str
    url: str
    kind: Literal["seen.pod_unwell"] = "seen.pod_unwell"


@dataclass(frozen=True, slots=True)
class PodsWell(Message):
    """How many pods answer their health check well."""

    count: int
    kind: Literal["seen.pods_well"] = "seen.pods_well"


@dataclass(frozen=True, slots=True)
class NoPodReady(Message):
    """No pod is Ready."""

    kind: Literal["seen.no_pod_ready"] = "seen.no_pod_ready"


@dataclass(frozen=True, slots=True)
class NoHelper(Message):
    """The helper is not there yet."""

    kind: Literal["seen.no_helper"] = "seen.no_helper"


@dataclass(frozen=True, slots=True)
class EarlierOneLeaves(Message):
    """A Deployment of the name is on its way out."""

    deployment: str
    kind: Literal["seen.earlier_one_leaves"] = "seen.earlier_one_leaves"


@dataclass(frozen=True, slots=True)
class IsThere(Message):
    """What is to be made is there."""

    name: str
    kind: Literal["seen.is_there"] = "seen.is_there"


@dataclass(frozen=True, slots=True)
class IsNotThere(Message):
    """What is to be made is not there."""

    name: str
    kind: Literal["seen.is_not_there"] = "seen.is_not_there"


@dataclass(frozen=True, slots=True)
class TemplateUnseen(Message):
    """The controller has not seen the good template yet."""

    kind: Literal["seen.template_unseen"] = "seen.template_unseen"


@dataclass(frozen=True, slots=True)
class PodsStuck(Message):
    """How many pods hold the rollout up."""

    count: int
    kind: Literal["seen.pods_stuck"] = "seen.pods_stuck"


@dataclass(frozen=True, slots=True)
class PodsNeeded(Message):
    """Fewer pods of a Deployment are Ready than are needed."""

    ready: int
    deployment: str
    needed: int
    kind: Literal["seen.pods_needed"] = "seen.pods_needed"


@dataclass(frozen=True, slots=True)
class GoodPodsServe(Message):
    """How many pods of the good release serve."""

    serving: int
    wanted: int
    kind: Literal["seen.good_pods_serve"] = "seen.good_pods_serve"


@dataclass(frozen=True, slots=True)
class StillRead(Message):
    """`reader` refers to the copy of a ConfigMap or Secret."""

    config_map: str
    reader: str
    kind: Literal["seen.still_read"] = "seen.still_read"


@dataclass(frozen=True, slots=True)
class IsPromised(Message):
    """The journal tells that `object` is to be put back later."""

    object: str
    kind: Literal["seen.is_promised"] = "seen.is_promised"


@dataclass(frozen=True, slots=True)
class PodsLeft(Message):
    """How many pods of production may still start a container."""

    pods: int
    kind: Literal["seen.pods_left"] = "seen.pods_left"


@dataclass(frozen=True, slots=True)
class HelperBeingDeleted(Message):
    """The helper is on its way out."""

    kind: Literal["seen.helper_being_deleted"] = "seen.helper_being_deleted"


@dataclass(frozen=True, slots=True)
class ServeWithoutHelper(Message):
    """How many pods serve beside the helper; `without` names production where that is gone."""

    serving: int
    without: str
    kind: Literal["seen.serve_without_helper"] = "seen.serve_without_helper"


@dataclass(frozen=True, slots=True)
class HelperServesOn(Message):
    """The helper stays until others carry the load."""

    pods: Reason
    needed: int
    kind: Literal["seen.helper_serves_on"] = "seen.helper_serves_on"


@dataclass(frozen=True, slots=True)
class SavedSnapshotUnreadable(Message):
    """The snapshot that something is made from cannot be read."""

    reason: Reason
    kind: Literal["seen.snapshot_unreadable"] = "seen.snapshot_unreadable"


@dataclass(frozen=True, slots=True)
class SnapshotLacks(Message):
    """The snapshot does not show what is to be made."""

    workload: str
    kind: Literal["seen.snapshot_lacks"] = "seen.snapshot_lacks"


@dataclass(frozen=True, slots=True)
class BelowFloor(Message):
    """Fewer pods would serve than the run's floor."""

    left: int
    floor: int
    kind: Literal["seen.below_floor"] = "seen.below_floor"


@dataclass(frozen=True, slots=True)
class BelowBudget(Message):
    """A disruption budget would be broken."""

    budget: str
    wanted: int
    left: int
    kind: Literal["seen.below_budget"] = "seen.below_budget"


@dataclass(frozen=True, slots=True)
class PodsServe(Message):
    """How many of a workload's pods serve."""

    serving: int
    wanted: int
    needed: int
    kind: Literal["seen.pods_serve"] = "seen.pods_serve"


@dataclass(frozen=True, slots=True)
class OtherBelowFloor(Message):
    """The other environment has fewer Ready pods than the run's floor."""

    ready: int
    floor: int
    kind: Literal["seen.other_below_floor"] = "seen.other_below_floor"


@dataclass(frozen=True, slots=True)
class BeforeCannotServe(Message):
    """The environment before cannot take the requests back."""

    ready: int
    kind: Literal["seen.before_cannot_serve"] = "seen.before_cannot_serve"
