"""`logcaster-guard demo`: a bad release is found and undone, on an embedded cluster, in about a minute."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from logcaster_guard import app
from logcaster_guard.adapters import logs
from logcaster_guard.cli.story import GuardLog, Timeline
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.engine.guard import Guard
from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.objects import image
from logcaster_guard.sandbox.release import Behaviour, Releases
from logcaster_guard.sandbox.world import World

NAMESPACE = "logcaster"
TARGET = f"{NAMESPACE}/logcaster-prod"
SHORTENED = (
    "Shortened for this demo: rule durations 5m → 5s, lookback 5m → 5s, polling 30s → 1s, "
    "good after 10m → 6s, verified after 5m → 5s of quiet. Everything else is as shipped."
)
RULES = """\
rollback_triggers:
  - name: high_error_rate
    condition: "error_rate > 5%"
    duration: "5s"
    action: immediate_rollback
  - name: health_check_failure
    condition: "health_check_fails > 3"
    duration: "5s"
    action: immediate_rollback
  - name: crash_loop
    condition: "restart_count > 5"
    duration: "5s"
    action: immediate_rollback
"""
SETTINGS = """\
targets:
  - name: logcaster
    namespace: {namespace}
    deployment: logcaster-prod
    service: logcaster
    health_url: http://logcaster:9998/health
    traffic_url: http://logcaster:9999/
sources:
  prometheus: {{url: null}}
  http: {{proxy: "{network}"}}
  scrape: {{proxy: "{network}", min_requests: 20}}
  kubernetes: {{kubeconfig: {kubeconfig}}}
signals:
  error_rate: {{lookback: 5s}}
polling: {{interval: 1s}}
ledger: {{good_after: 6s}}
verify: {{stable_for: 5s, timeout: 30s}}
rollout: {{timeout: 30s}}
journal: {{path: {folder}/journal.db, blobs: {folder}/blobs}}
log: {{format: json}}
"""


class Scenario(StrEnum):
    """What happens in the demo."""

    ERRORS = "errors"
    INNOCENT = "innocent"


def demo(
    scenario: Annotated[
        Scenario, typer.Option(help="errors: a bad release. innocent: a dependency fails for old and new alike.")
    ] = Scenario.ERRORS,
    guard: Annotated[bool, typer.Option(help="Whether the guard watches.")] = True,
) -> None:
    """Show a bad release being found and undone, on an embedded cluster; exits 1 if it is not."""
    try:
        well = asyncio.run(_Demo(scenario, guarded=guard).run())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if well else 1)


class _Demo:
    def __init__(self, scenario: Scenario, *, guarded: bool) -> None:
        self._scenario = scenario
        self._guarded = guarded
        self._console = Console(highlight=False)
        self._timeline = Timeline(self._console)
        self._log = GuardLog(self._timeline)
        self._releases = Releases({image("2.0.0"): Behaviour(error_rate=0.3)})
        if scenario is Scenario.INNOCENT:
            self._releases = Releases()

    async def run(self) -> bool:
        self._console.print(f"[bold]LogCaster Guard demo[/bold]: {self._scenario}. {SHORTENED}\n")
        logs.configure("json", "info", self._log)
        with tempfile.TemporaryDirectory(prefix="logcaster-guard-demo-") as folder:
            async with (
                ApiServer(tokens={"people": "people", "node": "node", "guard": "guard"}) as server,
                World(server.url, "node", namespace=NAMESPACE, releases=self._releases, rate=40.0) as world,
                self._watching(Path(folder), server, world) as guard,
            ):
                await self._install(world, guard)
                if self._scenario is Scenario.ERRORS:
                    return await self._errors(server, world)
                return await self._innocent(server, world)

    @contextlib.asynccontextmanager
    async def _watching(self, folder: Path, server: ApiServer, world: World) -> AsyncIterator[Guard | None]:
        if not self._guarded:
            yield None
            return
        async with app.built(self._configured(folder, server, world)) as guard:
            task = asyncio.create_task(guard.run())
            try:
                yield guard
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _configured(self, folder: Path, server: ApiServer, world: World) -> Loaded:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "demo",
                    "clusters": [{"name": "demo", "cluster": {"server": server.url}}],
                    "users": [{"name": "guard", "user": {"token": "guard"}}],
                    "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "guard"}}],
                }
            )
        )
        settings, rules = folder / "guard.yaml", folder / "rollback-rules.yaml"
        settings.write_text(
            SETTINGS.format(namespace=NAMESPACE, network=world.network.url, kubeconfig=kubeconfig, folder=folder)
        )
        rules.write_text(RULES)
        loaded = load(settings, rules)
        if isinstance(loaded, list):
            raise TypeError("; ".join(map(str, loaded)))
        return loaded

    async def _install(self, world: World, guard: Guard | None) -> None:
        self._timeline.say("people", f"install {image('1.0.0')}, 3 pods")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await world.client.create("/api/v1/namespaces", namespace)
        await world.install("1.0.0")
        await world.rolled_out(20)
        self._timeline.say("cluster", "1.0.0 is rolled out; users send 40 requests a second")
        await world.traffic.until(lambda t: t.window(2).total > 40 and not t.window(2).failed, 15)
        self._tell_users(world)
        if guard is not None:
            await self._until(lambda: self._seen("revision.good"), 40)

    async def _errors(self, server: ApiServer, world: World) -> bool:
        self._timeline.say("people", f"roll out {image('2.0.0')}; 30 % of its answers are errors", "bold")
        await world.deploy("2.0.0")
        await world.rolled_out(20)
        self._timeline.say("cluster", "2.0.0 is rolled out")
        await asyncio.sleep(3)
        self._tell_users(world)
        if not self._guarded:
            await asyncio.sleep(15)
            self._tell_users(world)
            return self._verdict(world, "Nobody rolled it back.")
        await self._until(lambda: self._seen("run.closed"), 60)
        self._tell_users(world)
        writes = self._writes(server)
        return self._verdict(world, f"The guard changed the Deployment {writes['deployments']} time.")

    async def _innocent(self, server: ApiServer, world: World) -> bool:
        self._timeline.say("people", "nobody does anything, but a database that every release needs fails", "bold")
        self._releases.dependency_failure = 0.3
        await asyncio.sleep(3)
        self._tell_users(world)
        self._timeline.say("people", f"roll out {image('2.0.0')}, a good release, by chance just now", "bold")
        await world.deploy("2.0.0")
        await world.rolled_out(20)
        if self._guarded:
            await self._until(lambda: self._seen("trigger.refused"), 30)
        await asyncio.sleep(8)
        self._tell_users(world)
        writes = sum(self._writes(server).values())
        images = (await world.deployment())["spec"]["template"]["spec"]["containers"][0]["image"]
        self._timeline.say("people", "the database is mended")
        self._releases.dependency_failure = 0.0
        await world.traffic.until(lambda t: (t.window(3).error_share or 0) < 0.01, 15)
        self._tell_users(world)
        well = writes == 0 and images == image("2.0.0")
        colour = "green" if well else "red"
        told = "was told why" if self._seen("trigger.refused") else "was told nothing"
        self._console.print(
            f"\n[bold {colour}]{'Nothing was rolled back' if well else 'An innocent release was touched'}[/]: "
            f"{writes} mutating requests of the guard in the API server's audit; 2.0.0 still serves; {told}."
        )
        return well and (not self._guarded or self._seen("trigger.refused"))

    def _verdict(self, world: World, remark: str) -> bool:
        share = world.traffic.window(3).error_share
        well = share is not None and share < 0.01
        told = "no traffic" if share is None else f"{share:.1%} of the last 3 s' requests failed"
        colour, word = ("green", "Recovered") if well else ("red", "Not recovered")
        self._console.print(
            f"\n[bold {colour}]{word}[/] after {self._timeline.elapsed:.0f} s, as the users' own client saw it: "
            f"{told}. {remark}"
        )
        return well

    def _tell_users(self, world: World) -> None:
        window = world.traffic.window(2)
        share = "no answer yet" if window.error_share is None else f"{window.error_share:.0%} of requests fail"
        self._timeline.say("users", f"{share} ({window.total} in the last 2 s)")

    def _writes(self, server: ApiServer) -> dict[str, int]:
        counts = {"deployments": 0}
        for entry in server.audit:
            # An access review asks what the guard may do: it is a POST, and it changes nothing.
            if entry.user == "guard" and entry.mutating and entry.resource != "selfsubjectaccessreviews":
                counts[entry.resource] = counts.get(entry.resource, 0) + 1
        return counts

    def _seen(self, event: str) -> bool:
        return any(f.get("event") == event for f in self._log.events)

    async def _until(self, reached: Callable[[], bool], within: float) -> None:
        """Wait for a fact in the guard's log; the verdict is told from what there is when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not reached():  # noqa: ASYNC110 - what is waited for is a line of a log
                    await asyncio.sleep(0.1)
