"""What a run that ends takes back of the environment that the Service was sent to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.runs import Before, Done, Observation, Run
from logcaster_guard.domain.steps import Hold, Plan, ScaleEnvironment, SwitchService
from logcaster_guard.domain.workload import Workload
from logcaster_guard.effects.environment import ScaleEnvironmentHandler
from logcaster_guard.ports import Kind
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

BLUE, SERVICE, LABEL = "blue", "active", "environment"


async def released(selector: dict[str, str]) -> Observation:
    cluster = FakeCluster(FakeClock())
    cluster.add_deployment(BLUE, "v1", replicas=3)
    cluster.object(Kind.DEPLOYMENT, BLUE)["spec"]["template"]["metadata"]["labels"] = {LABEL: "blue"}
    cluster.add(Kind.SERVICE, SERVICE, spec={"selector": selector})
    workload = Workload(cluster.object(Kind.DEPLOYMENT, BLUE))
    hold = Hold("size", "environment_size", BLUE, workload.uid, original=1, written=3)
    plan = Plan(
        strategy="blue_green",
        namespace=workload.namespace,
        deployment=BLUE,
        uid=workload.uid,
        from_template="bad",
        to_template=workload.hash,
        from_images=("v2",),
        to_images=workload.images,
        replicas=1,
        autoscaled=False,
        service=SERVICE,
        selector={LABEL: "green"},
        steps=(ScaleEnvironment(3), SwitchService(LABEL, "green", "blue")),
    )
    opened = RunOpened(at=datetime.now(UTC), run="r", target="default/active", rule="r", reason="r", plan=plan)
    return await ScaleEnvironmentHandler(cluster).observe_release(hold, Run(opened, holds={hold.id: hold}))


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
