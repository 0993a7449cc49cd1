"""`logcaster-guard rollback` as people call it: with a guard that runs, and with none."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, STRATEGIC_PATCH
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour
from logcaster_guard.sandbox.world import World
from tests import canary
from tests.cluster.case import image_of
from tests.cluster.daemon import Daemon
from tests.cluster.harness import Cluster
from tests.cluster.partitions import LEASES, NAME
from tests.cluster.roles import OF_TARGETS
from tests.cluster.stores import journal_rights

DEPLOY = Path(__file__).parents[2] / "deploy"
PACE = Pace(start_delay=0.1, drain=0.2)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    await cluster.grant("guard", [*OF_TARGETS, *journal_rights(), LEASES])
    world = World(
        cluster.node(),
        namespace=cluster.namespace,
        rate=40,
        pace=PACE,
        period=0.1,
    )
    await world.start(traffic=False)
    await world.install("1.0")
    await world.rolled_out(30)
    await world.traffic.start()
    yield world
    await world.stop()


@pytest.fixture
async def daemon(cluster: Cluster, world: World, tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None)
    daemon.settings.write_text(daemon.settings.read_text() + f"web: {{listen: '{free_address()}'}}\n")
    yield daemon
    await daemon.stop()


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def rollback(daemon: Daemon, *arguments: str) -> tuple[int, str]:
    """The command's exit code and all that it printed."""
    listen = yaml.safe_load(daemon.settings.read_text())["web"]["listen"]
    return await command("rollback", str(daemon.settings.parent), "--address", listen, *arguments)


async def command(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("logcaster-guard")),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(90):
        told, _ = await process.communicate()
    canary.note("what a command printed", told)
    assert process.returncode is not None
    return process.returncode, told.decode()


async def live(world: World) -> str:
    return image_of(await world.deployment())


@pytest.mark.parametrize("backend", ["sqlite", "kubernetes", "sqlite under a lease"])
async def test_people_roll_back_through_the_guard_that_runs_and_without_one(
    cluster: Cluster, world: World, daemon: Daemon, backend: str
) -> None:
    if backend == "kubernetes":
        daemon.keep_in_cluster()
    if backend == "sqlite under a lease":
        daemon.take_turns(NAME)
    await daemon.start()
    await daemon.until("revision.good")
    await world.deploy("2.0")
    await daemon.until("revision.live", count=2)
    await world.rolled_out(30)

    code, told = await rollback(daemon, "--dry-run")
    assert (code, "~ spec.containers[logcaster].image" in told, "This was a dry run" in told) == (0, True, True), told
    assert "1. put the template of" in told
    code, told = await rollback(daemon)
    assert (code, "say --yes" in told) == (2, True), told
    assert await live(world) == objects.image("2.0")

    code, told = await rollback(daemon, "--yes", "--reason", "customers call")
    assert (code, "closed: recovered" in told) == (0, True), told
    assert await live(world) == objects.image("1.0")
    (opened,) = daemon.told("run.opened")
    assert "customers call" in opened["reason"]
    await daemon.until("notice.queued", about="run.closed")
    code, told = await rollback(daemon, "--yes", "--to", "2")
    assert (code, "Revision 2 is bad" in told) == (1, True), told

    assert await daemon.stop() == 0
    await world.deploy("3.0")
    await world.rolled_out(30)
    code, told = await rollback(daemon, "--yes", "--strategy", "immediate")
    assert (code, "closed: recovered" in told) == (0, True), told
    assert await live(world) == objects.image("1.0")
    code, told = await command("snapshots", "list", "--json", "--config", str(daemon.settings))
    saved = json.loads(told)["snapshots"]
    # Two runs, and the releases that earned good meanwhile.
    assert (code, len(saved) >= 3) == (0, True), told
    assert {"Deployment/logcaster-prod", "Service/logcaster"} <= set(saved[0]["objects"])
    before = next(s for s in saved if s["images"] == [objects.image("3.0")])
    code, told = await command("snapshots", "diff", before["name"], "--config", str(daemon.settings))
    assert code == 1
    assert re.search(f"^-.* image: {objects.image('3.0')}$", told, re.MULTILINE), told
    changed = [
        r
        for r in await cluster.read_audit()
        if r.namespace == cluster.namespace and r.user == "guard" and r.resource == "deployments" and r.verb == "patch"
    ]
    # Two templates, and the annotation that asked for one of them.
    assert len([r for r in changed if r.code < 300]) == 3


async def test_people_give_a_release_the_variables_of_the_good_one(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    await daemon.start()
    await daemon.until("revision.good")
    body = objects.new_image(objects.image("2.0"))
    changed = [{"name": "LOG_LEVEL", "value": "debug"}, {"name": "MAX_CONNECTIONS", "value": "1"}]
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [*changed, {"name": "API_TOKEN", "value": "hunter22"}]
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
    await world.client.patch(path, body, STRATEGIC_PATCH)
    await daemon.until("revision.live", count=2)
    await world.rolled_out(30)

    only = ("--strategy", "env", "--only", "MAX_CONNECTIONS")
    code, told = await rollback(daemon, *only, "--dry-run")
    place = "spec.containers[logcaster].env"
    assert (code, f'  ~ {place}[MAX_CONNECTIONS]: "1" → "1000"' in told, "LOG_LEVEL" in told) == (0, True, False), told
    code, told = await rollback(daemon, *only, "--yes", "--reason", "too few")
    assert (code, "closed: recovered" in told) == (0, True), told
    assert await variables(world) == {"LOG_LEVEL": "debug", **DEFAULTS, "API_TOKEN": "hunter22"}
    assert (await live(world), daemon.told("run.opened")[0]["strategy"]) == (objects.image("2.0"), "env")

    assert await daemon.stop() == 0
    code, told = await rollback(daemon, "--strategy", "env", "--yes")
    assert (code, f"  - {place}[API_TOKEN]: (hidden)" in told, "hunter22" in told) == (0, True, False), told
    assert await variables(world) == {"LOG_LEVEL": "info", **DEFAULTS}
    assert await live(world) == objects.image("2.0")


DEFAULTS = {"MAX_CONNECTIONS": "1000", "BUFFER_SIZE": "8192"}


async def variables(world: World) -> dict[str, str]:
    """The plain variables of the service's container."""
    container = (await world.deployment())["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"]}


async def test_without_a_daemon_the_command_follows_what_follows_from_its_run(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
    helm = {"metadata": {"annotations": {"meta.helm.sh/release-name": "shop"}}}
    await world.client.patch(path, helm, MERGE_PATCH)
    await daemon.start()
    await daemon.until("revision.good")
    assert await daemon.stop() == 0
    await world.deploy("2.0")
    await world.rolled_out(30)
    world.releases.register(objects.image("1.0"), Behaviour(pullable=False))
    code, told = await rollback(daemon, "--yes")
    assert f"helm -n {cluster.namespace} rollback shop REVISION" in told
    assert (code, "closed: destination bad" in told, "closed: put back" in told) == (1, True, True), told
    assert await live(world) == objects.image("2.0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "sideways"], "sideways"),
        (["--target", "nobody"], "--target: found nobody; allowed one of logcaster"),
        (["--to", "1 2"], "--to is one word"),
        (["--strategy", "env", "--only", "A,A"], "--only: variables are named for env_rollback only"),
        (["--only", "LOG_LEVEL"], "--only: variables are named for env_rollback only"),
    ],
)
async def test_what_cannot_be_understood_is_exit_code_2(daemon: Daemon, arguments: list[str], words: str) -> None:
    code, told = await rollback(daemon, *arguments)
    assert (code, words in told) == (2, True), told


async def test_a_request_that_nobody_agreed_to_is_refused_and_told(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    await daemon.start()
    await daemon.until("revision.good")
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
    value = "0123456789abcdef 2999-01-01T00:00:00Z immediate_rollback - because"
    body = {"metadata": {"annotations": {"guard.logcaster.io/rollback": value}}}
    await world.client.patch(path, body, MERGE_PATCH)
    await daemon.until("request.refused")
    assert not daemon.told("run.opened")
