"""A rollback brings image, ConfigMap and Secret back: what every pod has read, and what the next apply makes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.watches import KubernetesWatches
from logcaster_guard.domain import runs
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.field_owners import MANAGER, entries_of
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.releases import RESTARTED_AT
from logcaster_guard.domain.rules import Action, ConfigPolicy
from logcaster_guard.domain.signals import SourceName, Target
from logcaster_guard.domain.workload import Workload, annotations_of
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json as RawObject
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from logcaster_guard.sandbox.release import Behaviour
from tests.canary import ONE, THREE, encoded
from tests.cluster.applied import (
    NEXT,
    READ,
    ROLE,
    Applied,
    AppliedAsText,
    AppliedOnTheServer,
    ByHelm,
    Content,
    Kustomized,
    content_of,
)
from tests.cluster.case import BAD, CONFIG, GOOD, HELD, POLICY, RULE, SECRET, SIGNALS, WITHIN, Case, ImageSource
from tests.cluster.harness import Cluster
from tests.cluster.scene import seed
from tests.cluster.test_guard import environment
from tests.fakes.services import view_of
from tests.real.waiting import until

Json = dict[str, Any]
CASE = Case(Action.IMMEDIATE, config=True)
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("brief"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH"),
]


def scene_of(
    kind: type[Applied], cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject], case: Case = CASE
) -> AbstractAsyncContextManager[Applied]:
    return kind.set_up(cluster, api, [*rights, *kind.role], None, case=case)


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Action.IMMEDIATE, Applied),
        (Action.IMMEDIATE, AppliedOnTheServer),
        (Action.IMMEDIATE, Kustomized),
        (Action.GRADUAL, Applied),
        (Action.GRADUAL, Kustomized),
    ],
    ids=lambda given: str(getattr(given, "way", given)),
)
async def test_a_release_comes_back_whole_and_the_next_apply_carries_nothing_over(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject], kind: type[Applied], action: Action
) -> None:
    async with scene_of(kind, cluster, api, rights, replace(CASE, action=action)) as scene:
        await scene.life(None)
        facts = await scene.facts()
        assert [(r.closed and r.closed.outcome, r.opened.plan.strategy) for r in facts.runs] == [
            (runs.RECOVERED, action.removesuffix("_rollback"))
        ]
        assert (facts.image, await scene.holds(GOOD)) == (objects.image(GOOD), READ[GOOD])
        assert (facts.copies, facts.mixed) == ([], [])
        assert [await scene.read_by(version) for version in (GOOD, BAD)] == [{READ[GOOD]}, {READ[BAD]}]
        if kind.way == "server-side":
            raws = [await scene.live(*name) for name in scene.names(GOOD)]
            assert MANAGER not in {entry["manager"] for raw in raws for entry in entries_of(raw)}
        await scene.apply(NEXT)
        assert await scene.holds(NEXT) == READ[NEXT]
        assert environment(await scene.world.deployment()) == {"ONLY_3_0"}
        assert await scene.applied() == [*scene.names(NEXT)]


async def test_of_a_secret_that_is_applied_as_text_people_are_told_which_keys_stay(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject]
) -> None:
    async with scene_of(AppliedAsText, cluster, api, rights) as scene:
        await scene.life(None)
        async with scene.stores.journal() as journal:
            notices = [e.event.notice for e in await journal.read_all() if isinstance(e.event, NoticeQueued)]
        (closed,) = [notice.text for notice in notices if notice.event == "run.closed"]
        assert f"Secret {scene.cluster.namespace}/{SECRET} was applied with stringData" in closed
        await scene.apply(NEXT)
        held = (await scene.live("secrets", SECRET))["data"]
        assert held == {"password": encoded(THREE), "only-old": encoded(ONE)}


async def test_what_helm_keeps_is_refused_by_name_and_nothing_is_written(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject]
) -> None:
    async with scene_of(ByHelm, cluster, api, rights, replace(CASE, refused=True)) as scene:
        before, known = [await scene.live(*name) for name in scene.names(BAD)], await scene.cluster.audit()
        await scene.life(None)
        assert [await scene.live(*name) for name in scene.names(BAD)] == before
        async with scene.stores.journal() as journal:
            notices = [e.event.notice for e in await journal.read_all() if isinstance(e.event, NoticeQueued)]
        (refused,) = [notice.text for notice in notices if notice.event == "trigger.refused"]
        namespace = scene.cluster.namespace
        for name in (f"ConfigMap {namespace}/{CONFIG}", f"Secret {namespace}/{SECRET}"):
            assert f"{name} does not hold what the good release read, and is kept by Helm" in refused
        asked = (await scene.cluster.audit())[len(known) :]
        assert {r.resource for r in asked if r.user.endswith("guard")} == {"events"}


class HalfWay(Applied):
    """A scene whose bad release has not come up, so that pods of the good one still live."""

    before: frozenset[str] = frozenset()

    async def _install(self, replicas: int) -> None:
        await self.serve()
        self.world.releases.register(objects.image(BAD), Behaviour(ready=False))
        await self.apply(GOOD)
        good, then = await self.world.rolled_out(WITHIN), datetime.now(UTC)
        contents, self.before = await self.kept(GOOD), await self.pods()
        await self.apply(BAD)

        async def read() -> bool:
            return READ[BAD] in await self.read_by(BAD)

        await until(read, WITHIN)
        assert len(self.before) == replicas
        await seed(self.stores, self.target.key, good, await self.world.deployment(), then, contents=contents)

    async def pods(self) -> frozenset[str]:
        found = await self.cluster.admin.list(f"/api/v1/namespaces/{self.cluster.namespace}/pods")
        return frozenset(p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"])


async def test_pods_of_the_good_release_that_may_have_read_the_bad_content_are_replaced_as_well(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject]
) -> None:
    async with HalfWay.set_up(cluster, api, [*rights, *ROLE], None, case=CASE) as scene:
        await scene.life(None)
        facts = await scene.facts()
        (run,) = facts.runs
        assert run.closed is not None
        assert (run.closed.outcome, facts.image, facts.held) == (runs.RECOVERED, objects.image(GOOD), HELD[GOOD])
        assert any(step.kind == "restore_template" and step.restart for step in run.opened.plan.steps)  # type: ignore[attr-defined] # of that kind
        assert not scene.before & await scene.pods()
        assert annotations_of((await scene.world.deployment())["spec"]["template"]).keys() == {RESTARTED_AT}
        # What replaced them is gone with the next apply.
        await scene.apply(NEXT)
        assert annotations_of((await scene.world.deployment())["spec"]["template"]) == {}


class Following(Applied):
    """A scene with a guard that follows the ConfigMap and finds out by itself what is good."""

    async def _install(self, replicas: int) -> None:  # noqa: ARG002 - as many as the manifest says
        await self.serve()
        await self.apply(GOOD)
        await self.world.rolled_out(WITHIN)

    async def restart(self) -> None:
        """As `kubectl rollout restart` does, which refuses to do it twice within a second."""
        note = {"metadata": {"annotations": {RESTARTED_AT: datetime.now(UTC).isoformat()}}}
        path = f"{self.deployments}/{objects.DEPLOYMENT}"
        await self.cluster.admin.patch(path, {"spec": {"template": note}}, MERGE_PATCH)

    async def read_now(self) -> set[Content]:
        """What the pods that run have read at their last start, each by itself."""
        pods = await self.cluster.admin.list(f"/api/v1/namespaces/{self.cluster.namespace}/pods")
        alive = {p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]}
        reads = {read.pod: content_of(read) for read in self.world.node.configuration.reads}
        return {reads[name] for name in alive & reads.keys()}

    @asynccontextmanager
    async def guarded(self, action: Action) -> AsyncIterator[Guard]:
        assert isinstance(self.api, KubernetesCluster)
        clock = SystemClock()
        async with self.stores.journal() as journal:
            guard = Guard(
                Configuration(
                    [self.target],
                    SIGNALS,
                    [replace(RULE, action=action)],
                    replace(POLICY, config=ConfigPolicy(propagation=0.5, volatile=100)),
                ),
                GuardPorts(
                    cluster=self.api,
                    view=view_of(self.api, clock, shared_for=0.05),
                    sources={SourceName.SCRAPE: ReadSource(self, clock)},
                    journal=journal,
                    blobs=self.stores.blobs,
                    channels=[],
                    clock=clock,
                    watches=KubernetesWatches(self.api, clock),
                    listings=self.api,
                    saved_secrets=self.secrets(self.api),
                ),
            )
            task = asyncio.create_task(guard.run())
            try:
                yield guard
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


class ReadSource(ImageSource):
    """Finds errors as long as a pod runs that has read what the ConfigMap holds for the bad release."""

    def __init__(self, scene: Following, clock: SystemClock) -> None:
        super().__init__(scene.world, clock, CASE)
        self._scene = scene

    async def _errors(self, target: Target) -> float:
        if target.deployment != objects.DEPLOYMENT:
            # A helper's pods read what was saved.
            return 0.0
        self.reads += 1
        return 0.3 if READ[BAD] in await self._scene.read_now() else 0.0


FIRST = {
    Action.IMMEDIATE: ["restore_config_map", "restore_secret", "restore_template"],
    Action.CONFIG: ["restore_config_map", "restore_secret", "restore_template"],
    Action.GRADUAL: ["copy_config_map", "copy_secret", "create_helper"],
}
"""The first steps of each way."""


@pytest.mark.parametrize("action", FIRST)
async def test_an_edit_in_place_that_fails_is_put_back_and_the_pods_are_replaced_once(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject], action: Action
) -> None:
    async with (
        Following.set_up(cluster, api, [*rights, *ROLE], None, case=CASE) as scene,
        scene.guarded(action) as guard,
    ):
        key = scene.target.key

        async def earned() -> bool:
            found = guard.state.ledger(key).live
            good = found is not None and found.status(POLICY.ledger) is ReleaseStatus.GOOD
            return good and bool(found and found.configuration and found.contents)

        async def looked() -> bool:
            found = next(iter(guard.watches.values())).configuration
            return found is not None and bool(found.template) and found.latest is not None

        await until(looked, WITHIN)
        # Pods that were there before the guard may have read anything.
        await scene.restart()
        await until(earned, WITHIN)
        before = Workload(await scene.world.deployment())
        await scene.apply(GOOD, BAD)
        # An edit that no pod has read is blamed for nothing. A tool like Reloader has them read it.
        await scene.restart()

        async def ended() -> Sequence[runs.Run]:
            return [run for run in guard.state.runs() if run.closed is not None]

        (run,) = await until(ended, WITHIN)
        assert run.closed is not None
        assert run.closed.outcome == runs.RECOVERED, run.closed.reason
        after = Workload(await scene.world.deployment())
        assert await scene.holds(GOOD) == READ[GOOD]
        assert await scene.read_now() == {READ[GOOD]}
        # Their restart and the guard's: nothing else has replaced a pod, and nothing else of the template has changed.
        assert after.generation - before.generation == 2 or action is Action.GRADUAL
        assert after.hash == before.hash
        assert annotations_of(after.template).keys() == {RESTARTED_AT}
        assert [step.kind for step in run.opened.plan.steps][:3] == FIRST[action]
