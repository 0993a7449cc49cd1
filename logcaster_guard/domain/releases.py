"""A saved release: what must be written to have it back, and how it is written.

Facts behind the shape of the write: `kubectl rollout undo` replaces the Deployment's annotations and leaves
`last-applied-configuration` at the bad version, so that a later `kubectl apply` resurrects or leaks fields. The guard
writes the template, the change-cause and last-applied's own copy of the template, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, replace
from datetime import datetime
from typing import Any

from logcaster_guard.domain.sidecar import with_guard_of
from logcaster_guard.domain.workload import CHANGE_CAUSE, LAST_APPLIED, Revision, Workload, restorable, template_hash

Json = dict[str, Any]


RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""The pod template's annotation that `kubectl rollout restart` writes."""

LEFT_OUT = {"left_out": True}
"""Metadata of a field that is not written while it has its default: a version that does not know it reads the rest."""


def is_left_out(field: Field[Any], value: object) -> bool:
    """Whether the field of a dataclass is not written while it has this value."""
    if not field.metadata.get("left_out"):
        return False
    return bool(value == (field.default if field.default_factory is MISSING else field.default_factory()))


@dataclass(frozen=True, slots=True)
class ReleaseId:
    """What a release is known by: the normalised hash of its template, and the digest of its configuration.

    An empty `configuration` is *unknown*: it tells no two releases apart, as in journals that know of none.
    """

    template: str
    configuration: str = ""

    @property
    def key(self) -> str:
        """The release's key in the ledger; the template's hash alone where the configuration is unknown."""
        return f"{self.template}+{self.configuration}" if self.configuration else self.template

    @classmethod
    def of_key(cls, key: str) -> ReleaseId:
        """The release that has this key."""
        template, _, configuration = key.partition("+")
        return cls(template, configuration)


@dataclass(frozen=True, slots=True)
class Release:
    """What is kept of a release. `applied_template` is last-applied's copy of the template, None if none was known."""

    template: Json
    change_cause: str | None = None
    applied_template: Json | None = None

    @property
    def hash(self) -> str:
        """The release's key in the ledger."""
        return template_hash(self.template)

    def to_bytes(self) -> bytes:
        """Canonical JSON, the same for the same release."""
        body = {
            "template": self.template,
            "change_cause": self.change_cause,
            "applied_template": self.applied_template,
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()

    def carried_into(self, workload: Workload) -> Release:
        """This release with the guard in it as `workload` carries it, in last-applied's copy as well."""
        present = _applied_template(workload.last_applied)
        applied = self.applied_template
        return replace(
            self,
            template=with_guard_of(self.template, workload.template),
            applied_template=applied if applied is None or present is None else with_guard_of(applied, present),
        )

    def restarted(self, at: datetime) -> Release:
        """The same, so that every pod is replaced; the next apply takes away what does that."""
        template, applied = _stamped(self.template, at), self.applied_template
        return replace(self, template=template, applied_template=None if applied is None else _stamped(applied, at))

    @classmethod
    def from_bytes(cls, content: bytes) -> Release:
        """The release that `to_bytes` wrote."""
        body = json.loads(content)
        return cls(body["template"], body["change_cause"], body["applied_template"])


def _stamped(template: Json, at: datetime) -> Json:
    metadata = template.get("metadata") or {}
    notes = {**(metadata.get("annotations") or {}), RESTARTED_AT: at.isoformat(timespec="seconds")}
    return {**template, "metadata": {**metadata, "annotations": notes}}


def of_workload(workload: Workload) -> Release:
    """The release that a Deployment carries now."""
    return Release(
        template=restorable(workload.template),
        change_cause=workload.annotations.get(CHANGE_CAUSE),
        applied_template=_applied_template(workload.last_applied),
    )


def of_revision(revision: Revision) -> Release:
    """The release that an old ReplicaSet carries; its last-applied is not kept there."""
    return Release(template=restorable(revision.template), change_cause=revision.change_cause)


def restoring_patch(workload: Workload, release: Release) -> Sequence[Json]:
    """The JSON Patch that gives `workload` this release, valid only at the resourceVersion it was read at."""
    operations: list[Json] = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": workload.resource_version},
        {"op": "replace", "path": "/spec/template", "value": release.template},
    ]
    operations += annotation_patch(workload.raw, CHANGE_CAUSE, release.change_cause)
    applied = _last_applied_with(workload.last_applied, release.applied_template)
    if applied is not None:
        operations += annotation_patch(workload.raw, LAST_APPLIED, applied)
    return operations


def leaves_last_applied(workload: Workload, release: Release) -> bool:
    """Whether last-applied stays at the bad release, because none was saved with the good one."""
    return workload.last_applied is not None and release.applied_template is None


def applied_set(workload: Workload, release: Release, manager: str) -> Json | None:
    """The full server-side-apply set of `manager`, with this release's template in place of its own.

    None if `manager` does not own part of the template by server-side apply. The set names the resourceVersion, so that
    the apply is refused when the Deployment has changed.
    """
    for entry in workload.raw["metadata"].get("managedFields") or []:
        fields = entry.get("fieldsV1") or {}
        if entry.get("manager") != manager or entry.get("operation") != "Apply" or "f:spec" not in fields:
            continue
        body = bound_to(workload.raw, owned(workload.raw, fields), "apps/v1", workload.kind)
        annotations = body["metadata"].get("annotations", {})
        if CHANGE_CAUSE in annotations:
            annotations[CHANGE_CAUSE] = release.change_cause or ""
        body.setdefault("spec", {})["template"] = release.template
        return body
    return None


def bound_to(raw: Json, fields: Json, api_version: str, kind: str) -> Json:
    """The body of an apply of these fields, which is refused unless the object is as it was looked at in `raw`."""
    known = {key: raw["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    return {**fields, "apiVersion": api_version, "kind": kind, "metadata": {**fields.get("metadata", {}), **known}}


def owned(value: Any, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    """The part of a JSON value that a `fieldsV1` set names.

    Convention: `f:name` is a field, `k:{…}` the list item with these keys, `v:…` a set member, `.` the value itself.
    """
    children = {k: v for k, v in fields.items() if k != "."}
    if not children:
        return value
    if isinstance(value, list):
        return [part for item in value if (part := _owned_item(item, children)) is not None]
    if not isinstance(value, dict):
        return value
    named = {k[2:]: sub for k, sub in children.items() if k.startswith("f:")}
    return {name: owned(value[name], sub) for name, sub in named.items() if name in value}


def _owned_item(item: Any, children: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    for key, sub in children.items():
        if key.startswith("v:") and json.loads(key[2:]) == item:
            return item
        if key.startswith("k:") and isinstance(item, dict):
            identity = json.loads(key[2:])
            if all(item.get(k) == v for k, v in identity.items()):
                return {**identity, **owned(item, sub)}
    return None


def _applied_template(last_applied: str | None) -> Json | None:
    if last_applied is None:
        return None
    try:
        template = json.loads(last_applied)["spec"]["template"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return template if isinstance(template, dict) else None


def _last_applied_with(last_applied: str | None, template: Json | None) -> str | None:
    if last_applied is None or template is None or _applied_template(last_applied) is None:
        return None
    body = json.loads(last_applied)
    body["spec"]["template"] = template
    # kubectl writes its annotation with a trailing newline.
    return json.dumps(body, separators=(",", ":")) + "\n"


def annotation_patch(raw: Json, name: str, value: str | None) -> list[Json]:
    """The JSON Patch that gives an object this annotation; None: takes it away."""
    path = "/metadata/annotations/" + pointer(name)
    annotations = raw["metadata"].get("annotations") or {}
    present = annotations.get(name)
    if value == present:
        return []
    if value is None:
        return [{"op": "remove", "path": path}]
    if not annotations:
        return [{"op": "add", "path": "/metadata/annotations", "value": {name: value}}]
    return [{"op": "add", "path": path, "value": value}]


def pointer(key: str) -> str:
    """A key as a part of an RFC 6901 pointer."""
    return key.replace("~", "~0").replace("/", "~1")
