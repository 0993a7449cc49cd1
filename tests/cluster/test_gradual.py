"""A gradual rollback against an API server: who serves at every moment, and what is left in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import capacity, releases, runs
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.events import RevisionGood, RevisionLive, RunOpened
from logcaster_guard.domain.ledger import Ledger, Record
from logcaster_guard.domain.rules import Action, GradualPolicy, Policy, RolloutPolicy, VerifyPolicy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Gap, NoData, Reading, Target, Value
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.hub import Hub
from logcaster_guard.engine.journal_state import JournalState, run_stream, target_stream
from logcaster_guard.engine.planning import Planner
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, STRATEGIC_PATCH
from logcaster_guard.sandbox.world import World
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import Assessment, HandlerContext, Inspection, handlers_of
from tests.cluster.case import BAD, CONFIG, GOOD, HELD, PACE, RULE, config_maps, image_of
from tests.cluster.harness import Cluster
from tests.cluster.roles import CONFIG_ROLE, COPIES_ROLE, OF_TARGETS
from tests.cluster.test_apply_contract import config_map
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.journal import MemoryJournal
from tests.real.waiting import until

pytestmark = [pytest.mark.timeout(240)]
Json = dict[str, Any]
WITHIN = 60.0
POLICY = Policy(
    gradual=GradualPolicy(wait=0.2, window=0.2, hold=2.0),
    rollout=RolloutPolicy(timeout=WITHIN),
    verify=VerifyPolicy(stable_for=0.2, timeout=WITHIN),
)


@dataclass
class Sight:
    """What the guard's sources say of the helper; `asked` are the Deployments that it asked for."""

    rate: Reading = field(default_factory=lambda: Value(0.0, 0.0))
    requests: Reading = field(default_factory=lambda: Value(0.0, 1_000.0))
    asked: list[str] = field(default_factory=list)

    async def __call__(self, target: str, deployment: str, window: float) -> Inspection:
        del target, window
        self.asked.append(deployment)
        return Inspection(error_rate=self.rate, requests=self.requests)


@dataclass
class Shift:
    """Production on a bad release, the good one in the ledger, an executor over both, and the lowest capacity seen."""

    cluster: Cluster
    world: World
    sight: Sight
    planner: Planner
    plan: Plan
    executor: Executor
    state: JournalState
    run: str
    lowest: int = 1_000
    samples: int = 0

    async def ended(self, within: float = WITHIN) -> Run:
        async def closed() -> bool:
            return self.state.run(self.run).closed is not None

        async with self.sampled():
            await until(closed, within)
        return self.state.run(self.run)

    @contextlib.asynccontextmanager
    async def sampled(self) -> AsyncIterator[None]:
        """Count who serves, over and over, as the API server tells it."""

        async def sample() -> None:
            while True:
                pods = await self.cluster.admin.list(f"/api/v1/namespaces/{self.cluster.namespace}/pods")
                serving = sum(capacity.is_serving(p, objects.LABELS) for p in pods)
                self.lowest, self.samples = min(self.lowest, serving), self.samples + 1
                await asyncio.sleep(0.01)

        task = asyncio.create_task(sample())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def deployments(self) -> list[Json]:
        return await self.cluster.admin.list(f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments")


def autoscaler(minimum: int, maximum: int) -> Json:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": objects.DEPLOYMENT}
    spec = {"minReplicas": minimum, "maxReplicas": maximum, "scaleTargetRef": reference}
    meta = {"name": objects.DEPLOYMENT}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec}


def budget(least: int) -> Json:
    spec = {"minAvailable": least, "selector": {"matchLabels": objects.LABELS}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "pdb"}, "spec": spec}


@contextlib.asynccontextmanager
async def shifting(
    cluster: Cluster, replicas: int, *, borrowed: bool, policy: Policy = POLICY, edited: str = ""
) -> AsyncIterator[Shift]:
    """`edited`: a ConfigMap that the pods read is, `with` the bad release or `in place` of one."""
    await cluster.grant("guard", [*OF_TARGETS, *CONFIG_ROLE, *COPIES_ROLE])
    async with contextlib.AsyncExitStack() as stack:
        world = World(
            cluster.node(),
            namespace=cluster.namespace,
            pace=PACE,
            period=0.05,
        )
        await world.start(traffic=False)
        stack.push_async_callback(world.stop)
        await world.install(GOOD, replicas=replicas)
        saved = await read_config(cluster) if edited else {}
        good = Workload(await world.rolled_out(WITHIN))
        if borrowed:
            base = f"/namespaces/{cluster.namespace}"
            path = f"/apis/autoscaling/v2{base}/horizontalpodautoscalers"
            await cluster.admin.create(path, autoscaler(replicas, replicas * 2))
            await cluster.admin.create(f"/apis/policy/v1{base}/poddisruptionbudgets", budget(replicas))
        if edited:
            await edit_config(cluster)
        if edited != "in place":
            await world.deploy(BAD)
        bad = Workload(await world.rolled_out(WITHIN))
        api = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
        stack.push_async_callback(api.aclose)
        blobs, clock = MemoryBlobs(), SystemClock()
        blob = await blobs.put(releases.of_workload(good).to_bytes())
        target = Target("logcaster", cluster.namespace, objects.DEPLOYMENT, service=objects.SERVICE)
        contents = {f"ConfigMap {cluster.namespace}/{CONFIG}": await blobs.put(json.dumps(saved).encode())}
        record = Record(good.hash, "1", blob, good.images, 0, 0, contents=contents if edited else {})
        sight, state = Sight(), JournalState(MemoryJournal(), SystemClock())
        planner = Planner(target, cluster=api, blobs=blobs, policy=policy, inspector=sight, ledger=Ledger)
        plan = await planner.plan(Action.GRADUAL, bad, [record], rule=RULE)
        assert isinstance(plan, Plan), plan
        sight.asked.clear()
        now = datetime.now(UTC)
        live = [RevisionLive(now, w.hash, w.revision, w.uid, blob, w.images, earliest=now) for w in (good, bad)]
        await state.tell(target_stream(target.key), live[0], RevisionGood(now, good.hash, 1.0, 1.0), live[1])

        def quiet(target: str, rule: str, since: float = 0.0) -> Assessment:  # noqa: ARG001 - the protocol's shape
            return Assessment(Verdict.NOT_MET, "quiet")

        context = HandlerContext(api, blobs, clock, sight, healthy, quiet, quiet, 5.0)
        executor = Executor(state, clock, handlers_of(KINDS, context), hub=Hub())
        stack.push_async_callback(executor.stop)
        opened = RunOpened(now, "run-1", target.key, RULE.name, "because", plan)
        await state.decide(run_stream("run-1"), opened)
        executor.start(run_stream("run-1"), "run-1")
        yield Shift(cluster, world, sight, planner, plan, executor, state, "run-1")


async def read_config(cluster: Cluster) -> Json:
    """Somebody lets the pods read a ConfigMap; as it is then."""
    made = await cluster.admin.create(config_maps(cluster.namespace), config_map(HELD[GOOD], CONFIG))
    container = {"name": objects.CONTAINER, "envFrom": [{"configMapRef": {"name": CONFIG}}]}
    await roll_out(cluster, {"spec": {"containers": [container]}})
    return made


async def edit_config(cluster: Cluster) -> None:
    """Somebody edits it in place and replaces the pods."""
    body = {"data": {**dict.fromkeys(HELD[GOOD]), **HELD[BAD]}}
    await cluster.admin.patch(f"{config_maps(cluster.namespace)}/{CONFIG}", body, MERGE_PATCH)
    await roll_out(cluster, {"metadata": {"annotations": {"restarted": "yes"}}})


async def roll_out(cluster: Cluster, template: Json) -> None:
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
    await cluster.admin.patch(path, {"spec": {"template": template}}, STRATEGIC_PATCH)


async def healthy(target: str, url: str) -> Reading:  # noqa: ARG001 - the protocol's shape
    return Value(0.0, 0.0)


async def bounds(shift: Shift) -> tuple[int, int]:
    base = f"/apis/autoscaling/v2/namespaces/{shift.cluster.namespace}/horizontalpodautoscalers"
    spec = (await shift.cluster.admin.get(f"{base}/{objects.DEPLOYMENT}"))["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


@pytest.mark.parametrize("borrowed", [False, True], ids=["plain", "with autoscaler and budget"])
@pytest.mark.parametrize("replicas", [1, 3, 4, 10, pytest.param(50, marks=pytest.mark.slow)])
async def test_nobody_is_missed_from_breach_to_recovery(cluster: Cluster, replicas: int, borrowed: bool) -> None:
    async with shifting(cluster, replicas, borrowed=borrowed) as shift:
        run = await shift.ended(120.0)
        sys.stdout.write(f"{cluster.kind}: {replicas} pods, lowest of {shift.samples} samples: {shift.lowest}\n")
        assert run.closed is not None
        assert run.closed.outcome == runs.RECOVERED, run.closed.reason
        assert shift.lowest >= replicas
        [production] = await shift.deployments()
        assert (image_of(production), production["spec"]["replicas"]) == (objects.image(GOOD), replicas)
        assert run.compensations == {}
        if borrowed:
            assert await bounds(shift) == (replicas, replicas * 2)
        assert set(shift.sight.asked) == {capacity.helper_name(objects.DEPLOYMENT)}


@pytest.mark.parametrize(
    ("rate", "requests", "outcome"),
    [
        (Value(0.0, 0.02), Value(0.0, 500.0), runs.DESTINATION_BAD),
        (Value(0.0, 0.0), Value(0.0, 99.0), runs.INCONCLUSIVE),
        (NoData(0.0, Gap.EMPTY), NoData(0.0, Gap.EMPTY), runs.INCONCLUSIVE),
    ],
    ids=["it fails too", "too few requests", "no data"],
)
async def test_a_step_that_is_not_good_gives_everything_back(
    cluster: Cluster, rate: Reading, requests: Reading, outcome: str
) -> None:
    async with shifting(cluster, 4, borrowed=True) as shift:
        async with shift.sampled():

            async def half_way() -> bool:
                return shift.state.run(shift.run).step >= 8

            await until(half_way, WITHIN)
            shift.sight.rate, shift.sight.requests = rate, requests
        run = await shift.ended()
        assert run.closed is not None
        assert run.closed.outcome == outcome
        [production] = await shift.deployments()
        assert (image_of(production), production["spec"]["replicas"]) == (objects.image(BAD), 4)
        assert await bounds(shift) == (4, 8)
        assert shift.lowest >= 4
        known = shift.state.ledger(run.opened.target).records[run.opened.plan.to_template]
        assert (known.bad_since is not None) is (outcome == runs.DESTINATION_BAD)


@pytest.mark.parametrize("what", ["scaled", "rolled out", "deleted", "autoscaler"])
async def test_somebody_elses_change_in_mid_shift_wins(cluster: Cluster, what: str) -> None:
    async with shifting(
        cluster, 4, borrowed=what == "autoscaler", policy=replace(POLICY, gradual=GradualPolicy(wait=1.0, window=1.0))
    ) as shift:

        async def shifted() -> bool:
            production = await shift.world.deployment()
            return int(production["spec"]["replicas"]) < 4

        await until(shifted, WITHIN)
        match what:
            case "scaled":
                await shift.world.scale(7)
            case "rolled out":
                await shift.world.deploy("3.0")
            case "deleted":
                base = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
                await cluster.admin.delete(base)
            case _:
                path = (
                    f"/apis/autoscaling/v2/namespaces/{cluster.namespace}/horizontalpodautoscalers/{objects.DEPLOYMENT}"
                )
                await cluster.admin.patch(path, {"spec": {"minReplicas": 5, "maxReplicas": 9}}, MERGE_PATCH)
        run = await shift.ended()
        assert run.closed is not None
        assert (run.closed.outcome, run.closed.freeze, dict(run.compensations)) == (runs.ABANDONED, True, {})
        left = {d["metadata"]["name"]: d for d in await shift.deployments()}
        if what == "deleted":
            assert left == {}
            return
        assert set(left) == {objects.DEPLOYMENT}
        production = left[objects.DEPLOYMENT]
        expected = {"scaled": (BAD, 7), "rolled out": ("3.0", 4), "autoscaler": (BAD, 5)}[what]
        assert image_of(production) == objects.image(expected[0])

        async def sized() -> bool:
            return int((await shift.world.deployment())["spec"]["replicas"]) == expected[1]

        await until(sized, WITHIN)
        if what == "autoscaler":
            assert await bounds(shift) == (5, 9)


async def test_a_quicker_run_takes_over_from_where_a_gradual_one_stands(cluster: Cluster) -> None:
    slow = replace(POLICY, gradual=GradualPolicy(steps=(0.5, 1.0), wait=60.0, window=60.0))
    async with shifting(cluster, 4, borrowed=True, policy=slow) as shift:
        judge = next(i for i, step in enumerate(shift.plan.steps) if isinstance(step, JudgeHelper))

        async def judging() -> bool:
            return shift.state.run(shift.run).step == judge

        await until(judging, WITHIN)
        before = shift.state.run(shift.run)
        assert set(before.compensations) == {
            f"autoscaler/{objects.DEPLOYMENT}",
            f"helper/{capacity.helper_name(objects.DEPLOYMENT)}",
            "replicas",
        }

        async def quicker() -> RunOpened:
            workload = Workload(await shift.world.deployment())
            blob = next(s.release for s in shift.plan.steps if isinstance(s, RestoreTemplate))
            record = Record(shift.plan.to_template, "1", blob, shift.plan.to_images, 0, 0)
            plan = await shift.planner.take_over(before, workload, [record], rule=RULE)
            assert isinstance(plan, Plan)
            now = datetime.now(UTC)
            return RunOpened(now, "run-2", before.opened.target, RULE.name, "urgent", plan, parent=before.id)

        assert await shift.executor.take_over(before, quicker)
        shift.run = "run-2"
        run = await shift.ended()
        assert run.closed is not None
        assert (run.closed.outcome, dict(run.compensations)) == (runs.RECOVERED, {})
        closed = shift.state.run(before.id).closed
        assert closed is not None
        assert closed.outcome == runs.ESCALATED
        [production] = await shift.deployments()
        assert (image_of(production), production["spec"]["replicas"]) == (objects.image(GOOD), 4)
        assert await bounds(shift) == (4, 8)
        assert shift.lowest >= 3, "the Deployment's own rolling update may be one short"
