"""Who else writes an object: Helm, a GitOps controller or an operator, which would undo what is put back.

Conventions: Helm labels what it keeps `app.kubernetes.io/managed-by: Helm` and names its release by an annotation. An
operator is the controlling owner of what it makes, or its field manager is called like one (`web-operator`; `manager`
where nobody gave the binary another name). ExternalSecrets and SealedSecrets are such owners.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain import gitops
from logcaster_guard.domain.configuration_reasons import ConfigOfGitOps, ConfigOfHelm, ConfigOfOperator
from logcaster_guard.domain.field_owners import entries_of
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.leftovers import HELM_NAME, HELM_NAMESPACE, Leftover
from logcaster_guard.domain.message import Message

_MANAGED_BY = "app.kubernetes.io/managed-by"
_EXTERNAL_SECRETS = "reconcile.external-secrets.io/managed"
_OPERATOR = re.compile(r"(?:.*[-.])?(?:operator|controller|controller-manager)|manager|external-?secrets.*", re.ASCII)
_BUILT_IN = re.compile(r"v1|apps/.*|batch/.*|[^/]*\.k8s\.io/.*", re.ASCII)
_LONGEST = 128


def written_by_others(
    raw: Mapping[str, Any], workload: Mapping[str, Any], wanted: GitOps, argocd: str
) -> Message | None:
    """Why it is not the guard's to write; None if it is.

    `wanted` is what is done about the GitOps owner of `workload`: with that one suspended, what is its own may be put
    back as well. `argocd` is the namespace of Applications.
    """
    kind = raw.get("kind", "ConfigMap")
    name = f"{kind} {raw['metadata'].get('namespace', '')}/{raw['metadata'].get('name', '')}"
    owner = gitops.owner_of({**raw, "apiVersion": "v1", "kind": kind}, argocd)
    if owner is not None:
        same = owner.known and owner == gitops.owner_of(workload, argocd)
        if wanted is GitOps.PROCEED or (wanted is GitOps.SUSPEND and same):
            return None
        return ConfigOfGitOps(name, owner.named, same)
    return _of_helm(raw, name) or _of_operator(raw, name)


def _of_helm(raw: Mapping[str, Any], name: str) -> ConfigOfHelm | None:
    metadata = raw["metadata"]
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    managers = {entry.get("manager") for entry in entries_of(raw)}
    if HELM_NAME not in notes and labels.get(_MANAGED_BY) != "Helm" and "helm" not in managers:
        return None
    release = str(notes.get(HELM_NAME, ""))[:_LONGEST]
    namespace = str(notes.get(HELM_NAMESPACE) or metadata.get("namespace", ""))[:_LONGEST]
    return ConfigOfHelm(name, release, Leftover((), release, namespace).remedy)


def _of_operator(raw: Mapping[str, Any], name: str) -> ConfigOfOperator | None:
    metadata = raw["metadata"]
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("controller") or not _BUILT_IN.fullmatch(str(reference.get("apiVersion", ""))):
            return ConfigOfOperator(name, f"{reference.get('kind')} {reference.get('name')}"[:_LONGEST])
    if _EXTERNAL_SECRETS in (metadata.get("labels") or {}):
        return ConfigOfOperator(name, "external-secrets")
    for entry in entries_of(raw):
        held = {"f:data", "f:binaryData"} & (entry.get("fieldsV1") or {}).keys()
        if held and _OPERATOR.fullmatch(str(entry.get("manager", ""))):
            return ConfigOfOperator(name, str(entry["manager"])[:_LONGEST])
    return None
