"""The typed steps of a plan, and what may be borrowed on the way.

A step is a write, which is tried until it is seen to be done, or a wait, a judgement or a question, which have no
effect of their own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from logcaster_guard.domain.field_owners import FieldOwner
from logcaster_guard.domain.leftovers import Leftover

HoldKind = Literal[
    "autoscaler_minimum",
    "autoscaler_bounds",
    "helper",
    "replicas",
    "environment",
    "environment_size",
    "selector",
    "gitops_owner",
]


@dataclass(frozen=True, slots=True)
class Hold:
    """Something borrowed that must be given back.

    `id` is unique in its run; `kind` names the handler; `object` is the Kubernetes name. `original` and `written`
    are the values before and by the guard, `earlier` those that it wrote before `written`: it is given back only while
    the object still shows one of the guard's. `original_maximum` is an autoscaler's own upper bound. `run` is the run
    that took it, which a helper names on itself. `revision` and `content` are what a suspended GitOps owner wanted when
    its bad release was live, `saved` the JSON of the fields that suspending it changed. `token` is random and stands on
    what the run made or marked (empty in journals of earlier versions), `since` is when that run was opened, by the API
    server's clock. `owners` are the field managers that had the fields before: they get them back with their values.
    """

    id: str
    kind: HoldKind
    object: str
    uid: str
    original: int | None
    written: int
    original_maximum: int | None = None
    earlier: tuple[int, ...] = ()
    run: str = ""
    revision: str = ""
    content: str = ""
    saved: str = ""
    token: str = ""
    since: datetime | None = None
    owners: tuple[FieldOwner, ...] = ()

    @property
    def ours(self) -> frozenset[int]:
        """Every value that the guard wrote."""
        return frozenset({self.written, *self.earlier})


@dataclass(frozen=True, slots=True)
class SuspendOwner:
    """Write: the GitOps owner `owner` (its `object`) is suspended, so that it does not undo the rollback.

    `revision` and `content` are what it wanted when its bad release was live (see `gitops.Desired`).
    """

    owner: str
    uid: str
    revision: str
    content: str
    kind: Literal["suspend_owner"] = "suspend_owner"


@dataclass(frozen=True, slots=True)
class RaiseAutoscalerMinimum:
    """Write: an autoscaler may not shrink the target below `minimum` pods while it is rolled back."""

    autoscaler: str
    uid: str
    minimum: int
    kind: Literal["raise_autoscaler_minimum"] = "raise_autoscaler_minimum"


@dataclass(frozen=True, slots=True)
class PinAutoscaler:
    """Write: both bounds of an autoscaler become `size`, so that it keeps the target at that many pods."""

    autoscaler: str
    uid: str
    size: int
    kind: Literal["pin_autoscaler"] = "pin_autoscaler"


@dataclass(frozen=True, slots=True)
class RestoreTemplate:
    """Write: the workload's pod template becomes the release saved under `release` (a blob digest)."""

    release: str
    kind: Literal["restore_template"] = "restore_template"


@dataclass(frozen=True, slots=True)
class DeleteStuckPods:
    """Write: pods of the bad release that are not Ready are deleted, where their controller would wait for them.

    A StatefulSet with ordered pods does not go on while one of them is not Ready, even when its template is put back.
    """

    timeout: float
    kind: Literal["delete_stuck_pods"] = "delete_stuck_pods"


@dataclass(frozen=True, slots=True)
class CreateHelper:
    """Write: a second Deployment `helper` runs the release saved under `release` beside production, `replicas` pods.

    `labels` are what the Service selects, on top of the release's own.
    """

    helper: str
    release: str
    replicas: int
    labels: dict[str, str]
    kind: Literal["create_helper"] = "create_helper"


@dataclass(frozen=True, slots=True)
class ScaleHelper:
    """Write: the helper gets `replicas` pods."""

    helper: str
    replicas: int
    kind: Literal["scale_helper"] = "scale_helper"


@dataclass(frozen=True, slots=True)
class AwaitHelper:
    """Wait: until `replicas` pods of the helper are Ready and the Service selects them; `timeout` in seconds."""

    helper: str
    replicas: int
    timeout: float
    kind: Literal["await_helper"] = "await_helper"


@dataclass(frozen=True, slots=True)
class ScaleProduction:
    """Write: the target gets `replicas` pods, never so few that fewer than the plan's `floor` would serve."""

    replicas: int
    kind: Literal["scale_production"] = "scale_production"


@dataclass(frozen=True, slots=True)
class JudgeHelper:
    """Judge: the helper's own error rate at this share of the pods.

    `share` is helper / all. Judged `wait` seconds after the step's pods were Ready, on readings that look back `window`
    seconds and no further than that; it is bad above `threshold` (of 1). Fewer than `min_requests` in the window, or
    no data, prove nothing: it is held until `timeout` (seconds) and then stopped.
    """

    helper: str
    share: float
    wait: float
    window: float
    threshold: float
    min_requests: int
    timeout: float
    kind: Literal["judge_helper"] = "judge_helper"


@dataclass(frozen=True, slots=True)
class RemoveHelper:
    """Write: the helper is deleted, with its pods, once production carries the load alone."""

    helper: str
    kind: Literal["remove_helper"] = "remove_helper"


@dataclass(frozen=True, slots=True)
class RestoreEnvironment:
    """Write: the plan's Deployment, which is missing, is created as the snapshot (a blob digest) shows it.

    It gets `replicas` pods; nobody sends it a request before the Service is switched.
    """

    snapshot: str
    replicas: int
    kind: Literal["restore_environment"] = "restore_environment"


@dataclass(frozen=True, slots=True)
class ScaleEnvironment:
    """Write: the environment that is to take over gets `replicas` pods."""

    replicas: int
    kind: Literal["scale_environment"] = "scale_environment"


@dataclass(frozen=True, slots=True)
class AwaitEnvironment:
    """Wait: until `replicas` pods of the other environment are Ready, all of the good release; `timeout` in seconds."""

    replicas: int
    timeout: float
    kind: Literal["await_environment"] = "await_environment"


@dataclass(frozen=True, slots=True)
class CheckEnvironment:
    """Wait: until every pod of the other environment answers its health check.

    `health_url` is the Service's; its port and path are asked of each pod. `timeout` in seconds.
    """

    health_url: str
    timeout: float
    kind: Literal["check_environment"] = "check_environment"


@dataclass(frozen=True, slots=True)
class SwitchService:
    """Write: the Service's selector says `label: after` in place of `label: before`."""

    label: str
    before: str
    after: str
    kind: Literal["switch_service"] = "switch_service"


@dataclass(frozen=True, slots=True)
class AwaitEndpoints:
    """Wait: until the Service's EndpointSlices list the new environment's pods only, at least `least` of them Ready."""

    least: int
    timeout: float
    kind: Literal["await_endpoints"] = "await_endpoints"


@dataclass(frozen=True, slots=True)
class JudgeEnvironment:
    """Judge: whether the environment that took over is worse than the one before it.

    Its error rate over the `window` seconds before, looked at `wait` seconds after the switch, is worse above
    `threshold` and above `baseline`, the other's before the switch (both of 1; None: unknown). Fewer than
    `min_requests`, or no data, prove nothing; the judgement of the rules follows.
    """

    wait: float
    window: float
    threshold: float
    baseline: float | None
    min_requests: int
    timeout: float
    kind: Literal["judge_environment"] = "judge_environment"


@dataclass(frozen=True, slots=True)
class AskPeople:
    """Ask: people may veto until the deadline, or approve before it.

    `grace` seconds without a veto are consent, unless `require_approval`. `remind_every` is in seconds.
    """

    rule: str
    grace: float
    require_approval: bool
    remind_every: float
    quiet_for: float
    timeout: float
    kind: Literal["ask_people"] = "ask_people"


@dataclass(frozen=True, slots=True)
class AwaitRollout:
    """Wait: until every pod is of the restored template and available; `timeout` in seconds."""

    timeout: float
    kind: Literal["await_rollout"] = "await_rollout"


@dataclass(frozen=True, slots=True)
class VerifyRecovery:
    """Judge: quiet for `stable_for` seconds within `timeout` seconds, on readings from after the rollout."""

    rule: str
    stable_for: float
    timeout: float
    kind: Literal["verify_recovery"] = "verify_recovery"


Write = (
    SuspendOwner
    | RaiseAutoscalerMinimum
    | PinAutoscaler
    | RestoreTemplate
    | DeleteStuckPods
    | CreateHelper
    | ScaleHelper
    | ScaleProduction
    | RemoveHelper
    | RestoreEnvironment
    | ScaleEnvironment
    | SwitchService
)
Step = (
    Write
    | AwaitHelper
    | JudgeHelper
    | AwaitEnvironment
    | CheckEnvironment
    | AwaitEndpoints
    | JudgeEnvironment
    | AskPeople
    | AwaitRollout
    | VerifyRecovery
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps of a rollback and what they were planned from.

    `from_template` and `to_template` are normalised template hashes. `uid`, `replicas` and `selector` are what was seen
    of the workload; a change of one by somebody else ends the run. `autoscaled`: an HPA, or the number of nodes, owns
    the replica count. `size` is how many pods the target is to have in the end (None: as many as were seen). `floor` is
    the capacity that a gradual or blue-green run never goes below: the Ready pods that the Service selected, at most
    the wanted ones.

    Where the Service goes over to another environment, `deployment`, `uid` (empty: it is to be created) and `replicas`
    are that environment's, and `live` and `live_uid` name the Deployment that it leaves, which carries `from_template`.

    `leftover` is what people have to know of the next deployment, None where there is nothing to know.
    """

    strategy: str
    namespace: str
    deployment: str
    uid: str
    from_template: str
    to_template: str
    from_images: tuple[str, ...]
    to_images: tuple[str, ...]
    replicas: int
    autoscaled: bool
    service: str | None
    selector: dict[str, str] | None
    steps: tuple[Step, ...]
    kind: str = "Deployment"
    size: int | None = None
    floor: int = 0
    live: str = ""
    live_uid: str = ""
    leftover: Leftover | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what the plan does: what an approval is bound to."""
        done = {key: part for key, part in asdict(self).items() if key != "leftover"}
        return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()

    @property
    def full_size(self) -> int:
        """How many pods the target is to have in the end."""
        return self.replicas if self.size is None else self.size
