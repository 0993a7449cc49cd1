from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import capacity
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import Action, AlertPolicy, GradualPolicy, Policy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Gap, NoData
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.rollbacks import alert_then, gradual, immediate
from logcaster_guard.rollbacks.autoscaling import SCALED_OBJECT
from logcaster_guard.rollbacks.gradual import Facts
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.await_helper import AwaitHelper
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.scale_helper import ScaleHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.step_services import Inspection
from tests.domain.build import UID, at, deployment, pod, rule, template
from tests.rollbacks.build import request, seen, told

SHARES = GradualPolicy().steps
RECORD = Record("goodgoodgood", "1", "blob", ("v1",), 0, 0)
SERVICE: dict[str, Any] = {"metadata": {"name": "svc"}, "spec": {"selector": {"app": "logcaster"}}}
HPA: dict[str, Any] = {
    "metadata": {"name": "hpa", "uid": "u"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "logcaster-prod"}, "minReplicas": 2, "maxReplicas": 9},
}
HELPER = "logcaster-prod-rollback"
NAMESAKE = f"There is a Deployment default/{HELPER} already"


def bad(**spec: Any) -> Workload:
    return Workload(deployment(template("v2"), **{"replicas": 4, **spec}))


AROUND = Facts(
    request=request(bad(), RECORD, asked=rule(action=Action.GRADUAL)),
    release=Release(template("v1")),
    service=SERVICE,
    autoscalers=[],
    pods=[],
    budgets=[],
    claims={},
    namesake=None,
    inspected={60.0: seen(None)},
)
NOW = immediate.Facts(request(bad(), RECORD), Release(template("v1")), SERVICE, [HPA])


def of(workload: Workload, around: Facts = AROUND, policy: Policy | None = None) -> Facts:
    """The same for another workload."""
    return replace(around, request=replace(around.request, workload=workload, policy=policy or Policy()))


def planned(around: Facts = AROUND, workload: Workload | None = None) -> Plan | NotApplicable:
    return gradual.plan(of(workload or bad(), around))


def steps(found: Plan | NotApplicable) -> Plan:
    assert isinstance(found, Plan)
    return found


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, [(1, 1), (1, 0)]),
        (3, [(1, 3), (2, 2), (3, 1), (3, 0)]),
        (4, [(1, 4), (1, 3), (2, 2), (3, 1), (4, 0)]),
        (10, [(1, 9), (3, 8), (5, 5), (8, 3), (10, 0)]),
        (50, [(5, 45), (13, 38), (25, 25), (38, 13), (50, 0)]),
    ],
)
def test_the_steps_of_the_plan(size: int, expected: list[tuple[int, int]]) -> None:
    assert [(s.helper, s.production) for s in gradual.stages(size, SHARES)] == expected


@given(st.integers(1, 500), st.lists(st.floats(0.01, 0.99), max_size=8, unique=True))
def test_there_are_never_fewer_pods_than_before(size: int, shares: list[float]) -> None:
    found = gradual.stages(size, (*sorted(shares), 1.0))
    assert all(s.helper + s.production >= size for s in found)
    assert (found[-1].helper, found[-1].production) == (size, 0)
    assert all(a != b for a, b in itertools.pairwise(found))
    assert [s.helper for s in found] == sorted(s.helper for s in found)


@given(st.integers(1, 60), st.lists(st.floats(0.01, 0.99), max_size=6, unique=True), st.booleans(), st.data())
def test_at_no_step_of_the_plan_fewer_pods_serve_than_before(
    size: int, shares: list[float], scaled: bool, data: st.DataObject
) -> None:
    """Pods of the helper count once they were waited for; an autoscaler brings production to its bounds at once."""
    policy = Policy(gradual=GradualPolicy(steps=(*sorted(shares), 1.0)))
    around = replace(AROUND, autoscalers=[HPA] if scaled else [])
    plan = steps(gradual.plan(of(bad(replicas=size), around, policy)))
    production, helper, ready = size, 0, 0
    for step in plan.steps:
        match step:
            case CreateHelper(replicas=wanted) | ScaleHelper(replicas=wanted):
                helper = wanted
            case AwaitHelper(replicas=wanted):
                assert wanted == helper
                ready = helper
            case PinAutoscaler(size=bound):
                # With 0 pods an autoscaler is off; else it may act before anything else does.
                production = bound if production and data.draw(st.booleans()) else production
            case ScaleProduction(replicas=wanted):
                production = wanted
            case RemoveHelper():
                helper = ready = 0
        assert production + ready >= size, step
    assert (production, helper) == (size, 0)


def test_the_real_share_is_judged_at_each_step() -> None:
    shares = [s.share for s in steps(planned()).steps if isinstance(s, JudgeHelper)]
    assert shares == [1 / 5, 1 / 4, 2 / 4, 3 / 4, 1.0]


def test_an_autoscaler_is_pinned_before_each_size_and_never_to_0() -> None:
    plan = steps(planned(replace(AROUND, autoscalers=[HPA])))
    sizes = [s.size for s in plan.steps if isinstance(s, PinAutoscaler)]
    assert sizes == [4, 3, 2, 1, 4]
    for before, after in zip(plan.steps, plan.steps[1:], strict=False):
        if isinstance(after, ScaleProduction) and after.replicas and not isinstance(before, AwaitHelper):
            assert isinstance(before, PinAutoscaler)
            assert before.size == after.replicas


def test_productions_size_is_borrowed_before_an_autoscaler_may_change_it() -> None:
    plan = steps(planned(replace(AROUND, autoscalers=[HPA])))
    first = next(s for s in plan.steps if isinstance(s, ScaleProduction))
    lower = next(s for s in plan.steps if isinstance(s, PinAutoscaler) and s.size < 4)
    assert first.replicas == 4
    assert plan.steps.index(first) < plan.steps.index(lower)


def test_the_whole_plan_of_a_target_with_an_autoscaler() -> None:
    judged = GradualPolicy(steps=(0.5, 1.0), wait=30.0, window=90.0, threshold=0.02, min_requests=50, hold=200.0)
    others = {**HPA, "spec": {**HPA["spec"], "scaleTargetRef": {"kind": "Deployment", "name": "another"}}}
    around = replace(AROUND, autoscalers=[others, HPA])
    found = gradual.plan(of(bad(replicas=2), around, Policy(gradual=judged)))

    def judge(share: float) -> JudgeHelper:
        return JudgeHelper(HELPER, share, 30.0, 90.0, 0.02, 50, 290.0)

    work = (
        PinAutoscaler("hpa", "u", 2),
        CreateHelper(HELPER, "blob", 1, {"app": "logcaster", "version": "rollback"}),
        *(AwaitHelper(HELPER, 1, 600.0), ScaleProduction(2)),
        *(PinAutoscaler("hpa", "u", 1), ScaleProduction(1), judge(0.5)),
        *(ScaleHelper(HELPER, 2), AwaitHelper(HELPER, 2, 600.0), ScaleProduction(0), judge(1.0)),
        *(RestoreTemplate("blob"), PinAutoscaler("hpa", "u", 2), ScaleProduction(2), AwaitRollout(600.0)),
        RemoveHelper(HELPER),
    )
    assert found == Plan(
        strategy="gradual",
        namespace="default",
        deployment="logcaster-prod",
        uid=UID,
        from_template=bad().hash,
        to_template="goodgoodgood",
        from_images=("v2",),
        to_images=("v1",),
        replicas=2,
        autoscaled=True,
        service="svc",
        selector={"app": "logcaster"},
        steps=work,
        size=2,
    )
    assert not steps(planned()).autoscaled


def test_who_takes_over_goes_on_with_what_is_borrowed() -> None:
    before = steps(planned(replace(AROUND, autoscalers=[HPA])))
    borrowed = {
        "hpa": Compensation("hpa", PinAutoscaler.borrows, "hpa", "u", 2, 4),
        "helper": Compensation("helper", CreateHelper.borrows, HELPER, "", None, 0),
    }
    old = Run(RunOpened(at(0), "r", "default/logcaster-prod", "slow", "", before), compensations=borrowed)
    third, older = Workload(deployment(template("v3"), replicas=1)), replace(RECORD, template="older", blob="blob 0")
    found = gradual.take_over(old, request(third, replace(older, images=("v0",))))
    assert found == replace(
        before,
        strategy="immediate",
        from_template=third.hash,
        to_template="older",
        from_images=("v3",),
        to_images=("v0",),
        replicas=1,
        steps=(
            *(RestoreTemplate("blob 0"), PinAutoscaler("hpa", "u", 4), ScaleProduction(4), AwaitRollout(600.0)),
            RemoveHelper(HELPER),
        ),
    )


@pytest.mark.parametrize(("rate", "proves"), [(2.0, True), (1.9, False)])
def test_a_first_step_that_would_get_too_few_requests_is_no_step(rate: float, proves: bool) -> None:
    policy = Policy(gradual=GradualPolicy(steps=(0.25, 1.0), window=60.0, min_requests=30))
    facts = of(bad(replicas=3), policy=policy)
    found = gradual.plan(replace(facts, inspected={60.0: seen(rate * 60.0), 600.0: seen(0.0)}))
    assert isinstance(found, Plan) is proves
    if not proves:
        assert told(found).startswith("Deployment default/logcaster-prod has 1.9 requests per second")


def test_what_cannot_be_read_by_pod_cannot_be_judged() -> None:
    blind = NoData(0.0, Gap.NOT_BY_POD, "the series name no pod")
    assert "the series name no pod" in told(planned(replace(AROUND, inspected={60.0: Inspection(blind, blind)})))


def test_it_ends_with_production_whole_and_the_helper_gone() -> None:
    kinds = [s.kind for s in steps(planned()).steps]
    assert kinds[-4:] == ["restore_template", "scale_production", "await_rollout", "remove_helper"]
    assert [s.replicas for s in steps(planned()).steps if isinstance(s, ScaleProduction)][-2:] == [0, 4]


def volume(*modes: str) -> Mapping[str, Any]:
    return {"metadata": {"name": "data"}, "spec": {"accessModes": list(modes)}}


PORT = template("v1")
PORT["spec"]["containers"][0]["ports"] = [{"hostPort": 9999}]
INIT_PORT = template("v1")
INIT_PORT["spec"]["initContainers"] = [{"name": "i", "ports": [{"hostPort": 53}]}, {"name": "j"}]
ON_NODE = template("v1")
ON_NODE["spec"]["hostNetwork"] = True


def budget(**spec: int) -> dict[str, Any]:
    return {"metadata": {"name": "pdb"}, "spec": {"selector": {"matchLabels": {"app": "logcaster"}}, **spec}}


@pytest.mark.parametrize(
    ("around", "spec", "words"),
    [
        (AROUND, {"strategy": {"type": "Recreate"}}, "Recreate"),
        (AROUND, {"replicas": 0}, "no replicas: there is nothing to shift"),
        (replace(AROUND, claims={"data": volume("ReadWriteOnce")}), {}, "volume claim data"),
        (replace(AROUND, claims={"data": None}), {}, "volume claim data"),
        (replace(AROUND, release=Release(PORT)), {}, "host port 9999"),
        (replace(AROUND, release=Release(INIT_PORT)), {}, "host port 53"),
        (replace(AROUND, release=Release(ON_NODE)), {}, "uses the network of its node"),
        (replace(AROUND, service=None), {}, "no Service"),
        (replace(AROUND, service={**SERVICE, "spec": {"selector": {"version": "2"}}}), {}, "version=2, so that"),
        (replace(AROUND, service={**SERVICE, "spec": {}}), {}, "selects nothing"),
        (
            replace(AROUND, service={**SERVICE, "spec": {"selector": {"app": "logcaster", "track": "canary"}}}),
            {},
            "selects app=logcaster,track=canary, which the pods of the present release",
        ),
        (
            replace(AROUND, release=Release({**template("v1"), "metadata": {"labels": {"name": "logcaster"}}})),
            {},
            "selects app=logcaster, which the pods of the good release",
        ),
        (replace(AROUND, budgets=[budget(minAvailable=5)]), {}, "pdb wants 5"),
        (replace(AROUND, namesake={"metadata": {}}), {}, "already, where the helper would be"),
    ],
)
def test_where_it_cannot_be_done_it_says_why(around: Facts, spec: dict[str, Any], words: str) -> None:
    reason = told(planned(around, bad(**spec)))
    assert words in reason
    assert reason.startswith(("Deployment default/logcaster-prod ", "Service svc ", "Disruption budget pdb ", NAMESAKE))


def test_a_stateful_set_has_no_helper_beside_it() -> None:
    found = planned(AROUND, Workload({**bad().raw, "kind": "StatefulSet"}))
    assert told(found).startswith("StatefulSet default/logcaster-prod is no Deployment: two")


def test_a_release_that_the_workload_would_not_know_its_pods_of_is_no_destination() -> None:
    found = planned(AROUND, bad(selector={"matchLabels": {"app": "another"}}))
    assert isinstance(found, NotApplicable)
    assert found.guardrail is Guardrail.SELECTOR_CHANGED


@pytest.mark.parametrize("modes", [["ReadWriteMany"], ["ReadOnlyMany"], ["ReadWriteMany", "ReadOnlyMany"]])
def test_a_volume_that_may_be_shared_is_no_obstacle(modes: list[str]) -> None:
    assert isinstance(planned(replace(AROUND, claims={"data": volume(*modes)})), Plan)


@pytest.mark.parametrize("spec", [{"minAvailable": 4}, {"maxUnavailable": 1}])
def test_a_budget_that_the_target_can_meet_is_no_obstacle(spec: dict[str, int]) -> None:
    assert isinstance(planned(replace(AROUND, budgets=[budget(**spec)])), Plan)


def test_a_former_helper_that_is_being_deleted_is_no_obstacle() -> None:
    assert isinstance(planned(replace(AROUND, namesake={"metadata": {"deletionTimestamp": "now"}})), Plan)


def test_every_step_has_a_line() -> None:
    plan = steps(planned(replace(AROUND, autoscalers=[HPA])))
    assert len(plan.lines) == len(plan.steps)
    asking = steps(alert_then.plan(NOW))
    assert english().text(asking.lines[0]) == "wait 300 s for a veto"


@pytest.mark.parametrize(
    ("policys", "rules", "approval", "timeout"),
    [
        (False, None, False, 900.0),
        (True, None, True, 3_600.0),
        (False, True, True, 3_600.0),
        (True, False, False, 900.0),
    ],
)
def test_people_are_asked_before_the_quickest_plan(
    policys: bool, rules: bool | None, approval: bool, timeout: float
) -> None:
    policy = Policy(alert=AlertPolicy(require_approval=policys))
    asked = replace(NOW.request, rule=replace(rule(), require_approval=rules), policy=policy)
    found, asking = steps(immediate.plan(NOW)), alert_then.plan(replace(NOW, request=asked))
    question = AskPeople("high_error_rate", 300.0, approval, 120.0, 300.0, timeout)
    assert asking == replace(found, strategy="alert_then", steps=(question, *found.steps))


@pytest.mark.parametrize(("grace", "quiet_for", "timeout"), [(60.0, 60.0, 660.0), (900.0, 300.0, 1_800.0)])
def test_trouble_is_gone_when_it_is_quiet_for_the_grace_or_as_long_as_a_recovery_takes(
    grace: float, quiet_for: float, timeout: float
) -> None:
    asked = replace(NOW.request, rule=replace(rule(), grace=grace))
    question = steps(alert_then.plan(replace(NOW, request=asked))).steps[0]
    assert isinstance(question, AskPeople)
    assert (question.grace, question.quiet_for, question.timeout) == (grace, quiet_for, timeout)


@pytest.mark.parametrize(
    ("spec", "expected", "wanted"),
    [
        ({"minAvailable": 3}, 4, 3),
        ({"minAvailable": "50%"}, 5, 3),
        ({"maxUnavailable": 1}, 4, 3),
        ({"maxUnavailable": "50%"}, 5, 2),
        ({"maxUnavailable": 9}, 4, 0),
    ],
)
def test_what_a_disruption_budget_wants(spec: dict[str, Any], expected: int, wanted: int) -> None:
    assert capacity.wanted_healthy({"spec": spec}, expected) == wanted


@pytest.mark.parametrize(("ready", "floor"), [(4, 4), (3, 3), (0, 0), (6, 4)])
def test_the_floor_is_what_serves_at_the_start_and_at_most_what_is_wanted(ready: int, floor: int) -> None:
    web = {"tier": "web"}
    others = [pod(web, ready=False), pod(web, going=True), pod({**web, capacity.HELPER_LABEL: "left"})]
    others += [pod(), pod({**web, "app": "another"})]  # another workload's; its own, which the Service leaves out
    pods = [*(pod(web) for _ in range(ready)), *others]
    good = Release({**template("v1"), "metadata": {"labels": {"app": "logcaster", **web}}})
    found = steps(planned(replace(AROUND, pods=pods, release=good), bad(selector={"matchLabels": web})))
    assert (found.floor, found.size) == (floor, 4)


def test_an_autoscaler_of_kedas_cannot_be_pinned() -> None:
    labels = {SCALED_OBJECT: "web"}
    found = planned(replace(AROUND, autoscalers=[{**HPA, "metadata": {**HPA["metadata"], "labels": labels}}]))
    assert told(found).startswith("Autoscaler hpa belongs to KEDA's ScaledObject web, which puts its bounds back")
