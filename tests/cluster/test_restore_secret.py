"""What gives a Secret back what it held, over the ways in which people write one; and that nobody sees what that is."""

from __future__ import annotations

import base64
import json
import secrets as randomness
import shutil
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.domain.configuration.manifests import manifest_of
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.configuration.restoring import changes
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.field_owners import entries_of
from logcaster_guard.domain.observations import Before, Done, ExternalChange
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.theirs import DigestKeyLost
from logcaster_guard.domain.workload import LAST_APPLIED, Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.steps.restore_object import RestoreHandler
from logcaster_guard.steps.restore_secret import RestoreSecret
from tests import canary
from tests.canary import ONE, THREE, TWO, encoded
from tests.cluster.conversation import Conversation, answered
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS, rules_in
from tests.cluster.test_apply_contract import SECRETS, secret
from tests.cluster.test_guard import apply_flags, kubectl
from tests.cluster.test_restore_config_map import only_where_kubectl_may_change_sides, owned
from tests.fakes.blobs import MemoryBlobs

Json = dict[str, Any]
NAME = "logcaster-credentials"
LARGEST = 1_048_576
"""Bytes in all that a Secret may hold."""
by_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


def data(value: str, *keys: str) -> Json:
    return {key: encoded(value) for key in ("password", *keys)}


@dataclass
class Bench:
    """A workload, its Secret, and the guard's own account with the rights that are shipped."""

    cluster: Cluster
    client: KubernetesCluster
    api: Conversation
    manifests: KeptManifests
    place: str = ""
    saved: Json = field(default_factory=dict)

    async def live(self) -> Json:
        return await self.api.get(SECRETS, NAME)

    async def save(self) -> None:
        """Keep it as it is, as the guard does at first sight."""
        assert self.manifests.secrets is not None
        self.saved = await self.live()
        manifest = manifest_of(ConfigKind.SECRET, self.saved)
        self.place = await self.manifests.secrets.put(self.cluster.namespace, manifest)

    async def planned(self, *, gone: bool = False) -> tuple[RestoreSecret, Run]:
        assert self.manifests.secrets is not None
        workload = Workload(await self.client.get(Kind.DEPLOYMENT, self.cluster.namespace, objects.DEPLOYMENT))
        live, key = None if gone else await self.live(), await self.manifests.secrets.key(self.cluster.namespace)
        uid = live["metadata"]["uid"] if live else ""
        step = RestoreSecret(NAME, uid, self.place, changes(live, self.saved, key), made_with=key.name)
        plan = Plan(
            "config", self.cluster.namespace, workload.name, workload.uid, workload.hash, workload.hash, (), (),
            workload.replicas, False, None, None, (step,),
        )  # fmt: skip
        at = datetime.now(UTC)
        return step, Run(RunOpened(at, "run", self.cluster.namespace, "r", "test", plan), started=at)

    async def restore(self, *, gone: bool = False) -> Json:
        step, run = await self.planned(gone=gone)
        handler = RestoreHandler(self.client, self.manifests)
        assert isinstance(await handler.observe(step, run), Before)
        await handler.apply(step, run)
        seen = await handler.observe(step, run)
        assert isinstance(seen, Done)
        for text in (repr(step), repr(run), repr(seen)):
            assert not canary.is_in(text)
        restored = await self.live()
        assert (restored.get("data"), restored["type"]) == (self.saved.get("data"), self.saved["type"])
        return restored


@pytest.fixture
async def bench(cluster: Cluster) -> AsyncIterator[Bench]:
    await cluster.grant("guard", [*OF_TARGETS, *rules_in("components/secrets/rbac.yaml")])
    client = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10)
    await cluster.admin.create(
        f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments", objects.deployment(objects.image("1.0"))
    )
    kept = KubernetesSavedSecrets(client, Where("logcaster-guard", [cluster.namespace]))
    async with Conversation(cluster) as api:
        yield Bench(cluster, client, api, KeptManifests(MemoryBlobs(), kept))
    await client.aclose()


def managers(raw: Json) -> set[tuple[str, str]]:
    return {(str(e["manager"]), str(e["operation"])) for e in entries_of(raw)}


@by_kubectl
@pytest.mark.parametrize("way", ["client-side", "server-side", "client-side, then server-side"])
async def test_the_next_apply_needs_no_force_and_carries_nothing_over(cluster: Cluster, bench: Bench, way: str) -> None:
    async def apply(held: Json, way: str = way.partition(",")[0]) -> None:
        body = secret(NAME, type="Opaque", data=held)
        await kubectl(cluster, "apply", *apply_flags(way), "-f", "-", stdin=body)

    if " " in way:
        only_where_kubectl_may_change_sides(cluster)
    await apply(data(ONE, "only-v1"))
    await bench.save()
    await apply(data(TWO, "only-v2"))
    restored = await bench.restore()
    assert owned(restored) == owned(bench.saved)
    if way != "server-side":
        assert json.loads(restored["metadata"]["annotations"][LAST_APPLIED])["data"] == data(ONE, "only-v1")
    await apply(data(THREE), way.rpartition(" ")[2])
    assert (await bench.live())["data"] == data(THREE)


@by_kubectl
async def test_what_was_applied_by_string_data_leaves_its_keys_behind(cluster: Cluster, bench: Bench) -> None:
    """Nobody can mend it, as the plan says: kubectl looks for keys that are left out in `data`."""

    async def apply(**held: str) -> None:
        body = secret(NAME, type="Opaque", stringData=held)
        await kubectl(cluster, "apply", *apply_flags("client-side"), "-f", "-", stdin=body)

    await apply(user=ONE, old="1")
    await bench.save()
    await apply(user=TWO)
    restored = await bench.restore()
    assert json.loads(restored["metadata"]["annotations"][LAST_APPLIED])["stringData"] == {"user": ONE, "old": "1"}
    await apply(user=THREE)
    assert (await bench.live())["data"] == {"user": encoded(THREE), "old": encoded("1")}


async def test_one_that_was_pruned_is_made_again_with_its_type(bench: Bench) -> None:
    body = secret(NAME, type="kubernetes.io/basic-auth", data={"username": encoded("web"), **data(ONE)})
    answered(await bench.api.apply(SECRETS, body, "ci", force="true"))
    await bench.save()
    await bench.api.delete(SECRETS, NAME)
    restored = await bench.restore(gone=True)
    assert managers(restored) == {("ci", "Apply")}


@pytest.mark.parametrize("gone", [False, True])
async def test_the_largest_one_that_there_can_be_comes_back(bench: Bench, gone: bool) -> None:
    large = base64.b64encode(randomness.token_bytes(LARGEST)).decode()
    answered(await bench.api.apply(SECRETS, secret(NAME, data={"file": large}), "ci", force="true"))
    await bench.save()
    if gone:
        await bench.api.delete(SECRETS, NAME)
    else:
        answered(await bench.api.apply(SECRETS, secret(NAME, data=data(TWO)), "ci", force="true"))
    await bench.restore(gone=gone)


async def test_a_key_that_is_another_than_when_it_was_planned_leaves_it_as_it_is(bench: Bench) -> None:
    answered(await bench.api.apply(SECRETS, secret(NAME, data=data(ONE)), "ci", force="true"))
    await bench.save()
    answered(await bench.api.apply(SECRETS, secret(NAME, data=data(TWO)), "ci", force="true"))
    step, run = await bench.planned()
    before = await bench.live()
    await bench.api.delete(SECRETS, "logcaster-guard-digest-key")
    # As the next guard finds it.
    kept = KubernetesSavedSecrets(bench.client, Where("logcaster-guard", [bench.cluster.namespace]))
    handler = RestoreHandler(bench.client, KeptManifests(MemoryBlobs(), kept))
    lost = ExternalChange(DigestKeyLost(f"Secret {bench.cluster.namespace}/{NAME}"))
    assert await handler.observe(step, run) == lost
    await handler.apply(step, run)
    assert await bench.live() == before
    # What holds what was saved needs no key to be told.
    answered(await bench.api.apply(SECRETS, secret(NAME, data=data(ONE)), "ci", force="true"))
    assert isinstance(await handler.observe(step, run), Done)


async def test_an_edit_in_mid_run_is_theirs(bench: Bench) -> None:
    answered(await bench.api.apply(SECRETS, secret(NAME, data=data(ONE)), "ci", force="true"))
    await bench.save()
    answered(await bench.api.apply(SECRETS, secret(NAME, data=data(TWO)), "ci", force="true"))
    step, run = await bench.planned()
    edited = await bench.api.merge(SECRETS, NAME, {"data": data(f"{ONE}-theirs")})
    handler = RestoreHandler(bench.client, bench.manifests)
    assert isinstance(await handler.observe(step, run), ExternalChange)
    await handler.apply(step, run)
    assert await bench.live() == edited


async def test_a_refused_restore_tells_nothing_of_the_secret(bench: Bench) -> None:
    """What was saved can be damaged in ways that the API server refuses; it answers with all that it was sent."""
    answered(await bench.api.apply(SECRETS, secret(NAME, data=data(ONE)), "ci", force="true"))
    await bench.save()
    assert bench.manifests.secrets is not None
    broken = {**bench.saved, "data": {**data(ONE), "other": "no base64 %%"}}
    bench.saved, broken["metadata"] = broken, {**broken["metadata"], "managedFields": []}
    bench.place = await bench.manifests.secrets.put(
        bench.cluster.namespace, manifest_of(ConfigKind.SECRET, broken)
    )  # fmt: skip
    step, run = await bench.planned()
    with pytest.raises(Rejected) as caught:
        await RestoreHandler(bench.client, bench.manifests).apply(step, run)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.reason)
    assert not canary.is_in(shown)
    assert "no base64" not in shown
