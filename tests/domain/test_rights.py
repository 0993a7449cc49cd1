from __future__ import annotations

import typing
from dataclasses import replace

import pytest

from logcaster_guard.domain import rights
from logcaster_guard.domain.rights import Right, needed
from logcaster_guard.domain.steps import (
    AwaitRollout,
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
    Step,
    SuspendOwner,
    SwitchService,
    Write,
)

PLAN = Plan(
    strategy="immediate",
    namespace="shop",
    deployment="web",
    uid="u",
    from_template="bad",
    to_template="good",
    from_images=("v2",),
    to_images=("v1",),
    replicas=3,
    autoscaled=False,
    service="web-http",
    selector={"app": "web"},
    steps=(),
)
WEB, HELPER = ("apps", "deployments", "shop", "web"), ("apps", "deployments", "shop", "web-rollback")
AUTOSCALER = ("autoscaling", "horizontalpodautoscalers", "shop", "hpa")
MADE = ("create", "apps", "deployments", "shop", "")
GRADUAL, SWITCHING = rights.GRADUAL_ROLE, rights.SWITCHING_ROLE
FLUX = ("kustomize.toolkit.fluxcd.io", "kustomizations", "flux-system", "web")
ROWS: list[tuple[Write, list[Right]]] = [
    (SuspendOwner("Kustomization flux-system/web", "u", "r", "c"), [Right("patch", *FLUX, rights.OWNER_ROLE)]),
    (RaiseAutoscalerMinimum("hpa", "u", 3), [Right("patch", *AUTOSCALER)]),
    (PinAutoscaler("hpa", "u", 3), [Right("patch", *AUTOSCALER)]),
    (RestoreTemplate("blob"), [Right("patch", *WEB)]),
    (DeleteStuckPods(60.0), []),
    (CreateHelper("web-rollback", "blob", 1, {}), [Right(*MADE, GRADUAL), Right("delete", *HELPER, GRADUAL)]),
    (ScaleHelper("web-rollback", 2), [Right("patch", *HELPER, GRADUAL)]),
    (ScaleProduction(2), [Right("patch", *WEB)]),
    (RemoveHelper("web-rollback"), [Right("delete", *HELPER, GRADUAL)]),
    (RestoreEnvironment("snapshot", 3), [Right(*MADE, SWITCHING), Right("delete", *WEB, SWITCHING)]),
    (ScaleEnvironment(3), [Right("patch", *WEB, SWITCHING)]),
    (SwitchService("environment", "green", "blue"), [Right("patch", "", "services", "shop", "web-http", SWITCHING)]),
]


def test_every_step_that_writes_has_a_row() -> None:
    writes = set(typing.get_args(Write))
    assert set(rights.VERBS) == writes
    assert {type(step) for step, _ in ROWS} == writes


@pytest.mark.parametrize(("step", "expected"), ROWS, ids=[step.kind for step, _ in ROWS])
def test_what_a_step_needs(step: Step, expected: list[Right]) -> None:
    assert needed(replace(PLAN, steps=(AwaitRollout(60.0), step, step))) == expected


@pytest.mark.parametrize(
    ("kind", "resource"), [("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets"), ("Deployment", "deployments")]
)
def test_a_template_is_of_the_targets_kind(kind: str, resource: str) -> None:
    found = needed(replace(PLAN, kind=kind, steps=(RestoreTemplate("blob"),)))
    assert found == [Right("patch", "apps", resource, "shop", "web", rights.KIND_ROLES[kind])]
