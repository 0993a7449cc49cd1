"""What a run that ends gives back of production's size, while an autoscaler is still pinned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.field_owners import MANAGER, MAXIMUM, MINIMUM, FieldOwner, owners_of
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Pending
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.step_observations import BelowBudget
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.steps.pin_autoscaler import PinAutoscaler, PinAutoscalerHandler
from logcaster_guard.steps.scale_production import ScaleProduction, ScaleProductionHandler
from tests.engine.bench import PROD, hpa
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

HPA = "hpa"
SIZE, PINNED = 3, 2


@pytest.fixture
def cluster() -> FakeCluster:
    """Production at its size, its autoscaler pinned to fewer pods, of which it knows nothing yet."""
    made = FakeCluster(FakeClock())
    made.add_deployment(PROD, "v1", replicas=SIZE)
    made.add(Kind.AUTOSCALER, HPA, spec=hpa(PINNED, PINNED))
    for number in range(SIZE):
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        made.add(Kind.POD, f"{PROD}-{number}", status=status)
        made.object(Kind.POD, f"{PROD}-{number}")["metadata"]["labels"] = {"app": PROD}
    return made


def run_of(cluster: FakeCluster, *, floor: int = SIZE) -> tuple[Run, Compensation]:
    workload = Workload(cluster.object(Kind.DEPLOYMENT, PROD))
    autoscaler = cluster.object(Kind.AUTOSCALER, HPA)["metadata"]["uid"]
    pin = Compensation(
        f"autoscaler/{HPA}",
        "autoscaler_bounds",
        HPA,
        autoscaler,
        2,
        written=PINNED,
        original_maximum=6,
        earlier=(SIZE,),
    )
    size = Compensation("replicas", "replicas", PROD, workload.uid, original=SIZE, written=SIZE)
    plan = Plan(
        strategy="gradual",
        namespace=workload.namespace,
        deployment=PROD,
        uid=workload.uid,
        from_template=workload.hash,
        to_template="good",
        from_images=workload.images,
        to_images=("v0",),
        replicas=SIZE,
        autoscaled=True,
        service=None,
        selector=None,
        steps=(PinAutoscaler(HPA, autoscaler, PINNED), ScaleProduction(PINNED)),
        size=SIZE,
        floor=floor,
    )
    opened = RunOpened(at=datetime.now(UTC), run="r", target=f"default/{PROD}", rule="r", reason="r", plan=plan)
    return Run(opened, compensations={pin.id: pin, size.id: size}), size


def bounds(cluster: FakeCluster) -> tuple[int, int]:
    spec = cluster.object(Kind.AUTOSCALER, HPA)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def wants(cluster: FakeCluster, replicas: int) -> None:
    cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=replicas))


async def test_a_size_is_not_back_while_an_autoscaler_is_pinned_to_another(cluster: FakeCluster) -> None:
    run, owed = run_of(cluster)
    compensator = ScaleProductionHandler(cluster)
    assert isinstance(await compensator.observe_compensation(owed, run), Before)
    await compensator.compensate(owed, run)
    assert bounds(cluster) == (SIZE, SIZE)
    assert isinstance(await compensator.observe_compensation(owed, run), Done)


async def test_a_size_of_theirs_gets_the_autoscalers_own_bounds_first(cluster: FakeCluster) -> None:
    run, owed = run_of(cluster)
    compensator = ScaleProductionHandler(cluster)
    wants(cluster, 5)
    assert isinstance(await compensator.observe_compensation(owed, run), Before)
    await compensator.compensate(owed, run)
    assert bounds(cluster) == (2, 6)
    assert isinstance(await compensator.observe_compensation(owed, run), ExternalChange)
    assert cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 5


@pytest.mark.parametrize("pins", [1, 2])
async def test_production_that_was_created_again_is_not_left_at_the_size_of_the_pin(
    cluster: FakeCluster, pins: int
) -> None:
    run, owed = run_of(cluster)
    pin = run.compensations[f"autoscaler/{HPA}"]
    others = [replace(pin, id=f"gone {n}", object=f"gone {n}", written=9, earlier=()) for n in range(1, pins)]
    run = replace(run, compensations={**run.compensations, **{h.id: h for h in others}})
    compensator = ScaleProductionHandler(cluster)
    cluster.remove(Kind.DEPLOYMENT, PROD)
    cluster.add_deployment(PROD, "v1", replicas=SIZE)
    wants(cluster, PINNED)
    assert isinstance(await compensator.observe_compensation(owed, run), Before)
    await compensator.compensate(owed, run)
    assert cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == SIZE
    assert isinstance(await compensator.observe_compensation(owed, run), ExternalChange)


def unready(cluster: FakeCluster, *numbers: int) -> None:
    for number in numbers:
        cluster.object(Kind.POD, f"{PROD}-{number}")["status"]["conditions"][0]["status"] = "False"


async def scaled_down(cluster: FakeCluster, run: Run) -> Observation:
    """What is seen of the step from three pods to two."""
    return await ScaleProductionHandler(cluster).observe(ScaleProduction(PINNED), run)


@pytest.mark.parametrize(
    ("floor", "ready", "goes"),
    [(2, 3, True), (3, 3, False), (2, 2, True), (2, 1, False), (1, 1, True), (1, 0, False)],
)
async def test_production_goes_down_only_while_the_floor_goes_on_serving(
    cluster: FakeCluster, floor: int, ready: int, goes: bool
) -> None:
    run, _ = run_of(cluster, floor=floor)
    unready(cluster, *range(ready, SIZE))
    assert isinstance(await scaled_down(cluster, run), Before if goes else Pending)


@pytest.mark.parametrize(("helping", "goes"), [(0, False), (1, True)])
async def test_a_helper_that_serves_counts_beside_production(cluster: FakeCluster, helping: int, goes: bool) -> None:
    run, _ = run_of(cluster)
    helper = Compensation("helper", "helper", "web-rollback-1", "u", None, 1)
    run = replace(run, compensations={**run.compensations, helper.id: helper})
    for number in range(helping):
        cluster.add(Kind.POD, f"helper-{number}", status={"conditions": [{"type": "Ready", "status": "True"}]})
        labels = {"app": PROD, HELPER_LABEL: helper.object}
        cluster.object(Kind.POD, f"helper-{number}")["metadata"]["labels"] = labels
    assert isinstance(await scaled_down(cluster, run), Before if goes else Pending)


@pytest.mark.parametrize(
    ("spec", "goes"), [({"minAvailable": 2}, True), ({"minAvailable": 3}, False), ({"maxUnavailable": 0}, True)]
)
async def test_a_disruption_budget_holds_for_the_guard_too(
    cluster: FakeCluster, spec: dict[str, Any], goes: bool
) -> None:
    run, _ = run_of(cluster, floor=1)
    cluster.add(Kind.DISRUPTION_BUDGET, "pdb", spec={"selector": {"matchLabels": {"app": PROD}}, **spec})
    seen = await scaled_down(cluster, run)
    assert isinstance(seen, Before if goes else Pending)
    if not goes:
        assert seen == Pending(BelowBudget("pdb", wanted=3, left=2))


async def test_a_floor_above_the_size_asks_for_the_size(cluster: FakeCluster) -> None:
    run, owed = run_of(cluster, floor=SIZE + 2)
    cluster.change(Kind.AUTOSCALER, HPA, lambda a: a["spec"].update(minReplicas=2, maxReplicas=6))
    compensator = ScaleProductionHandler(cluster)
    assert isinstance(await compensator.observe_compensation(owed, run), Done)
    unready(cluster, 0)
    assert isinstance(await compensator.observe_compensation(owed, run), Pending)


async def test_production_that_is_gone_has_no_size_to_get_back(cluster: FakeCluster) -> None:
    run, owed = run_of(cluster)
    run, compensator = replace(run, compensations={}), ScaleProductionHandler(cluster)
    cluster.remove(Kind.DEPLOYMENT, PROD)
    assert isinstance(await compensator.observe_compensation(owed, run), Done)
    await compensator.compensate(owed, run)
    assert not cluster.writes


@pytest.mark.parametrize("theirs", [(4, 9), (2, 9), (4, 6), (1, 6)])
async def test_bounds_that_somebody_else_has_set_are_not_pinned(cluster: FakeCluster, theirs: tuple[int, int]) -> None:
    run, _ = run_of(cluster)
    wants_bounds(cluster, *theirs)
    handler = PinAutoscalerHandler(cluster)
    step = PinAutoscaler(HPA, run.compensations[f"autoscaler/{HPA}"].uid, PINNED)
    assert isinstance(await handler.observe(step, run), ExternalChange)
    await handler.apply(step, run)
    assert bounds(cluster) == theirs


async def test_what_an_autoscaler_wanted_is_known_before_it_is_pinned(cluster: FakeCluster) -> None:
    run, _ = run_of(cluster)
    step = PinAutoscaler(HPA, run.compensations[f"autoscaler/{HPA}"].uid, PINNED)
    run, handler = replace(run, compensations={}), PinAutoscalerHandler(cluster)
    assert isinstance(await handler.observe(step, run), Done)
    wants_bounds(cluster, 1, 7)
    seen = await handler.observe(step, run)
    assert isinstance(seen, Before)
    assert seen.borrows is not None
    assert (seen.borrows.original, seen.borrows.original_maximum, seen.borrows.written) == (1, 7, PINNED)


def wants_bounds(cluster: FakeCluster, minimum: int, maximum: int) -> None:
    cluster.change(Kind.AUTOSCALER, HPA, lambda a: a["spec"].update(minReplicas=minimum, maxReplicas=maximum))


def owned_by(cluster: FakeCluster, **managers: str) -> None:
    entries = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "autoscaling/v2",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {f"f:{field}": {}}},
        }
        for field, manager in managers.items()
    ]
    cluster.object(Kind.AUTOSCALER, HPA)["metadata"]["managedFields"] = entries


@pytest.mark.parametrize(
    ("theirs", "back"),
    [
        ((PINNED, PINNED), (1, 6)),
        ((PINNED, 20), (1, 20)),
        ((1, PINNED), (1, 6)),
        ((SIZE, 20), (SIZE, 20)),
        ((5, 20), (5, 20)),
    ],
)
async def test_each_bound_is_given_back_by_itself(
    cluster: FakeCluster, theirs: tuple[int, int], back: tuple[int, int]
) -> None:
    run, _ = run_of(cluster)
    owed = replace(run.compensations[f"autoscaler/{HPA}"], original=1)
    compensator = PinAutoscalerHandler(cluster)
    wants_bounds(cluster, *theirs)
    if theirs != back:
        assert isinstance(await compensator.observe_compensation(owed, run), Before)
        await compensator.compensate(owed, run)
    assert bounds(cluster) == back
    seen = await compensator.observe_compensation(owed, run)
    if back == (1, 6):
        assert isinstance(seen, Done)
    else:
        assert isinstance(seen, ExternalChange)
        assert english().text(seen.detail).endswith(f"bounds to {back[0]} and {back[1]}; they were 1 and 6")


@pytest.mark.parametrize(
    ("original", "theirs", "back"), [((8, 20), (PINNED, 5), (PINNED, 5)), ((1, 4), (4, 9), (4, 9))]
)
async def test_a_bound_never_goes_past_the_other_that_is_somebodys(
    cluster: FakeCluster, original: tuple[int, int], theirs: tuple[int, int], back: tuple[int, int]
) -> None:
    run, _ = run_of(cluster)
    owed = replace(run.compensations[f"autoscaler/{HPA}"], original=original[0], original_maximum=original[1])
    wants_bounds(cluster, *theirs)
    compensator = PinAutoscalerHandler(cluster)
    await compensator.compensate(owed, run)
    assert bounds(cluster) == back
    assert isinstance(await compensator.observe_compensation(owed, run), ExternalChange)


@pytest.mark.parametrize(("manager", "back"), [(MANAGER, 1), ("kubectl-edit", SIZE)])
async def test_the_field_manager_tells_whose_number_it_is(cluster: FakeCluster, manager: str, back: int) -> None:
    """The guard has written 3 before, and a person may set 3."""
    run, _ = run_of(cluster)
    owed = replace(run.compensations[f"autoscaler/{HPA}"], original=1)
    wants_bounds(cluster, SIZE, 20)
    owned_by(cluster, minReplicas=manager, maxReplicas="kubectl-edit")
    await PinAutoscalerHandler(cluster).compensate(owed, run)
    assert bounds(cluster) == (back, 20)


async def test_the_fields_go_back_to_their_managers_once_their_values_are(cluster: FakeCluster) -> None:
    run, _ = run_of(cluster)
    owed = run.compensations[f"autoscaler/{HPA}"]
    owners = tuple(FieldOwner(".".join(p), "ci", "Apply", "autoscaling/v2") for p in (MINIMUM, MAXIMUM))
    owed, compensator = replace(owed, owners=owners), PinAutoscalerHandler(cluster)
    owned_by(cluster, minReplicas=MANAGER, maxReplicas=MANAGER)
    for _ in range(2):
        assert isinstance(await compensator.observe_compensation(owed, run), Before)
        await compensator.compensate(owed, run)
    assert isinstance(await compensator.observe_compensation(owed, run), Done)
    raw = cluster.object(Kind.AUTOSCALER, HPA)
    assert bounds(cluster) == (2, 6)
    assert [(e["manager"], e["operation"]) for e in raw["metadata"]["managedFields"]] == [("ci", "Apply")]
    assert owners_of(raw, MINIMUM, MAXIMUM) == owners


async def test_a_server_that_keeps_the_owners_as_they_are_holds_no_run_up(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, owed = run_of(cluster)
    run = replace(run, compensations={owed.id: owed})
    raw = cluster.object(Kind.DEPLOYMENT, PROD)
    raw["metadata"]["managedFields"] = [{"manager": MANAGER, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    compensator = ScaleProductionHandler(cluster)

    async def deaf(*_: object) -> dict[str, Any]:
        return raw

    monkeypatch.setattr(cluster, "json_patch", deaf)
    seen = [await compensator.observe_compensation(owed, run)]
    for _ in range(3):
        await compensator.compensate(owed, run)
        seen.append(await compensator.observe_compensation(owed, run))
    assert [type(s) for s in seen] == [Before, Before, Before, Done]


async def test_a_field_goes_back_after_every_run_of_a_guard_that_lives_long(cluster: FakeCluster) -> None:
    run, owed = run_of(cluster)
    run, compensator = replace(run, compensations={owed.id: owed}), ScaleProductionHandler(cluster)
    for _ in range(5):
        raw = cluster.object(Kind.DEPLOYMENT, PROD)
        raw["metadata"]["managedFields"] = [{"manager": MANAGER, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
        assert isinstance(await compensator.observe_compensation(owed, run), Before)
        await compensator.compensate(owed, run)
        assert isinstance(await compensator.observe_compensation(owed, run), Done)


async def test_an_autoscaler_that_was_created_again_is_somebodys(cluster: FakeCluster) -> None:
    run, _ = run_of(cluster)
    owed = run.compensations[f"autoscaler/{HPA}"]
    cluster.remove(Kind.AUTOSCALER, HPA)
    cluster.add(Kind.AUTOSCALER, HPA, spec=hpa(PINNED, PINNED))
    handler = PinAutoscalerHandler(cluster)
    assert isinstance(await handler.observe(PinAutoscaler(HPA, owed.uid, PINNED), run), ExternalChange)
    assert isinstance(await handler.observe_compensation(owed, run), ExternalChange)
    await handler.compensate(owed, run)
    assert bounds(cluster) == (PINNED, PINNED)
