"""A blue-green rollback against an API server: a whole guard, from the breach to the recovery or the refusal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.events import AnswerDenied
from logcaster_guard.domain.inbox.annotations import ABANDON, FREEZE, MARK
from logcaster_guard.domain.inbox.commands import AnswerRun, Mark, MarkRelease, RunCommand, value_of
from logcaster_guard.domain.inbox.denials import NamesAnother, NoRunOpen
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, GOOD, WITHIN, Case, image_of
from tests.cluster.crashes import Point
from tests.cluster.ending import Facts
from tests.cluster.environments import BLUE, GREEN, IDLE
from tests.cluster.harness import Cluster
from tests.cluster.interference import Act, Disturbance, DisturbedScene, On
from tests.cluster.scene import Scene
from tests.cluster.serving import sampled
from tests.real.waiting import until

pytestmark = [pytest.mark.timeout(240)]
CASE = Case(Action.BLUE_GREEN)
LAST = Point("append to run: RunClosed + NoticeQueued run.closed", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


async def budgets(scene: Scene, least: int) -> None:
    path = f"/apis/policy/v1/namespaces/{scene.cluster.namespace}/poddisruptionbudgets"
    for name in (BLUE, GREEN):
        selector = {"matchLabels": {**objects.LABELS, objects.ENVIRONMENT: name.rpartition("-")[2]}}
        spec = {"minAvailable": least, "selector": selector}
        body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
        await scene.cluster.admin.create(path, body)


async def endpoints(scene: Scene) -> set[str]:
    """The Deployments whose pods the Service's EndpointSlices list."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{scene.cluster.namespace}/endpointslices"
    slices = await scene.cluster.admin.list(path)
    mine = [s for s in slices if s["metadata"]["labels"]["kubernetes.io/service-name"] == objects.ACTIVE_SERVICE]
    return {e["targetRef"]["name"].rsplit("-", 2)[0] for s in mine for e in s.get("endpoints") or []}


def outcome(facts: Facts) -> str:
    (run,) = facts.runs
    assert run.closed is not None
    assert not run.compensations
    return run.closed.outcome


@pytest.mark.parametrize("borrowed", [False, True], ids=["plain", "with autoscaler and budget"])
@pytest.mark.parametrize("replicas", [1, 3, 4, 10, pytest.param(50, marks=pytest.mark.slow)])
async def test_nobody_is_missed_from_breach_to_recovery(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], replicas: int, borrowed: bool
) -> None:
    minimum = IDLE if borrowed else None
    async with Scene.set_up(cluster, api, rights, minimum, case=CASE, replicas=replicas) as scene:
        if borrowed:
            await budgets(scene, replicas)
        async with sampled(scene) as sample:
            await scene.life(None)
        facts, listed = await scene.facts(), await endpoints(scene)
    sys.stdout.write(f"{cluster.kind}: {replicas} pods, lowest of {sample.taken} samples: {sample.lowest}\n")
    assert (outcome(facts), facts.image, facts.replicas) == (runs.RECOVERED, objects.image(GOOD), replicas)
    assert sample.lowest >= replicas
    assert listed == {BLUE}
    assert facts.bounds in {None, (IDLE, replicas * 2)}


async def test_it_is_switched_back_where_the_other_environment_is_worse(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    case = Case(Action.BLUE_GREEN, beside=0.5)
    async with Scene.set_up(cluster, api, rights, None, case=case) as scene:
        async with sampled(scene) as sample:
            await scene.life(None)
        facts, listed = await scene.facts(), await endpoints(scene)
        blue = await scene.world.deployment(BLUE)
    assert (outcome(facts), facts.image) == (runs.DESTINATION_BAD, objects.image(BAD))
    assert (listed, blue["spec"]["replicas"]) == ({GREEN}, IDLE)
    assert sample.lowest >= 3
    assert facts.ledger.records[facts.runs[0].opened.plan.to_template].bad_since is not None


async def test_a_missing_environment_is_made_from_the_snapshot_and_checked(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    case = Case(Action.BLUE_GREEN, missing=True)
    async with Scene.set_up(cluster, api, rights, None, case=case) as scene:
        async with sampled(scene) as sample:
            await scene.life(None)
        facts, listed = await scene.facts(), await endpoints(scene)
    assert (outcome(facts), facts.image, facts.replicas) == (runs.RECOVERED, objects.image(GOOD), 3)
    assert (listed, facts.deployments) == ({BLUE}, [BLUE, GREEN])
    assert sample.lowest >= 3


@pytest.mark.parametrize("what", ["another release", "missing and never saved", "paused"])
async def test_the_service_is_untouched_where_the_other_environment_is_not_proven(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], what: str
) -> None:
    case = Case(Action.BLUE_GREEN, missing=what.startswith("missing"), refused=True)
    async with Scene.set_up(cluster, api, rights, None, case=case) as scene:
        if what == "another release":
            await scene.world.deploy("3.0", name=BLUE)
            await scene.world.rolled_out(WITHIN, name=BLUE)
        if what == "paused":
            path = f"/apis/apps/v1/namespaces/{scene.cluster.namespace}/deployments/{BLUE}"
            await scene.world.client.patch(path, {"spec": {"paused": True}}, MERGE_PATCH)
        if case.missing:
            for blob in (scene.folder / "blobs").rglob("*"):
                if blob.is_file() and b'"omissions"' in blob.read_bytes():
                    blob.unlink()
        await scene.life(None)
        facts, live = await scene.facts(), await scene.production()
        audit = await cluster.read_audit()
    assert not facts.runs
    assert image_of(live) == objects.image(BAD)
    mine = [r for r in audit if r.namespace == scene.cluster.namespace and r.user == "guard" and r.code < 300]
    assert {r.resource for r in mine if r.verb in {"create", "update", "patch", "delete"}} <= {"events"}


@pytest.mark.parametrize("what", ["live rolled out", "other scaled", "selector switched"])
async def test_somebody_elses_change_wins(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], what: str
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=CASE) as scene:
        # The guard has to wait for pods that do not become Ready.
        scene.world.releases.register(objects.image(GOOD), Behaviour(ready=False))
        life = asyncio.create_task(scene.life(None))

        async def scaled() -> bool:
            return int((await scene.world.deployment(BLUE))["spec"]["replicas"]) == 3

        try:
            await until(scaled, WITHIN)
            match what:
                case "live rolled out":
                    await scene.world.deploy("3.0", name=GREEN)
                case "other scaled":
                    await scene.world.scale(7, name=BLUE)
                case _:
                    await scene.world.switch(objects.BLUE)
            await life
        finally:
            life.cancel()
        facts = await scene.facts()
        sizes = {n: int((await scene.world.deployment(n))["spec"]["replicas"]) for n in (BLUE, GREEN)}
    assert outcome(facts) == runs.ABANDONED
    expected = {"live rolled out": ("3.0", IDLE), "other scaled": (BAD, 7), "selector switched": (GOOD, 3)}[what]
    assert (facts.image, sizes[BLUE]) == (objects.image(expected[0]), expected[1])
    assert sizes[GREEN] == 3


@pytest.mark.parametrize(
    ("annotation", "on", "beside"),
    [(MARK, On.LIVE, 0.0), (ABANDON, On.LIVE, 0.0), (ABANDON, On.OTHER, 0.5)],
)
async def test_what_is_said_on_the_environment_that_the_service_has_just_left_is_heard(  # noqa: PLR0917 - fixtures
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], annotation: str, on: On, beside: float
) -> None:
    """The last: it was switched back."""
    async with DisturbedScene.set_up(cluster, api, rights, None, case=replace(CASE, beside=beside)) as scene:
        good = Workload(await scene.world.deployment(BLUE)).hash

        async def say(_: Scene, name: str) -> str:
            until_then = datetime.now(UTC) + timedelta(minutes=1)
            mark = MarkRelease(good, until_then, Mark.BAD, "it loses logs")
            stop = AnswerRun(RunCommand.ABANDON, "some-token", until_then, "stop")
            body = {"metadata": {"annotations": {annotation: value_of(mark if annotation == MARK else stop)}}}
            await scene.world.client.patch(f"{scene.deployments}/{name}", body, MERGE_PATCH)
            return ""

        _, left = await scene.disturbed(Disturbance(LAST, Act("says something on", on, say)))
    outcomes = [r.closed.outcome for r in left.runs if r.closed is not None]
    assert outcomes == [runs.DESTINATION_BAD if beside else runs.RECOVERED]
    if annotation == MARK:
        assert left.ledger.records[good].bad_since is not None
    denied = [e.event.reason for e in left.entries if isinstance(e.event, AnswerDenied)]
    # Whether the run is still listening when it is read is a matter of timing: either way its author is told, once.
    wanted = set[Message]() if annotation == MARK else {NoRunOpen(), NamesAnother()}
    assert len(denied) == bool(wanted)
    assert set(denied) <= wanted


@pytest.mark.parametrize("before", ["patch Service", "append to run: StepStarted 3", "append to run: StepDone 4"])
async def test_a_freeze_on_the_environment_that_the_service_is_just_leaving_ends_the_run(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], before: str
) -> None:
    async def freeze(scene: Scene, name: str) -> str:
        body = {"metadata": {"annotations": {FREEZE: "hands off"}}}
        await scene.world.client.patch(f"{scene.deployments}/{name}", body, MERGE_PATCH)
        return ""

    async with DisturbedScene.set_up(cluster, api, rights, None, case=CASE) as scene:
        cell = Disturbance(Point(before, 1), Act("freezes", On.LIVE, freeze))
        tape, left = await scene.disturbed(cell)
    assert tape.done is not None
    (run,) = left.runs
    assert run.closed is not None
    assert (run.closed.outcome, run.closed.freeze) == (runs.ABANDONED, True)
    assert f"{GREEN} (hands off) (field manager " in english().text(run.closed.reason)
    assert left.ledger.freeze is not None
    # Where the Service leads to, all of production stays.
    serves = BLUE if left.selector[objects.ENVIRONMENT] == objects.BLUE else GREEN
    assert left.deployments[serves].replicas == 3
    assert [n for n in left.notices if n.endswith("/closed")]
