"""Where the Service is sent, and what a run that ends takes back of the environment that it was sent to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from logcaster_guard.domain.errors import Unavailable
from logcaster_guard.domain.events import RunEnding, RunOpened
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.ledger import Ledger, Record
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation
from logcaster_guard.domain.provenance import RUN, TOKEN
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import Action, LedgerPolicy, Policy
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD, FAILED, RECOVERED, Run
from logcaster_guard.domain.signals import Gap, NoData, Reading, Target, Value
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.command_writer import CommandWriter
from logcaster_guard.engine.planning import Planner
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.await_endpoints import AwaitEndpoints, AwaitEndpointsHandler
from logcaster_guard.steps.judge_environment import JudgeEnvironment, JudgeEnvironmentHandler
from logcaster_guard.steps.restore_environment import RestoreEnvironment
from logcaster_guard.steps.scale_environment import ScaleEnvironment, ScaleEnvironmentHandler
from logcaster_guard.steps.step_services import Inspection
from logcaster_guard.steps.switch_service import SwitchService, SwitchServiceHandler
from tests.engine.bench import rule
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

BLUE, GREEN, SERVICE, LABEL = "blue", "green", "active", "environment"
TO_BLUE = SwitchService(LABEL, "green", "blue")


def switching(selector: dict[str, str]) -> tuple[FakeCluster, RunOpened]:
    cluster = FakeCluster(FakeClock())
    for name in (BLUE, GREEN):
        cluster.add_deployment(name, f"v{len(name) - 3}", replicas=3)
        cluster.object(Kind.DEPLOYMENT, name)["spec"]["template"]["metadata"]["labels"] = {"app": name, LABEL: name}
    cluster.add(Kind.SERVICE, SERVICE, spec={"selector": selector})
    workload, live = (Workload(cluster.object(Kind.DEPLOYMENT, name)) for name in (BLUE, GREEN))
    plan = Plan(
        strategy="blue_green",
        namespace=workload.namespace,
        deployment=BLUE,
        uid=workload.uid,
        from_template=live.hash,
        to_template=workload.hash,
        from_images=("v2",),
        to_images=workload.images,
        replicas=1,
        autoscaled=False,
        service=SERVICE,
        selector={LABEL: "green"},
        steps=(ScaleEnvironment(3), TO_BLUE),
        floor=3,
        live=GREEN,
        live_uid=live.uid,
    )
    return cluster, RunOpened(at=datetime.now(UTC), run="r", target="default/active", rule="r", reason="r", plan=plan)


def serves(cluster: FakeCluster, environment: str) -> None:
    for number in range(3):
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        cluster.add(Kind.POD, f"{environment}-{number}", status=status)
        cluster.object(Kind.POD, f"{environment}-{number}")["metadata"]["labels"] = {
            "app": environment,
            LABEL: environment,
        }


async def released(selector: dict[str, str]) -> Observation:
    cluster, opened = switching(selector)
    uid = cluster.object(Kind.DEPLOYMENT, BLUE)["metadata"]["uid"]
    owed = Compensation("size", "environment_size", BLUE, uid, original=1, written=3)
    return await ScaleEnvironmentHandler(cluster).observe_compensation(owed, Run(opened, compensations={owed.id: owed}))


@pytest.mark.parametrize(
    ("selector", "kept"),
    [
        ({LABEL: "green"}, False),
        ({LABEL: "blue"}, True),
        ({LABEL: "blue", "track": "canary"}, True),
        ({LABEL: "green", "track": "canary"}, False),
    ],
)
async def test_the_environment_that_the_service_names_keeps_its_pods(selector: dict[str, str], kept: bool) -> None:
    assert isinstance(await released(selector), Done if kept else Before)


@pytest.mark.parametrize(
    ("outcome", "deleted", "able", "seen"),
    [
        (ABANDONED, True, True, Before),
        (ABANDONED, True, False, ExternalChange),
        (ABANDONED, False, True, Done),
        (FAILED, True, True, Before),
        (RECOVERED, True, True, Done),
    ],
)
async def test_the_service_goes_back_where_somebody_has_deleted_what_it_was_sent_to(
    outcome: str, deleted: bool, able: bool, seen: type[Observation]
) -> None:
    cluster, opened = switching({LABEL: "blue"})
    service = cluster.object(Kind.SERVICE, SERVICE)["metadata"]["uid"]
    owed = Compensation("selector", "selector", SERVICE, service, None, written=0)
    run = Run(
        opened,
        step=1,
        compensations={owed.id: owed},
        ending=RunEnding(opened.at, "r", outcome, "r", freeze=True),
    )
    if deleted:
        cluster.remove(Kind.DEPLOYMENT, BLUE)
    else:
        serves(cluster, BLUE)
    if able:
        serves(cluster, GREEN)
    compensator = SwitchServiceHandler(cluster)
    assert isinstance(await compensator.observe_compensation(owed, run), seen)
    if seen is Before:
        await compensator.compensate(owed, run)
        assert cluster.object(Kind.SERVICE, SERVICE)["spec"]["selector"] == {LABEL: "green"}


def paused(deployment: dict[str, Any]) -> None:
    deployment["spec"]["paused"] = True


def going(deployment: dict[str, Any]) -> None:
    deployment["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def ending_with_the_service_switched(outcome: str) -> tuple[FakeCluster, Run, Compensation]:
    cluster, opened = switching({LABEL: "blue"})
    service = cluster.object(Kind.SERVICE, SERVICE)["metadata"]["uid"]
    owed = Compensation("selector", "selector", SERVICE, service, None, written=0)
    ending = RunEnding(opened.at, "r", outcome, "r", freeze=True)
    for name in (BLUE, GREEN):
        serves(cluster, name)
    return cluster, Run(opened, step=1, compensations={owed.id: owed}, ending=ending), owed


async def test_the_service_goes_back_where_what_it_was_sent_to_is_being_deleted_though_its_pods_still_serve() -> None:
    cluster, run, owed = ending_with_the_service_switched(ABANDONED)
    compensator = SwitchServiceHandler(cluster)
    assert isinstance(await compensator.observe_compensation(owed, run), Done)
    going(cluster.object(Kind.DEPLOYMENT, BLUE))
    assert isinstance(await compensator.observe_compensation(owed, run), Before)


async def test_the_service_is_not_sent_back_to_what_is_being_deleted_though_its_pods_still_serve() -> None:
    cluster, run, owed = ending_with_the_service_switched(DESTINATION_BAD)
    compensator = SwitchServiceHandler(cluster)
    assert isinstance(await compensator.observe_compensation(owed, run), Before)
    going(cluster.object(Kind.DEPLOYMENT, GREEN))
    assert isinstance(await compensator.observe_compensation(owed, run), ExternalChange)
    await compensator.compensate(owed, run)
    assert cluster.object(Kind.SERVICE, SERVICE)["spec"]["selector"] == {LABEL: "blue"}


async def test_the_service_stays_where_a_single_pod_of_what_it_was_sent_to_still_serves() -> None:
    cluster, run, owed = ending_with_the_service_switched(FAILED)
    compensator = SwitchServiceHandler(cluster)
    seen = []
    for number in range(3):
        cluster.object(Kind.POD, f"{BLUE}-{number}")["status"]["conditions"][0]["status"] = "False"
        seen.append(type(await compensator.observe_compensation(owed, run)))
    assert seen == [Done, Done, Before]


async def test_a_service_that_stays_is_not_sent_back_where_a_second_look_fails() -> None:
    cluster, opened = switching({LABEL: "blue"})
    for name in (BLUE, GREEN):
        serves(cluster, name)
    metadata = cluster.object(Kind.SERVICE, SERVICE)["metadata"]
    metadata["managedFields"] = [{"manager": MANAGER, "fieldsV1": {"f:spec": {"f:selector": {}}}}]
    owed = Compensation("selector", "selector", SERVICE, metadata["uid"], None, written=0)
    run = Run(
        opened,
        step=2,
        compensations={owed.id: owed},
        ending=RunEnding(opened.at, "r", RECOVERED, "r", freeze=False),
    )
    compensator = SwitchServiceHandler(cluster)
    assert isinstance(await compensator.observe_compensation(owed, run), Before)
    cluster.fault = lambda verb, kind, _: Unavailable("away") if (verb, kind) == ("list", Kind.POD) else None
    with pytest.raises(Unavailable):
        await compensator.compensate(owed, run)
    assert cluster.object(Kind.SERVICE, SERVICE)["spec"]["selector"] == {LABEL: "blue"}
    cluster.fault = lambda *_: None
    await compensator.compensate(owed, run)
    assert isinstance(await compensator.observe_compensation(owed, run), Done)
    assert cluster.object(Kind.SERVICE, SERVICE)["spec"]["selector"] == {LABEL: "blue"}


@pytest.mark.parametrize(
    ("listed", "unready", "seen"),
    [
        ((f"{BLUE}-0", f"{BLUE}-1", f"{BLUE}-2"), (), Done),
        ((f"{BLUE}-0", f"{BLUE}-1"), (), Before),
        ((f"{BLUE}-0", f"{BLUE}-1"), (f"{BLUE}-2",), Before),
        ((f"{BLUE}-0", f"{BLUE}-1", f"{BLUE}-2", f"{GREEN}-0"), (), Before),
        ((f"{BLUE}-0", f"{BLUE}-1", f"{BLUE}-2"), (f"{GREEN}-0",), Done),
        ((), (), Before),
    ],
)
async def test_requests_reach_the_new_environment_alone_once_no_slice_lists_another(
    listed: Sequence[str], unready: Sequence[str], seen: type[Observation]
) -> None:
    cluster, opened = switching({LABEL: "blue"})
    for name in (BLUE, GREEN):
        serves(cluster, name)
    for number, (pod, conditions) in enumerate([*((p, {}) for p in listed), *((p, {"ready": False}) for p in unready)]):
        uid = cluster.object(Kind.POD, pod)["metadata"]["uid"]
        endpoint = {"targetRef": {"kind": "Pod", "name": pod, "uid": uid}, "conditions": conditions}
        cluster.add(Kind.ENDPOINT_SLICE, f"{SERVICE}-{number}", endpoints=[endpoint])
        labels = {"kubernetes.io/service-name": SERVICE}
        cluster.object(Kind.ENDPOINT_SLICE, f"{SERVICE}-{number}")["metadata"]["labels"] = labels
    run, handler = Run(opened, step=1, started=opened.at), AwaitEndpointsHandler(cluster)
    assert isinstance(await handler.observe(AwaitEndpoints(3, 60.0), run), seen)
    going(cluster.object(Kind.DEPLOYMENT, BLUE))
    assert isinstance(await handler.observe(AwaitEndpoints(3, 60.0), run), ExternalChange)


GAP = NoData(0.0, Gap.EMPTY)


def judging(error_rate: Reading = GAP, requests: Reading = GAP) -> tuple[FakeCluster, FakeClock, Run, Any]:
    """The Service sent to blue, whose pods all serve, a judge of it, and what is read of its pods."""

    async def inspector(target: str, deployment: str, window: float) -> Inspection:
        assert (target, deployment, window) == ("default/active", BLUE, 60.0)
        return Inspection(error_rate, requests)

    cluster, opened = switching({LABEL: "blue"})
    for name in (BLUE, GREEN):
        serves(cluster, name)
    clock = FakeClock()
    return cluster, clock, Run(opened, step=1, started=opened.at), JudgeEnvironmentHandler(cluster, clock, inspector)


@pytest.mark.parametrize(
    ("error_rate", "requests", "baseline", "seen"),
    [
        (Value(0.0, 0.05), Value(0.0, 100.0), None, Done),
        (Value(0.0, 0.06), Value(0.0, 100.0), None, Failed),
        (Value(0.0, 0.06), Value(0.0, 99.0), None, Done),  # too few to prove anything
        (Value(0.0, 0.06), Value(0.0, 100.0), 0.06, Done),  # no worse than the one before
        (Value(0.0, 0.07), Value(0.0, 100.0), 0.06, Failed),
        (GAP, Value(0.0, 100.0), None, Done),
        (Value(0.0, 0.06), GAP, None, Done),
    ],
)
async def test_the_environment_that_took_over_is_worse_above_the_threshold_and_the_one_before(
    error_rate: Reading, requests: Reading, baseline: float | None, seen: type[Observation]
) -> None:
    cluster, clock, run, handler = judging(error_rate, requests)
    step = JudgeEnvironment(30.0, 60.0, 0.05, baseline, 100, 600.0)
    assert isinstance(await handler.observe(step, run), Before)
    await clock.advance(59.0)
    assert isinstance(await handler.observe(step, run), Before)
    await clock.advance(1.0)
    assert isinstance(await handler.observe(step, run), seen)
    going(cluster.object(Kind.DEPLOYMENT, BLUE))
    assert isinstance(await handler.observe(step, run), ExternalChange)


async def test_the_environment_that_took_over_has_seconds_to_have_its_pods_back() -> None:
    cluster, clock, run, handler = judging()
    step = JudgeEnvironment(30.0, 60.0, 0.05, None, 100, 600.0)
    ready = cluster.object(Kind.POD, f"{BLUE}-0")["status"]["conditions"][0]
    seen = []
    for status, wait in (("False", 4.0), ("False", 0.0), ("True", 1.0), ("False", 4.9), ("False", 0.1), ("False", 0.0)):
        ready["status"] = status
        seen.append(type(await handler.observe(step, run)))
        await clock.advance(wait)
    assert seen == [Before, Before, Before, Before, Before, Failed]


@pytest.mark.parametrize("edit", [paused, going])
async def test_the_service_is_not_sent_to_what_somebody_has_just_paused_or_deleted(
    edit: Callable[[dict[str, Any]], None],
) -> None:
    cluster, opened = switching({LABEL: "green"})
    serves(cluster, BLUE)
    cluster.change(Kind.DEPLOYMENT, BLUE, edit)
    run, handler = Run(opened, step=1, started=opened.at), SwitchServiceHandler(cluster)
    assert isinstance(await handler.observe(TO_BLUE, run), ExternalChange)
    await handler.apply(TO_BLUE, run)
    assert not cluster.writes


@pytest.mark.parametrize("token", ["7" * 32, "8" * 32])
async def test_an_environment_that_the_run_has_made_is_known_by_its_token(token: str) -> None:
    cluster, opened = switching({LABEL: "green"})
    metadata = cluster.object(Kind.DEPLOYMENT, BLUE)["metadata"]
    metadata["annotations"] |= {RUN: "r", TOKEN: token}
    metadata["creationTimestamp"] = opened.at.isoformat()
    made = Compensation(
        "environment", "environment", BLUE, "", None, written=0, run="r", token="7" * 32, since=opened.at
    )
    plan = replace(opened.plan, uid="", steps=(RestoreEnvironment("snapshot", 3), *opened.plan.steps))
    run = Run(replace(opened, plan=plan), step=1, taken={made.id: made})
    found = external_workload_change(run, Workload(cluster.object(Kind.DEPLOYMENT, BLUE)))
    assert (found is None) == (token == made.token)


@pytest.mark.parametrize(("seen", "place"), [(GREEN, GREEN), (BLUE, BLUE), (None, GREEN)])
def test_what_people_say_goes_where_the_service_was_seen_to_lead_to(seen: str | None, place: str) -> None:
    cluster, opened = switching({LABEL: "green"})
    target = SimpleNamespace(kind="Deployment", namespace="default", deployment="active")
    workload = None if seen is None else Workload(cluster.object(Kind.DEPLOYMENT, seen))
    watch = SimpleNamespace(target=target, workload=workload)
    state = SimpleNamespace(open_run_on=lambda _: Run(opened, step=1))
    writer = CommandWriter(cluster, cast("Any", state), FakeClock(), {"t": cast("Any", watch)}, LedgerPolicy())
    assert writer.place("t").name == place


@pytest.mark.parametrize(
    ("action", "untold", "judged"),
    [
        (Action.BLUE_GREEN, None, True),
        (Action.BLUE_GREEN, "of a Service", None),
        (Action.IMMEDIATE, None, True),
        (Action.IMMEDIATE, "of a Service", False),
    ],
)
async def test_an_environment_is_judged_only_by_what_can_be_read_of_its_own_pods(
    action: Action, untold: str | None, *, judged: bool | None
) -> None:
    cluster, opened = switching({LABEL: "green"})
    gap = NoData(0.0, Gap.EMPTY if untold is None else Gap.NOT_BY_POD, untold or "")

    async def inspector(target: str, deployment: str, window: float) -> Inspection:
        assert (target, deployment, window) == ("default/active", GREEN, 60.0)
        return Inspection(error_rate=gap, requests=gap)

    target = Target("active", "default", SERVICE, service=SERVICE, environments={"blue": BLUE, "green": GREEN})
    blobs = MemoryBlobs()
    live = Workload(cluster.object(Kind.DEPLOYMENT, GREEN))
    good = Workload(cluster.object(Kind.DEPLOYMENT, BLUE))
    blob = await blobs.put(Release(good.template).to_bytes())
    record = Record(opened.plan.to_template, "1", blob, good.images, 0, 0)
    planner = Planner(target, cluster=cluster, blobs=blobs, policy=Policy(), inspector=inspector, ledger=Ledger)
    plan = await planner.plan(action, live, [record], rule=rule(action=action))
    if judged is None:
        assert isinstance(plan, NotApplicable)
        assert str(untold) in english().text(plan.reasons[0])
    else:
        assert isinstance(plan, Plan)
        assert any(isinstance(step, JudgeEnvironment) for step in plan.steps) is judged
