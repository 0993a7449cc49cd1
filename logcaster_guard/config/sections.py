"""The sections of `guard.yaml` as typed and frozen values.

Every key has a default that fits LogCaster. Durations are seconds, sizes bytes, shares of 1.
"""

from __future__ import annotations

import ipaddress
import re
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, Strict, WithJsonSchema, model_validator

from logcaster_guard.config.causes import AttributionSection, MaintenanceSection
from logcaster_guard.config.durations import show_duration
from logcaster_guard.config.faults import Refused, described, quoted
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
from logcaster_guard.config.promql import POD_SELECTOR
from logcaster_guard.config.schema import (
    SHOWN_SECRET,
    SHOWN_URL,
    BaseUrl,
    Duration,
    Label,
    Metric,
    Name,
    PathName,
    Section,
    Size,
    Sized,
    Subdomain,
    Url,
    WholeNumber,
    keys_like,
    pattern_of,
)
from logcaster_guard.config.secrets import Secret, to_secret, to_secret_url
from logcaster_guard.domain.gitops import ARGOCD_NAMESPACE, GitOps
from logcaster_guard.domain.signals import SourceName, Target, Unit
from logcaster_guard.domain.translation import Language

MAX_ITEMS = 100
"""Targets, and signals, of one guard."""

EVENTS_CHANNEL = "kubernetes-events"
"""The name of the channel that `notify.events` switches on."""

_LABEL_KEY = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
_LISTEN = re.compile(r"(?P<host>[0-9.]{1,15}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})", re.ASCII)
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?" + _LABEL_VALUE.pattern, re.ASCII)
_SLACK_CHANNEL = re.compile(r"[CGD][A-Z0-9]{5,30}", re.ASCII)
_HTTP_PATH = re.compile(r"/[\x21-\x22\x24-\x3e\x40-\x7e]{0,500}")

SecretSource = Annotated[Secret, PlainValidator(to_secret), WithJsonSchema(SHOWN_SECRET)]
SecretUrl = Annotated[Secret, PlainValidator(to_secret_url), WithJsonSchema({"anyOf": [SHOWN_URL, SHOWN_SECRET]})]


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if not _LABEL_KEY.fullmatch(key):
            raise Refused(f"the label {quoted(key)}", "lower-case letters, digits and _", key=(key,), at_key=True)
    return labels


def _check_http_path(text: str) -> str:
    if not _HTTP_PATH.fullmatch(text):
        raise Refused(described(text), "a path that starts with /, without ? or #")
    return text


def _check_listen(text: str) -> str:
    found = _LISTEN.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise Refused(described(text), "an address and a port, such as 127.0.0.1:9997, 0.0.0.0:9997 or [::]:9997")
    try:
        ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        raise Refused(described(text), "an IP address before the port, such as 127.0.0.1 or [::1]") from None
    return text


def _check_environments(environments: dict[str, str]) -> dict[str, str]:
    for value, name in environments.items():
        if not _LABEL_VALUE.fullmatch(value):
            raise Refused(
                f"the environment {quoted(value)}",
                "letters, digits, - _ and . inside, at most 63: the value of a label",
                key=(value,),
                at_key=True,
            )
        if list(environments.values()).count(name) > 1:
            raise Refused(f"the Deployment {quoted(name)} twice", "a Deployment for each environment", key=(value,))
    return environments


def _check_label_key(text: str) -> str:
    if not _LABEL_NAME.fullmatch(text):
        raise Refused(described(text), "the key of a label, such as environment or example.com/environment")
    return text


def _check_slack_channel(text: str) -> str:
    if not _SLACK_CHANNEL.fullmatch(text):
        raise Refused(described(text), "the id of a Slack channel, such as C0123456789")
    return text


class TargetSection(Section):
    """One guarded workload."""

    name: Name = "logcaster"
    namespace: Label = "logcaster"
    deployment: Subdomain = "logcaster-prod"
    service: Label | None = "logcaster"
    health_url: Url | None = "http://logcaster:9998/health"
    traffic_url: Url | None = "http://logcaster:9999/"
    labels: Annotated[dict[str, str], Sized(0, 50), AfterValidator(_check_labels)] = Field(
        default_factory=dict, json_schema_extra=keys_like(_LABEL_KEY)
    )
    kind: Literal["Deployment", "StatefulSet", "DaemonSet"] = "Deployment"
    dry_run: bool = False
    environments: Annotated[dict[str, Subdomain], Sized(2, 2), AfterValidator(_check_environments)] | None = Field(
        default=None, json_schema_extra=keys_like(_LABEL_VALUE)
    )
    environment_label: Annotated[str, AfterValidator(_check_label_key), pattern_of(_LABEL_NAME)] = "environment"
    gitops: Annotated[GitOps, Strict(False)] | None = None

    @model_validator(mode="after")
    def _environments_take_turns_behind_a_service(self) -> TargetSection:
        if self.environments is None:
            return self
        if "deployment" in self.model_fields_set:
            raise Refused(
                "a deployment beside environments", "one of the two: the live environment is the one guarded",
                key=("deployment",),
            )  # fmt: skip
        if "service" not in self.model_fields_set or self.service is None:
            raise Refused("environments without a service", "the Service whose selector names the live environment")
        if self.kind != "Deployment":
            raise Refused(f"environments of kind {self.kind}", "Deployments", key=("kind",))
        return self


_DEFAULT_TARGET = TargetSection()


class PrometheusSection(Section):
    """The Prometheus that answers PromQL; `url: null` for none."""

    url: BaseUrl | None = "http://prometheus:9090"
    timeout: Duration = 10.0
    max_bytes: Size = 8 << 20
    max_series: WholeNumber = 1_000
    token: SecretSource | None = None
    ca_file: PathName | None = None


class HttpSection(Section):
    """The guard's own requests to the health and traffic addresses."""

    timeout: Duration = 5.0
    slow_after: Duration = 2.0
    proxy: BaseUrl | None = None
    max_bytes: Size = 1 << 20

    @model_validator(mode="after")
    def _slow_answers_arrive(self) -> HttpSection:
        if self.slow_after >= self.timeout:
            raise Refused(
                f"slow_after of {show_duration(self.slow_after)} with a timeout of {show_duration(self.timeout)}",
                "a slow_after shorter than the timeout, else no answer is ever slow",
                key=("slow_after",),
            )
        return self


class KubernetesSection(Section):
    """The API server; `kubeconfig: null` means the pod's service account, or the default kubeconfig outside a pod."""

    kubeconfig: PathName | None = None
    context: str | None = None
    timeout: Duration = 10.0


class ScrapeSection(Section):
    """The pods' own /metrics, for a guard without Prometheus."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 9999
    path: Annotated[str, AfterValidator(_check_http_path), pattern_of(_HTTP_PATH)] = "/metrics"
    timeout: Duration = 5.0
    max_bytes: Size = 4 << 20
    max_series: WholeNumber = 20_000
    min_requests: WholeNumber = 100
    proxy: BaseUrl | None = None


class SourcesSection(Section):
    """Where signals are read."""

    prometheus: PrometheusSection = PrometheusSection()
    http: HttpSection = HttpSection()
    kubernetes: KubernetesSection = KubernetesSection()
    scrape: ScrapeSection = ScrapeSection()


class MetricsSection(Section):
    """What the service calls its metrics: for the built-in PromQL and for scraping alike."""

    selector: str = POD_SELECTOR
    requests: Metric = "http_requests_total"
    status_label: Metric = "status"
    duration: Metric = "http_request_duration_seconds"
    memory: Metric = "process_resident_memory_bytes"
    client_errors_count: bool = True


class SignalSection(Section):
    """How one signal is read; what is left out of a built-in signal keeps its default."""

    source: Annotated[SourceName, Strict(False)] | None = None
    query: str | None = None
    lookback: Duration | None = None
    unit: Annotated[Unit, Strict(False)] | None = None


class JournalSection(Section):
    """Where the guard keeps what it has done: in files, or in Secrets of a namespace."""

    backend: Literal["sqlite", "kubernetes"] = "sqlite"
    path: PathName = "/var/lib/logcaster-guard/journal.db"
    blobs: PathName = "/var/lib/logcaster-guard/blobs"
    namespace: Label = "logcaster-guard"
    name: Label = "logcaster-guard"

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


class WebhookSection(Section):
    """A channel that takes notices as JSON."""

    name: Name
    url: SecretUrl
    token: SecretSource | None = None
    timeout: Duration = 10.0


class SlackSection(Section):
    """A channel of Slack's: an incoming webhook, whose address is the secret, or an app with its token."""

    name: Name
    url: SecretUrl | None = None
    token: SecretSource | None = None
    channel: Annotated[str, AfterValidator(_check_slack_channel), pattern_of(_SLACK_CHANNEL)] | None = None
    api: BaseUrl = "https://slack.com/api"
    timeout: Duration = 10.0

    @model_validator(mode="after")
    def _one_way_in(self) -> SlackSection:
        app = self.token is not None, self.channel is not None
        if self.url is not None and any(app):
            raise Refused("a url beside a token or channel", "a webhook's url, or an app's token and channel")
        if self.url is None and not all(app):
            found = "a token without a channel" if app[0] else "a channel without a token" if app[1] else "no url"
            raise Refused(found, "a webhook's url, or both an app's token and the channel's id")
        return self


class NotifySection(Section):
    """Who is told, and in which language; `events` also writes Kubernetes Events on the Deployment."""

    language: Annotated[Language, Strict(False)] = Language.ENGLISH
    slack: Annotated[tuple[SlackSection, ...], Sized(0, 20)] = ()
    webhooks: Annotated[tuple[WebhookSection, ...], Sized(0, 20)] = ()
    events: bool = True


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

    listen: Annotated[str, AfterValidator(_check_listen), pattern_of(_LISTEN)] | None = "127.0.0.1:9997"
    auth: AuthSection | None = None

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
    targets: Annotated[tuple[TargetSection, ...], Sized(1, MAX_ITEMS)] = (_DEFAULT_TARGET,)
    sources: SourcesSection = SourcesSection()
    metrics: MetricsSection = MetricsSection()
    signals: Annotated[dict[str, SignalSection], Sized(0, MAX_ITEMS)] = Field(
        default_factory=dict, json_schema_extra=keys_like(_LABEL_KEY)
    )
    polling: PollingSection = PollingSection()
    limits: LimitsSection = LimitsSection()
    attribution: AttributionSection = AttributionSection()
    maintenance: Annotated[tuple[MaintenanceSection, ...], Sized(0, MAX_ITEMS)] = ()
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


def target_of(section: TargetSection) -> Target:
    """The domain's target.

    The defaults of Service and addresses belong to LogCaster's own Deployment; another one's are not guessed.
    """
    values = section.model_dump()
    environments = MappingProxyType(values.pop("environments") or {})
    if environments:
        values["deployment"] = section.service
    if section.deployment != _DEFAULT_TARGET.deployment:
        for key in {"service", "health_url", "traffic_url"} - section.model_fields_set:
            values[key] = None
    return Target(**{**values, "labels": MappingProxyType(values["labels"]), "environments": environments})
