"""What the guard's account must be allowed to do, so that a plan can be carried out to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logcaster_guard.domain import gitops
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.gitops import Owner, OwnerKind
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.planning_reasons import MissingRight
from logcaster_guard.domain.workload import DAEMON_SET, STATEFUL_SET

ROLE = "deploy/rbac.yaml"
GRADUAL_ROLE = "deploy/components/gradual"
SWITCHING_ROLE = "deploy/components/blue-green"
OWNER_ROLE = "deploy/components/gitops"
CONFIG_ROLE = "deploy/components/config"
SECRETS_ROLE = "deploy/components/secrets"
COPIES_ROLE = "deploy/components/config-copies"
COPIED_SECRETS_ROLE = "deploy/components/secret-copies"


@dataclass(frozen=True, slots=True)
class Right:
    """`verb` on a resource of an API group (empty for the core group), on one object where it is named.

    `granted_by` is the shipped file that grants it.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""
    granted_by: str = ROLE

    @property
    def full_name(self) -> str:
        """The resource as kubectl writes it: `deployments.apps`, `pods`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def missing(self, consequence: Reason) -> MissingRight:
        """That it is not there, what follows from that, and what grants it."""
        return MissingRight(self.verb, self.full_name, self.name, self.namespace, consequence, self.granted_by)


_WORKLOADS: Mapping[str, str] = {
    "Deployment": "deployments",
    STATEFUL_SET: "statefulsets",
    DAEMON_SET: "daemonsets",
}
KIND_ROLES: Mapping[str, str] = {
    "Deployment": ROLE,
    STATEFUL_SET: "deploy/components/statefulset",
    DAEMON_SET: "deploy/components/daemonset",
}
"""What grants the guard a target of each kind."""

_OWNERS: Mapping[OwnerKind, tuple[str, str]] = {
    OwnerKind.APPLICATION: ("argoproj.io", "applications"),
    OwnerKind.KUSTOMIZATION: ("kustomize.toolkit.fluxcd.io", "kustomizations"),
    OwnerKind.HELM_RELEASE: ("helm.toolkit.fluxcd.io", "helmreleases"),
}


def on_workload(verb: str, kind: str, namespace: str, name: str, granted_by: str = "") -> Right:
    """The verb on a workload of this kind; without a name on all of them, as what is created has none to ask for."""
    return Right(verb, "apps", _WORKLOADS[kind], namespace, name, granted_by or KIND_ROLES[kind])


def to_read(owner: Owner) -> Right:
    """What it takes to look at a workload's owner, without which it is not suspended."""
    group, resource = _OWNERS[owner.kind]
    return Right("get", group, resource, owner.namespace, owner.name, OWNER_ROLE)


_CONFIGURATION: Mapping[ConfigKind, tuple[str, str]] = {
    ConfigKind.CONFIG_MAP: ("configmaps", CONFIG_ROLE),
    ConfigKind.SECRET: ("secrets", SECRETS_ROLE),
}


def to_read_configuration(one: ConfigObject, verb: str = "get") -> Right:
    """What it takes to save a ConfigMap or Secret that the pods refer to, and to follow it (`list` and `watch`)."""
    resource, granted_by = _CONFIGURATION[one.kind]
    return Right(verb, "", resource, one.namespace, one.name, granted_by)


_COPIES_ROLES: Mapping[ConfigKind, str] = {
    ConfigKind.CONFIG_MAP: COPIES_ROLE,
    ConfigKind.SECRET: COPIED_SECRETS_ROLE,
}


def to_copy_configuration(kind: ConfigKind, namespace: str) -> Sequence[Right]:
    """What it takes to make a copy and to delete it again.

    Its name is not known before the run has one, and no Role can name what is still to be made.
    """
    resource, _ = _CONFIGURATION[kind]
    verbs = ("create", "get", "delete")
    return tuple(Right(verb, "", resource, namespace, granted_by=_COPIES_ROLES[kind]) for verb in verbs)


def on_owner(verb: str, called: str) -> Right:
    """The verb on the GitOps owner of this name (`Owner.object`); raises `ValueError` for what is none."""
    owner = gitops.owner_called(called)
    if owner is None:
        raise ValueError(f"{called!a} is no GitOps owner")
    group, resource = _OWNERS[owner.kind]
    return Right(verb, group, resource, owner.namespace, owner.name, OWNER_ROLE)
