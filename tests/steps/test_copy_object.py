"""Copies of ConfigMaps and Secrets: made once, never somebody else's, and gone when nothing refers to them any more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from logcaster_guard.domain.configuration.content import Concealed
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import Conflict, Unavailable
from logcaster_guard.domain.events import HoldDeferred, RunClosed, RunOpened
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Failed, Observation, Pending, Unclear
from logcaster_guard.domain.provenance import RUN, TOKEN
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.runs import RECOVERED, Run
from logcaster_guard.domain.step_observations import PodsLeft
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from logcaster_guard.steps.await_stopped import AwaitStopped, AwaitStoppedHandler
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.copy_object import BORROWED, CopyHandler, CopyObject, copies_of
from logcaster_guard.steps.copy_secret import CopySecret
from logcaster_guard.steps.create_helper import CreateHelper, CreateHelperHandler
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.step_services import Neighbours
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import START, FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.pods import PopulatedCluster
from tests.fakes.saved_secrets import MemorySavedSecrets

PROD, HELPER, NAME = "logcaster-prod", "logcaster-prod-rollback", "settings"
SAVED = {
    "metadata": {
        "name": NAME,
        "labels": {"argocd.argoproj.io/instance": "web", "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "web"},
        "ownerReferences": [{"kind": "Deployment", "name": PROD, "uid": "u"}],
    },
}
HELD: dict[ConfigKind, Json] = {
    ConfigKind.CONFIG_MAP: {"data": {"LEVEL": "info"}, "binaryData": {"b": "AAE="}},
    ConfigKind.SECRET: {"data": {"LEVEL": "aW5mbw=="}, "type": "kubernetes.io/basic-auth"},
}
FIELDS = {ConfigKind.CONFIG_MAP: "configMapRef", ConfigKind.SECRET: "secretRef"}
STEPS: dict[ConfigKind, type[CopyConfigMap | CopySecret]] = {
    ConfigKind.CONFIG_MAP: CopyConfigMap,
    ConfigKind.SECRET: CopySecret,
}
NOBODY: Any = None


@dataclass
class Bench:
    """A run that is to copy one object and then to make its helper."""

    cluster: PopulatedCluster
    blobs: MemoryBlobs
    secrets: MemorySavedSecrets
    step: CopyObject
    run: Run
    taken: dict[str, Compensation] = field(default_factory=dict)

    @property
    def handler(self) -> CopyHandler:
        return CopyHandler(self.cluster, KeptManifests(self.blobs, self.secrets), FakeClock())

    @property
    def kind(self) -> Kind:
        return Kind(self.step.object_kind)

    @property
    def borrowed(self) -> Compensation:
        [owed] = self.run.borrowed(BORROWED[self.step.object_kind])
        return owed

    @property
    def name(self) -> str:
        return self.step.copy(self.run.id)

    def intend(self, owed: Compensation) -> None:
        self.run = replace(
            self.run, compensations={**self.run.compensations, owed.id: owed}, taken={**self.run.taken, owed.id: owed}
        )

    async def look(self) -> Observation:
        return await self.handler.observe(self.step, self.run)

    async def made(self) -> Json:
        """The copy, once it is there."""
        seen = await self.look()
        assert isinstance(seen, Before)
        assert seen.borrows is not None
        self.intend(seen.borrows)
        await self.handler.apply(self.step, self.run)
        assert isinstance(await self.look(), Done)
        return self.cluster.object(self.kind, self.name)

    async def back(self) -> Observation:
        return await self.handler.observe_compensation(self.borrowed, self.run)

    async def give_back(self) -> None:
        await self.handler.compensate(self.borrowed, self.run)

    @property
    def copies(self) -> list[str]:
        return [name for name in self.cluster.names(self.kind) if name != NAME]


def reads(kind: ConfigKind, name: str) -> Json:
    return {"containers": [{"name": "c", "image": "v1", "envFrom": [{FIELDS[kind]: {"name": name}}]}]}


@pytest.fixture(params=list(ConfigKind))
async def bench(request: pytest.FixtureRequest) -> Bench:
    kind: ConfigKind = request.param
    cluster, blobs, secrets = PopulatedCluster(FakeClock()), MemoryBlobs(), MemorySavedSecrets()
    cluster.add_deployment(PROD, "v2")
    cluster.add(Kind.SERVICE, PROD, spec={"selector": {"app": PROD}})
    cluster.add(Kind(kind), NAME, data={"LEVEL": "debug"})
    saved = json.dumps({**SAVED, **HELD[kind]}).encode()
    of_secret = kind is ConfigKind.SECRET
    step = STEPS[kind](
        NAME, await (secrets.put("default", Concealed(saved)) if of_secret else blobs.put(saved))
    )  # fmt: skip
    live = Workload(cluster.object(Kind.DEPLOYMENT, PROD))
    template = {"metadata": {"labels": {"app": PROD}}, "spec": reads(kind, NAME)}
    helper = CreateHelper(HELPER, await blobs.put(Release(template).to_bytes()), 1, {"app": PROD})
    plan = Plan(
        "gradual", "default", PROD, live.uid, live.hash, "good", ("v2",), ("v1",), 3, False, PROD, {"app": PROD},
        (step, helper),
    )  # fmt: skip
    run = Run(RunOpened(START, "r", f"default/{PROD}", "rule", "it was met", plan), started=START)
    return Bench(cluster, blobs, secrets, step, run)


async def test_a_copy_holds_what_was_saved_and_nothing_that_a_tool_knows_its_objects_by(bench: Bench) -> None:
    made = await bench.made()
    held = HELD[bench.step.object_kind]
    assert {key: made[key] for key in made if key in {"data", "binaryData", "type"}} == held
    assert made["immutable"] is True
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "logcaster-guard", COPY_LABEL: "true"}
    assert set(made["metadata"]["annotations"]) == {RUN, TOKEN}
    assert "ownerReferences" not in made["metadata"]


async def test_it_is_made_once_whoever_asks_again(bench: Bench) -> None:
    made = await bench.made()
    with pytest.raises(Conflict):
        await bench.handler.apply(bench.step, bench.run)
    assert isinstance(await bench.look(), Done)
    assert bench.cluster.object(bench.kind, bench.name) == made
    # A guard that died before it learned of it finds its own.
    assert copies_of(bench.run) == {(bench.step.object_kind, NAME): bench.name}


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["metadata"]["annotations"].update({TOKEN: "8" * 32}),
        lambda c: c["metadata"]["annotations"].clear(),
        lambda c: c["data"].update(LEVEL="ZGVidWc="),
        lambda c: c.update(type="Opaque"),
        lambda c: c.update(immutable=False),
    ],
)
async def test_what_stands_under_its_name_and_is_not_that_copy_is_somebody_elses(
    bench: Bench, edit: Callable[[Json], None]
) -> None:
    await bench.made()
    bench.cluster.change(bench.kind, bench.name, edit)
    seen = await bench.look()
    assert isinstance(seen, ExternalChange)
    assert "is none of the guard's" in english().text(seen.detail)


async def test_one_that_was_there_before_the_run_wrote_anything_down_is_somebody_elses(bench: Bench) -> None:
    bench.cluster.add(bench.kind, bench.name, **HELD[bench.step.object_kind], immutable=True)
    assert isinstance(await bench.look(), ExternalChange)


async def test_the_helpers_pods_refer_to_the_copy_and_a_copy_that_is_gone_ends_the_run(bench: Bench) -> None:
    await bench.made()
    handler = CreateHelperHandler(bench.cluster, bench.blobs)
    [_, step] = bench.run.opened.plan.steps
    assert isinstance(step, CreateHelper)
    seen = await handler.observe(step, bench.run)
    assert isinstance(seen, Before)
    assert seen.borrows is not None
    bench.intend(seen.borrows)
    await handler.apply(step, bench.run)
    pod = bench.cluster.object(Kind.DEPLOYMENT, HELPER)["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{FIELDS[bench.step.object_kind]: {"name": bench.name}}]
    bench.cluster.remove(bench.kind, bench.name)
    seen = await handler.observe(step, bench.run)
    assert isinstance(seen, ExternalChange)
    assert f"Somebody deleted {bench.kind} default/settings-" in english().text(seen.detail)


def add_reader(bench: Bench, kind: Kind, name: str, owner: str = "", **metadata: Any) -> None:
    pod = reads(bench.step.object_kind, bench.name)
    bench.cluster.add(kind, name, spec=pod if kind is Kind.POD else {"template": {"spec": pod}}, status={})
    found = bench.cluster.object(kind, name)["metadata"]
    found |= metadata
    if owner:
        found["ownerReferences"] = [{"kind": "Deployment", "uid": owner, "controller": True}]


async def test_it_goes_once_nothing_refers_to_it(bench: Bench) -> None:
    await bench.made()
    add_reader(bench, Kind.REPLICA_SET, "set", owner="gone")
    assert isinstance(await bench.back(), Pending)
    await bench.give_back()
    assert bench.copies == [bench.name]
    bench.cluster.remove(Kind.REPLICA_SET, "set")
    assert isinstance(await bench.back(), Before)
    await bench.give_back()
    assert bench.copies == []
    assert isinstance(await bench.back(), Done)


async def test_what_goes_on_referring_to_it_keeps_it_beyond_the_run(bench: Bench) -> None:
    await bench.made()
    add_reader(bench, Kind.REPLICA_SET, "set")
    seen = await bench.back()
    assert isinstance(seen, Done)
    said = english().text(seen.detail)
    assert said.startswith(f"{bench.kind} default/settings-")
    assert said.endswith("stays until nothing refers to it, as ReplicaSet set does")
    assert isinstance(seen.also, HoldDeferred)
    assert seen.also.hold.object == bench.name
    # After the run it is waited for as long as it takes.
    bench.run = replace(bench.run, closed=RunClosed(START, "r", RECOVERED, "", freeze=False))
    assert isinstance(await bench.back(), Pending)
    await bench.give_back()
    assert bench.copies == [bench.name]
    bench.cluster.remove(Kind.REPLICA_SET, "set")
    assert isinstance(await bench.back(), Before)


async def test_one_that_is_somebody_elses_by_now_stays(bench: Bench) -> None:
    await bench.made()
    bench.cluster.change(bench.kind, bench.name, lambda c: c["metadata"]["annotations"].clear())
    assert isinstance(await bench.back(), ExternalChange)
    await bench.give_back()
    assert bench.copies == [bench.name]


@pytest.mark.parametrize("read", [False, True])
async def test_what_a_late_request_made_is_swept_away_unless_something_refers_to_it(bench: Bench, read: bool) -> None:
    await bench.made()
    if read:
        add_reader(bench, Kind.REPLICA_SET, "set")
    [owed] = bench.run.taken.values()
    handler, around = bench.handler, Neighbours((), NOBODY)
    assert await handler.sweep(owed, bench.run, around) is not read
    assert bench.copies == ([bench.name] if read else [])
    assert not await handler.sweep(owed, bench.run, around)


async def test_an_api_server_that_is_away_is_waited_for_and_a_content_that_is_lost_is_told(bench: Bench) -> None:
    bench.cluster.fault = lambda _, kind, __: Unavailable("away") if kind is bench.kind else None
    assert isinstance(await bench.look(), Unclear)
    bench.cluster.fault = lambda *_: None
    await bench.blobs.keep_only([], older_than=0.0)
    await bench.secrets.keep_only([], older_than=0.0)
    assert isinstance(await bench.look(), Failed)


@pytest.mark.parametrize(
    ("pods", "left"),
    [
        ([], 0),
        ([{}], 1),
        ([{"deletionTimestamp": "now"}], 0),
        # The helper's, and others that carry the labels.
        ([{"ownerReferences": [{"uid": "other"}]}], 0),
        ([{"phase": "Succeeded"}, {"phase": "Failed"}, {"phase": "Pending"}], 1),
    ],
)
async def test_production_has_stopped_when_no_pod_of_its_own_may_start_a_container(
    bench: Bench, pods: list[Json], left: int
) -> None:
    plan = replace(bench.run.opened.plan, steps=(ScaleProduction(0), AwaitStopped(60.0)))
    run = replace(bench.run, opened=replace(bench.run.opened, plan=plan), step=1)
    cluster = FakeCluster(FakeClock())
    for kind in (Kind.DEPLOYMENT, Kind.SERVICE):
        raw = bench.cluster.object(kind, PROD)
        cluster.add(kind, PROD, **{k: v for k, v in raw.items() if k in {"spec", "status"}})
        cluster.object(kind, PROD)["metadata"] |= raw["metadata"]
    cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] = 0
    for number, pod in enumerate(pods):
        cluster.add(Kind.POD, f"pod-{number}", status={"phase": pod.get("phase", "Running")})
        kept = {key: value for key, value in pod.items() if key != "phase"}
        own = {"labels": {"app": PROD}, "ownerReferences": [{"uid": "set"}]}
        cluster.object(Kind.POD, f"pod-{number}")["metadata"] |= {**own, **kept}
    cluster.add(Kind.REPLICA_SET, "set")
    owner = [{"uid": cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["uid"]}]
    cluster.object(Kind.REPLICA_SET, "set")["metadata"] |= {"uid": "set", "ownerReferences": owner}
    seen = await AwaitStoppedHandler(cluster).observe(AwaitStopped(60.0), run)
    assert isinstance(seen, Before if left else Done)
    assert seen.detail == PodsLeft(left)
