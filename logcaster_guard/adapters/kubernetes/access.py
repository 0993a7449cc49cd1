"""What the guard must be allowed to do in a target's namespace, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from logcaster_guard.domain.signals import Target


@dataclass(frozen=True, slots=True)
class Permission:
    """`verbs` on a resource of an API group (empty for the core group), and what becomes impossible without them.

    `kinds`: the targets that need it.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    kinds: frozenset[str] = frozenset({"Deployment"})

    def concerns(self, target: Target) -> bool:
        """Whether this target needs it."""
        if self.resource == "services" and not target.service:
            return False
        return target.kind in self.kinds

    @property
    def full_name(self) -> str:
        """As kubectl writes it: `deployments.apps`, `pods`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


_DEPLOYMENT = frozenset({"Deployment"})
_STATEFUL_SET = frozenset({"StatefulSet"})
_ANY = _DEPLOYMENT | _STATEFUL_SET

PERMISSIONS: tuple[Permission, ...] = (
    Permission("apps", "deployments", ("get", "patch"), "watch the Deployment and roll it back"),
    Permission("apps", "deployments", ("create", "delete", "list"), "run the good release beside production"),
    Permission("apps", "replicasets", ("list",), "know its revisions"),
    Permission("apps", "statefulsets", ("get", "patch"), "watch the StatefulSet and roll it back", _STATEFUL_SET),
    Permission("apps", "controllerrevisions", ("list",), "know its revisions", _STATEFUL_SET),
    Permission("", "pods", ("list",), "see its pods", _ANY),
    Permission("", "pods", ("delete",), "free a StatefulSet from a pod that it waits for", _STATEFUL_SET),
    Permission("", "services", ("get",), "see which pods its Service selects", _ANY),
    Permission("policy", "poddisruptionbudgets", ("list",), "keep to its disruption budgets", _ANY),
    Permission("", "persistentvolumeclaims", ("get",), "know whether two releases can share its volumes"),
    Permission(
        "autoscaling",
        "horizontalpodautoscalers",
        ("get", "list", "patch"),
        "keep an autoscaler from undoing a rollback",
        _ANY,
    ),
    Permission("", "events", ("create",), "tell of a rollback on the workload", _ANY),
)
"""The whole of it; `deploy/rbac.yaml` grants exactly this."""


class Reviews(Protocol):
    """Answers for the guard's own account."""

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        """Whether it may; None where nobody can tell."""


async def missing_permissions(reviews: Reviews, targets: Iterable[Target]) -> Sequence[str]:
    """A sentence for each permission that the targets need and the guard does not have, each once.

    What the API server does not tell counts as there: the first use will show. Raises `ClusterError`s.
    """
    asked: dict[tuple[str, str, str, str], str | None] = {}
    for target in targets:
        names = dict.fromkeys(("deployments", "statefulsets"), target.deployment)
        names["services"] = target.service or ""
        for permission in (p for p in PERMISSIONS if p.concerns(target)):
            for verb in permission.verbs:
                # A Role may name single objects, and then only a question that names one is answered with yes; what is
                # created or listed has no name to ask for, and the helper has another one.
                name = names.get(permission.resource, "") if verb in {"get", "patch"} else ""
                key = (verb, permission.full_name, target.namespace, name)
                if key not in asked:
                    may = await reviews.may(verb, permission.group, permission.resource, target.namespace, name)
                    asked[key] = _sentence(verb, permission, target.namespace, name) if may is False else None
    return [sentence for sentence in asked.values() if sentence is not None]


def _sentence(verb: str, permission: Permission, namespace: str, name: str) -> str:
    which = f"{permission.full_name} {name}" if name else permission.full_name
    return (
        f"The guard cannot {verb} {which} in namespace {namespace}, so it cannot {permission.purpose}: "
        f"grant its account the verb {verb} on {permission.full_name} there, as deploy/rbac.yaml does."
    )
