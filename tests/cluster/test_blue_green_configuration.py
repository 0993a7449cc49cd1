"""A blue-green rollback where both environments read one ConfigMap: what every pod has read, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.field_owners import MANAGER, entries_of
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json as RawObject
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, ApiRefused
from logcaster_guard.sandbox.configuration import data_digest
from tests.cluster.case import CONFIG, GOOD, HELD, WITHIN, Case, ConfigHeld, ImageSource, config_maps
from tests.cluster.conversation import Conversation, answered
from tests.cluster.crashes import Tape
from tests.cluster.environments import BLUE, GREEN
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene
from tests.cluster.serving import sampled
from tests.real.waiting import until

Json = dict[str, Any]
CASE = Case(Action.BLUE_GREEN, config=True)
SAVED = data_digest({"data": HELD[GOOD]})
OTHERS = "logcaster-config-of-2-0"
pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("brief")]


class Applied(Scene):
    """A scene in which a pipeline applies the environment that waits."""

    def manifest(self, version: str) -> Json:
        body = objects.environment(objects.BLUE, objects.image(version))
        body["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": CONFIG}}]
        # How many pods there are is said by hand.
        del body["spec"]["replicas"]
        return body

    async def _read_config(self, *deployments: str) -> Sequence[Json]:
        saved = await super()._read_config(*deployments)
        await self.cluster.admin.delete(f"{self.deployments}/{BLUE}")
        await until(self._blue_is_gone, WITHIN)
        async with Conversation(self.cluster) as people:
            answered(await people.apply("deployments", self.manifest(GOOD)))
        await self.world.scale(3, name=BLUE)
        return saved

    async def _blue_is_gone(self) -> bool:
        found = await self.cluster.admin.list(self.deployments)
        return BLUE not in {d["metadata"]["name"] for d in found}

    async def guarded_until_left(self, *left: str) -> None:
        """A further guard looks after what the runs have left, until it is only this."""
        async with self.guard_stores.journal() as journal:

            async def over() -> bool:
                return list((await self.facts_of(journal)).deferred) == list(left)

            guard = self.guard(journal, ImageSource(self.world, self.clock, self.case), Tape(None))
            task = asyncio.create_task(guard.run())
            try:
                await until(over, WITHIN)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def reads(self) -> dict[str, set[str]]:
        """What the pods of each environment have read at their starts, by its digest."""
        found: dict[str, set[str]] = {BLUE: set(), GREEN: set()}
        for read in self.world.node.configuration.reads:
            found[next(name for name in found if read.pod.startswith(name))] |= {seen.digest for seen in read.seen}
        return found

    async def shared(self) -> Json:
        found: Json = await self.cluster.admin.get(f"{config_maps(self.cluster.namespace)}/{CONFIG}")
        return found


async def test_no_pod_that_serves_has_read_what_the_bad_ones_read_and_nothing_is_left_in_the_end(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject]
) -> None:
    async with Applied.set_up(cluster, api, rights, None, case=CASE) as scene:
        edited = (await scene.shared())["data"]
        async with sampled(scene) as sample:
            await scene.life(None)
        facts, reads = await scene.facts(), await scene.reads()
        (run,) = facts.runs
        assert run.closed is not None
        assert (run.closed.outcome, run.opened.plan.strategy) == (runs.RECOVERED, "blue_green")
        assert reads == {BLUE: {SAVED}, GREEN: {SAVED, data_digest({"data": edited})}}
        assert sample.lowest >= 3
        # The bad pods go on reading what they read, and the good ones a copy.
        assert (facts.held, len(facts.copies), len(facts.deferred)) == (edited, 1, 2)
        standby = await scene.world.deployment(BLUE)
        assert MANAGER not in {e["manager"] for e in entries_of(standby) if "f:template" in str(e.get("fieldsV1"))}

        await scene.world.scale(0, name=GREEN)
        await scene.guarded_until_left(facts.deferred[0])
        shared = await scene.shared()
        assert shared["data"] == HELD[GOOD]
        await scene.cluster.admin.patch(
            f"{scene.deployments}/{BLUE}", {"spec": {"revisionHistoryLimit": 0}}, MERGE_PATCH
        )
        async with Conversation(scene.cluster) as people:
            # Nobody has to force it.
            made = answered(await people.apply("deployments", scene.manifest("3.0")))
        assert made["spec"]["template"]["spec"]["containers"][0]["envFrom"] == [{"configMapRef": {"name": CONFIG}}]
        await scene.guarded_until_left()
        assert (await scene.facts()).copies == []
        assert (await scene.reads())[BLUE] == {SAVED}
        mine = [r for r in await scene.cluster.audit() if r.user.endswith("guard") and r.resource == "configmaps"]
        written = [(r.verb, r.name == CONFIG, r.code) for r in mine if r.verb in {"create", "patch", "delete"}]
        assert written == [("create", False, 201), ("patch", True, 200), ("delete", False, 200)]


class Pruned(Applied):
    """A scene with a ConfigMap for each release, of which the one of the release before has been pruned."""

    async def _read_config(self, *deployments: str) -> Sequence[Json]:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": OTHERS}, "data": HELD["2.0"]}
        await self.cluster.admin.create(config_maps(self.cluster.namespace), body)
        saved = await super()._read_config(*deployments)
        container = {"name": objects.CONTAINER, "envFrom": [{"configMapRef": {"name": OTHERS}}]}
        spec = {"spec": {"template": {"spec": {"containers": [container]}}}}
        await self.cluster.admin.patch(f"{self.deployments}/{GREEN}", spec, "application/strategic-merge-patch+json")
        return saved

    async def hold(self, one: ConfigHeld, data: Mapping[str, str]) -> None:  # noqa: ARG002 - the base's shape
        await self.cluster.admin.delete(f"{config_maps(self.cluster.namespace)}/{CONFIG}")


@pytest.mark.parametrize("missing", [False, True])
async def test_a_pruned_name_is_back_before_the_first_pod_that_reads_it(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject], missing: bool
) -> None:
    case = Case(Action.BLUE_GREEN, config=True, missing=missing)
    async with Pruned.set_up(cluster, api, rights, None, case=case) as scene:
        with pytest.raises(ApiRefused):
            await scene.shared()
        known = {read.uid for read in scene.world.node.configuration.reads}
        await scene.life(None)
        facts, reads = await scene.facts(), scene.world.node.configuration.reads
        (run,) = facts.runs
        assert run.closed is not None
        assert run.closed.outcome == runs.RECOVERED
        kinds = [step.kind for step in run.opened.plan.steps]
        assert kinds[:2] == ["restore_config_map", "restore_environment" if missing else "roll_environment"]
        assert (facts.held, facts.copies, facts.deferred) == (HELD[GOOD], [], [])
        # Whoever serves has started after that.
        started = [r for r in reads if r.uid not in known and r.pod.startswith(BLUE)]
        assert len({r.uid for r in started}) == 3
        assert {(seen.source.name, seen.digest) for r in started for seen in r.seen} == {(CONFIG, SAVED)}
