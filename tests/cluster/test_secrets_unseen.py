"""A release of image and Secret comes back whole, as operators and people at the command line see it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import STRATEGIC_PATCH
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.world import World
from tests import canary
from tests.canary import ONE, TWO, encoded
from tests.cluster.case import image_of
from tests.cluster.daemon import Daemon
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS, rules_in
from tests.cluster.test_manual import command, free_address, rollback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Json = dict[str, Any]
SECRET = "logcaster-credentials"  # noqa: S105 - a name
PAGES = ("/metrics", "/api/v1/status", "/api/v1/history", "/api/v1/explain?rule=high_error_rate")
FROM = [{"secretRef": {"name": SECRET}}]


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    await cluster.grant("guard", [*OF_TARGETS, *rules_in("components/secrets/rbac.yaml")])
    pace = Pace(start_delay=0.1, drain=0.2)
    world = World(cluster.node(), namespace=cluster.namespace, rate=40, pace=pace, period=0.1)
    await world.start(traffic=False)
    await world.install("1.0")
    await world.rolled_out(30)
    await world.traffic.start()
    yield world
    await world.stop()


@pytest.fixture
async def daemon(cluster: Cluster, world: World, tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None)
    settings = daemon.settings.read_text().replace("{format: json}", "{format: json, level: debug}")
    further = f"web: {{listen: '{free_address()}'}}\nconfig: {{secrets: restore, shared: restore}}\n"
    daemon.settings.write_text(settings + further)
    yield daemon
    await daemon.stop()


async def hold(cluster: Cluster, value: str, **metadata: Any) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, **metadata}}
    path = f"/api/v1/namespaces/{cluster.namespace}/secrets/{SECRET}?fieldManager=ci&force=true"
    await cluster.admin.patch(path, {**body, "data": {"password": encoded(value)}}, "application/apply-patch+yaml")


async def held(cluster: Cluster) -> str:
    found = await cluster.admin.get(f"/api/v1/namespaces/{cluster.namespace}/secrets/{SECRET}")
    return base64.b64decode(found["data"]["password"]).decode()


async def test_a_release_comes_back_with_its_secret_and_no_value_is_seen(
    cluster: Cluster, world: World, daemon: Daemon, tmp_path: Path
) -> None:
    await hold(cluster, ONE)
    await daemon.start()
    await daemon.until("revision.good")
    body = objects.new_image(objects.image("1.1"))
    body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = FROM
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
    await world.client.patch(path, body, STRATEGIC_PATCH)
    await daemon.until("revision.configured")
    await daemon.until("revision.good", count=2)

    await hold(cluster, TWO)
    await daemon.until("configuration.edited", object=f"Secret {cluster.namespace}/{SECRET}")
    await world.deploy("2.0")
    await daemon.until("revision.live", count=3)
    await world.rolled_out(30)
    told = [await rollback(daemon, "--dry-run")]
    assert f"~ Secret {cluster.namespace}/{SECRET}[password]" in told[0][1], told[0][1]
    told.append(await rollback(daemon, "--yes", "--reason", "customers call"))
    assert (told[1][0], "closed: recovered" in told[1][1]) == (0, True), told[1][1]
    assert image_of(await world.deployment()) == objects.image("1.1")
    assert await held(cluster) == ONE

    # One that cannot be put back: nothing is written.
    await hold(cluster, TWO, labels={"app.kubernetes.io/managed-by": "Helm"})
    await world.deploy("3.0")
    await daemon.until("revision.live", images=[objects.image("3.0")])
    await world.rolled_out(30)
    told.append(await rollback(daemon, "--yes"))
    assert (told[2][0], "Helm" in told[2][1]) == (1, True), told[2][1]
    assert await held(cluster) == TWO
    listen = daemon.settings.read_text().split("listen: '")[1].split("'")[0]
    assert (await command("status", "--address", listen))[0] == 0
    async with httpx.AsyncClient(base_url=f"http://{listen}") as client:
        for path in PAGES:
            page = await client.get(path)
            canary.note(path, page.text)
            assert page.status_code == 200, page.text
    assert await daemon.stop() == 0

    # What was logged, printed and sent to the API server is searched with every test, files when the session ends.
    assert (tmp_path / "journal.db").stat().st_size
