"""Whose a change is: what the run wrote, or is about to write, is its own; everything else is somebody's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.domain import provenance
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.external_changes import (
    changed,
    external_change,
    external_live_change,
    external_workload_change,
    selector_of,
)
from logcaster_guard.domain.inbox.annotations import FREEZE
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Compensation, Plan, Step
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.switch_service import SwitchService
from tests.domain.build import UID, at, deployment, template

FROM, TO = template("web:2"), template("web:1")
BAD, GOOD = Workload(deployment(FROM)).hash, Workload(deployment(TO)).hash
PROD = "default/logcaster-prod"
SELECTOR = {"app": "logcaster", "slot": "blue"}
GREEN = {**SELECTOR, "slot": "green"}
PLAN = Plan(
    "immediate", "default", "logcaster-prod", UID, BAD, GOOD, ("web:2",), ("web:1",), 3, False, "web", SELECTOR, ()
)  # fmt: skip
ASK, RESTORE, WAIT = AskPeople("r", 60.0, False, 20.0, 30.0, 120.0), RestoreTemplate("blob"), AwaitRollout(600.0)
MAKE, SWITCH, PIN = RestoreEnvironment("blob", 3), SwitchService("slot", "blue", "green"), PinAutoscaler("hpa", "u", 4)
TWO, ONE = ScaleProduction(2), ScaleProduction(1)
BY = " (field manager kubectl-edit, 2026-01-01T00:00:30Z)."


def said(found: Message | None) -> str | None:
    return None if found is None else english().text(found)


def run(*steps: Step, step: int = 0, taken: Compensation | None = None, **plan: Any) -> Run:
    opened = RunOpened(at(0), "r", PROD, "high_error_rate", "reason", replace(PLAN, steps=steps, **plan))
    return Run(opened, step=step, taken={} if taken is None else {taken.id: taken})


def seen(pod_template: Mapping[str, Any] = FROM, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Workload:
    raw = deployment(pod_template, **spec)
    raw["metadata"] |= metadata or {}
    return Workload(raw)


def edited(*path: str) -> list[dict[str, Any]]:
    """`managedFields` by which somebody has written the field at `path` 30 s after the run was opened."""
    fields: dict[str, Any] = {}
    for name in reversed(path):
        fields = {f"f:{name}": fields}
    return [{"manager": "kubectl-edit", "time": at(30).isoformat(), "fieldsV1": fields}]


GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
PAUSED = seen(managed_fields=edited("spec", "paused"), paused=True)
FROZEN = seen(annotations={FREEZE: "hands off"}, managed_fields=edited("metadata", "annotations", FREEZE))
THIRD = seen(template("web:3"), managed_fields=edited("spec", "template", "spec"))
RELEASED = seen(TO, managed_fields=edited("spec", "template", "spec"))
FIVE = seen(replicas=5, managed_fields=edited("spec", "replicas"))
ALREADY = f"Somebody rolled the good release of {PROD} out already"


@pytest.mark.parametrize(
    ("made", "workload", "says"),
    [
        (run(), seen(), None),
        (run(), seen(TO), None),
        (run(), None, f"Deployment {PROD} was deleted."),
        (run(MAKE), None, None),
        (run(WAIT, MAKE), None, None),
        (run(MAKE, WAIT, step=1), None, f"Deployment {PROD} was deleted."),
        (run(), seen(uid="another"), f"Deployment {PROD} was deleted and created again."),
        (run(uid=""), seen(uid="another"), None),
        (run(), seen(metadata=GOING), f"Deployment {PROD} is being deleted."),
        (run(), PAUSED, f"Deployment {PROD} was paused{BY}"),
        (run(), FROZEN, f"Somebody froze {PROD} (hands off){BY}"),
        (run(ASK), FROZEN, None),  # it is their answer
        (run(ASK, WAIT, step=1), FROZEN, f"Somebody froze {PROD} (hands off){BY}"),
        (run(), seen(annotations={FREEZE: "x" * 300}), f"Somebody froze {PROD} ({'x' * 200})."),
        (run(), THIRD, f"Somebody rolled out another release of {PROD} (web:3){BY}"),
        # The good release before its turn, where what comes before it would be in vain, or has been asked for.
        (run(TWO, RESTORE, strategy="gradual"), RELEASED, f"{ALREADY}{BY}"),
        (run(WAIT, RESTORE, step=1, strategy="gradual"), RELEASED, None),
        (run(TWO, RESTORE, strategy="gradual"), seen(), None),
        (run(TWO, RESTORE, strategy="gradual", live="web-green"), RELEASED, None),
        (run(ASK, RESTORE), RELEASED, f"{ALREADY}{BY}"),
        (run(WAIT, RESTORE), RELEASED, None),
        # Sizes.
        (run(), FIVE, f"Somebody scaled {PROD} from 3 to 5{BY}"),
        (run(), seen(replicas=5), f"Somebody scaled {PROD} from 3 to 5."),
        (run(autoscaled=True), FIVE, None),
        (run(WAIT, PIN, autoscaled=True), FIVE, f"Somebody scaled {PROD} from 3 to 5{BY}"),
        (run(PIN, autoscaled=True), seen(replicas=4), None),
        (run(PIN, WAIT, step=1, autoscaled=True), seen(replicas=4), None),
        (run(PIN, WAIT, step=1, autoscaled=True), seen(replicas=3), None),
        (run(PIN, WAIT, WAIT, step=2, autoscaled=True), seen(replicas=4), None),
        (run(TWO, ONE), seen(replicas=3), None),
        (run(TWO, ONE), seen(replicas=2), None),
        (run(TWO, ONE), seen(replicas=1), f"Somebody scaled {PROD} from 2 to 1."),
        (run(TWO, ONE, step=1), seen(replicas=3), f"Somebody scaled {PROD} from 1 to 3."),
        (run(TWO, ONE, step=1), seen(replicas=2), None),
        (run(TWO, ONE, step=1), seen(replicas=1), None),
        (run(TWO, ONE, step=2), seen(replicas=2), f"Somebody scaled {PROD} from 1 to 2."),
    ],
)
def test_what_the_run_did_not_write_is_somebody_elses(made: Run, workload: Workload | None, says: str | None) -> None:
    assert said(external_workload_change(made, workload)) == says


MADE = Compensation(
    "environment", "environment", "logcaster-prod", "", original=None, written=0, run="r", token="7" * 32, since=at(0)
)  # fmt: skip
MARKED = {"annotations": provenance.marks(MADE), "creationTimestamp": at(1).isoformat()}


@pytest.mark.parametrize(
    ("made", "workload", "theirs"),
    [
        (run(MAKE, WAIT, step=1, uid="", taken=MADE), seen(metadata=MARKED), False),
        (run(MAKE, WAIT, step=1, uid="", taken=MADE), seen(), True),
        (run(MAKE, WAIT, uid="", taken=MADE), seen(), False),  # not made yet
        (run(MAKE, WAIT, step=1, uid=""), seen(), False),
        (run(MAKE, WAIT, step=1, uid="", taken=replace(MADE, token="")), seen(), False),
        (run(MAKE, WAIT, step=1, uid="", taken=replace(MADE, object="another")), seen(), False),
        (run(WAIT, WAIT, step=1, uid="", taken=MADE), seen(), False),
    ],
)
def test_an_environment_that_the_run_made_is_known_by_its_token(made: Run, workload: Workload, *, theirs: bool) -> None:
    again = f"Deployment {PROD} was deleted and created again."
    assert said(external_workload_change(made, workload)) == (again if theirs else None)


@pytest.mark.parametrize(
    ("made", "workload", "theirs"),
    [
        (run(), seen(), False),
        (run(), seen(TO), False),
        (run(), seen(template("web:3")), True),
        (run(), seen(paused=True), True),
        (run(), seen(replicas=5), True),
        (run(TWO), seen(replicas=2), False),
        (run(autoscaled=True), seen(replicas=5), False),
        (run(autoscaled=True), seen(template("web:3"), replicas=5), True),
    ],
)
def test_what_a_person_has_changed_of_what_the_run_made(made: Run, workload: Workload, *, theirs: bool) -> None:
    assert changed(made, workload) is theirs


def service(selector: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"managedFields": edited("spec", "selector", "app")}, "spec": {"selector": selector}}


SELECTOR_CHANGED = f"Somebody changed the selector of Service default/web{BY}"


@pytest.mark.parametrize(
    ("made", "found", "says"),
    [
        (run(), service(SELECTOR), None),
        (run(), service(GREEN), SELECTOR_CHANGED),
        (run(), service(), SELECTOR_CHANGED),
        (run(), None, "Service default/web was deleted."),
        (run(selector=None), None, None),
        (run(selector=None), service(GREEN), None),
        (run(WAIT, SWITCH), service(SELECTOR), None),
        (run(WAIT, SWITCH), service(GREEN), SELECTOR_CHANGED),
        (run(WAIT, SWITCH, step=1), service(SELECTOR), None),
        (run(WAIT, SWITCH, step=1), service(GREEN), None),
        (run(SWITCH, WAIT, step=1), service(SELECTOR), SELECTOR_CHANGED),
        (run(SWITCH, WAIT, step=1), service(GREEN), None),
    ],
)
def test_the_selector_is_as_planned_or_as_the_run_switches_it(
    made: Run, found: Mapping[str, Any] | None, says: str | None
) -> None:
    assert said(external_change(made, seen(), found)) == says


def test_a_change_of_the_workload_is_told_before_one_of_its_service() -> None:
    assert said(external_change(run(), FIVE, service(GREEN))) == f"Somebody scaled {PROD} from 3 to 5{BY}"


def test_a_service_without_a_selector_has_an_empty_one() -> None:
    assert [selector_of(s) for s in (None, {}, {"spec": None}, service(), service(GREEN))] == [None, {}, {}, {}, GREEN]


LIVE: Mapping[str, Any] = {"live": "web-blue", "live_uid": UID}
GONE = "Deployment default/web-blue was deleted."


@pytest.mark.parametrize(
    ("made", "live", "says"),
    [
        (run(), None, None),
        (run(**LIVE), seen(), None),
        (run(**LIVE), None, GONE),
        (run(**LIVE), seen(metadata=GOING), GONE),
        (run(**LIVE), seen(uid="another"), GONE),
        (run(**LIVE), PAUSED, f"Deployment {PROD} was paused{BY}"),
        (run(**LIVE), FROZEN, f"Somebody froze {PROD} (hands off){BY}"),
        (run(**LIVE), RELEASED, f"Somebody rolled out another release of {PROD} (web:1){BY}"),
        # Once the Service has left it, only a freeze is still meant for the target.
        (run(SWITCH, WAIT, step=1, **LIVE), None, None),
        (run(SWITCH, WAIT, step=1, **LIVE), PAUSED, None),
        (run(SWITCH, WAIT, step=1, **LIVE), RELEASED, None),
        (run(SWITCH, WAIT, step=1, **LIVE), FROZEN, f"Somebody froze {PROD} (hands off){BY}"),
        (run(SWITCH, WAIT, step=1, **LIVE), seen(annotations={FREEZE: "x"}, uid="another"), None),
        (run(SWITCH, WAIT, **LIVE), PAUSED, f"Deployment {PROD} was paused{BY}"),
    ],
)
def test_the_environment_that_the_service_leaves_is_watched_until_it_has(
    made: Run, live: Workload | None, says: str | None
) -> None:
    assert said(external_live_change(made, live)) == says
