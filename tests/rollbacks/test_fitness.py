"""Whether a workload can carry a release, and its Service find the pods."""

from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.sidecar import CONTAINER
from logcaster_guard.domain.workload import Workload
from logcaster_guard.rollbacks.fitness import deselected, unfit_release
from tests.domain.build import deployment, template
from tests.rollbacks.build import told

GOOD = Release(template("web:1", labels={"tier": "web"}))


def bad(**spec: Any) -> Workload:
    return Workload(deployment(template("web:2", labels={"track": "new"}), **spec))


@pytest.mark.parametrize("selector", [None, {"matchLabels": {"tier": "web"}}])
def test_a_release_whose_labels_the_selector_matches_can_be_carried(selector: Any) -> None:
    assert unfit_release(bad(selector=selector), GOOD) is None


def test_a_selector_cannot_be_changed() -> None:
    found = unfit_release(bad(selector={"matchLabels": {"track": "new"}}), GOOD)
    assert found is not None
    assert found.guardrail is Guardrail.SELECTOR_CHANGED
    assert "Deployment default/logcaster-prod" in told(found)
    assert "web:1" in told(found)


def service(**selector: str) -> dict[str, Any]:
    return {"metadata": {"name": "front"}, "spec": {"selector": selector}}


@pytest.mark.parametrize(
    "found",
    [
        None,
        {"metadata": {"name": "front"}},
        {"metadata": {"name": "front"}, "spec": {}},
        service(app="logcaster"),
        service(tier="web"),  # it does not find the present pods either
        service(app="another"),
    ],
)
def test_a_service_that_finds_the_good_pods_as_it_finds_the_present_ones_is_no_obstacle(found: Any) -> None:
    assert deselected(bad(), GOOD, found) is None


def test_a_service_that_would_not_find_the_good_pods_is() -> None:
    found = deselected(bad(), GOOD, service(app="logcaster", track="new"))
    assert found is not None
    assert found.guardrail is Guardrail.SELECTOR_CHANGED
    assert "default/front" in told(found)
    assert "web:1" in told(found)
    assert "app=logcaster,track=new" in told(found)


def run_as(account: str, *, guarded: bool = True) -> dict[str, Any]:
    made = template("web:1")
    made["spec"]["serviceAccountName"] = account
    made["spec"]["containers"] += [{"name": CONTAINER, "image": "guard:1"}] if guarded else []
    return made


@pytest.mark.parametrize(("now", "guarded"), [("guard", True), ("web", False)])
def test_whose_account_the_pods_have_matters_only_to_a_guard_in_them(now: str, *, guarded: bool) -> None:
    assert unfit_release(Workload(deployment(run_as(now, guarded=guarded))), Release(run_as("guard"))) is None


def test_a_guard_in_the_pods_does_not_go_on_as_another_account() -> None:
    found = unfit_release(Workload(deployment(run_as("guard"))), Release(run_as("web", guarded=False)))
    assert told(found).startswith("The pods of default/logcaster-prod run as guard, those of the good release as web")
