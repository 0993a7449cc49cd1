"""Who serves: pods that are Ready, not terminating, and selected by the Service.

The floor of a run that shifts pods about is min(wanted, Ready) at its start; a disruption budget may ask for more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from logcaster_guard.domain.step_observations import BelowBudget

Json = dict[str, Any]
_LONGEST_HELPER, _HELPER_ENDING = 46, "-rollback"
HELPER_LABEL = "guard.logcaster.io/helper"
"""Carried by the pods of a helper Deployment alone; its value is the helper's name, cut to a label's length."""


def labels_of(pod: Mapping[str, Any]) -> Mapping[str, str]:
    """An object's labels."""
    return pod["metadata"].get("labels") or {}


def helper_name(deployment: str) -> str:
    """The name of a Deployment's helper: always the same, so that there are never two, and that a Role can name it.

    Short enough that Kubernetes keeps it and the ReplicaSet's hash whole in the names of its pods: 58 characters less
    a hash of 10 and two hyphens. What is cut off a long name is told by a digest.
    """
    room = _LONGEST_HELPER - len(_HELPER_ENDING)
    if len(deployment) > room:
        digest = hashlib.sha256(deployment.encode()).hexdigest()[:4]
        deployment = f"{deployment[: room - 5].rstrip('-.')}-{digest}"
    return deployment + _HELPER_ENDING


def helper_label(helper: str) -> str:
    """The value of `HELPER_LABEL` on a helper's pods."""
    return helper[-63:].lstrip("-.")


def is_helper(thing: Mapping[str, Any]) -> bool:
    """Whether a Deployment or pod is a helper's."""
    return HELPER_LABEL in labels_of(thing)


def is_serving(pod: Mapping[str, Any], selector: Mapping[str, str] | None) -> bool:
    """Whether the pod is Ready, not terminating and selected (None: by no Service, so that Ready alone counts)."""
    if "deletionTimestamp" in pod["metadata"] or not _ready(pod):
        return False
    return selector is None or selects(selector, labels_of(pod))


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a Service's selector takes a pod with these labels; an empty one takes none."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def written(selector: Mapping[str, str]) -> str:
    """A Service's selector as people write it: `app=logcaster,tier=web`."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def serving(pods: Iterable[Mapping[str, Any]], selector: Mapping[str, str] | None, helper: str | None) -> int:
    """How many pods of the helper serve; with `helper=None` those that are of no helper."""
    wanted = None if helper is None else helper_label(helper)
    return sum(is_serving(p, selector) and labels_of(p).get(HELPER_LABEL) == wanted for p in pods)


def budgets_for(budgets: Iterable[Json], labels: Mapping[str, str]) -> list[Json]:
    """The disruption budgets that count a pod with these labels."""
    return [b for b in budgets if matches((b.get("spec") or {}).get("selector"), labels)]


def wanted_healthy(budget: Mapping[str, Any], expected: int) -> int:
    """How many pods a PodDisruptionBudget wants healthy of `expected`; shares are rounded up, as Kubernetes does."""
    spec = budget.get("spec") or {}
    if spec.get("minAvailable") is not None:
        return _amount(spec["minAvailable"], expected)
    return max(0, expected - _amount(spec.get("maxUnavailable", 0), expected))


def short_of(
    budgets: Sequence[Json], pods: Sequence[Mapping[str, Any]], *, removed: int, expected: int
) -> BelowBudget | None:  # fmt: skip
    """Which budget would be broken if `removed` healthy pods went and `expected` were wanted; None if none would."""
    for budget in budgets:
        selector = (budget.get("spec") or {}).get("selector")
        healthy = sum(is_serving(p, None) and matches(selector, labels_of(p)) for p in pods)
        wanted = wanted_healthy(budget, expected)
        if healthy - removed < wanted:
            return BelowBudget(budget["metadata"]["name"], wanted, healthy - removed)
    return None


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _amount(value: Any, of: int) -> int:  # noqa: ANN401 - an int or a percentage, as JSON has it
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(of * int(value[:-1]) / 100)
    return int(value)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector takes these labels; an empty one takes all, none takes none."""
    if selector is None:
        return False
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(e, labels.get(e["key"])) for e in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], value: str | None) -> bool:
    values = expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
