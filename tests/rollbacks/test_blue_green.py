from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Action, Policy
from logcaster_guard.domain.signals import Gap, NoData, Target
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.rollbacks import blue_green
from logcaster_guard.rollbacks.autoscaling import SCALED_OBJECT
from logcaster_guard.rollbacks.blue_green import Facts
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.await_endpoints import AwaitEndpoints
from logcaster_guard.steps.await_environment import AwaitEnvironment
from logcaster_guard.steps.check_environment import CheckEnvironment
from logcaster_guard.steps.judge_environment import JudgeEnvironment
from logcaster_guard.steps.raise_autoscaler_minimum import RaiseAutoscalerMinimum
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.scale_environment import ScaleEnvironment
from logcaster_guard.steps.step_services import Inspection
from logcaster_guard.steps.switch_service import SwitchService
from tests.domain.build import deployment, pod, rule, template
from tests.rollbacks.build import request, seen, told

TARGET = Target(
    "web",
    "logcaster",
    "active",
    service="active",
    health_url="http://active:9998/health",
    environments={"blue": "web-blue", "green": "web-green"},
)
SERVICE: dict[str, Any] = {
    "metadata": {"name": "active"},
    "spec": {"selector": {"app": "logcaster", "environment": "green"}},
}
POLICY = Policy()


def environment(name: str, colour: str, version: str, **spec: Any) -> Workload:
    made = template(version)
    made["metadata"]["labels"] = {**made["metadata"]["labels"], "environment": colour}
    raw = deployment(made, **{"replicas": 3, **spec})
    raw["metadata"] = {**raw["metadata"], "name": name, "uid": f"uid-{name}"}
    return Workload(raw)


def going(workload: Workload) -> Workload:
    metadata = {**workload.raw["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    return Workload({**workload.raw, "metadata": metadata})


LIVE = environment("web-green", "green", "v2")
OTHER = environment("web-blue", "blue", "v1")
RECORD = Record(OTHER.hash, "1", "blob", ("v1",), 0, 0, snapshot="saved")
OLDER = Record("older", "0", "blob", ("v0",), 0, 0)
ASKED = request(LIVE, RECORD, OLDER, target=TARGET, asked=rule(action=Action.BLUE_GREEN))
AROUND = Facts(ASKED, SERVICE, OTHER, [], [], {}, seen(1_000.0, error_rate=0.3))


def planned(around: Facts = AROUND, live: Workload = LIVE, *records: Record) -> Plan | NotApplicable:
    asked = replace(ASKED, workload=live, destinations=records or ASKED.destinations)
    return blue_green.plan(replace(around, request=asked))


def kinds(found: Plan | NotApplicable) -> list[str]:
    assert isinstance(found, Plan), found
    return [s.kind for s in found.steps]


REST = ["check_environment", "switch_service", "await_endpoints", "judge_environment"]


def test_the_other_environment_is_proven_before_the_service_goes_there() -> None:
    found = planned()
    assert kinds(found) == ["await_environment", *REST]
    assert isinstance(found, Plan)
    assert (found.deployment, found.live, found.from_template, found.to_template) == (
        "web-blue",
        "web-green",
        LIVE.hash,
        OTHER.hash,
    )
    (switch,) = (s for s in found.steps if isinstance(s, SwitchService))
    assert (switch.label, switch.before, switch.after) == ("environment", "green", "blue")
    (judged,) = (s for s in found.steps if isinstance(s, JudgeEnvironment))
    assert judged.baseline == 0.3
    assert len(found.lines) == len(found.steps)


def test_one_that_idles_with_fewer_pods_is_given_as_many_as_the_live_one() -> None:
    idle = environment("web-blue", "blue", "v1", replicas=0)
    assert kinds(planned(replace(AROUND, other=idle))) == ["scale_environment", "await_environment", *REST]


def test_its_autoscaler_may_neither_shrink_it_meanwhile_nor_undo_what_is_given_back() -> None:
    idle = environment("web-blue", "blue", "v1", replicas=1)
    found = planned(replace(AROUND, other=idle, autoscalers=[autoscaler(6)]))
    judged = POLICY.blue_green
    judgement = JudgeEnvironment(
        judged.wait, judged.window, judged.threshold, 0.3, judged.min_requests, max(judged.wait, judged.window) + 600.0
    )
    assert found == Plan(
        strategy="blue_green",
        namespace="default",
        deployment="web-blue",
        uid="uid-web-blue",
        from_template=LIVE.hash,
        to_template=OTHER.hash,
        from_images=("v2",),
        to_images=("v1",),
        replicas=1,
        autoscaled=True,
        service="active",
        selector=SERVICE["spec"]["selector"],
        steps=(
            *(ScaleEnvironment(3), RaiseAutoscalerMinimum("hpa", "u", 3), AwaitEnvironment(3, 600.0)),
            CheckEnvironment("http://active:9998/health", 600.0),
            *(SwitchService("environment", "green", "blue"), AwaitEndpoints(3, 600.0), judgement),
        ),
        live="web-green",
        live_uid="uid-web-green",
    )


@pytest.mark.parametrize(
    ("size", "least", "raised"), [(3, 3, False), (3, 4, False), (3, 2, True), (2, None, True), (1, None, False)]
)
def test_a_minimum_is_raised_only_where_the_autoscaler_could_shrink_it(
    size: int, least: int | None, *, raised: bool
) -> None:
    around = replace(AROUND, autoscalers=[autoscaler(3, least)])
    found = kinds(planned(around, environment("web-green", "green", "v2", replicas=size)))
    assert ("raise_autoscaler_minimum" in found) is raised


def test_one_whose_errors_cannot_be_told_apart_is_not_judged_by_them() -> None:
    blind = NoData(0.0, Gap.NOT_BY_POD, "its metrics name no pod")
    around = replace(AROUND, inspected=Inspection(blind, blind))
    assert "judge_environment" not in kinds(planned(replace(around, judged=False)))
    assert "its metrics name no pod" in told(planned(around))


@pytest.mark.parametrize(("requests", "baseline"), [(None, None), (99.0, None), (100.0, 0.3)])
def test_a_handful_of_requests_is_nothing_to_judge_by(requests: float | None, baseline: float | None) -> None:
    found = planned(replace(AROUND, inspected=seen(requests, error_rate=0.3)))
    assert isinstance(found, Plan)
    (judged,) = (s for s in found.steps if isinstance(s, JudgeEnvironment))
    assert judged.baseline == baseline


def test_a_deployment_of_no_environment_has_no_other() -> None:
    assert [blue_green.other_of(TARGET, name) for name in ("web-blue", "web-green", "web")] == [
        *("web-green", "web-blue", None)
    ]  # fmt: skip


def test_an_older_release_that_is_good_will_do() -> None:
    newer = Record("newer", "2", "blob", ("v1.5",), 5, 5)
    found = planned(AROUND, LIVE, newer, RECORD)
    assert isinstance(found, Plan)
    assert found.to_template == OTHER.hash


def autoscaler(most: int, least: int | None = 1) -> dict[str, Any]:
    reference = {"kind": "Deployment", "name": "web-blue"}
    return {
        "metadata": {"name": "hpa", "uid": "u"},
        "spec": {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most},
    }


def saved(workload: Workload) -> Mapping[str, Snapshot]:
    manifest = {**copy.deepcopy(workload.raw), "kind": "Deployment"}
    return {"saved": Snapshot(datetime.now(UTC), TARGET.key, (manifest,))}


def test_one_that_is_missing_comes_from_the_snapshot_of_the_good_release() -> None:
    idle = environment("web-blue", "blue", "v1", replicas=1)
    found = planned(replace(AROUND, other=None, snapshots=saved(idle)))
    assert kinds(found) == ["restore_environment", "await_environment", *REST]
    assert isinstance(found, Plan)
    assert (found.uid, found.replicas, found.steps[0]) == ("", 3, RestoreEnvironment("saved", 3))


@pytest.mark.parametrize(
    ("around", "live", "words"),
    [
        (replace(AROUND, other=None), LIVE, "Deployment logcaster/web-blue is missing, and no snapshot shows it"),
        (
            replace(AROUND, other=None, snapshots=saved(environment("web-blue", "blue", "v9"))),
            LIVE,
            "is missing, and no snapshot shows it",
        ),
        (
            replace(AROUND, other=environment("web-blue", "blue", "v9")),
            LIVE,
            "web-blue carries v9, which is not known to be good",
        ),
        (replace(AROUND, other=environment("web-blue", "blue", "v1", paused=True)), LIVE, "is paused"),
        (replace(AROUND, other=going(OTHER)), LIVE, "is being deleted"),
        (replace(AROUND, service=None), LIVE, "does not send its requests to web-green"),
        (
            replace(AROUND, service={**SERVICE, "spec": {"selector": {"app": "logcaster", "environment": "blue"}}}),
            LIVE,
            "does not send its requests to web-green",
        ),
        (
            replace(AROUND, autoscalers=[autoscaler(2)]),
            LIVE,
            "Autoscaler hpa allows Deployment default/web-blue 2 pods",
        ),
        (AROUND, environment("web-green", "green", "v2", replicas=0), "nothing to take over"),
        (AROUND, environment("web", "green", "v2"), "does not send its requests to web"),
        (
            replace(AROUND, service={**SERVICE, "spec": {"selector": {"app": "other", "environment": "green"}}}),
            LIVE,
            "do not carry the labels app=other, environment=blue that",
        ),
    ],
)
def test_what_is_not_proven_is_refused_in_a_sentence(around: Facts, live: Workload, words: str) -> None:
    assert words in told(planned(around, live))


@pytest.mark.parametrize(("ready", "floor"), [(3, 3), (2, 2), (0, 0), (5, 3)])
def test_the_floor_is_what_the_service_has_at_the_start_and_at_most_what_is_wanted(ready: int, floor: int) -> None:
    green = {"environment": "green"}
    others = [pod(green, ready=False), pod({"environment": "blue"}), pod(green, going=True)]
    found = planned(replace(AROUND, pods=[*(pod(green) for _ in range(ready)), *others]))
    assert isinstance(found, Plan)
    assert found.floor == floor


@pytest.mark.parametrize(("size", "least", "fits"), [(3, 2, False), (3, 3, True), (2, None, False), (1, None, True)])
def test_kedas_autoscaler_must_keep_enough_pods_by_itself(size: int, least: int | None, fits: bool) -> None:
    scaler = autoscaler(6, least)
    scaler["metadata"]["labels"] = {SCALED_OBJECT: "blue"}
    found = planned(replace(AROUND, autoscalers=[scaler]), environment("web-green", "green", "v2", replicas=size))
    reasons = told(found) if isinstance(found, NotApplicable) else ""
    assert ("raise the minimum in KEDA's ScaledObject blue" in reasons) is not fits
    assert reasons.startswith(f"Autoscaler hpa may shrink Deployment default/web-blue to {least or 1} pods") is not fits
