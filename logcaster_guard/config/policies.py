"""The sections of `guard.yaml` that shape decisions: how often, how long, how many, how far."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, Strict, model_validator

from logcaster_guard.config.durations import show_duration
from logcaster_guard.config.faults import Refused, quoted
from logcaster_guard.config.schema import (
    Duration,
    Rate,
    Section,
    Share,
    Sized,
    WholeNumber,
)
from logcaster_guard.domain.rules import Action


def _check_steps(shares: tuple[float, ...]) -> tuple[float, ...]:
    if list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1.0:
        shown = ", ".join(f"{share:.0%}" for share in shares)
        raise Refused(f"the steps {shown}", "shares above 0 that rise up to 100%")
    return shares


def _check_otherwise(action: Action) -> Action:
    allowed = (Action.IMMEDIATE, Action.ALERT_THEN, Action.ALERT_ONLY)
    if action not in allowed:
        raise Refused(quoted(action), ", ".join(allowed))
    return action


class PollingSection(Section):
    """How often signals are read; `staleness: null` means two intervals."""

    interval: Duration = 30.0
    staleness: Duration | None = None

    @model_validator(mode="after")
    def _a_reading_outlives_a_poll(self) -> PollingSection:
        if self.interval < 0.1:
            raise Refused(f"an interval of {show_duration(self.interval)}", "at least 100ms", key=("interval",))
        if self.staleness is not None and self.staleness < self.interval:
            raise Refused(
                f"a staleness of {show_duration(self.staleness)} with an interval of {show_duration(self.interval)}",
                "a staleness of at least one interval",
                key=("staleness",),
            )
        return self


class LimitsSection(Section):
    """How often the guard may act, and on how much traffic."""

    cooldown: Duration = 1_800.0
    per_target_per_day: WholeNumber = 2
    per_cluster_per_hour: WholeNumber = 3
    min_request_rate: Rate | None = None


class LedgerSection(Section):
    """When a revision counts as good."""

    good_after: Duration = 600.0
    good_share: Share = 0.9
    presumed_after: Duration = 86_400.0
    keep: Annotated[int, Field(ge=1, le=50)] = 5


class VerifySection(Section):
    """How a rollback is judged."""

    stable_for: Duration = 300.0
    timeout: Duration = 1_200.0

    @model_validator(mode="after")
    def _time_to_be_stable(self) -> VerifySection:
        if self.timeout <= self.stable_for:
            raise Refused(
                f"a timeout of {show_duration(self.timeout)} with stable_for of {show_duration(self.stable_for)}",
                "a timeout longer than stable_for",
                key=("timeout",),
            )
        return self


class RolloutSection(Section):
    """How a rollout of the guard's is followed."""

    timeout: Duration = 600.0


_Steps = Annotated[tuple[Share, ...], Sized(1, 20, "steps"), AfterValidator(_check_steps)]


class GradualSection(Section):
    """How a gradual rollback goes."""

    steps: _Steps = (0.1, 0.25, 0.5, 0.75, 1.0)
    wait: Duration = 60.0
    window: Duration = 60.0
    threshold: Share = 0.01
    min_requests: WholeNumber = 100
    hold: Duration = 300.0
    otherwise: Annotated[Action, Strict(False), AfterValidator(_check_otherwise)] = Action.IMMEDIATE


class BlueGreenSection(Section):
    """How a switch to the other environment is judged."""

    wait: Duration = 60.0
    window: Duration = 60.0
    threshold: Share = 0.01
    min_requests: WholeNumber = 100
    otherwise: Annotated[Action, Strict(False), AfterValidator(_check_otherwise)] = Action.ALERT_ONLY


class AlertSection(Section):
    """How long people have a say before an `alert_then_rollback`, and how long their veto holds."""

    grace: Duration = 300.0
    require_approval: bool = False
    approval_timeout: Duration = 3_600.0
    remind_every: Duration = 120.0
    veto_for: Duration = 86_400.0


class FallbackSection(Section):
    """How many further good releases may be tried after one that did not do."""

    destination_bad: Annotated[int, Field(ge=0, le=5)] = 1
    not_recovered: Annotated[int, Field(ge=0, le=5)] = 0
