"""What a run that ends gives back of production's size, while an autoscaler is still pinned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.observations import Before, Done, Foreign, Observation, Pending
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Hold, PinAutoscaler, Plan, ScaleProduction
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.sizing import PinAutoscalerHandler, ScaleProductionHandler
from logcaster_guard.ports import Kind
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


def run_of(cluster: FakeCluster, *, floor: int = SIZE) -> tuple[Run, Hold]:
    workload = Workload(cluster.object(Kind.DEPLOYMENT, PROD))
    autoscaler = cluster.object(Kind.AUTOSCALER, HPA)["metadata"]["uid"]
    pin = Hold(
        f"autoscaler/{HPA}",
        "autoscaler_bounds",
        HPA,
        autoscaler,
        2,
        written=PINNED,
        original_maximum=6,
        earlier=(SIZE,),
    )
    size = Hold("replicas", "replicas", PROD, workload.uid, original=SIZE, written=SIZE)
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
    return Run(opened, holds={pin.id: pin, size.id: size}), size


def bounds(cluster: FakeCluster) -> tuple[int, int]:
    spec = cluster.object(Kind.AUTOSCALER, HPA)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def wants(cluster: FakeCluster, replicas: int) -> None:
    cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=replicas))


async def test_a_size_is_not_back_while_an_autoscaler_is_pinned_to_another(cluster: FakeCluster) -> None:
    run, hold = run_of(cluster)
    lender = ScaleProductionHandler(cluster)
    assert isinstance(await lender.observe_release(hold, run), Before)
    await lender.release(hold, run)
    assert bounds(cluster) == (SIZE, SIZE)
    assert isinstance(await lender.observe_release(hold, run), Done)


async def test_a_size_of_theirs_gets_the_autoscalers_own_bounds_first(cluster: FakeCluster) -> None:
    run, hold = run_of(cluster)
    lender = ScaleProductionHandler(cluster)
    wants(cluster, 5)
    assert isinstance(await lender.observe_release(hold, run), Before)
    await lender.release(hold, run)
    assert bounds(cluster) == (2, 6)
    assert isinstance(await lender.observe_release(hold, run), Foreign)
    assert cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 5


async def test_production_that_was_created_again_is_not_left_at_the_size_of_the_pin(cluster: FakeCluster) -> None:
    run, hold = run_of(cluster)
    lender = ScaleProductionHandler(cluster)
    cluster.remove(Kind.DEPLOYMENT, PROD)
    cluster.add_deployment(PROD, "v1", replicas=SIZE)
    wants(cluster, PINNED)
    assert isinstance(await lender.observe_release(hold, run), Before)
    await lender.release(hold, run)
    assert cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == SIZE
    assert isinstance(await lender.observe_release(hold, run), Foreign)


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
    helper = Hold("helper", "helper", "web-rollback-1", "u", None, 1)
    run = replace(run, holds={**run.holds, helper.id: helper})
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
        assert "disruption budget pdb" in str(seen)


async def test_a_floor_above_the_size_asks_for_the_size(cluster: FakeCluster) -> None:
    run, hold = run_of(cluster, floor=SIZE + 2)
    cluster.change(Kind.AUTOSCALER, HPA, lambda a: a["spec"].update(minReplicas=2, maxReplicas=6))
    lender = ScaleProductionHandler(cluster)
    assert isinstance(await lender.observe_release(hold, run), Done)
    unready(cluster, 0)
    assert isinstance(await lender.observe_release(hold, run), Pending)


@pytest.mark.parametrize("theirs", [(4, 9), (2, 9), (4, 6), (1, 6)])
async def test_bounds_that_somebody_else_has_set_are_neither_pinned_nor_given_back(
    cluster: FakeCluster, theirs: tuple[int, int]
) -> None:
    run, _ = run_of(cluster)
    hold = run.holds[f"autoscaler/{HPA}"]
    cluster.change(
        Kind.AUTOSCALER, HPA, lambda a: a["spec"].update(minReplicas=theirs[0], maxReplicas=theirs[1])
    )  # fmt: skip
    handler, step = PinAutoscalerHandler(cluster), PinAutoscaler(HPA, hold.uid, PINNED)
    assert isinstance(await handler.observe(step, run), Foreign)
    assert isinstance(await handler.observe_release(hold, run), Foreign)
    await handler.apply(step, run)
    await handler.release(hold, run)
    assert bounds(cluster) == theirs
