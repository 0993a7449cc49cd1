"""The typed steps of a plan, and what may be borrowed on the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Hold:
    """Something borrowed that must be given back.

    `id` is unique in its run; `kind` names the handler; `object` is the Kubernetes name. `original` and `written`
    are the values before and by the guard: it is given back only while the object still shows `written`.
    """

    id: str
    kind: Literal["autoscaler_minimum"]
    object: str
    uid: str
    original: int | None
    written: int


@dataclass(frozen=True, slots=True)
class RaiseAutoscalerMinimum:
    """Write: an autoscaler may not shrink the target below `minimum` pods while it is rolled back."""

    autoscaler: str
    uid: str
    minimum: int
    kind: Literal["raise_autoscaler_minimum"] = "raise_autoscaler_minimum"


@dataclass(frozen=True, slots=True)
class RestoreTemplate:
    """Write: the Deployment's pod template becomes the release saved under `release` (a blob digest)."""

    release: str
    kind: Literal["restore_template"] = "restore_template"


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


Step = RaiseAutoscalerMinimum | RestoreTemplate | AwaitRollout | VerifyRecovery


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps of a rollback and what they were planned from.

    `from_template` and `to_template` are normalised template hashes. `uid`, `replicas` and `selector` are what was seen
    of the workload; a change of one by somebody else ends the run. `autoscaled`: an HPA owns the replica count.
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

    @property
    def digest(self) -> str:
        """SHA-256 of the plan: what an approval is bound to."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
