"""Why no plan is made, as messages. `workload` is its kind and key (`Deployment shop/web`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class AnotherSelector(Message):
    """The workload was made again, and knows its pods by other labels than those of the good release."""

    workload: str
    images: tuple[str, ...]
    kind: Literal["unfit.another_selector"] = "unfit.another_selector"


@dataclass(frozen=True, slots=True)
class ServiceDeselects(Message):
    """The Service selects by a label that the good release does not carry."""

    service: str
    images: tuple[str, ...]
    selector: str
    kind: Literal["unfit.service_deselects"] = "unfit.service_deselects"


@dataclass(frozen=True, slots=True)
class AnotherAccount(Message):
    """The guard is in the workload's pods, and those of the good release run as another account."""

    workload: str
    now: str
    then: str
    kind: Literal["unfit.another_account"] = "unfit.another_account"


@dataclass(frozen=True, slots=True)
class ReplacedOnDelete(Message):
    """The controller changes pods only when somebody deletes them."""

    workload: str
    kind: Literal["unfit.replaced_on_delete"] = "unfit.replaced_on_delete"


@dataclass(frozen=True, slots=True)
class Partitioned(Message):
    """The controller leaves pods below a partition as they are."""

    workload: str
    partition: int
    kind: Literal["unfit.partitioned"] = "unfit.partitioned"


@dataclass(frozen=True, slots=True)
class CannotBeJudged(Message):
    """The good release's pods cannot be read apart from the bad one's."""

    why: Reason
    kind: Literal["unfit.cannot_be_judged"] = "unfit.cannot_be_judged"


@dataclass(frozen=True, slots=True)
class SavedUnreadable(Message):
    """What was saved of a release cannot be read."""

    reason: Reason
    kind: Literal["unfit.saved_unreadable"] = "unfit.saved_unreadable"


@dataclass(frozen=True, slots=True)
class SwitchesEnvironments(Message):
    """The target's Service switches between environments."""

    service: str
    kind: Literal["unfit.switches_environments"] = "unfit.switches_environments"


@dataclass(frozen=True, slots=True)
class TooLittleTraffic(Message):
    """The requests of the first step would prove nothing; `window` is in seconds, `rate` in requests per second."""

    workload: str
    rate: float
    share: float
    expected: int
    window: float
    least: int
    kind: Literal["unfit.too_little_traffic"] = "unfit.too_little_traffic"


@dataclass(frozen=True, slots=True)
class NotADeployment(Message):
    """Two releases run side by side in Deployments alone."""

    workload: str
    kind: Literal["unfit.not_a_deployment"] = "unfit.not_a_deployment"


@dataclass(frozen=True, slots=True)
class Recreates(Message):
    """The workload must not run two releases at once."""

    workload: str
    kind: Literal["unfit.recreates"] = "unfit.recreates"


@dataclass(frozen=True, slots=True)
class NoReplicas(Message):
    """The workload has no pods: nothing is there to `shift`, or to take over."""

    workload: str
    shift: bool
    kind: Literal["unfit.no_replicas"] = "unfit.no_replicas"


@dataclass(frozen=True, slots=True)
class ClaimUnshareable(Message):
    """A volume that one release alone may write."""

    workload: str
    claim: str
    kind: Literal["unfit.claim_unshareable"] = "unfit.claim_unshareable"


@dataclass(frozen=True, slots=True)
class NodeUnshareable(Message):
    """A port of the node that one release alone can have; `port` is 0 where it is all of its network."""

    workload: str
    port: int
    kind: Literal["unfit.node_unshareable"] = "unfit.node_unshareable"


@dataclass(frozen=True, slots=True)
class NoService(Message):
    """No Service would send the good release a share of the requests."""

    workload: str
    kind: Literal["unfit.no_service"] = "unfit.no_service"


@dataclass(frozen=True, slots=True)
class SelectsNothing(Message):
    """The Service has no selector."""

    service: str
    kind: Literal["unfit.selects_nothing"] = "unfit.selects_nothing"


@dataclass(frozen=True, slots=True)
class SelectsVersion(Message):
    """The Service's selector pins the version."""

    service: str
    label: str
    kind: Literal["unfit.selects_version"] = "unfit.selects_version"


@dataclass(frozen=True, slots=True)
class PodsUnselected(Message):
    """The Service does not select the pods of the `present` release, or of the good one."""

    service: str
    selector: str
    present: bool
    workload: str
    kind: Literal["unfit.pods_unselected"] = "unfit.pods_unselected"


@dataclass(frozen=True, slots=True)
class BudgetTooLarge(Message):
    """A disruption budget wants more pods than there are."""

    budget: str
    wanted: int
    size: int
    workload: str
    kind: Literal["unfit.budget_too_large"] = "unfit.budget_too_large"


@dataclass(frozen=True, slots=True)
class KedaKeepsBounds(Message):
    """KEDA would put the bounds of an autoscaler back at once."""

    autoscaler: str
    owner: str
    workload: str
    kind: Literal["unfit.keda_keeps_bounds"] = "unfit.keda_keeps_bounds"


@dataclass(frozen=True, slots=True)
class HelperNameTaken(Message):
    """A Deployment stands where the helper would be."""

    deployment: str
    kind: Literal["unfit.helper_name_taken"] = "unfit.helper_name_taken"


@dataclass(frozen=True, slots=True)
class NoEnvironments(Message):
    """The target has no environments to switch between."""

    target: str
    kind: Literal["unfit.no_environments"] = "unfit.no_environments"


@dataclass(frozen=True, slots=True)
class SendsElsewhere(Message):
    """The Service does not send its requests to the environment that is taken for the live one."""

    service: str
    deployment: str
    kind: Literal["unfit.sends_elsewhere"] = "unfit.sends_elsewhere"


@dataclass(frozen=True, slots=True)
class OtherNotGood(Message):
    """The other environment carries a release that is not known to be good."""

    deployment: str
    images: tuple[str, ...]
    kind: Literal["unfit.other_not_good"] = "unfit.other_not_good"


@dataclass(frozen=True, slots=True)
class OtherMissing(Message):
    """The other environment is not there, and cannot be made again."""

    deployment: str
    kind: Literal["unfit.other_missing"] = "unfit.other_missing"


@dataclass(frozen=True, slots=True)
class OtherAtWork(Message):
    """Somebody is at work on the other environment: it is `paused`, or being deleted."""

    deployment: str
    paused: bool
    kind: Literal["unfit.other_at_work"] = "unfit.other_at_work"


@dataclass(frozen=True, slots=True)
class OtherUnselected(Message):
    """The Service would not select the other environment's pods."""

    deployment: str
    labels: str
    service: str
    kind: Literal["unfit.other_unselected"] = "unfit.other_unselected"


@dataclass(frozen=True, slots=True)
class AutoscalerTooSmall(Message):
    """An autoscaler allows the other environment too few pods."""

    autoscaler: str
    deployment: str
    most: int
    needed: int
    kind: Literal["unfit.autoscaler_too_small"] = "unfit.autoscaler_too_small"


@dataclass(frozen=True, slots=True)
class AutoscalerMayShrink(Message):
    """An autoscaler of KEDA's may shrink the other environment, and its minimum cannot be raised."""

    autoscaler: str
    deployment: str
    least: int
    needed: int
    owner: str
    kind: Literal["unfit.autoscaler_may_shrink"] = "unfit.autoscaler_may_shrink"


@dataclass(frozen=True, slots=True)
class OwnerUnreachable(Message):
    """The GitOps owner cannot be suspended, for `reason`; `missing` is the right without which it cannot be read."""

    workload: str
    owner: Reason
    reason: Reason
    missing: MissingRight | None
    kind: Literal["unfit.owner_unreachable"] = "unfit.owner_unreachable"


@dataclass(frozen=True, slots=True)
class CannotCarryOut(Message):
    """What follows from a right that is missing: a way back cannot be carried out."""

    action: str
    kind: Literal["unable.carry_out"] = "unable.carry_out"


@dataclass(frozen=True, slots=True)
class CannotSuspend(Message):
    """What follows from a right that is missing: the owner of a workload cannot be suspended."""

    owner: Reason
    workload: str
    kind: Literal["unable.suspend"] = "unable.suspend"


@dataclass(frozen=True, slots=True)
class MissingRight(Message):
    """The guard's account may not do `verb` on `resource`, from which `consequence` follows; `name` may be empty."""

    verb: str
    resource: str
    name: str
    namespace: str
    consequence: Reason
    granted_by: str
    kind: Literal["missing_right"] = "missing_right"


@dataclass(frozen=True, slots=True)
class RevisionRolledOut(Message):
    """The revision that a GitOps owner rolled out last."""

    revision: str
    kind: Literal["commit.revision"] = "commit.revision"


@dataclass(frozen=True, slots=True)
class RevisionNotLookedUp(Message):
    """The owner's name is not known."""

    kind: Literal["commit.not_looked_up"] = "commit.not_looked_up"


@dataclass(frozen=True, slots=True)
class OwnerNotHere(Message):
    """The owner's object is not in this cluster."""

    owner: str
    kind: Literal["commit.owner_not_here"] = "commit.owner_not_here"


@dataclass(frozen=True, slots=True)
class RevisionUnread(Message):
    """The owner cannot be read, for `reason`."""

    reason: Reason
    kind: Literal["commit.unread"] = "commit.unread"


@dataclass(frozen=True, slots=True)
class RevisionUntold(Message):
    """The owner does not say what it rolled out."""

    owner: str
    kind: Literal["commit.untold"] = "commit.untold"


@dataclass(frozen=True, slots=True)
class OwnerNamed(Message):
    """A GitOps owner of `project`, and its object; `known`: the workload tells which."""

    project: str
    object: str
    known: bool
    kind: Literal["owner"] = "owner"


@dataclass(frozen=True, slots=True)
class UnknownVariables(Message):
    """Variables are asked for that neither release has; `known` are those that there are."""

    workload: str
    names: tuple[str, ...]
    known: tuple[str, ...]
    kind: Literal["unfit.unknown_variables"] = "unfit.unknown_variables"


@dataclass(frozen=True, slots=True)
class NothingToRestore(Message):
    """The variables are what they were in the good release; `names` is empty for all of them."""

    workload: str
    names: tuple[str, ...]
    revision: str
    images: tuple[str, ...]
    kind: Literal["unfit.nothing_to_restore"] = "unfit.nothing_to_restore"


@dataclass(frozen=True, slots=True)
class WouldBeBad(Message):
    """With the good release's variables the workload would carry a release that is known to be bad."""

    workload: str
    revision: str
    template: str
    kind: Literal["unfit.would_be_bad"] = "unfit.would_be_bad"
