from __future__ import annotations

from dataclasses import replace

import pytest

from logcaster_guard.domain import rights
from logcaster_guard.domain.rights import Right
from logcaster_guard.domain.steps import Plan, Step, Write
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.copy_secret import CopySecret
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.delete_stuck_pods import DeleteStuckPods
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restart_pods import RestartPods
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.restore_later import RestoreLater
from logcaster_guard.steps.restore_secret import RestoreSecret
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.restore_variables import RestoreVariables
from logcaster_guard.steps.roll_environment import RollEnvironment
from logcaster_guard.steps.scale_environment import ScaleEnvironment
from logcaster_guard.steps.scale_helper import ScaleHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.suspend_owner import SuspendOwner
from logcaster_guard.steps.switch_service import SwitchService

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
CONFIG_MAP, COPIED = ("", "configmaps", "shop", "c"), ("", "configmaps", "shop", "")
SECRET, COPIES = ("", "secrets", *CONFIG_MAP[2:]), ("", "secrets", *COPIED[2:])
MADE = ("create", "apps", "deployments", "shop", "")
GRADUAL, SWITCHING = rights.GRADUAL_ROLE, rights.SWITCHING_ROLE
FLUX = ("kustomize.toolkit.fluxcd.io", "kustomizations", "flux-system", "web")
ROWS: list[tuple[Write, list[Right]]] = [
    (SuspendOwner("Kustomization flux-system/web", "u", "r", "c"), [Right("patch", *FLUX, rights.OWNER_ROLE)]),
    (RaiseAutoscalerMinimum("hpa", "u", 3), [Right("patch", *AUTOSCALER)]),
    (PinAutoscaler("hpa", "u", 3), [Right("patch", *AUTOSCALER)]),
    (RestoreConfigMap("c", "u", "blob", ()), [Right(v, *CONFIG_MAP, rights.CONFIG_ROLE) for v in ("get", "patch")]),
    (RestoreSecret("c", "u", "p", ()), [Right(v, *SECRET, rights.SECRETS_ROLE) for v in ("get", "patch")]),
    (CopyConfigMap("c", "blob"), [Right(v, *COPIED, rights.COPIES_ROLE) for v in ("create", "get", "delete")]),
    (CopySecret("c", "p"), [Right(v, *COPIES, rights.COPIED_SECRETS_ROLE) for v in ("create", "get", "delete")]),
    (RestoreTemplate("blob"), [Right("patch", *WEB)]),
    (RestoreVariables("blob", "1", ("web:1",)), [Right("patch", *WEB)]),
    (RestartPods("blob"), [Right("patch", *WEB)]),
    (DeleteStuckPods(60.0), []),
    (CreateHelper("web-rollback", "blob", 1, {}), [Right(*MADE, GRADUAL), Right("delete", *HELPER, GRADUAL)]),
    (ScaleHelper("web-rollback", 2), [Right("patch", *HELPER, GRADUAL)]),
    (ScaleProduction(2), [Right("patch", *WEB)]),
    (RemoveHelper("web-rollback"), [Right("delete", *HELPER, GRADUAL)]),
    (RestoreEnvironment("snapshot", 3), [Right(*MADE, SWITCHING), Right("delete", *WEB, SWITCHING)]),
    (RollEnvironment(restart=False), [Right("patch", *WEB, SWITCHING)]),
    (
        RestoreLater("ConfigMap", "c", "", "blob", ()),
        [Right(v, *CONFIG_MAP, rights.CONFIG_ROLE) for v in ("get", "patch", "create")],
    ),
    (ScaleEnvironment(3), [Right("patch", *WEB, SWITCHING)]),
    (SwitchService("environment", "green", "blue"), [Right("patch", "", "services", "shop", "web-http", SWITCHING)]),
]


def test_every_step_that_writes_has_a_row() -> None:
    assert {type(step) for step, _ in ROWS} == {kind.step for kind in KINDS if issubclass(kind.step, Write)}


@pytest.mark.parametrize(("step", "expected"), ROWS, ids=[step.kind for step, _ in ROWS])
def test_what_a_step_needs(step: Step, expected: list[Right]) -> None:
    assert replace(PLAN, steps=(AwaitRollout(60.0), step, step)).rights == expected


@pytest.mark.parametrize(
    ("kind", "resource"), [("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets"), ("Deployment", "deployments")]
)
def test_a_template_is_of_the_targets_kind(kind: str, resource: str) -> None:
    found = replace(PLAN, kind=kind, steps=(RestoreTemplate("blob"),)).rights
    assert found == [Right("patch", "apps", resource, "shop", "web", rights.KIND_ROLES[kind])]
