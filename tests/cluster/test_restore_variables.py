"""The write of an environment rollback, as the API server keeps it, and what the next apply makes of it."""

from __future__ import annotations

import copy
import json
import shutil
from typing import Any

import pytest

from logcaster_guard.domain.workload import LAST_APPLIED
from logcaster_guard.messages.texts import english
from logcaster_guard.rollbacks import env
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.sandbox import objects
from tests.cluster.harness import Cluster
from tests.cluster.test_guard import UNVALIDATED, apply_flags, environment, images, kubectl, manifest
from tests.cluster.test_restore import Bench, bench

__all__ = ["bench"]
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH"),
]
Json = dict[str, Any]
NODE = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
PASSWORD = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}


@pytest.mark.parametrize("way", ["client-side", "server-side"])
async def test_the_images_stay_and_the_next_apply_carries_nothing_over(
    cluster: Cluster, bench: Bench, way: str
) -> None:
    flags = apply_flags(way)
    await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "1.0"))
    await bench.save()
    await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "2.0"))
    await bench.restore(env.WAY)
    restored = (await bench.workload()).raw
    assert (images(restored), environment(restored)) == (objects.image("2.0"), {"ONLY_1_0"})
    if way == "client-side":
        applied = json.loads(restored["metadata"]["annotations"][LAST_APPLIED])
        assert (images(applied), environment(applied)) == (objects.image("2.0"), {"ONLY_1_0"})
    await kubectl(cluster, "apply", *flags, "-f", "-", stdin=manifest(cluster, "3.0"))
    after = (await bench.workload()).raw
    assert (images(after), environment(after)) == (objects.image("3.0"), {"ONLY_3_0"})


def variables(body: Json, *env: Json, before: Json) -> Json:
    """The manifest with these variables, and `before` in a container that runs first."""
    made = copy.deepcopy(body)
    spec = made["spec"]["template"]["spec"]
    spec["containers"][0]["env"] = list(env)
    spec["initContainers"] = [{"name": "migrate", "image": "migrate:1", "env": [before]}]
    return made


async def test_what_is_named_is_as_it_was_and_the_rest_is_byte_for_byte_what_it_is(
    cluster: Cluster, bench: Bench
) -> None:
    level, debug = ({"name": "LOG_LEVEL", "value": value} for value in ("info", "debug"))
    url, literal = {"name": "URL", "value": "http://$(NODE)/$(LOG_LEVEL)"}, {"name": "NODE", "value": "here"}
    first = variables(manifest(cluster, "1.0"), level, NODE, PASSWORD, url, before=level)
    await kubectl(cluster, "apply", UNVALIDATED, "-f", "-", stdin=first)
    await bench.save()
    second = variables(manifest(cluster, "2.0"), url, literal, debug, {"name": "NEW", "value": "1"}, before=debug)
    await kubectl(cluster, "apply", UNVALIDATED, "-f", "-", stdin=second)
    before = (await bench.workload()).template
    await bench.restore(env.WAY, "LOG_LEVEL", "NODE", "NEW")
    after = (await bench.workload()).template
    told = {c["name"]: c.pop("env") for t in (after,) for k in ("initContainers", "containers") for c in t["spec"][k]}
    assert [v["name"] for v in told["logcaster"]] == ["LOG_LEVEL", "NODE", "URL"]
    assert told["logcaster"][1]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert told["migrate"] == [level]
    for container in [*before["spec"]["initContainers"], *before["spec"]["containers"]]:
        del container["env"]
    assert after == before
    again = env.plan(await bench.facts("LOG_LEVEL", "NODE"))
    assert isinstance(again, NotApplicable)
    assert "choose immediate_rollback" in english().text(again.reasons[0])
