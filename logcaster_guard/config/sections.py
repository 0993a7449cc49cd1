"""The keys of `guard.yaml` as typed and frozen values: the whole file, and the sections about the guard itself.

Every key has a default that fits LogCaster. Durations are seconds, sizes bytes, shares of 1.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from logcaster_guard.adapters.postgres.section import DatabaseSection
from logcaster_guard.config.causes import AttributionSection, MaintenanceSection
from logcaster_guard.config.channels import NotifySection
from logcaster_guard.config.policies import (
    AlertSection,
    BlueGreenSection,
    ConfigSection,
    FallbackSection,
    GradualSection,
    LedgerSection,
    LimitsSection,
    PollingSection,
    RolloutSection,
    SnapshotsSection,
    VerifySection,
)
from logcaster_guard.config.sources import SignalSection, SourcesSection
from logcaster_guard.config.targets import DEFAULT_TARGET, LABEL_KEY, TargetSection
from logcaster_guard.domain.gitops import ARGOCD_NAMESPACE, GitOps
from logcaster_guard.domain.rules import LEAST_RETENTION
from logcaster_guard.fields.durations import show_duration, two_values, value_of
from logcaster_guard.fields.faults import Refused, described
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.fields.section import (
    Duration,
    Label,
    PathName,
    SecretSource,
    Section,
    Sized,
    Subdomain,
    keys_like,
    pattern_of,
)
from logcaster_guard.messages.texts import phrase

MAX_ITEMS = 100
"""Targets, and signals, of one guard."""

_LISTEN = re.compile(r"(?P<host>[0-9.]{1,15}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})", re.ASCII)


def _check_listen(text: str) -> str:
    found = _LISTEN.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise Refused(described(text), phrase("allowed.listen"))
    try:
        ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        raise Refused(described(text), phrase("allowed.listen_ip")) from None
    return text


ListenAddress = Annotated[str, AfterValidator(_check_listen), pattern_of(_LISTEN)]


class JournalSection(Section):
    """Where the guard keeps what it has done: in files, or in Secrets of a namespace."""

    backend: Literal["sqlite", "kubernetes"] = Field(
        default="sqlite",
        description=(
            "`sqlite`: files; `kubernetes`: Secrets, for a guard without a volume; see [Journal "
            "in the cluster](#journal-in-the-cluster)"
        ),
    )
    path: PathName = Field(
        default="/var/lib/logcaster-guard/journal.db",
        description="with `sqlite`: the database; on a volume that outlives the pod",
    )
    blobs: PathName = Field(
        default="/var/lib/logcaster-guard/blobs", description="with `sqlite`: folder of saved releases and evidence"
    )
    namespace: Label = Field(
        default="logcaster-guard",
        description="with `kubernetes`: the namespace of the Secrets; it should hold nothing else",
    )
    name: Label = Field(
        default="logcaster-guard",
        description=("with `kubernetes`: tells this guard's Secrets from those of another guard in that namespace"),
    )
    retention: Duration = Field(
        default=2_592_000.0,
        description=("for how long the steps and notices of closed runs stay; what decisions need stays for ever"),
    )

    @model_validator(mode="after")
    def _kept_while_it_is_owed(self) -> JournalSection:
        if self.retention < LEAST_RETENTION:
            allowed = phrase("allowed.retention", least=show_duration(LEAST_RETENTION))
            raise Refused(value_of("retention", self.retention), allowed, key=("retention",))
        return self

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> JournalSection:
        of_files, of_secrets = ("path", "blobs"), ("namespace", "name")
        for key in of_files if self.backend == "kubernetes" else of_secrets:
            if key in self.model_fields_set:
                one, other = of_secrets if self.backend == "kubernetes" else of_files
                found = phrase("found.without_effect", key=key, backend=self.backend)
                raise Refused(found, phrase("allowed.other_backend", one=one, other=other), key=(key,))
        return self


class AuthoritySection(Section):
    """Which of several guards over one journal acts; `lease: null` for a guard that is alone."""

    lease: Subdomain | None = Field(
        default=None, description="name of the Lease that they share; `null`: this guard is alone"
    )
    namespace: Label | None = Field(
        default=None, description="the Lease's; `null`: the pod's own, or outside a pod the first target's"
    )
    duration: Duration = Field(default=30.0, description="how long a guard that died is waited for; in whole seconds")
    renew_every: Duration = Field(default=5.0, description="between two renewals; at most a third of `duration`")

    @model_validator(mode="after")
    def _renewed_before_it_ends(self) -> AuthoritySection:
        if not self.duration.is_integer():
            raise Refused(value_of("duration", self.duration), phrase("allowed.whole_seconds"), key=("duration",))
        if self.renew_every > self.duration / 3:
            found = two_values(value_of("renew_every", self.renew_every), value_of("duration", self.duration))
            key = "renew_every" if "renew_every" in self.model_fields_set else "duration"
            raise Refused(found, phrase("allowed.a_third"), key=(key,))
        return self


class AuthSection(Section):
    """Who may change something over HTTP: the holder of `token`, or whom Kubernetes lets patch the workload."""

    token: SecretSource | None = Field(
        default=None, description="the bearer token of whoever may change everything; empty: nobody may"
    )
    kubernetes: bool = Field(
        default=False,
        description=(
            "whether Kubernetes tells (TokenReview, SubjectAccessReview): whoever may patch the "
            "workload may; needs `deploy/components/api-auth`"
        ),
    )
    audience: str | None = Field(
        default=None, description="with `kubernetes`: whom tokens must be made for; `null`: the API server"
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> AuthSection:
        if (self.token is None) != self.kubernetes:
            found = phrase("found.token_and_kubernetes" if self.kubernetes else "found.nobody_tells_who")
            raise Refused(found, phrase("allowed.one_way_in"))
        if self.audience is not None and (not self.kubernetes or not self.audience.isprintable() or not self.audience):
            raise Refused(phrase("found.audience"), phrase("allowed.audience"), key=("audience",))
        return self


class WebSection(Section):
    """The guard's own HTTP server; `listen: null` for none."""

    listen: ListenAddress | None = Field(
        default="127.0.0.1:9997",
        description=(
            "IP address and port; for Prometheus the pod's, such as `0.0.0.0:9997`: who reaches "
            "it may read everything there. `null`: none"
        ),
    )
    probes: ListenAddress | None = Field(
        default=None,
        description=(
            "a further IP address and port, for `/healthz` and `/readyz` alone, such as "
            "`0.0.0.0:9996`: a flood of `listen` does not reach the kubelet's probes there. "
            "`null`: none"
        ),
    )
    hosts: Annotated[tuple[Subdomain, ...], Sized(0, 20, "hosts")] = Field(
        default=(),
        description=(
            "names under which `listen` may be asked, such as `guard.example.com`, at most 20; "
            "`localhost` and IP addresses always may. Any other `Host` is refused"
        ),
    )
    auth: AuthSection | None = Field(
        default=None,
        description=(
            "who may [approve, veto, freeze and roll back over "
            "HTTP](metrics.md#changing-something-over-http); `null`: nobody. Either `token` or "
            "`kubernetes: true`"
        ),
    )

    @model_validator(mode="after")
    def _two_addresses(self) -> WebSection:
        if self.probes is not None and self.probes == self.listen:
            raise Refused(phrase("found.probes_at_listen"), phrase("allowed.another_port"), key=("probes",))
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this host can reach it."""
        host = "" if self.listen is None else self.listen.rpartition(":")[0].strip("[]")
        return not host or ipaddress.ip_address(host).is_loopback


class LogSection(Section):
    """The guard's log; `auto` is console on a terminal and JSON elsewhere."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`json`, `console`, or `auto`: console on a terminal, JSON elsewhere"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`"
    )


class SettingsFile(Section):
    """The keys of `guard.yaml`."""

    mode: Literal["standalone", "sidecar"] = Field(
        default="standalone",
        description=(
            "`standalone`: the guard's own workload is never a target; `sidecar`: the guard is a "
            "container of the target's pods; see [Sidecar](#sidecar)"
        ),
    )
    targets: Annotated[tuple[TargetSection, ...], Sized(1, MAX_ITEMS, "targets")] = Field(
        default=(DEFAULT_TARGET,), description="the guarded workloads, 1 to 100; no two of the same name or Deployment"
    )
    sources: SourcesSection = Field(default=SourcesSection(), description="where signals are read")
    metrics: MetricsSection = Field(default=MetricsSection(), description="names of metrics and labels")
    signals: Annotated[dict[str, SignalSection], Sized(0, MAX_ITEMS, "signals")] = Field(
        default_factory=dict,
        json_schema_extra=keys_like(LABEL_KEY),
        description="by signal name (lower-case letters, digits, `_`), at most 100",
    )
    polling: PollingSection = Field(default=PollingSection(), description="how often signals are read")
    limits: LimitsSection = Field(default=LimitsSection(), description="how often the guard may act")
    attribution: AttributionSection = Field(
        default=AttributionSection(),
        description=(
            "when a rollout counts as the cause of a breach; see [What a breach is put down "
            "to](#what-a-breach-is-put-down-to)"
        ),
    )
    maintenance: Annotated[tuple[MaintenanceSection, ...], Sized(0, MAX_ITEMS, "maintenance windows")] = Field(
        default=(), description="times of the week in which nothing is rolled back, at most 100"
    )
    ledger: LedgerSection = Field(default=LedgerSection(), description="when a release counts as good")
    config: ConfigSection = Field(
        default=ConfigSection(),
        description="which [configuration](#the-configuration-of-a-release) belongs to a release",
    )
    snapshots: SnapshotsSection = Field(
        default=SnapshotsSection(), description="how many [snapshots](journal.md#snapshots) are kept, and for how long"
    )
    verify: VerifySection = Field(default=VerifySection(), description="how a rollback is judged")
    rollout: RolloutSection = Field(default=RolloutSection(), description="how a rollout of the guard's is followed")
    rollout_window: Duration | None = Field(
        default=86_400.0,
        description=(
            "for rules that name none: how soon after a rollout the trouble must begin for the "
            "rollout to be its cause; `null`: the cause is not asked for"
        ),
    )
    gradual: GradualSection = Field(default=GradualSection(), description="how a `gradual_rollback` goes")
    blue_green: BlueGreenSection = Field(
        default=BlueGreenSection(), description="how a `blue_green_rollback` is judged"
    )
    alert: AlertSection = Field(
        default=AlertSection(), description="what people can say before an `alert_then_rollback`"
    )
    fallback: FallbackSection = Field(default=FallbackSection(), description="whether a further good release is tried")
    dry_run: bool = Field(default=False, description="whether nothing is written: people are told the plan instead")
    gitops: Annotated[GitOps, Strict(False)] = Field(
        default=GitOps.REFUSE,
        description=(
            "what is done where Argo CD or Flux owns a workload: `refuse`, `suspend` (its owner "
            "is suspended until it wants another revision) or `proceed`; see [GitOps](#gitops)"
        ),
    )
    argocd_namespace: Label = Field(
        default=ARGOCD_NAMESPACE,
        description="where Argo CD's Applications are, unless their tracking id names another namespace",
    )
    database: DatabaseSection | None = Field(
        default=None, description="the database whose [migrations can be undone](database.md); `null`: none"
    )
    journal: JournalSection = Field(
        default=JournalSection(), description="where the guard keeps [what it has done](journal.md)"
    )
    authority: AuthoritySection = Field(
        default=AuthoritySection(),
        description="which of several guards over one journal acts; see [several guards](#several-guards)",
    )
    notify: NotifySection = Field(default=NotifySection(), description="who is told")
    web: WebSection = Field(
        default=WebSection(), description="the guard's own HTTP server: [probes, metrics](metrics.md) and JSON"
    )
    log: LogSection = Field(default=LogSection(), description="the guard's own log")
