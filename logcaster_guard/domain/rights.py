"""What the guard's account must be allowed to do, so that a plan can be carried out to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from logcaster_guard.domain import gitops
from logcaster_guard.domain.gitops import Owner, OwnerKind
from logcaster_guard.domain.steps import (
    CreateHelper,
    DeleteStuckPods,
    PinAutoscaler,
    Plan,
    RaiseAutoscalerMinimum,
    RemoveHelper,
    RestoreEnvironment,
    RestoreTemplate,
    ScaleEnvironment,
    ScaleHelper,
    ScaleProduction,
    SuspendOwner,
    SwitchService,
    Write,
)
from logcaster_guard.domain.workload import DAEMON_SET, STATEFUL_SET

ROLE = "deploy/rbac.yaml"
GRADUAL_ROLE = "deploy/components/gradual"
SWITCHING_ROLE = "deploy/components/blue-green"
OWNER_ROLE = "deploy/components/gitops"


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

    def missing(self, consequence: str) -> str:
        """A sentence that says that it is not there, what follows from that, and what grants it."""
        which = f"{self.full_name} {self.name}" if self.name else self.full_name
        return (
            f"The guard cannot {self.verb} {which} in namespace {self.namespace}, so {consequence}: grant its account "
            f"the verb {self.verb} on {self.full_name} there, as {self.granted_by} does."
        )


VERBS: Mapping[type[Write], tuple[str, ...]] = {
    SuspendOwner: ("patch",),
    RaiseAutoscalerMinimum: ("patch",),
    PinAutoscaler: ("patch",),
    RestoreTemplate: ("patch",),
    # Seldom needed, and a good template whose pods a person has to free is better than a bad one.
    DeleteStuckPods: (),
    # What cannot be deleted again could not be given back.
    CreateHelper: ("create", "delete"),
    ScaleHelper: ("patch",),
    ScaleProduction: ("patch",),
    RemoveHelper: ("delete",),
    RestoreEnvironment: ("create", "delete"),
    ScaleEnvironment: ("patch",),
    SwitchService: ("patch",),
}
"""What each step that writes does to its object."""

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


def needed(plan: Plan) -> Sequence[Right]:
    """What the plan's steps need, each once, in the order of the steps."""
    steps = [step for step in plan.steps if isinstance(step, Write)]
    return list(dict.fromkeys(_right(step, verb, plan) for step in steps for verb in VERBS[type(step)]))


def _right(step: Write, verb: str, plan: Plan) -> Right:
    """The verb on what the step writes.

    A Role may name single objects, and then only a question that names one is answered with yes; what is created has
    no name to ask for.
    """

    def there(group: str, resource: str, name: str, role: str = ROLE) -> Right:
        return Right(verb, group, resource, plan.namespace, "" if verb == "create" else name, role)

    match step:
        case RestoreTemplate() | ScaleProduction():
            return there("apps", _WORKLOADS[plan.kind], plan.deployment, KIND_ROLES[plan.kind])
        case RestoreEnvironment() | ScaleEnvironment():
            return there("apps", _WORKLOADS[plan.kind], plan.deployment, SWITCHING_ROLE)
        case CreateHelper(helper=name) | ScaleHelper(helper=name) | RemoveHelper(helper=name):
            return there("apps", "deployments", name, GRADUAL_ROLE)
        case RaiseAutoscalerMinimum(autoscaler=name) | PinAutoscaler(autoscaler=name):
            return there("autoscaling", "horizontalpodautoscalers", name)
        case SwitchService():
            return there("", "services", plan.service or "", SWITCHING_ROLE)
        case DeleteStuckPods():
            return there("", "pods", "", KIND_ROLES[STATEFUL_SET])
        case SuspendOwner(owner=owner):
            return _on_owner(verb, owner)
        case _:
            assert_never(step)


def to_read(owner: Owner) -> Right:
    """What it takes to look at a workload's owner, without which it is not suspended."""
    group, resource = _OWNERS[owner.kind]
    return Right("get", group, resource, owner.namespace, owner.name, OWNER_ROLE)


def _on_owner(verb: str, called: str) -> Right:
    owner = gitops.owner_called(called)
    if owner is None:
        raise ValueError(f"{called!a} is no GitOps owner")
    group, resource = _OWNERS[owner.kind]
    return Right(verb, group, resource, owner.namespace, owner.name, OWNER_ROLE)
