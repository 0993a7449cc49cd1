"""Where the demo's scenarios are played: an embedded cluster with users, a guard if wanted, and a timeline."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from logcaster_guard import app
from logcaster_guard.adapters import logs
from logcaster_guard.cli.story import GuardLog, Timeline
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.sandbox.apiserver import ApiServer, AuditEntry
from logcaster_guard.sandbox.client import Client, Json
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.objects import (
    ACTIVE_SERVICE,
    BLUE,
    CONFIG_MAP,
    DEPLOYMENT,
    ENVIRONMENTS,
    GREEN,
    SERVICE,
    image,
)
from logcaster_guard.sandbox.prometheus import PrometheusServer, cluster_jobs
from logcaster_guard.sandbox.release import HEALTH_PORT, TRAFFIC_PORT, Releases
from logcaster_guard.sandbox.traffic import Traffic
from logcaster_guard.sandbox.world import World

NAMESPACE = "logcaster"
GOOD, NEW = "1.0.0", "2.0.0"
PACE = Pace(crash_backoff=0.5, crash_backoff_most=1.0)
SHORTENED = (
    "Shortened for this demo: rule durations and lookback → 5s, polling 30s → 1s, good after 10m → 6s, verified after "
    "5m → 5s of quiet, restart back-off 10s → 0.5s, the steps of a gradual rollback 60s → 3s, the time for a veto "
    "5m → 5s. Every rule rolls back at once, whatever it is shipped with, but in the scenarios gradual, blue-green and "
    "alert-first."
)
ALONE = "deployment: logcaster-prod, service: logcaster"
TAKING_TURNS = "service: logcaster-active, environments: {blue: logcaster-blue, green: logcaster-green}"
SETTINGS = """\
targets:
  - {{name: logcaster, namespace: {namespace}, {target}, health_url: "{health}", traffic_url: "{traffic}"}}
sources:
  prometheus: {{url: {prometheus}, min_requests: 20}}
  http: {{proxy: "{network}"}}
  scrape: {{proxy: "{network}", min_requests: 20}}
  kubernetes: {{kubeconfig: {kubeconfig}}}
signals:
  error_rate: {{lookback: 5s}}
  p95_latency: {{lookback: 5s}}
polling: {{interval: 1s}}
ledger: {{good_after: 6s}}
verify: {{stable_for: 5s, timeout: 30s}}
rollout: {{timeout: 30s}}
blue_green: {{wait: 2s, window: 3s, min_requests: 20}}
gradual: {{wait: 2s, window: 3s, min_requests: 20, hold: 15s}}
alert: {{grace: 5s, remind_every: 2s}}
journal: {{path: {folder}/journal.db, blobs: {folder}/blobs}}
log: {{format: json}}
"""


class Stage:
    """The world, what the guard logs, and the timeline that people read.

    `change` is what people did last. `health` asks the Service's health endpoint as a load balancer would; `guarded`
    tells whether a guard watches, `switching` whether two environments take turns behind the Service.
    """

    def __init__(self, console: Console, server: ApiServer, world: World, *, guarded: bool, switching: bool) -> None:
        self.timeline = Timeline(console)
        self.log = GuardLog(self.timeline)
        self.world = world
        self.guarded = guarded
        self.switching = switching
        self.health = Traffic(
            _address(HEALTH_PORT, "/health", switching=switching), lambda: world.network.url, rate=4.0
        )
        self.change = ""
        self._server = server
        self._rolled_out = 0.0

    @property
    def since_changed(self) -> float:
        """Seconds since that change."""
        return self.timeline.elapsed - self._rolled_out

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self._server.url

    async def install(self, configuration: Mapping[str, str] | None = None) -> None:
        """Bring the good release into service; with a guard, until it has earned good.

        `configuration` is what its ConfigMap holds, None where it reads none.
        """
        reading = "" if configuration is None else f" that read ConfigMap {CONFIG_MAP}"
        self.timeline.say("people", f"install {image(GOOD)}, 3 pods{reading}")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await self.world.client.create("/api/v1/namespaces", namespace)
        if self.switching:
            await self.world.install_environments(GOOD)
            await self.world.rolled_out(20, name=ENVIRONMENTS[BLUE])
        else:
            await self.world.install(GOOD, configuration=configuration)
            await self.world.rolled_out(20)
        self.timeline.say("cluster", f"{GOOD} is rolled out; users send 40 requests a second")
        # As far back as users look: what failed while the first pods started is no part of the story.
        await self.world.traffic.until(lambda t: t.window(3).total > 40 and not t.window(3).failed, 15)
        await self.health.start()
        if self.guarded:
            await self.until(lambda: self.told("revision.good"), 40)

    async def edit(self, data: Mapping[str, str], remark: str) -> None:
        """Change the ConfigMap, replace all pods by some of the same template, and wait for them."""
        keys = ", ".join(data)
        self.timeline.say("people", f"change {keys} in ConfigMap {CONFIG_MAP}, and restart the pods{remark}", "bold")
        self._rolled_out, self.change = self.timeline.elapsed, f"ConfigMap {CONFIG_MAP} was changed"
        await self.world.edit(data)
        await self.world.restart(datetime.now(UTC).isoformat())
        await self.world.rolled_out(20)
        self.timeline.say("cluster", "every pod has been replaced")

    async def roll_out(self, remark: str, *, within: float = 20.0) -> None:
        """Roll out the new release, and wait `within` seconds for it to be there."""
        self.timeline.say("people", f"roll out {image(NEW)}{remark}", "bold")
        self._rolled_out, self.change = self.timeline.elapsed, f"{NEW} was rolled out"
        name = ENVIRONMENTS[GREEN] if self.switching else DEPLOYMENT
        await self.world.deploy(NEW, name=name)
        if self.switching:
            await self.world.scale(3, name=name)
        try:
            await self.world.rolled_out(within, name=name)
            if self.switching:
                await self.world.switch(GREEN)
                await self.world.scale(1, name=ENVIRONMENTS[BLUE])
            self.timeline.say("cluster", f"{NEW} is rolled out")
        except TimeoutError:
            self.timeline.say("cluster", f"the rollout of {NEW} is not complete after {within:g} s")

    async def pods(self) -> list[Json]:
        """The service's pods that are not being deleted, as the API shows them."""
        pods = await self.world.client.list(f"/api/v1/namespaces/{NAMESPACE}/pods", f"app={SERVICE}")
        return [p for p in pods if "deletionTimestamp" not in p["metadata"]]

    async def image(self) -> str:
        """The image that the live Deployment asks for."""
        deployment = await (self.world.live() if self.switching else self.world.deployment())
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def told(self, event: str) -> bool:
        """Whether the guard has logged this event."""
        return any(f.get("event") == event for f in self.log.events)

    async def until(self, reached: Callable[[], bool], within: float) -> None:
        """Wait for a fact in the guard's log; the verdict is told from what there is when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not reached():  # noqa: ASYNC110 - what is waited for is a line of a log
                    await asyncio.sleep(0.1)

    def changes(self) -> int:
        """How often the guard changed a Deployment, the Service or a ConfigMap, by the API server's audit."""
        return sum(e.resource in {"deployments", "services", "configmaps"} and e.code < 300 for e in self._attempts())

    def attempts(self) -> int:
        """The guard's requests that change something or would have, by the API server's audit."""
        return len(self._attempts())

    def _attempts(self) -> list[AuditEntry]:
        # An access review asks what the guard may do, and an Event tells people: both are POSTs that change nothing.
        mine = (entry for entry in self._server.audit if entry.user == "guard" and entry.mutating)
        return [e for e in mine if e.resource != "events" and not e.path.endswith("/selfsubjectaccessreviews")]


@contextlib.asynccontextmanager
async def staged(
    console: Console, releases: Releases, rules: str, *, guarded: bool, prometheus: str | None, switching: bool
) -> AsyncIterator[Stage]:
    """A stage in temporary folders on free loopback ports; nothing is left behind.

    `rules` is a rules file's text, `prometheus` the program that the guard's readings go through (None: it scrapes the
    pods itself), `switching` whether two environments take turns. Raises `PrometheusNotStarted`.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="logcaster-guard-demo-")))
        server = ApiServer(tokens={"people": "people", "node": "node", "guard": "guard"})
        await stack.enter_async_context(server)
        service = ACTIVE_SERVICE if switching else SERVICE
        world = World(
            Client(server.url, "node"), namespace=NAMESPACE, releases=releases, service=service, rate=40.0, pace=PACE
        )
        stage = Stage(console, server, world, guarded=guarded, switching=switching)
        logs.configure("json", "info", stage.log)
        await stack.enter_async_context(world)
        stack.push_async_callback(stage.health.stop)
        url = None
        if prometheus is not None:
            running = await stack.enter_async_context(PrometheusServer(prometheus, folder))
            await running.start(cluster_jobs(world.network.url))
            url = running.url
            stage.timeline.say("cluster", f"Prometheus ({prometheus}) scrapes the pods every second")
        if guarded:
            await stack.enter_async_context(_watching(_configured(folder, stage, rules, url)))
        yield stage


@contextlib.asynccontextmanager
async def _watching(loaded: Loaded) -> AsyncIterator[None]:
    async with app.built(loaded) as guard:
        task = asyncio.create_task(guard.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _address(port: int, path: str, *, switching: bool) -> str:
    service = ACTIVE_SERVICE if switching else SERVICE
    return f"http://{service}.{NAMESPACE}.svc.cluster.local:{port}{path}"


def _configured(folder: Path, stage: Stage, rules: str, prometheus: str | None) -> Loaded:
    loaded = load(*written(folder, stage, rules, prometheus))
    if isinstance(loaded, list):
        raise TypeError("; ".join(map(str, loaded)))
    return loaded


def written(folder: Path, stage: Stage, rules: str, prometheus: str | None) -> tuple[Path, Path]:
    """The files in `folder` by which a guard watches the stage: settings and rules."""
    kubeconfig = folder / "credentials" / "kubeconfig"
    kubeconfig.parent.mkdir()
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "demo",
                "clusters": [{"name": "demo", "cluster": {"server": stage.url}}],
                "users": [{"name": "guard", "user": {"token": "guard"}}],
                "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "guard"}}],
            }
        )
    )
    settings, rules_file = folder / "guard.yaml", folder / "rollback-rules.yaml"
    settings.write_text(
        SETTINGS.format(
            namespace=NAMESPACE,
            prometheus=prometheus or "null",
            network=stage.world.network.url,
            target=TAKING_TURNS if stage.switching else ALONE,
            health=_address(HEALTH_PORT, "/health", switching=stage.switching),
            traffic=_address(TRAFFIC_PORT, "/", switching=stage.switching),
            kubeconfig=kubeconfig,
            folder=folder,
        )
    )
    rules_file.write_text(rules)
    return settings, rules_file
