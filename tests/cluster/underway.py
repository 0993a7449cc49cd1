"""A guard process that is carrying out a rollback for a scene whose users meet the bad release."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from logcaster_guard.domain import capacity, runs
from logcaster_guard.domain.events import StepIntended
from logcaster_guard.domain.runs import Run
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import TRAFFIC_PORT, Behaviour
from logcaster_guard.sandbox.traffic import Traffic
from tests.cluster.case import BAD, RULE, Case, image_of
from tests.cluster.daemon import Daemon
from tests.cluster.harness import Cluster
from tests.cluster.partitions import LEASES, NAME, free_lease
from tests.cluster.scene import Scene
from tests.cluster.stores import journal_rights

PACE = Pace(start_delay=0.1, drain=0.3)
JUDGED = {"wait": "3s", "window": "3s", "min_requests": 15}
SETTINGS: Mapping[str, Any] = {
    "gradual": {"steps": ["50%", "100%"], "hold": "30s", **JUDGED},
    "blue_green": JUDGED,
    "verify": {"stable_for": "2s", "timeout": "40s"},
    "signals": {"error_rate": {"lookback": "3s"}},
}


@dataclass
class Underway:
    """`lowest` is the smallest number of pods that served at once, of `samples`."""

    scene: Scene
    daemon: Daemon
    lowest: int = 1_000
    samples: int = 0

    def edit(self, **settings: Any) -> None:
        """Write these sections into the settings of the next process."""
        merged = {**yaml.safe_load(self.daemon.settings.read_text()), **settings}
        self.daemon.settings.write_text(yaml.safe_dump(merged))

    async def reached(self, kind: str, event: str = "step.started") -> Json:
        """The opening of the run, once its first step of this kind is that far."""
        opened = await self.daemon.until("run.opened")
        await self.daemon.until(event, step=opened["steps"].index(kind))
        return opened

    async def resumed(self, run: str) -> None:
        """Start the next process; return once it has ended that run, and has itself ended."""
        await self.daemon.start()
        await self.daemon.until("run.resumed", run=run)
        await self.ended(run)

    async def ended(self, run: str) -> None:
        """Return once the run has ended well and people know, and the process has ended."""
        await self.daemon.until("run.closed", run=run, outcome=runs.RECOVERED)
        await self.daemon.until("notice.delivered", about="run.closed", channel="kubernetes-events")
        assert await self.daemon.stop() == 0

    async def kept(self) -> Run:
        """The only run, as the journal tells it while no process has it open."""
        async with self.scene.stores.journal() as journal:
            (run,) = runs.fold(e.event for e in await journal.read_all()).values()
        return run

    async def intents(self) -> Counter[str]:
        """How often each kind of step was tried, as the journal tells it."""
        async with self.scene.stores.journal() as journal:
            events = [e.event for e in await journal.read_all()]
        (run,) = runs.fold(events).values()
        return Counter(f"{e.step} {run.opened.plan.steps[e.step].kind}" for e in events if isinstance(e, StepIntended))

    async def stands(self) -> Json:
        """What a rollback changes, as it is now: sizes and images, the autoscaler's bounds, where the Service leads."""
        admin, base = self.scene.cluster.admin, f"/api/v1/namespaces/{self.scene.cluster.namespace}"
        deployments = await admin.list(self.scene.deployments)
        autoscalers = await admin.list(self.scene.autoscalers)
        service = await admin.get(f"{base}/services/{self.scene.target.service}")
        return {
            "deployments": {d["metadata"]["name"]: (d["spec"]["replicas"], image_of(d)) for d in deployments},
            "bounds": [(a["spec"]["minReplicas"], a["spec"]["maxReplicas"]) for a in autoscalers],
            "selector": service["spec"]["selector"],
        }

    @contextlib.asynccontextmanager
    async def sampled(self) -> AsyncIterator[None]:
        """Count who serves, over and over: Ready, not terminating, and selected by the Service as it is."""
        task = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _sample(self) -> None:
        base = f"/api/v1/namespaces/{self.scene.cluster.namespace}"
        while True:
            service = await self.scene.cluster.admin.get(f"{base}/services/{self.scene.target.service}")
            pods = await self.scene.cluster.admin.list(f"{base}/pods")
            serving = sum(capacity.is_serving(p, service["spec"]["selector"]) for p in pods)
            self.lowest, self.samples = min(self.lowest, serving), self.samples + 1
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def underway(
    cluster: Cluster,
    api: ClusterPort,
    rights: Sequence[Json],
    case: Case,
    minimum: int | None = None,
    *,
    lease: bool = False,
) -> AsyncIterator[Underway]:
    """A scene and its guard, which is still to be started."""
    allowed = [*rights, LEASES, *(() if case.in_cluster else journal_rights())]
    async with contextlib.AsyncExitStack() as stack:
        scene = await stack.enter_async_context(Scene.set_up(cluster, api, allowed, minimum, case=case, pace=PACE))
        scene.world.releases.register(objects.image(BAD), Behaviour(error_rate=0.3))
        network = scene.world.network
        await network.start()
        traffic = Traffic(f"http://{scene.target.service}:{TRAFFIC_PORT}/", lambda: network.url, rate=40)
        await traffic.start()
        stack.push_async_callback(traffic.stop)
        scene.folder.mkdir(exist_ok=True)
        daemon = Daemon(scene.cluster, scene.folder, network=network.url, prometheus=None, rules=_rules(scene))
        made = Underway(scene, daemon)
        if lease:
            await free_lease(scene)
            daemon.take_turns(NAME)
        made.edit(**SETTINGS, targets=[_target(scene)])
        stack.push_async_callback(daemon.stop)
        await stack.enter_async_context(made.sampled())
        yield made


def _rules(scene: Scene) -> Any:
    rule = {"name": RULE.name, "condition": RULE.text, "duration": "2s", "action": str(scene.case.action)}
    path = scene.folder / "rollback-rules.yaml"
    path.write_text(yaml.safe_dump({"rollback_triggers": [rule]}))
    return path


def _target(scene: Scene) -> Json:
    target = scene.target
    if scene.case.switches:
        what: Json = {"environments": dict(target.environments)}
    else:
        what = {"deployment": target.deployment}
    return {"name": target.name, "namespace": target.namespace, "service": target.service, **what}
