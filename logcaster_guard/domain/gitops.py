"""Argo CD and Flux as owners of a workload: who would undo a rollback, how it is paused, and what it wants to run.

Raw JSON in, values and JSON patches out. Conventions, each from the project's own documents and code:

- Argo CD tracks by the annotation `argocd.argoproj.io/tracking-id`, `<application>:<group>/<kind>:<namespace>/<name>`
  (user guide, Resource Tracking); an Application outside Argo CD's own namespace is `<namespace>_<name>` there. Its
  field managers are `argocd-controller` (`ArgoCDSSAManager`) and `argocd-application-controller`. The label
  `app.kubernetes.io/instance` alone means nothing: Helm charts set it too.
- Flux labels what it applies: `kustomize.toolkit.fluxcd.io/name` and `/namespace` for a Kustomization,
  `helm.toolkit.fluxcd.io/name` and `/namespace` for a HelmRelease. Its field managers are `kustomize-controller` and
  `helm-controller`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from logcaster_guard.domain.field_owners import MANAGER, entries_of
from logcaster_guard.domain.planning_reasons import OwnerNamed
from logcaster_guard.domain.releases import pointer

Json = dict[str, Any]

TRACKING_ID = "argocd.argoproj.io/tracking-id"
INSTANCE = "app.kubernetes.io/instance"
ARGOCD_NAMESPACE = "argocd"
"""Where Argo CD, and an Application without a namespace in its tracking id, is installed unless told otherwise."""

MARK = "guard.logcaster.io/suspended"
"""Annotation on an owner that the guard has suspended: whose run did it, and what stood there before."""

_ARGOCD_MANAGERS = frozenset({"argocd-controller", "argocd-application-controller"})
_CONTENTS = frozenset({"f:spec", "f:data", "f:binaryData"})
_KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
_HELM = "helm.toolkit.fluxcd.io"


class GitOps(StrEnum):
    """What is done where a GitOps controller owns the workload."""

    REFUSE = "refuse"
    SUSPEND = "suspend"
    PROCEED = "proceed"


class OwnerKind(StrEnum):
    """Kinds that own workloads."""

    APPLICATION = "Application"
    KUSTOMIZATION = "Kustomization"
    HELM_RELEASE = "HelmRelease"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who rolls the workload out. `namespace` and `name` are empty where the workload does not tell them."""

    kind: OwnerKind
    namespace: str = ""
    name: str = ""

    @property
    def known(self) -> bool:
        """Whether it can be looked up."""
        return bool(self.namespace and self.name)

    @property
    def object(self) -> str:
        """`Kustomization flux-system/web`; the kind alone where no more is known."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.known else str(self.kind)

    @property
    def named(self) -> OwnerNamed:
        """What people are told of whose it is."""
        return OwnerNamed("Argo CD" if self.kind is OwnerKind.APPLICATION else "Flux", self.object, self.known)

    def resuming(self, saved: Mapping[str, Any]) -> str:
        """The command by which a person resumes it; `saved` are the fields that suspending it changed."""
        if self.kind is not OwnerKind.APPLICATION:
            return f"flux resume {self.kind.lower()} {self.name} --namespace {self.namespace}"
        spec = json.dumps({"spec": {"syncPolicy": dict(saved)}})
        return f"kubectl -n {self.namespace} patch applications.argoproj.io {self.name} --type merge -p '{spec}'"


def owner_called(text: str) -> Owner | None:
    """The owner whose `object` this is; None if it is none's."""
    kind, _, place = text.partition(" ")
    namespace, _, name = place.partition("/")
    return Owner(OwnerKind(kind), namespace, name) if kind in set(OwnerKind) and name else None


def owner_of(workload: Mapping[str, Any], argocd_namespace: str = ARGOCD_NAMESPACE) -> Owner | None:
    """The owner of a workload; None if no GitOps controller owns it.

    A tracking id that names another object was copied with a manifest and does not count. Labels of Flux count without
    its field manager: whoever changed the workload last may have taken every field over.
    """
    metadata = workload.get("metadata") or {}
    labels = metadata.get("labels") or {}
    managers = _managers(metadata)
    tracked = _tracked(str((metadata.get("annotations") or {}).get(TRACKING_ID, "")), workload)
    if tracked:
        return _application(tracked, argocd_namespace)
    for group, kind, manager in (
        (_HELM, OwnerKind.HELM_RELEASE, "helm-controller"),
        (_KUSTOMIZE, OwnerKind.KUSTOMIZATION, "kustomize-controller"),
    ):
        name = str(labels.get(f"{group}/name", ""))
        if name:
            return Owner(kind, str(labels.get(f"{group}/namespace") or metadata.get("namespace", "")), name)
        if manager in managers:
            return Owner(kind)
    if managers & _ARGOCD_MANAGERS:
        # Label tracking: with Argo CD's own field manager beside it the label does tell the Application.
        return _application(str(labels.get(INSTANCE, "")), argocd_namespace)
    return None


def _application(instance: str, argocd_namespace: str) -> Owner:
    namespace, separator, name = instance.partition("_")
    if not instance:
        return Owner(OwnerKind.APPLICATION)
    return Owner(OwnerKind.APPLICATION, *((namespace, name) if separator else (argocd_namespace, instance)))


def _tracked(tracking_id: str, workload: Mapping[str, Any]) -> str:
    """The Application's instance name in a tracking id that names this very object, else empty."""
    metadata = workload.get("metadata") or {}
    group = str(workload.get("apiVersion") or "apps/v1").rpartition("/")[0]
    kind = workload.get("kind") or "Deployment"
    own = f"{group}/{kind}:{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    instance, _, named = tracking_id.partition(":")
    return instance if named == own else ""


def _managers(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The field managers that own a part of the spec, or of what a ConfigMap holds."""
    return frozenset(
        str(entry.get("manager"))
        for entry in metadata.get("managedFields") or []
        if _CONTENTS & (entry.get("fieldsV1") or {}).keys() and not entry.get("subresource")
    )


@dataclass(frozen=True, slots=True)
class Desired:
    """What an owner wants to run: the revision of its source, and a digest of what it makes of it."""

    revision: str
    content: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The object that an owner's revision comes from: one of Flux' sources."""

    kind: str
    namespace: str
    name: str


_CONTENT: Mapping[OwnerKind, tuple[str, ...]] = {
    OwnerKind.APPLICATION: ("source", "sources"),
    OwnerKind.KUSTOMIZATION: (
        *("sourceRef", "path", "images", "patches", "components", "postBuild"),
        *("namePrefix", "nameSuffix", "targetNamespace", "commonMetadata"),
    ),
    OwnerKind.HELM_RELEASE: ("chart", "chartRef", "values", "valuesFrom", "postRenderers"),
}
"""The fields of the spec that say what is rolled out; the rest says when and how."""


def rolled_out(owner: Mapping[str, Any]) -> str:
    """The revision that the owner brought into the cluster last; empty where it does not tell.

    A release that never became healthy is among them, so it is what was tried last and not what succeeded last:
    Argo CD's `status.operationState.syncResult`, Flux' `status.lastAttemptedRevision` (`lastAppliedRevision` waits for
    the health checks).
    """
    status = owner.get("status") or {}
    if owner.get("kind") != OwnerKind.APPLICATION:
        return str(status.get("lastAttemptedRevision") or status.get("lastAppliedRevision") or "")
    history = status.get("history") or [{}]
    synced = (status.get("operationState") or {}).get("syncResult") or {}
    return _revision(synced) or _revision(history[-1]) or _revision(status.get("sync") or {})


def _revision(place: Mapping[str, Any]) -> str:
    """The revision of an Application with one source, or those of one with several."""
    several = place.get("revisions") or []
    return str(place.get("revision") or "") or ", ".join(str(r) for r in several)


def source_of(owner: Mapping[str, Any]) -> Reference | None:
    """Where the revision that the owner wants next is read; None where the owner tells it itself.

    A suspended owner of Flux no longer looks, but its source goes on. The chart of a HelmRelease is a HelmChart that
    `status.helmChart` names.
    """
    spec, status = owner.get("spec") or {}, owner.get("status") or {}
    namespace = str((owner.get("metadata") or {}).get("namespace", ""))
    reference = spec.get("sourceRef") or spec.get("chartRef")
    if owner.get("kind") != OwnerKind.APPLICATION and reference:
        return Reference(
            str(reference.get("kind")), str(reference.get("namespace") or namespace), str(reference.get("name"))
        )
    place, separator, name = str(status.get("helmChart") or "").partition("/")
    return Reference("HelmChart", place, name) if separator else None


def desired(owner: Mapping[str, Any], source: Mapping[str, Any] | None) -> Desired:
    """What the owner would roll out now; `source` is what `source_of` names. An empty revision: it is not told."""
    spec, status = owner.get("spec") or {}, owner.get("status") or {}
    kind = OwnerKind(str(owner.get("kind")))
    content = {name: spec[name] for name in _CONTENT[kind] if name in spec}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if kind is OwnerKind.APPLICATION:
        return Desired(_revision(status.get("sync") or {}), digest)
    artifact = ((source or {}).get("status") or {}).get("artifact") or {}
    return Desired(str(artifact.get("revision") or ""), digest)


def baseline(owner: Mapping[str, Any], source: Mapping[str, Any] | None) -> Desired:
    """What the owner wanted when its bad release was live: anything else is news.

    For an Application and a Kustomization that is the revision it tried last, so that a fix which its source has got
    meanwhile is seen. A HelmRelease writes its revisions otherwise than its source does.
    """
    now = desired(owner, source)
    tried = "" if owner.get("kind") == OwnerKind.HELM_RELEASE else rolled_out(owner)
    return Desired(tried or now.revision, now.content)


def differs(before: Desired, now: Desired) -> bool:
    """Whether another revision is wanted; one that cannot be told is none."""
    return now.content != before.content or bool(now.revision and before.revision and now.revision != before.revision)


def is_suspended(owner: Mapping[str, Any]) -> bool:
    """Whether the owner leaves its workloads alone.

    Flux: `spec.suspend`. Argo CD has no such field: an Application without `spec.syncPolicy.automated`, or with
    `automated.enabled: false`, does not sync by itself (user guide, Automated Sync Policy).
    """
    spec = owner.get("spec") or {}
    if owner.get("kind") != OwnerKind.APPLICATION:
        return bool(spec.get("suspend"))
    automated = (spec.get("syncPolicy") or {}).get("automated")
    return automated is None or automated.get("enabled") is False


def is_suspended_by_another(owner: Mapping[str, Any]) -> bool:
    """Whether it is somebody else's word that suspends it, whoever suspended it before.

    Of an Application that cannot be told: nobody owns what was taken out.
    """
    managers = {str(e.get("manager")) for e in entries_of(owner) if _suspends(e)}
    return is_suspended(owner) and bool(managers) and MANAGER not in managers


def _suspends(entry: Mapping[str, Any]) -> bool:
    return "f:suspend" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})


@dataclass(frozen=True, slots=True)
class Mark:
    """What the guard's annotation on a suspended owner says: the run, and the fields as they were (absent ones not).

    The fields are for people: the guard puts back what its journal tells. `token` is that of the compensation there.
    """

    run: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""


def mark_of(owner: Mapping[str, Any]) -> Mark | None:
    """The guard's mark; None if there is none, or none that the guard wrote."""
    text = ((owner.get("metadata") or {}).get("annotations") or {}).get(MARK)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("fields"), dict):
        return None
    return Mark(str(found.get("run", "")), found["fields"], str(found.get("token", "")))


def fields_of(owner: Mapping[str, Any]) -> Json:
    """What suspending changes, as it is: `{"automated": …}` or `{"suspend": false}`, empty where it is absent."""
    spec = owner.get("spec") or {}
    place, name = (spec.get("syncPolicy") or {}, "automated") if _is_application(owner) else (spec, "suspend")
    return {name: place[name]} if name in place else {}


def suspending(owner: Mapping[str, Any], run: str, token: str) -> list[Json]:
    """The JSON Patch that suspends it and leaves the mark, bound to this very state.

    Argo CD's automated sync is taken out and not switched off by `automated.enabled`: a server older than 3.1 drops
    that field in silence. The annotation `argocd.argoproj.io/skip-reconcile` is alpha, and stops the status from which
    a new revision is seen.
    """
    mark = json.dumps({"run": run, "fields": fields_of(owner), "token": token})
    annotations = (owner.get("metadata") or {}).get("annotations")
    noted: list[Json] = [] if annotations else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    noted += [{"op": "add", "path": f"/metadata/annotations/{pointer(MARK)}", "value": mark}]
    if _is_application(owner):
        return [_at_version(owner), *noted, {"op": "remove", "path": "/spec/syncPolicy/automated"}]
    return [_at_version(owner), *noted, {"op": "add", "path": "/spec/suspend", "value": True}]


def resuming(owner: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Json]:
    """The JSON Patch that puts `fields` (see `fields_of`) back and takes the mark away, bound to this very state.

    An owner that somebody has resumed already only loses the mark.
    """
    patch = unmarking(owner)
    if not is_suspended(owner):
        return patch
    spec = owner.get("spec") or {}
    if not _is_application(owner):
        if "suspend" in fields:
            return [*patch, {"op": "add", "path": "/spec/suspend", "value": fields["suspend"]}]
        return [*patch, {"op": "remove", "path": "/spec/suspend"}]
    if "automated" not in fields:
        return patch
    if "syncPolicy" not in spec:
        return [*patch, {"op": "add", "path": "/spec/syncPolicy", "value": dict(fields)}]
    return [*patch, {"op": "add", "path": "/spec/syncPolicy/automated", "value": fields["automated"]}]


def unmarking(owner: Mapping[str, Any]) -> list[Json]:
    """The JSON Patch that takes the mark away and leaves everything else as it is."""
    return [_at_version(owner), {"op": "remove", "path": f"/metadata/annotations/{pointer(MARK)}"}]


def _is_application(owner: Mapping[str, Any]) -> bool:
    return bool(owner.get("kind") == OwnerKind.APPLICATION)


def _at_version(raw: Mapping[str, Any]) -> Json:
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": raw["metadata"]["resourceVersion"]}
