from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.rollbacks import immediate
from logcaster_guard.rollbacks.autoscaling import SCALED_OBJECT
from logcaster_guard.rollbacks.immediate import Facts
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.delete_stuck_pods import DeleteStuckPods
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_template import RestoreTemplate
from tests.domain.build import UID, deployment, template
from tests.rollbacks.build import request, told

BAD = Workload(deployment(template("logcaster/logcaster-c:2.0"), replicas=4))
GOOD = Record("good", "1", "blob", ("logcaster/logcaster-c:1.0",), 0, 0)
RELEASE = Release(template("logcaster/logcaster-c:1.0"))
SERVICE = {"metadata": {"name": "logcaster"}, "spec": {"selector": {"app": "logcaster"}}}


def autoscaler(
    minimum: int | None, maximum: int = 10, *, name: str = "logcaster-prod", kind: str = "Deployment"
) -> Any:
    spec: dict[str, Any] = {"scaleTargetRef": {"kind": kind, "name": name}, "maxReplicas": maximum}
    if minimum is not None:
        spec["minReplicas"] = minimum
    return {"metadata": {"name": "hpa", "uid": "hpa-uid"}, "spec": spec}


def planned(*autoscalers: Any, service: Any = SERVICE) -> Plan:
    found = immediate.plan(Facts(request(BAD, GOOD), RELEASE, service, autoscalers))
    assert isinstance(found, Plan)
    return found


REST = (RestoreTemplate("blob"), AwaitRollout(600.0))


@pytest.mark.parametrize(
    ("scaler", "raised", "autoscaled"),
    [
        (autoscaler(2), 4, True),
        (autoscaler(None), 4, True),
        (autoscaler(1), 4, True),
        (autoscaler(None, maximum=2), 2, True),
        (autoscaler(4), None, True),
        (autoscaler(6), None, True),
        (autoscaler(2, maximum=3), 3, True),
        (autoscaler(2, name="another"), None, False),
        (autoscaler(2, kind="StatefulSet"), None, False),
    ],
)
def test_a_minimum_is_raised_only_where_the_autoscaler_could_shrink_the_target(
    scaler: Any, raised: int | None, *, autoscaled: bool
) -> None:
    plan = planned(scaler)
    first = () if raised is None else (RaiseAutoscalerMinimum("hpa", "hpa-uid", raised),)
    assert plan.steps == (*first, *REST)
    assert plan.autoscaled is autoscaled


def test_the_bounds_of_kedas_autoscaler_are_left_to_keda() -> None:
    scaler = autoscaler(2)
    scaler["metadata"]["labels"] = {SCALED_OBJECT: "web"}
    plan = planned(scaler)
    assert (plan.steps, plan.autoscaled) == (REST, True)


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"type": "OnDelete"}, "set RollingUpdate"),
        ({"rollingUpdate": {"partition": 2}}, "the partition 2"),
        ({"rollingUpdate": {"partition": 0}}, None),
        ({"type": "RollingUpdate"}, None),
    ],
)
def test_where_no_pod_would_change_there_is_no_plan(updates: dict[str, Any], words: str | None) -> None:
    workload = Workload(deployment(template("logcaster/logcaster-c:2.0"), updateStrategy=updates))
    found = immediate.plan(Facts(request(workload, GOOD), RELEASE, None, ()))
    if words is None:
        assert isinstance(found, Plan)
    else:
        assert words in told(found)


@pytest.mark.parametrize(
    ("spec", "service", "words"),
    [
        ({"selector": {"matchLabels": {"app": "another"}}}, SERVICE, "made again with another selector"),
        ({}, {"metadata": {"name": "front"}, "spec": {"selector": {"track": "new"}}}, "Service default/front"),
    ],
)
def test_a_release_that_would_not_be_reached_is_not_rolled_out(spec: Any, service: Any, words: str) -> None:
    workload = Workload(deployment(template("logcaster/logcaster-c:2.0", labels={"track": "new"}), **spec))
    assert words in told(immediate.plan(Facts(request(workload, GOOD), RELEASE, service, ())))


def test_a_stateful_set_is_rid_of_the_pods_that_its_controller_would_wait_for() -> None:
    workload = Workload({**BAD.raw, "kind": "StatefulSet"})
    found = immediate.plan(Facts(request(workload, GOOD), RELEASE, None, ()))
    assert isinstance(found, Plan)
    assert (found.kind, found.steps[1:]) == ("StatefulSet", (DeleteStuckPods(600.0), AwaitRollout(600.0)))


def test_the_plan_says_what_it_was_made_from() -> None:
    plan = planned()
    assert plan.strategy == "immediate"
    assert (plan.uid, plan.replicas, plan.from_template, plan.to_template) == (UID, 4, BAD.hash, "good")
    assert (plan.from_images, plan.to_images) == (("logcaster/logcaster-c:2.0",), ("logcaster/logcaster-c:1.0",))
    assert (plan.service, plan.selector) == ("logcaster", {"app": "logcaster"})
    assert (planned(service=None).service, planned(service=None).selector) == (None, None)


def test_the_digest_is_the_plans_own() -> None:
    assert planned().digest == planned().digest
    assert len({planned().digest, planned(autoscaler(2)).digest, planned(service=None).digest}) == 3
