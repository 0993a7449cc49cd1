"""What `kubectl apply` makes of a release that was restored without the manifest it had been applied with.

The guard knows a release from before its own time by its ReplicaSet alone, which keeps no last-applied-configuration.
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from logcaster_guard.domain.leftovers import leftover
from logcaster_guard.domain.releases import of_revision
from logcaster_guard.domain.workload import Revision, revisions_of
from logcaster_guard.ports import Kind
from logcaster_guard.sandbox import objects
from tests.cluster.harness import Cluster
from tests.cluster.test_guard import apply_flags, environment, kubectl, manifest
from tests.cluster.test_restore import NAME, Bench, bench
from tests.real.waiting import until

__all__ = ["bench"]
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH"),
]
Json = dict[str, Any]
ALIASES = [{"ip": "192.0.2.1", "hostnames": ["old.example"]}]


def of_version(cluster: Cluster, version: str) -> Json:
    """Each version has an environment variable of its own, and the first one aliases besides."""
    body = manifest(cluster, version)
    if version == "1.0":
        body["spec"]["template"]["spec"]["hostAliases"] = ALIASES
    return body


def images_of(revision: Revision) -> tuple[str, ...]:
    return tuple(c["image"] for c in revision.template["spec"]["containers"])


async def applied(cluster: Cluster, bench: Bench, version: str, way: str) -> tuple[set[str], Any]:
    """What the pods have of single versions once this one is applied: variables and aliases."""
    await kubectl(cluster, "apply", *apply_flags(way), "-f", "-", stdin=of_version(cluster, version))
    found = (await bench.workload()).raw
    return environment(found), found["spec"]["template"]["spec"].get("hostAliases")


async def gone_back(cluster: Cluster, bench: Bench, way: str) -> str:
    """v1 and v2 are applied, and v1 is restored as its ReplicaSet has it; returns what people are told stays."""
    await applied(cluster, bench, "1.0", way)

    async def first() -> Revision | None:
        found = revisions_of(await bench.workload(), await bench.client.list(Kind.REPLICA_SET, cluster.namespace))
        return next((r for r in found if objects.image("1.0") in images_of(r)), None)

    await until(first, 30)
    await applied(cluster, bench, "2.0", way)
    revision = await first()
    assert revision is not None
    release = of_revision(revision)
    bench.good, bench.good_images = release.hash, images_of(revision)
    bench.blob = await bench.blobs.put(release.to_bytes())
    told = leftover(await bench.workload(), release)
    await bench.restore()
    assert environment((await bench.workload()).raw) == {"ONLY_1_0"}
    return "" if told is None else ", ".join(told.fields)


TOLD = "spec.containers[logcaster].env[ONLY_1_0], spec.hostAliases"


async def test_what_was_told_and_nothing_else_stays_until_it_is_removed_by_hand(cluster: Cluster, bench: Bench) -> None:
    assert await gone_back(cluster, bench, "client-side") == TOLD
    assert await applied(cluster, bench, "3.0", "client-side") == ({"ONLY_1_0", "ONLY_3_0"}, ALIASES)
    await kubectl(cluster, "set", "env", NAME, "ONLY_1_0-")
    patch = '{"spec":{"template":{"spec":{"hostAliases":null}}}}'
    await kubectl(cluster, "patch", NAME, "--type=merge", "-p", patch)
    assert await applied(cluster, bench, "4.0", "client-side") == ({"ONLY_4_0"}, None)


async def test_the_restored_releases_own_manifest_mends_it_beforehand(cluster: Cluster, bench: Bench) -> None:
    assert await gone_back(cluster, bench, "client-side") == TOLD
    assert await applied(cluster, bench, "1.0", "client-side") == ({"ONLY_1_0"}, ALIASES)
    assert await applied(cluster, bench, "3.0", "client-side") == ({"ONLY_3_0"}, None)


async def test_after_a_server_side_apply_nothing_stays_and_nothing_is_told(cluster: Cluster, bench: Bench) -> None:
    assert await gone_back(cluster, bench, "server-side") == ""
    assert await applied(cluster, bench, "3.0", "server-side") == ({"ONLY_3_0"}, None)
