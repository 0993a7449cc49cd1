"""The section of `guard.yaml` about what is guarded."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.signals import Target
from logcaster_guard.fields.faults import Refused, described, quoted
from logcaster_guard.fields.section import Label, Name, Section, Sized, Subdomain, Url, keys_like, pattern_of
from logcaster_guard.messages.texts import phrase

LABEL_KEY = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?" + _LABEL_VALUE.pattern, re.ASCII)


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if not LABEL_KEY.fullmatch(key):
            found = phrase("found.label", name=quoted(key))
            raise Refused(found, phrase("allowed.label"), key=(key,), at_key=True)
    return labels


def _check_environments(environments: dict[str, str]) -> dict[str, str]:
    for value, name in environments.items():
        if not _LABEL_VALUE.fullmatch(value):
            found = phrase("found.environment", name=quoted(value))
            raise Refused(found, phrase("allowed.label_value"), key=(value,), at_key=True)
        if list(environments.values()).count(name) > 1:
            found = phrase("found.deployment_twice", name=quoted(name))
            raise Refused(found, phrase("allowed.deployment_each"), key=(value,))
    return environments


def _check_label_key(text: str) -> str:
    if not _LABEL_NAME.fullmatch(text):
        raise Refused(described(text), phrase("allowed.label_key"))
    return text


class TargetSection(Section):
    """One guarded workload."""

    name: Name = Field(default="logcaster", description="the name in rules, logs and messages")
    namespace: Label = Field(default="logcaster", description="its namespace")
    deployment: Subdomain = Field(default="logcaster-prod", description="its Deployment")
    service: Label | None = Field(default="logcaster", description="the Service in front of it")
    health_url: Url | None = Field(default="http://logcaster:9998/health", description="asked for `health_check_fails`")
    traffic_url: Url | None = Field(
        default="http://logcaster:9999/", description="asked for `response_time` and `slow_responses`"
    )
    labels: Annotated[dict[str, str], Sized(0, 50, "labels"), AfterValidator(_check_labels)] = Field(
        default_factory=dict,
        json_schema_extra=keys_like(LABEL_KEY),
        description='further placeholders for PromQL: `version: "1"` is `$label_version`',
    )
    kind: Literal["Deployment", "StatefulSet", "DaemonSet"] = Field(
        default="Deployment",
        description="`Deployment`, or `StatefulSet` or `DaemonSet`, which are rolled back at once only",
    )
    dry_run: bool = Field(default=False, description="whether nothing is written for this target")
    environments: (
        Annotated[dict[str, Subdomain], Sized(2, 2, "environments"), AfterValidator(_check_environments)] | None
    ) = Field(
        default=None,
        json_schema_extra=keys_like(_LABEL_VALUE),
        description=(
            "for blue-green, in place of `deployment`: two Deployments by the value of "
            "`environment_label`; `service` is the one that switches"
        ),
    )
    environment_label: Annotated[str, AfterValidator(_check_label_key), pattern_of(_LABEL_NAME)] = Field(
        default="environment", description="the label of the Service's selector that names the live environment"
    )
    gitops: Annotated[GitOps, Strict(False)] | None = Field(
        default=None, description="what is done where Argo CD or Flux owns it; `null`: the setting `gitops`"
    )

    @model_validator(mode="after")
    def _environments_take_turns_behind_a_service(self) -> TargetSection:
        if self.environments is None:
            return self
        if "deployment" in self.model_fields_set:
            found = phrase("found.deployment_and_environments")
            raise Refused(found, phrase("allowed.deployment_or_environments"), key=("deployment",))
        if "service" not in self.model_fields_set or self.service is None:
            raise Refused(phrase("found.no_service"), phrase("allowed.the_service"))
        if self.kind != "Deployment":
            raise Refused(
                phrase("found.environments_of_kind", kind=self.kind), phrase("allowed.deployments"), key=("kind",)
            )
        return self


DEFAULT_TARGET = TargetSection()
"""The one that is guarded where none is configured."""


def target_of(section: TargetSection) -> Target:
    """The domain's target.

    The defaults of Service and addresses belong to LogCaster's own Deployment; another one's are not guessed.
    """
    values = section.model_dump()
    environments = MappingProxyType(values.pop("environments") or {})
    if environments:
        values["deployment"] = section.service
    if section.deployment != DEFAULT_TARGET.deployment:
        for key in {"service", "health_url", "traffic_url"} - section.model_fields_set:
            values[key] = None
    return Target(**{**values, "labels": MappingProxyType(values["labels"]), "environments": environments})
