"""The sections of `guard.yaml` that shape decisions: how often, how long, how many, how far."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, Strict, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from logcaster_guard.domain.rules import Action, EditAttribution, Incomplete, SecretsMode, Shared
from logcaster_guard.fields.durations import two_values, value_of
from logcaster_guard.fields.faults import Refused, quoted
from logcaster_guard.fields.section import Duration, Label, Name, Rate, Section, Share, Sized, Subdomain, WholeNumber
from logcaster_guard.messages.texts import phrase


def _check_steps(shares: tuple[float, ...]) -> tuple[float, ...]:
    if list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1.0:
        shown = ", ".join(f"{share:.0%}" for share in shares)
        raise Refused(phrase("found.steps", steps=shown), phrase("allowed.rising_shares"))
    return shares


def _check_otherwise(action: Action) -> Action:
    allowed = (Action.IMMEDIATE, Action.ALERT_THEN, Action.ALERT_ONLY)
    if action not in allowed:
        raise Refused(phrase("found.as_is", text=quoted(action)), phrase("allowed.words", words=allowed))
    return action


class PollingSection(Section):
    """How often signals are read; `staleness: null` means two intervals."""

    interval: Duration = Field(default=30.0, description="between two reads; at least `100ms`")
    staleness: Duration | None = Field(
        default=None,
        description=("how long a reading may be missing before the clock of a rule starts anew; `null`: two intervals"),
    )

    @model_validator(mode="after")
    def _a_reading_outlives_a_poll(self) -> PollingSection:
        if self.interval < 0.1:
            found = value_of("interval", self.interval)
            raise Refused(found, phrase("allowed.at_least", least="100ms"), key=("interval",))
        if self.staleness is not None and self.staleness < self.interval:
            found = two_values(value_of("staleness", self.staleness), value_of("interval", self.interval))
            raise Refused(found, phrase("allowed.an_interval"), key=("staleness",))
        return self


class LimitsSection(Section):
    """How often the guard may act, and on how much traffic."""

    cooldown: Duration = Field(default=1_800.0, description="after a rollback of a target")
    per_target_per_day: WholeNumber = Field(default=2, description="rollbacks of one target in 24 hours")
    per_cluster_per_hour: WholeNumber = Field(default=3, description="rollbacks of all targets in an hour")
    min_request_rate: Rate | None = Field(
        default=None,
        description=(
            "requests per second of a target; with fewer, or an unknown number, nothing is rolled "
            "back. `null`: no such limit"
        ),
    )


class LedgerSection(Section):
    """When a revision counts as good."""

    good_after: Duration = Field(default=600.0, description="how long it must be watched")
    good_share: Share = Field(default=0.9, description="of that time each rule that measures the release must be quiet")
    presumed_after: Duration = Field(
        default=86_400.0, description="a release from before the guard's time that stood this long is presumed good"
    )
    keep: Annotated[int, Field(ge=1, le=50)] = Field(default=5, description="good releases kept to go back to, 1 to 50")


class SnapshotsSection(Section):
    """How many snapshots are kept; those that an open run or a good release needs stay whatever is set here."""

    keep: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=10, description="of each target, the newest ones, 1 to 1000"
    )
    max_age: Duration = Field(default=2_592_000.0, description="for how long one is kept; at least `1h`")

    @model_validator(mode="after")
    def _older_than_what_is_under_way(self) -> SnapshotsSection:
        if self.max_age < 3_600.0:
            raise Refused(value_of("max_age", self.max_age), phrase("allowed.at_least", least="1h"), key=("max_age",))
        return self


_Named = Annotated[tuple[Subdomain, ...], Sized(1, 20, "ConfigMaps")]


class _OrItsMode:
    """The schema of a section in the place of which its `mode` may stand alone."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "enum": [str(mode) for mode in SecretsMode]}, handler(schema)]}


def _section_of_mode(value: object) -> object:
    return {"mode": value} if isinstance(value, str) else value


class SecretsSection(Section):
    """What becomes of the Secrets that pods refer to; in its place `mode` may stand alone."""

    mode: Annotated[SecretsMode, Strict(False)] = Field(
        default=SecretsMode.NAMES,
        description="`names`: they are named and never read; `restore`: [they belong to the release](#secrets)",
    )
    namespace: Label | None = Field(
        default=None, description="with `restore`: where what they held is kept, as Secrets; `null`: the target's own"
    )
    name: Label = Field(
        default="logcaster-guard",
        description="with `restore`: tells what this guard keeps from what another one keeps in that namespace",
    )

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> SecretsSection:
        for key in ("namespace", "name"):
            if key in self.model_fields_set and self.mode is SecretsMode.NAMES:
                raise Refused(phrase("found.no_secret_kept", key=key), phrase("allowed.secrets_mode"), key=(key,))
        return self


class ConfigSection(Section):
    """Which configuration belongs to a release, beside what its pod template refers to."""

    objects: Annotated[dict[Name, _Named], Sized(0, 100, "targets")] = Field(
        default_factory=dict,
        description=(
            "ConfigMaps that pods read by themselves, through the API: by the name of a target a list of names in its "
            "namespace"
        ),
    )
    propagation: Duration = Field(
        default=120.0, description="within which a mounted volume follows an edit, on the slowest node"
    )
    volatile: WholeNumber = Field(
        default=3, description="a ConfigMap that changes more often than this in a day is not followed"
    )
    attribution: Annotated[EditAttribution, Strict(False)] = Field(
        default=EditAttribution.ALERT,
        description=(
            "what a breach after an edit leads to where the pods that have read it cannot be told from those that have "
            "not: `alert` or `rollback`; see [What a breach is put down to](#what-a-breach-is-put-down-to)"
        ),
    )
    secrets: Annotated[SecretsSection, BeforeValidator(_section_of_mode), _OrItsMode()] = Field(
        default=SecretsSection(), description="what becomes of the Secrets that pods refer to; `mode` may stand here"
    )
    shared: Annotated[Shared, Strict(False)] = Field(
        default=Shared.REFUSE,
        description=(
            "a rollback that has to put back a ConfigMap which other workloads of the namespace read as well: "
            "`refuse` or `restore`"
        ),
    )
    incomplete: Annotated[Incomplete, Strict(False)] = Field(
        default=Incomplete.REFUSE,
        description=(
            "a rollback where a ConfigMap is known to differ and cannot be put back (it is another's, or immutable): "
            "`refuse`, or `proceed` without it"
        ),
    )


class VerifySection(Section):
    """How a rollback is judged."""

    stable_for: Duration = Field(default=300.0, description="quiet for this long, the target has recovered")
    timeout: Duration = Field(
        default=1_200.0,
        description=("not settled by then, the target is frozen and people are told; longer than `stable_for`"),
    )

    @model_validator(mode="after")
    def _time_to_be_stable(self) -> VerifySection:
        if self.timeout <= self.stable_for:
            found = two_values(value_of("timeout", self.timeout), value_of("stable_for", self.stable_for))
            raise Refused(found, phrase("allowed.longer_than_stable"), key=("timeout",))
        return self


class RolloutSection(Section):
    """How a rollout of the guard's is followed."""

    timeout: Duration = Field(default=600.0, description="until every pod must be up")


_Steps = Annotated[tuple[Share, ...], Sized(1, 20, "steps"), AfterValidator(_check_steps)]


class GradualSection(Section):
    """How a gradual rollback goes."""

    steps: _Steps = Field(
        default=(0.1, 0.25, 0.5, 0.75, 1.0),
        description="shares of the pods that run the good release, rising to `100%`",
    )
    wait: Duration = Field(default=60.0, description="at each step, from when its pods are Ready until they are judged")
    window: Duration = Field(
        default=60.0,
        description=(
            "how far back their error rate is read; at least four scrapes. A shorter `wait` becomes this long"
        ),
    )
    threshold: Share = Field(default=0.01, description="above this error rate of theirs everything is given back")
    min_requests: WholeNumber = Field(
        default=100,
        description=(
            "with fewer requests in the window nothing is proved; where the first step would have "
            "fewer at the present traffic, `gradual.otherwise` is done"
        ),
    )
    hold: Duration = Field(
        default=300.0, description="how long a step that proves nothing is held before everything is given back"
    )
    otherwise: Annotated[Action, Strict(False), AfterValidator(_check_otherwise)] = Field(
        default=Action.IMMEDIATE,
        description=(
            "what happens where a gradual rollback is not possible: `immediate_rollback`, "
            "`alert_then_rollback` or `alert_only`"
        ),
    )


class BlueGreenSection(Section):
    """How a switch to the other environment is judged."""

    wait: Duration = Field(default=60.0, description="from the switch until the other environment is judged")
    window: Duration = Field(
        default=60.0,
        description=("how far back its error rate is read; at least four scrapes. A shorter `wait` becomes this long"),
    )
    threshold: Share = Field(
        default=0.01, description="above this, and above what it was before, the Service is switched back"
    )
    min_requests: WholeNumber = Field(
        default=100, description="with fewer requests in the window nothing is proved, and the Service stays"
    )
    otherwise: Annotated[Action, Strict(False), AfterValidator(_check_otherwise)] = Field(
        default=Action.ALERT_ONLY,
        description=(
            "what happens where the other environment cannot take over: `immediate_rollback`, "
            "`alert_then_rollback` or `alert_only`"
        ),
    )


class AlertSection(Section):
    """How long people have a say before an `alert_then_rollback`, and how long their veto holds."""

    grace: Duration = Field(default=300.0, description="how long they may veto it")
    require_approval: bool = Field(default=False, description="whether it waits for an approval instead")
    approval_timeout: Duration = Field(default=3_600.0, description="how long it waits for one")
    remind_every: Duration = Field(default=120.0, description="between two reminders")
    veto_for: Duration = Field(
        default=86_400.0,
        description=(
            "how long a veto holds for that release at least, by whatever rule: longer where the "
            "veto itself names a later instant; a person who marks the release bad, or rolls it "
            "back, lifts it"
        ),
    )


class FallbackSection(Section):
    """How many further good releases may be tried after one that did not do."""

    destination_bad: Annotated[int, Field(ge=0, le=5)] = Field(
        default=1, description="how many after one that proved bad before it took over, 0 to 5"
    )
    not_recovered: Annotated[int, Field(ge=0, le=5)] = Field(
        default=0, description="how many after one that did not help, 0 to 5"
    )
