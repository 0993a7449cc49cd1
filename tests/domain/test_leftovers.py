"""What the next deployment leaves in place after a rollback is told, with what mends it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from logcaster_guard.domain.leftovers import HELM_NAME, HELM_NAMESPACE, leftover
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.workload import LAST_APPLIED, Workload

Json = dict[str, Any]
BAD: Json = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "web:2"}]}}
GOOD: Json = copy.deepcopy(BAD)
GOOD["spec"]["containers"][0] |= {"image": "web:1", "env": [{"name": "V1_ONLY", "value": "x"}]}
GOOD["spec"]["volumes"] = [{"name": "cache", "emptyDir": {}}]
ONLY = ("spec.containers[app].env", "spec.volumes")
HELM = {HELM_NAME: "shop", HELM_NAMESPACE: "prod"}


def workload(**annotations: str) -> Workload:
    metadata = {"name": "web", "namespace": "default", "annotations": annotations}
    return Workload({"kind": "Deployment", "metadata": metadata, "spec": {"template": BAD}})


@pytest.mark.parametrize(
    ("annotations", "applied", "fields"),
    [
        ({LAST_APPLIED: "{}"}, None, ONLY),
        ({LAST_APPLIED: "{}"}, GOOD, None),
        ({}, None, None),
        (HELM, None, ONLY),
        (HELM, GOOD, ONLY),
    ],
)
def test_what_stays_is_what_only_the_restored_release_has(
    annotations: dict[str, str], applied: Json | None, fields: tuple[str, ...] | None
) -> None:
    found = leftover(workload(**annotations), Release(GOOD, applied_template=applied))
    assert (None if found is None else found.fields) == fields


def test_where_nothing_is_added_kubectl_leaves_nothing_and_helm_is_told_of_all_the_same() -> None:
    same = copy.deepcopy(BAD)
    same["spec"]["containers"][0]["image"] = "web:1"
    assert leftover(workload(**{LAST_APPLIED: "{}"}), Release(same)) is None
    found = leftover(workload(**HELM), Release(same))
    assert found is not None
    assert found.remedy == "helm -n prod rollback shop REVISION"
    assert found.history == "helm -n prod history shop"


def test_a_name_that_a_shell_would_obey_is_quoted() -> None:
    found = leftover(workload(**{HELM_NAME: "a; reboot"}), Release(GOOD))
    assert found is not None
    assert found.remedy == "helm -n default rollback 'a; reboot' REVISION"
