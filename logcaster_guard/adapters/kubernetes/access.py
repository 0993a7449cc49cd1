"""What the guard must be allowed to do in a target's namespace, and what of it is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from logcaster_guard.domain import capacity
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import NotFound, Rejected
from logcaster_guard.domain.gitops import Reference
from logcaster_guard.domain.rights import (
    CONFIG_ROLE,
    GRADUAL_ROLE,
    KIND_ROLES,
    OWNER_ROLE,
    ROLE,
    SECRETS_ROLE,
    SWITCHING_ROLE,
    Right,
)
from logcaster_guard.domain.signals import Target
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind, Rights


class Account(Rights, Protocol):
    """The guard's account, and what can be found out about what it needs."""

    async def named(self, verb: str, group: str, resource: str, namespace: str) -> frozenset[str]:
        """The single objects on which it is known to be allowed to do `verb`."""

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """As `ports.Cluster` does."""


@dataclass(frozen=True, slots=True)
class Permission:
    """`verbs` on a resource of an API group (empty for the core group), and what becomes impossible without them.

    `kinds`: the targets that need it; `switching`: only those with environments, or only those without. `off` says what
    the guard leaves alone without them, where it does so by itself; `granted_by` is the shipped file that grants them.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    kinds: frozenset[str] = frozenset({"Deployment"})
    switching: bool | None = None
    off: str = ""
    granted_by: str = ROLE

    def concerns(self, target: Target) -> bool:
        """Whether this target needs it."""
        if self.switching not in {None, bool(target.environments)}:
            return False
        if self.resource == "services" and not target.service:
            return False
        return target.kind in self.kinds

    def sentence(self, verb: str, namespace: str, name: str = "", granted_by: str = "") -> str:
        """That this verb is missing there, what becomes of it, and what grants it."""
        off = f", and {self.off}" if self.off else ""
        right = Right(verb, self.group, self.resource, namespace, name, granted_by or self.granted_by)
        return english().text(right.missing(f"it cannot {self.purpose}{off}"))

    @property
    def full_name(self) -> str:
        """As kubectl writes it: `deployments.apps`, `pods`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


_STATEFUL_SET = frozenset({"StatefulSet"})
_ANY = frozenset(KIND_ROLES)

_HELPER = "run the good release beside production"
_SWITCH = "put the other environment in order"
_NONE_BEGINS = "no rollback begins that has to change it"
_NO_HELPER = "gradual_rollback is off"
_NO_SWITCH = "blue_green_rollback is off"


def _of_kind(kind: str, resource: str) -> tuple[Permission, ...]:
    """What a target of this kind, which is no Deployment, needs beside what all need."""
    kinds, role = frozenset({kind}), KIND_ROLES[kind]
    return (
        Permission("apps", resource, ("get",), f"watch the {kind}", kinds, granted_by=role),
        Permission("apps", resource, ("patch",), f"roll the {kind} back", kinds, off=_NONE_BEGINS, granted_by=role),
        Permission("apps", "controllerrevisions", ("list",), "know its revisions", kinds, granted_by=role),
    )


PERMISSIONS: tuple[Permission, ...] = (
    Permission("apps", "deployments", ("get",), "watch the Deployment"),
    Permission("apps", "deployments", ("list",), "find what a run has left behind"),
    Permission("apps", "deployments", ("patch",), "roll the Deployment back", switching=False, off=_NONE_BEGINS),
    Permission(
        "apps",
        "deployments",
        ("create", "patch", "delete"),
        _HELPER,
        switching=False,
        off=_NO_HELPER,
        granted_by=GRADUAL_ROLE,
    ),
    Permission(
        "apps",
        "deployments",
        ("create", "patch", "delete"),
        _SWITCH,
        switching=True,
        off=_NO_SWITCH,
        granted_by=SWITCHING_ROLE,
    ),
    Permission("apps", "replicasets", ("list",), "know its revisions"),
    *_of_kind("StatefulSet", "statefulsets"),
    Permission(
        "",
        "pods",
        ("delete",),
        "free a StatefulSet from a pod that it waits for",
        _STATEFUL_SET,
        granted_by=KIND_ROLES["StatefulSet"],
    ),
    *_of_kind("DaemonSet", "daemonsets"),
    Permission("", "pods", ("list",), "see its pods", _ANY),
    Permission("", "services", ("get",), "see which pods its Service selects", _ANY),
    Permission(
        "",
        "services",
        ("patch",),
        "switch its Service to the other environment",
        switching=True,
        off=_NO_SWITCH,
        granted_by=SWITCHING_ROLE,
    ),
    Permission(
        "discovery.k8s.io",
        "endpointslices",
        ("list",),
        "see whom its Service reaches",
        switching=True,
        granted_by=SWITCHING_ROLE,
    ),
    Permission("policy", "poddisruptionbudgets", ("list",), "keep to its disruption budgets", _ANY),
    Permission("", "persistentvolumeclaims", ("get",), "know whether two releases can share its volumes"),
    Permission(
        "autoscaling",
        "horizontalpodautoscalers",
        ("get", "list"),
        "see which autoscaler could undo a rollback",
        _ANY,
    ),
    Permission(
        "autoscaling",
        "horizontalpodautoscalers",
        ("patch",),
        "keep an autoscaler from undoing a rollback",
        _ANY,
        off="no rollback begins that has to change one",
    ),
    Permission("", "events", ("create",), "tell of a rollback on the workload", _ANY),
)
"""What is needed in a target's namespace; what each is `granted_by` grants exactly this."""

_SUSPEND = "suspend and resume the target's GitOps owner"
_NEWS = "see that the target's GitOps owner wants another revision"

OWNER_PERMISSIONS: tuple[Permission, ...] = (
    Permission("argoproj.io", "applications", ("get", "patch"), _SUSPEND, frozenset({"Application"})),
    Permission(
        "kustomize.toolkit.fluxcd.io", "kustomizations", ("get", "patch"), _SUSPEND, frozenset({"Kustomization"})
    ),
    Permission("helm.toolkit.fluxcd.io", "helmreleases", ("get", "patch"), _SUSPEND, frozenset({"HelmRelease"})),
    Permission("source.toolkit.fluxcd.io", "gitrepositories", ("get",), _NEWS, frozenset({"GitRepository"})),
    Permission("source.toolkit.fluxcd.io", "ocirepositories", ("get",), _NEWS, frozenset({"OCIRepository"})),
    Permission("source.toolkit.fluxcd.io", "buckets", ("get",), _NEWS, frozenset({"Bucket"})),
    Permission("source.toolkit.fluxcd.io", "helmcharts", ("get",), _NEWS, frozenset({"HelmChart"})),
)
"""What is needed where GitOps owners that may be suspended are; `deploy/components/gitops` grants exactly this.

`kinds` are those of the objects that need it.
"""


_FOLLOW = "follow what the pods read of it"
_GIVE_BACK = "give it back what a good release's pods read"

CONFIG_PERMISSIONS: tuple[Permission, ...] = (
    Permission("", "configmaps", ("get",), "save it with a snapshot", _ANY, granted_by=CONFIG_ROLE),
    Permission("", "configmaps", ("list", "watch"), _FOLLOW, _ANY, granted_by=CONFIG_ROLE),
    Permission("", "configmaps", ("patch", "create"), _GIVE_BACK, _ANY, off=_NONE_BEGINS, granted_by=CONFIG_ROLE),
)
"""What is needed on each ConfigMap that a target's pods refer to; `deploy/components/config` grants exactly this."""

SECRET_PERMISSIONS: tuple[Permission, ...] = (
    Permission("", "secrets", ("list", "watch"), _FOLLOW, _ANY, granted_by=SECRETS_ROLE),
    Permission("", "secrets", ("get", "patch", "create"), _GIVE_BACK, _ANY, off=_NONE_BEGINS, granted_by=SECRETS_ROLE),
)
"""What is needed on each Secret that a target's pods refer to, where Secrets belong to a release.

`deploy/components/secrets` grants exactly this, and `SAVING_PERMISSIONS`.
"""

SAVING_PERMISSIONS: tuple[Permission, ...] = (
    Permission(
        "",
        "secrets",
        ("get", "list", "create", "patch", "delete"),
        "keep there what the Secrets of targets have held",
        _ANY,
        granted_by=SECRETS_ROLE,
    ),
)
"""What is needed where that is kept. Its objects are called by digests, so that no Role can name them."""


DELEGATED: tuple[Permission, ...] = (
    Permission("authentication.k8s.io", "tokenreviews", ("create",), "tell who asks for a change over HTTP"),
    Permission("authorization.k8s.io", "subjectaccessreviews", ("create",), "tell what they may change"),
)
"""What is needed in the whole cluster with `web.auth.kubernetes`; `deploy/components/api-auth` grants exactly this."""

JOURNAL_PERMISSIONS: tuple[Permission, ...] = (
    Permission("", "secrets", ("get", "list", "create", "patch", "delete"), "keep its journal there", _ANY),
)
"""What a journal in the cluster needs in its namespace; `deploy/components/kubernetes-journal` grants exactly this."""

LEASE_PERMISSIONS: tuple[Permission, ...] = (
    Permission("coordination.k8s.io", "leases", ("get", "create", "patch"), "take turns with other guards", _ANY),
)
"""What a guard that shares a Lease needs in its namespace; `deploy/overlays/high-availability` grants exactly this."""


async def missing_permissions(account: Account, targets: Iterable[Target], *, gradual: bool = True) -> Sequence[str]:
    """A sentence for each permission that the targets need and the guard does not have, each once.

    `gradual`: whether anything is to be rolled back step by step, so that what only that needs is asked for too.
    What the API server does not tell counts as there: the first use will show. Raises `ClusterError`s.
    """
    asked: dict[tuple[str, str, str, str], str | None] = {}
    scalers: dict[str, Sequence[Json]] = {}
    for target in targets:
        if target.namespace not in scalers:
            scalers[target.namespace] = await _autoscalers(account, target.namespace)
        for permission in (p for p in PERMISSIONS if p.concerns(target) and (gradual or p.granted_by != GRADUAL_ROLE)):
            for verb in permission.verbs:
                for name in _names(target, permission, verb, scalers[target.namespace]):
                    key = (verb, permission.full_name, target.namespace, name)
                    if key not in asked:
                        asked[key] = await _missing(account, permission, verb, target.namespace, name)
    return [sentence for sentence in asked.values() if sentence is not None]


async def _missing(account: Account, permission: Permission, verb: str, namespace: str, name: str) -> str | None:
    """The sentence that tells that it is missing, if it is known to be."""
    if await account.may(verb, permission.group, permission.resource, namespace, name) is not False:
        return None
    # A Role that names objects may name just the one that will be needed: that is asked when it is known which.
    if not name and verb in _OF_ONE and await account.named(verb, permission.group, permission.resource, namespace):
        return None
    return permission.sentence(verb, namespace, name)


async def _autoscalers(account: Account, namespace: str) -> Sequence[Json]:
    """Those of the namespace; none where the guard may not see them, which is told by itself."""
    try:
        return await account.list(Kind.AUTOSCALER, namespace)
    except (NotFound, Rejected):
        return []


async def missing_for_journal(account: Rights, namespace: str) -> Sequence[str]:
    """A sentence for each permission that a journal in this namespace needs and the guard does not have.

    Raises `ClusterError`s.
    """
    return [
        permission.sentence(verb, namespace, granted_by="deploy/components/kubernetes-journal/")
        for permission in JOURNAL_PERMISSIONS
        for verb in permission.verbs
        if await account.may(verb, permission.group, permission.resource, namespace) is False
    ]


async def missing_for_lease(account: Rights, namespace: str, name: str) -> Sequence[str]:
    """A sentence for each permission on the Lease that the guard does not have. Raises `ClusterError`s."""
    found = []
    for permission in LEASE_PERMISSIONS:
        for verb in permission.verbs:
            asked = "" if verb == "create" else name
            if await account.may(verb, permission.group, permission.resource, namespace, asked) is False:
                found.append(permission.sentence(verb, namespace, asked, "deploy/overlays/high-availability/"))
    return found


async def missing_for_owners(account: Rights, objects: Iterable[Reference]) -> Sequence[str]:
    """As `missing_permissions`, for GitOps owners that may be suspended and what their revisions come from."""
    found = []
    for place in dict.fromkeys(objects):
        for permission in (p for p in OWNER_PERMISSIONS if place.kind in p.kinds):
            for verb in permission.verbs:
                may = await account.may(verb, permission.group, permission.resource, place.namespace, place.name)
                if may is False:
                    found.append(permission.sentence(verb, place.namespace, place.name, OWNER_ROLE))
    return found


async def missing_for_configuration(
    account: Rights, objects: Iterable[ConfigObject], kept_in: Collection[str]
) -> Sequence[str]:  # fmt: skip
    """As `missing_permissions`, for the ConfigMaps and Secrets that pods refer to.

    `kept_in` are the namespaces where Secrets are kept: without any, Secrets are not read.
    """
    kinds = {ConfigKind.CONFIG_MAP: CONFIG_PERMISSIONS, ConfigKind.SECRET: SECRET_PERMISSIONS if kept_in else ()}
    wanted = [(p, one.namespace, one.name) for one in dict.fromkeys(objects) for p in kinds[one.kind]]
    wanted += [(permission, namespace, "") for namespace in sorted(kept_in) for permission in SAVING_PERMISSIONS]
    return [
        permission.sentence(verb, namespace, name)
        for permission, namespace, name in wanted
        for verb in permission.verbs
        if await account.may(verb, permission.group, permission.resource, namespace, name) is False
    ]


async def missing_delegations(account: Rights) -> Sequence[str]:
    """As `missing_permissions`, for asking on behalf of others."""
    return [
        f"The guard cannot {verb} {permission.full_name}, so it cannot {permission.purpose}: grant its account that "
        "verb in the whole cluster, as deploy/components/api-auth does."
        for permission in DELEGATED
        for verb in permission.verbs
        if await account.may(verb, permission.group, permission.resource, "") is False
    ]


_OF_ONE = frozenset({"get", "patch", "delete"})
"""Verbs that a Role can allow on single objects; what is created or listed has no name to ask for."""


def _names(target: Target, permission: Permission, verb: str, autoscalers: Sequence[Json]) -> Sequence[str]:
    """The objects to ask for; one empty name where the question is of the resource as a whole.

    A Role may name single objects, and then only a question that names one is answered with yes. Which pod is deleted
    is not known yet.
    """
    if verb not in _OF_ONE:
        return [""]
    workloads = [*target.environments.values()] or [target.deployment]
    match permission.resource:
        case "deployments" if permission.granted_by == GRADUAL_ROLE:
            return [capacity.helper_name(target.deployment)]
        case "deployments" | "statefulsets" | "daemonsets":
            return workloads
        case "services":
            return [target.service or ""]
        case "horizontalpodautoscalers":
            return [a["metadata"]["name"] for a in autoscalers if _scales(a, target.kind, workloads)] or [""]
        case _:
            return [""]


def _scales(autoscaler: Json, kind: str, workloads: Sequence[str]) -> bool:
    reference = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    return reference.get("kind") == kind and reference.get("name") in workloads
