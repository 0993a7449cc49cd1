"""The keys of `guard.yaml` as typed and frozen values: the whole file, and the sections about the guard itself.

Every key has a default that fits LogCaster. Durations are seconds, sizes bytes, shares of 1.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from logcaster_guard.config.causes import AttributionSection, MaintenanceSection
from logcaster_guard.config.channels import NotifySection
from logcaster_guard.config.durations import show_duration
from logcaster_guard.config.faults import Refused, described
from logcaster_guard.config.policies import (
    AlertSection,
    BlueGreenSection,
    FallbackSection,
    GradualSection,
    LedgerSection,
    LimitsSection,
    PollingSection,
    RolloutSection,
    VerifySection,
)
from logcaster_guard.config.schema import (
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
from logcaster_guard.config.sources import MetricsSection, SignalSection, SourcesSection
from logcaster_guard.config.targets import DEFAULT_TARGET, LABEL_KEY, TargetSection
from logcaster_guard.domain.gitops import ARGOCD_NAMESPACE, GitOps
from logcaster_guard.domain.rules import LEAST_RETENTION

MAX_ITEMS = 100
"""Targets, and signals, of one guard."""

_LISTEN = re.compile(r"(?P<host>[0-9.]{1,15}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})", re.ASCII)


def _check_listen(text: str) -> str:
    found = _LISTEN.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise Refused(described(text), "an address and a port, such as 127.0.0.1:9997, 0.0.0.0:9997 or [::]:9997")
    try:
        ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        raise Refused(described(text), "an IP address before the port, such as 127.0.0.1 or [::1]") from None
    return text


ListenAddress = Annotated[str, AfterValidator(_check_listen), pattern_of(_LISTEN)]


class JournalSection(Section):
    """Where the guard keeps what it has done: in files, or in Secrets of a namespace."""

    backend: Literal["sqlite", "kubernetes"] = "sqlite"
    path: PathName = "/var/lib/logcaster-guard/journal.db"
    blobs: PathName = "/var/lib/logcaster-guard/blobs"
    namespace: Label = "logcaster-guard"
    name: Label = "logcaster-guard"
    retention: Duration = 2_592_000.0

    @model_validator(mode="after")
    def _kept_while_it_is_owed(self) -> JournalSection:
        if self.retention < LEAST_RETENTION:
            raise Refused(
                f"a retention of {show_duration(self.retention)}",
                f"at least {show_duration(LEAST_RETENTION)}: notices are owed for a day",
                key=("retention",),
            )
        return self

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> JournalSection:
        of_files, of_secrets = ("path", "blobs"), ("namespace", "name")
        for key in of_files if self.backend == "kubernetes" else of_secrets:
            if key in self.model_fields_set:
                allowed = of_secrets if self.backend == "kubernetes" else of_files
                raise Refused(
                    f"journal.{key} with the backend {self.backend}, where it has no effect",
                    f"journal.{allowed[0]} and journal.{allowed[1]}, or the other backend",
                    key=(key,),
                )
        return self


class AuthoritySection(Section):
    """Which of several guards over one journal acts; `lease: null` for a guard that is alone."""

    lease: Subdomain | None = None
    namespace: Label | None = None
    duration: Duration = 30.0
    renew_every: Duration = 5.0

    @model_validator(mode="after")
    def _renewed_before_it_ends(self) -> AuthoritySection:
        if not self.duration.is_integer():
            raise Refused(f"a duration of {show_duration(self.duration)}", "whole seconds", key=("duration",))
        if self.renew_every > self.duration / 3:
            raise Refused(
                f"a renew_every of {show_duration(self.renew_every)} with a duration of {show_duration(self.duration)}",
                "at most a third of the duration, so that one renewal may fail",
                key=("renew_every" if "renew_every" in self.model_fields_set else "duration",),
            )
        return self


class AuthSection(Section):
    """Who may change something over HTTP: the holder of `token`, or whom Kubernetes lets patch the workload."""

    token: SecretSource | None = None
    kubernetes: bool = False
    audience: str | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> AuthSection:
        if (self.token is None) != self.kubernetes:
            found = "a token beside kubernetes: true" if self.kubernetes else "no way to tell who asks"
            raise Refused(found, "one of token and kubernetes: true")
        if self.audience is not None and (not self.kubernetes or not self.audience.isprintable() or not self.audience):
            raise Refused("an audience", "a name of printable characters, with kubernetes: true", key=("audience",))
        return self


class WebSection(Section):
    """The guard's own HTTP server; `listen: null` for none."""

    listen: ListenAddress | None = "127.0.0.1:9997"
    probes: ListenAddress | None = None
    hosts: Annotated[tuple[Subdomain, ...], Sized(0, 20, "hosts")] = ()
    auth: AuthSection | None = None

    @model_validator(mode="after")
    def _two_addresses(self) -> WebSection:
        if self.probes is not None and self.probes == self.listen:
            raise Refused("web.probes at the address of web.listen", "another port, or null", key=("probes",))
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this host can reach it."""
        host = "" if self.listen is None else self.listen.rpartition(":")[0].strip("[]")
        return not host or ipaddress.ip_address(host).is_loopback


class LogSection(Section):
    """The guard's log; `auto` is console on a terminal and JSON elsewhere."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class SettingsFile(Section):
    """The keys of `guard.yaml`."""

    mode: Literal["standalone", "sidecar"] = "standalone"
    targets: Annotated[tuple[TargetSection, ...], Sized(1, MAX_ITEMS, "targets")] = (DEFAULT_TARGET,)
    sources: SourcesSection = SourcesSection()
    metrics: MetricsSection = MetricsSection()
    signals: Annotated[dict[str, SignalSection], Sized(0, MAX_ITEMS, "signals")] = Field(
        default_factory=dict, json_schema_extra=keys_like(LABEL_KEY)
    )
    polling: PollingSection = PollingSection()
    limits: LimitsSection = LimitsSection()
    attribution: AttributionSection = AttributionSection()
    maintenance: Annotated[tuple[MaintenanceSection, ...], Sized(0, MAX_ITEMS, "maintenance windows")] = ()
    ledger: LedgerSection = LedgerSection()
    verify: VerifySection = VerifySection()
    rollout: RolloutSection = RolloutSection()
    rollout_window: Duration | None = 86_400.0
    gradual: GradualSection = GradualSection()
    blue_green: BlueGreenSection = BlueGreenSection()
    alert: AlertSection = AlertSection()
    fallback: FallbackSection = FallbackSection()
    dry_run: bool = False
    gitops: Annotated[GitOps, Strict(False)] = GitOps.REFUSE
    argocd_namespace: Label = ARGOCD_NAMESPACE
    journal: JournalSection = JournalSection()
    authority: AuthoritySection = AuthoritySection()
    notify: NotifySection = NotifySection()
    web: WebSection = WebSection()
    log: LogSection = LogSection()
