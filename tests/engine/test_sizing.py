"""What a run that ends gives back of production's size, while an autoscaler is still pinned."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.observations import Before, Done, Foreign
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Hold, PinAutoscaler, Plan, ScaleProduction
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.sizing import ScaleProductionHandler
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


def run_of(cluster: FakeCluster) -> tuple[Run, Hold]:
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
        floor=SIZE,
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
