"""What gives a ConfigMap back what it held, over the ways in which people write one."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain.configuration.restoring import changes
from logcaster_guard.domain.errors import Conflict
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.field_owners import MANAGER, entries_of
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import LAST_APPLIED, Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import config_restores
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts
from logcaster_guard.sandbox import objects
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_object import RestoreHandler
from tests.cluster.conversation import Conversation, answered
from tests.cluster.harness import Cluster
from tests.cluster.roles import CONFIG_ROLE, OF_TARGETS, rules_in
from tests.cluster.test_apply_contract import MAPS, NOBODY, config_map
from tests.cluster.test_guard import apply_flags, kubectl
from tests.fakes.blobs import MemoryBlobs
from tests.real.waiting import until
from tests.rollbacks.build import request

Json = dict[str, Any]
NAME = "logcaster-config"
ONE, TWO = {"x": "1", "only-v1": "1"}, {"x": "2", "only-v2": "1"}
by_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


@dataclass
class Bench:
    """A workload whose ConfigMap is saved, and what restores that."""

    cluster: Cluster
    client: KubernetesCluster
    api: Conversation
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    saved: Json = field(default_factory=dict)

    async def live(self) -> Json:
        return await self.api.get(MAPS, NAME)

    async def save(self) -> None:
        self.saved = {**await self.live(), "kind": "ConfigMap"}

    async def planned(self, *, gone: bool = False) -> tuple[RestoreConfigMap, Run]:
        workload = Workload(await self.client.get(Kind.DEPLOYMENT, self.cluster.namespace, objects.DEPLOYMENT))
        live = None if gone else await self.live()
        blob = await self.blobs.put(json.dumps(self.saved, sort_keys=True).encode())
        step = RestoreConfigMap(NAME, live["metadata"]["uid"] if live else "", blob, changes(live, self.saved, None))
        plan = Plan(
            "config", self.cluster.namespace, workload.name, workload.uid, workload.hash, workload.hash, (), (),
            workload.replicas, False, None, None, (step,),
        )  # fmt: skip
        at = datetime.now(UTC)
        return step, Run(RunOpened(at, "run", self.cluster.namespace, "r", "test", plan), started=at)

    @property
    def handler(self) -> RestoreHandler:
        return RestoreHandler(self.client, KeptManifests(self.blobs, None))

    async def look(self, step: RestoreConfigMap, run: Run) -> Observation:
        return await self.handler.observe(step, run)

    async def restore(self, *, gone: bool = False) -> Json:
        step, run = await self.planned(gone=gone)
        assert isinstance(await self.look(step, run), Before)
        await self.handler.apply(step, run)
        assert isinstance(await self.look(step, run), Done)
        restored = await self.live()
        assert [restored.get(f) for f in ("data", "binaryData")] == [self.saved.get(f) for f in ("data", "binaryData")]
        return restored


@pytest.fixture
async def bench(cluster: Cluster) -> AsyncIterator[Bench]:
    await cluster.grant("guard", [*OF_TARGETS, *CONFIG_ROLE])
    client = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10)
    await cluster.admin.create(
        f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments", objects.deployment(objects.image("1.0"))
    )
    async with Conversation(cluster) as api:
        yield Bench(cluster, client, api)
    await client.aclose()


def managers(raw: Json) -> set[tuple[str, str]]:
    return {(str(e["manager"]), str(e["operation"])) for e in entries_of(raw)}


def owned(raw: Json) -> list[tuple[str, str, str]]:
    """Who owns what, whenever they wrote it."""
    return sorted((e["manager"], e["operation"], json.dumps(e["fieldsV1"], sort_keys=True)) for e in entries_of(raw))


async def applied(bench: Bench, data: Json, manager: str = "ci", **metadata: Any) -> Json:
    return answered(await bench.api.apply(MAPS, config_map(data, NAME, **metadata), manager, force="true"))


@by_kubectl
@pytest.mark.parametrize("way", ["client-side", "server-side"])
async def test_the_next_apply_needs_no_force_and_carries_nothing_over(cluster: Cluster, bench: Bench, way: str) -> None:
    async def apply(data: Json) -> None:
        await kubectl(cluster, "apply", *apply_flags(way), "-f", "-", stdin=config_map(data, NAME))

    await apply(ONE)
    await bench.save()
    await apply(TWO)
    restored = await bench.restore()
    assert owned(restored) == owned(bench.saved)
    if way == "client-side":
        assert json.loads(restored["metadata"]["annotations"][LAST_APPLIED])["data"] == ONE
    await apply({"x": "3"})
    assert (await bench.live())["data"] == {"x": "3"}


def only_where_kubectl_may_change_sides(cluster: Cluster) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server takes nothing over from a client-side apply")


@by_kubectl
@pytest.mark.parametrize("edited", [False, True])
async def test_after_a_client_side_apply_the_first_on_the_servers_side_takes_over_what_kubectl_had_and_no_more(
    cluster: Cluster, bench: Bench, edited: bool
) -> None:
    async def apply(data: Json, way: str) -> None:
        await kubectl(cluster, "apply", *apply_flags(way), "-f", "-", stdin=config_map(data, NAME))

    only_where_kubectl_may_change_sides(cluster)
    await apply(ONE, "client-side")
    if edited:
        await bench.api.merge(MAPS, NAME, {"data": {"hand": "1"}})
    await bench.save()
    await apply(TWO, "client-side")
    if edited:
        await bench.api.merge(MAPS, NAME, {"data": {"hand": "2"}})
    restored = await bench.restore()
    assert owned(restored) == owned(bench.saved)
    await apply({"x": "3"}, "server-side")
    assert (await bench.live())["data"] == {"x": "3", **({"hand": "1"} if edited else {})}


async def test_what_was_edited_in_place_goes_back_to_whoever_applied_it(bench: Bench) -> None:
    await applied(bench, ONE)
    await bench.save()
    await bench.api.merge(MAPS, NAME, {"data": {"x": "2", "added": "1"}, "binaryData": {"b": "AAE="}})
    restored = await bench.restore()
    assert managers(restored) == {("ci", "Apply")}
    assert (await applied(bench, {"x": "3"}))["data"] == {"x": "3"}


async def test_each_manager_gets_its_own_part_back(bench: Bench) -> None:
    await applied(bench, {"a": "1"}, "one")
    await applied(bench, {"b": "1"}, "two")
    await bench.api.merge(MAPS, NAME, {"data": {"hand": "1"}})
    await bench.save()
    await applied(bench, {"a": "2", "b": "2", "c": "2"}, "one")
    await bench.api.merge(MAPS, NAME, {"data": {"hand": "2"}})
    restored = await bench.restore()
    assert {("one", "Apply"), ("two", "Apply")} <= managers(restored)
    assert answered(await bench.api.apply(MAPS, config_map({"b": "3"}, NAME), "two"))["data"]["b"] == "3"
    assert answered(await bench.api.apply(MAPS, config_map({"a": "3"}, NAME), "one"))["data"] == {
        "a": "3",
        "b": "3",
        "hand": "1",
    }


@pytest.mark.parametrize("way", ["client-side", "server-side"])
async def test_one_that_was_pruned_is_made_again_with_references_to_living_owners_alone(bench: Bench, way: str) -> None:
    owner = (await bench.api.get("deployments", objects.DEPLOYMENT))["metadata"]["uid"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": objects.DEPLOYMENT}
    references = [{**reference, "uid": uid} for uid in (owner, NOBODY)]
    if way == "server-side":
        await applied(bench, ONE)
    else:
        notes = {LAST_APPLIED: "{}\n", "note": "kept"}
        await bench.api.create(MAPS, config_map(ONE, NAME, annotations=notes, labels={"app": "web"}))
    await bench.save()
    bench.saved["metadata"]["ownerReferences"] = references
    for entry in entries_of(bench.saved):
        keys: Json = {f'k:{{"uid":"{r["uid"]}"}}': {} for r in references}
        entry["fieldsV1"]["f:metadata"] = {"f:ownerReferences": keys}
    await bench.api.delete(MAPS, NAME)
    restored = await bench.restore(gone=True)
    assert [r["uid"] for r in restored["metadata"]["ownerReferences"]] == [owner]
    assert MANAGER not in {manager for manager, _ in managers(restored)}
    assert (await applied(bench, {"x": "3"}, managers(restored).pop()[0]))["data"] == {"x": "3"}


async def test_one_that_somebody_has_made_meanwhile_is_theirs_and_nothing_is_written(bench: Bench) -> None:
    await applied(bench, ONE)
    await bench.save()
    await bench.api.delete(MAPS, NAME)
    step, run = await bench.planned(gone=True)
    made = await applied(bench, {"x": "1"}, "somebody")
    assert isinstance(await bench.look(step, run), ExternalChange)
    await bench.handler.apply(step, run)
    # Nor is it written where it came between the look and the write.
    write = await bench.handler._creation(bench.saved)
    with pytest.raises(Conflict):
        await bench.handler._write(step, run, write)
    assert await bench.live() == made


@pytest.mark.parametrize("edit", [{"x": "9"}, {"unseen": "1"}, {"only-v1": "9"}])
async def test_an_edit_in_mid_run_is_theirs(bench: Bench, edit: Json) -> None:
    await applied(bench, ONE)
    await bench.save()
    await applied(bench, TWO)
    step, run = await bench.planned()
    edited = await bench.api.merge(MAPS, NAME, {"data": edit})
    seen = await bench.look(step, run)
    assert isinstance(seen, ExternalChange)
    assert "(field manager contract" in english().text(seen.detail)
    await bench.handler.apply(step, run)
    assert await bench.live() == edited


async def test_an_edit_that_says_what_was_saved_and_a_new_label_are_in_nobodys_way(bench: Bench) -> None:
    await applied(bench, ONE)
    await bench.save()
    await applied(bench, TWO)
    step, run = await bench.planned()
    await bench.api.merge(MAPS, NAME, {"data": {"only-v1": "1"}, "metadata": {"labels": {"a": "b"}}})
    assert isinstance(await bench.look(step, run), Before)
    await bench.handler.apply(step, run)
    assert isinstance(await bench.look(step, run), Done)
    assert (await bench.live())["data"] == ONE


@pytest.mark.parametrize("after", ["delete", "make again", "make immutable"])
async def test_one_that_is_no_longer_what_was_looked_at_is_theirs(bench: Bench, after: str) -> None:
    await applied(bench, ONE)
    await bench.save()
    await applied(bench, TWO)
    step, run = await bench.planned()
    if after == "make immutable":
        await bench.api.merge(MAPS, NAME, {"immutable": True})
    else:
        await bench.api.delete(MAPS, NAME)
    if after == "make again":
        await applied(bench, TWO)
    assert isinstance(await bench.look(step, run), ExternalChange)
    await bench.handler.apply(step, run)


async def test_without_the_right_to_list_a_kind_an_object_counts_as_read_by_others(
    cluster: Cluster, bench: Bench
) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    await applied(bench, ONE)
    await bench.save()
    await applied(bench, TWO)
    blob = await bench.blobs.put(json.dumps(bench.saved, sort_keys=True).encode())
    contents = {f"ConfigMap {cluster.namespace}/{NAME}": blob}
    workload = Workload(await bench.client.get(Kind.DEPLOYMENT, cluster.namespace, objects.DEPLOYMENT))
    record = Record(workload.hash, "1", "blob", (), 0, 0, configuration="c1", contents=contents)
    asked = request(workload, record, target=Target("logcaster", cluster.namespace, objects.DEPLOYMENT))
    reading = {"spec": {"containers": [{"name": "web", "envFrom": [{"configMapRef": {"name": NAME}}]}]}}
    ports = PlanningPorts(bench.client, bench.blobs, None)  # type: ignore[arg-type] # nothing is inspected

    async def unlisted() -> tuple[str, ...]:
        return (await config_restores.gather(asked, record, reading, ports)).unlisted

    base, needed = rules_in("rbac.yaml"), {"statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}
    for resource, kind in {**needed, "jobs": "Job", "cronjobs": "CronJob"}.items():
        rest = [{**r, "resources": [n for n in r["resources"] if n != resource]} for r in CONFIG_ROLE]
        await cluster.regrant("guard", [*base, *(rule for rule in rest if rule["resources"])])

        async def lacks(kind: str = kind) -> bool:
            return await unlisted() == (kind,)

        await until(lacks, 20)
    await cluster.regrant("guard", [*base, *CONFIG_ROLE])

    async def has_all() -> bool:
        return not await unlisted()

    await until(has_all, 20)
    found = config_restores.restores(asked, await config_restores.gather(asked, record, reading, ports))
    assert not isinstance(found, NotApplicable)
    assert [step.name for step in found.steps] == [NAME]
