"""What each step of a plan does, as messages: how it reads in a plan. Lengths of time are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class ToAwaitApproval(Message):
    """Nothing begins until somebody approves."""

    kind: Literal["plan.await_approval"] = "plan.await_approval"


@dataclass(frozen=True, slots=True)
class ToAwaitVeto(Message):
    """People may veto until the time is up."""

    grace: float
    kind: Literal["plan.await_veto"] = "plan.await_veto"


@dataclass(frozen=True, slots=True)
class ToAwaitEndpoints(Message):
    """Wait until the Service lists the other environment alone."""

    least: int
    kind: Literal["plan.await_endpoints"] = "plan.await_endpoints"


@dataclass(frozen=True, slots=True)
class ToAwaitEnvironment(Message):
    """Wait until the other environment could take the requests."""

    replicas: int
    kind: Literal["plan.await_environment"] = "plan.await_environment"


@dataclass(frozen=True, slots=True)
class ToAwaitHelper(Message):
    """Wait until the helper's pods serve."""

    helper: str
    replicas: int
    kind: Literal["plan.await_helper"] = "plan.await_helper"


@dataclass(frozen=True, slots=True)
class ToAwaitRollout(Message):
    """Wait for the rollout of the good release."""

    timeout: float
    kind: Literal["plan.await_rollout"] = "plan.await_rollout"


@dataclass(frozen=True, slots=True)
class ToAwaitStopped(Message):
    """Wait until no pod of production runs any more."""

    timeout: float
    kind: Literal["plan.await_stopped"] = "plan.await_stopped"


@dataclass(frozen=True, slots=True)
class ToCheckEnvironment(Message):
    """Ask each pod of the other environment for its health."""

    kind: Literal["plan.check_environment"] = "plan.check_environment"


@dataclass(frozen=True, slots=True)
class ToCopyConfigMap(Message):
    """The helper's pods get a copy of what the good release's pods read."""

    config_map: str
    kind: Literal["plan.copy_config_map"] = "plan.copy_config_map"


@dataclass(frozen=True, slots=True)
class ToCreateHelper(Message):
    """Run the good release beside production."""

    good: tuple[str, ...]
    helper: str
    replicas: int
    kind: Literal["plan.create_helper"] = "plan.create_helper"


@dataclass(frozen=True, slots=True)
class ToDeleteStuckPods(Message):
    """Delete the pods that hold up a StatefulSet's rollout."""

    kind: Literal["plan.delete_stuck_pods"] = "plan.delete_stuck_pods"


@dataclass(frozen=True, slots=True)
class ToJudgeEnvironment(Message):
    """Judge the environment that took over."""

    wait: float
    threshold: str
    kind: Literal["plan.judge_environment"] = "plan.judge_environment"


@dataclass(frozen=True, slots=True)
class ToJudgeHelper(Message):
    """Judge the helper at a share of the pods."""

    share: float
    wait: float
    threshold: str
    kind: Literal["plan.judge_helper"] = "plan.judge_helper"


@dataclass(frozen=True, slots=True)
class ToPinAutoscaler(Message):
    """Keep an autoscaler at one size."""

    autoscaler: str
    size: int
    kind: Literal["plan.pin_autoscaler"] = "plan.pin_autoscaler"


@dataclass(frozen=True, slots=True)
class ToRaiseMinimum(Message):
    """Keep an autoscaler from shrinking the target."""

    autoscaler: str
    minimum: int
    kind: Literal["plan.raise_minimum"] = "plan.raise_minimum"


@dataclass(frozen=True, slots=True)
class ToRemoveHelper(Message):
    """Delete the helper."""

    helper: str
    kind: Literal["plan.remove_helper"] = "plan.remove_helper"


@dataclass(frozen=True, slots=True)
class ToRestoreEnvironment(Message):
    """Create the other environment again."""

    good: tuple[str, ...]
    replicas: int
    kind: Literal["plan.restore_environment"] = "plan.restore_environment"


@dataclass(frozen=True, slots=True)
class ToRestoreConfigMap(Message):
    """Give a ConfigMap back what the good release's pods read; it is `gone` where it has to be made again.

    Each of `keys` has a mark: `+` it comes, `-` it goes, `~` it holds something else. There are `more`.
    """

    config_map: str
    keys: tuple[str, ...]
    more: int
    gone: bool
    kind: Literal["plan.restore_config_map"] = "plan.restore_config_map"


@dataclass(frozen=True, slots=True)
class ToRestoreLater(Message):
    """Do what `line` says once the environment `left` has no pods."""

    left: str
    line: Reason
    kind: Literal["plan.restore_later"] = "plan.restore_later"


@dataclass(frozen=True, slots=True)
class ToRollEnvironment(Message):
    """Start each pod of the other environment anew, with the copies, or by the `annotation` of its template."""

    environment: str
    annotation: str
    kind: Literal["plan.roll_environment"] = "plan.roll_environment"


@dataclass(frozen=True, slots=True)
class ToRestoreTemplate(Message):
    """Put the good release's template into the workload."""

    good: tuple[str, ...]
    workload: str
    kind: Literal["plan.restore_template"] = "plan.restore_template"


@dataclass(frozen=True, slots=True)
class ToRestart(Message):
    """Write a template (`line`), and have every pod replaced by an `annotation`, also those that carry it already."""

    line: Reason
    annotation: str
    kind: Literal["plan.restart"] = "plan.restart"


@dataclass(frozen=True, slots=True)
class ToRestartPods(Message):
    """Replace every pod of the workload by an `annotation` of its template, which stays what it is."""

    workload: str
    annotation: str
    kind: Literal["plan.restart_pods"] = "plan.restart_pods"


@dataclass(frozen=True, slots=True)
class ToScaleEnvironment(Message):
    """Give the other environment another size."""

    replicas: int
    kind: Literal["plan.scale_environment"] = "plan.scale_environment"


@dataclass(frozen=True, slots=True)
class ToScaleHelper(Message):
    """Give the helper another size."""

    helper: str
    replicas: int
    kind: Literal["plan.scale_helper"] = "plan.scale_helper"


@dataclass(frozen=True, slots=True)
class ToScaleProduction(Message):
    """Give production another size."""

    replicas: int
    kind: Literal["plan.scale_production"] = "plan.scale_production"


@dataclass(frozen=True, slots=True)
class ToSuspendOwner(Message):
    """Suspend the workload's GitOps owner."""

    owner: str
    kind: Literal["plan.suspend_owner"] = "plan.suspend_owner"


@dataclass(frozen=True, slots=True)
class ToSwitchService(Message):
    """Send the Service's requests to the other environment; each is `label=value`."""

    before: str
    after: str
    kind: Literal["plan.switch_service"] = "plan.switch_service"


@dataclass(frozen=True, slots=True)
class ToVerifyRecovery(Message):
    """See whether the rollback helped."""

    stable_for: float
    timeout: float
    kind: Literal["plan.verify_recovery"] = "plan.verify_recovery"


@dataclass(frozen=True, slots=True)
class ToRestoreVariables(Message):
    """Give the workload the environment variables of the good release; `names` is empty for all of them."""

    workload: str
    names: tuple[str, ...]
    revision: str
    images: tuple[str, ...]
    kind: Literal["plan.restore_variables"] = "plan.restore_variables"
