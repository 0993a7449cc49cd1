"""A step as somebody would add it: a scaler outside the cluster is told how many pods the target is to have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from logcaster_guard.domain.compensations import CompensationKind, Remedy, by_nothing
from logcaster_guard.domain.observations import Before, Done, Observation
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Claim, Compensation, Field, ObjectReference, Plan, Purpose, Write
from logcaster_guard.steps.step_services import StepKind

SCALERS: dict[str, Any] = {}
"""What each scaler is set to: the system outside."""


@dataclass(frozen=True, slots=True)
class SetScaler(Write):
    """Write: the scaler gets the settings saved under `settings` (a blob digest), which ask for `size` pods."""

    scaler: str
    settings: str
    size: int
    kind: Literal["set_scaler"] = "set_scaler"
    borrows: ClassVar = "scaler"
    purpose: ClassVar = Purpose.PREPARATION

    def touches(self, plan: Plan) -> Sequence[ObjectReference]:  # noqa: ARG002 - the base's shape
        return (ObjectReference("scalers", "Scaler", "", self.scaler),)

    def rights(self, plan: Plan) -> Sequence[Right]:
        return (Right("get", "", "secrets", plan.namespace, self.scaler),)

    @property
    def blobs(self) -> Sequence[str]:
        return (self.settings,)

    def line(self, plan: Plan) -> str:  # noqa: ARG002 - the base's shape
        return f"let scaler {self.scaler} ask for {self.size}"

    @property
    def claims(self) -> Sequence[Claim]:
        return (Claim(Field.AUTOSCALED_SIZE, self.size),)


class SetScalerHandler:
    async def observe(self, step: SetScaler, run: Run) -> Observation:  # noqa: ARG002 - the protocol's shape
        if SCALERS[step.scaler] == {"size": step.size}:
            return Done("set")
        owed = Compensation(
            "scaler", "scaler", step.scaler, "", original=SCALERS[step.scaler], written={"size": step.size}
        )
        return Before("not set", borrows=owed)

    async def apply(self, step: SetScaler, run: Run) -> None:
        SCALERS[step.scaler] = run.compensations["scaler"].written

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:  # noqa: ARG002 - as above
        return Before() if SCALERS[owed.object] in owed.ours else Done()

    async def compensate(self, owed: Compensation, run: Run) -> None:  # noqa: ARG002 - as above
        SCALERS[owed.object] = owed.original


KIND = StepKind(
    SetScaler,
    lambda _: SetScalerHandler(),
    compensates=CompensationKind(
        SetScaler.borrows,
        touches=lambda _, owed: (ObjectReference("scalers", "Scaler", "", owed.object),),
        remedy=lambda _, owed: Remedy(f"Let scaler {owed.object} ask for what it did", f"scaler set {owed.original}"),
        stood_in_for=by_nothing,
        owner=None,
    ),
)
