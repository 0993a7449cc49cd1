"""Plans of an environment rollback, from made-up facts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release, ReleaseId, of_workload
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.sidecar import CONTAINER
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import LAST_APPLIED, Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.rollbacks import env
from logcaster_guard.rollbacks.immediate import Facts
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.delete_stuck_pods import DeleteStuckPods
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_variables import RestoreVariables
from tests.domain.build import deployment, rule, template
from tests.rollbacks.build import request, told
from tests.rollbacks.test_immediate import SERVICE, autoscaler

GOOD = Record("good", "1", "blob", ("web:1",), 0, 0)


def variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


LIVE = template("web:2", env=variables(LOG_LEVEL="debug", LIMIT="9"))
SAVED = Release(template("web:1", env=variables(LOG_LEVEL="info", LIMIT="1")))


def facts(*only: str, live: Any = LIVE, saved: Release = SAVED, bad: str = "", **changes: Any) -> Facts:
    workload = Workload(deployment(live, replicas=4, **changes.pop("raw", {})))
    asked = request(workload, GOOD, asked=replace(rule(action=Action.ENV), variables=only))
    return replace(Facts(replace(asked, bad=frozenset({ReleaseId(bad)})), saved, SERVICE, ()), **changes)


def planned(given: Facts) -> Plan:
    found = env.plan(given)
    assert isinstance(found, Plan), found
    return found


def refused(given: Facts) -> str:
    return told(env.plan(given))


def test_the_plan_rolls_out_a_release_of_its_own_with_the_images_that_are_there() -> None:
    plan = planned(facts())
    made = template("web:2", env=variables(LOG_LEVEL="info", LIMIT="1"))
    assert plan.steps == (RestoreVariables("blob", "1", ("web:1",)), AwaitRollout(600.0))
    assert (plan.strategy, plan.from_images, plan.to_images) == ("env", ("web:2",), ("web:2",))
    assert (plan.from_template, plan.to_template) == (Workload(deployment(LIVE)).hash, Release(made).hash)
    assert english().text(plan.lines[0]) == (
        "give Deployment default/logcaster-prod the environment variables of revision 1 (web:1), and keep its images"
    )


def test_only_what_is_named_comes_back() -> None:
    plan = planned(facts("LOG_LEVEL"))
    assert plan.to_template == Release(template("web:2", env=variables(LOG_LEVEL="info", LIMIT="9"))).hash
    assert "the environment variables LOG_LEVEL of revision 1" in english().text(plan.lines[0])
    assert plan.digest != planned(facts()).digest


def test_a_rolling_update_is_what_it_is_in_an_immediate_rollback() -> None:
    plan = planned(facts(autoscalers=[autoscaler(2)]))
    assert plan.steps[0] == RaiseAutoscalerMinimum("hpa", "hpa-uid", 4)
    assert plan.autoscaled
    given = facts()
    given.request.workload.raw["kind"] = "StatefulSet"
    assert [type(s) for s in planned(given).steps] == [RestoreVariables, DeleteStuckPods, AwaitRollout]
    assert "set RollingUpdate" in refused(facts(raw={"updateStrategy": {"type": "OnDelete"}}))


BARE, BARE_SAVED = template("web:2"), Release(template("web:1"))
BAD = planned(facts()).to_template
SAME = template("web:2", env=SAVED.template["spec"]["containers"][0]["env"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (facts("NO", "LOG_LEVEL"), "environment variable NO, now or in the good release. There are LIMIT, LOG_LEVEL."),
        (facts("X", live=BARE, saved=BARE_SAVED), "There are none."),
        (facts(live=SAME), "choose immediate_rollback"),
        (facts("LIMIT", live=SAME), "LIMIT of Deployment default/logcaster-prod is what it was in revision 1 (web:1)"),
        (facts(live=BARE, saved=BARE_SAVED), "Each environment variable of Deployment"),
        (facts(bad=BAD), "which is known to be bad: choose immediate_rollback"),
        (facts(bad=BAD), f"variables of revision 1, Deployment default/logcaster-prod would carry release {BAD[:8]},"),
    ],
)
def test_what_would_be_no_way_back_is_refused(given: Facts, words: str) -> None:
    assert words in refused(given)


def test_everything_else_is_written_as_it_is() -> None:
    guard = {"name": CONTAINER, "image": "guard:2", "env": variables(LOG_LEVEL="trace")}
    volumes = [{"name": "guard-config"}, {"name": "data"}]
    live = template("web:2", annotations={"note": "kept"}, env=variables(LOG_LEVEL="debug"))
    live["spec"] |= {"containers": [guard, *live["spec"]["containers"]], "volumes": volumes}
    applied = template("web:2", env=variables(LOG_LEVEL="debug"))
    notes = {LAST_APPLIED: json.dumps({"spec": {"template": applied}}), "kubernetes.io/change-cause": "v2"}
    workload = Workload(deployment(live, annotations=notes))
    then = template("web:1", env=variables(LOG_LEVEL="info"))
    saved = Release(then, "v1", {**then, "spec": {"containers": [{"name": "logcaster", "image": "web:1"}]}})
    step = RestoreVariables("blob", "1", ("web:1",))
    written = step.written(saved, workload)
    expected = json.loads(json.dumps(live))
    expected["spec"]["containers"][1]["env"] = variables(LOG_LEVEL="info")
    assert (written.template, written.change_cause) == (expected, "v2")
    # What the good release was applied without goes from what the next apply compares with, and nothing else.
    assert written.applied_template == {**applied, "spec": {"containers": [{"name": "logcaster", "image": "web:2"}]}}
    assert step.written(replace(saved, applied_template=None), workload).applied_template is None
    again = Workload(deployment(written.template, annotations=notes))
    assert step.written(saved, again).hash == of_workload(again).hash
