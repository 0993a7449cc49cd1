"""A gradual rollback that brings a ConfigMap back: what every pod has read, and what is left of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.domain import capacity, runs
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.field_owners import MANAGER, entries_of
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Action, GradualPolicy
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json as RawObject
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from logcaster_guard.sandbox.configuration import data_digest
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from tests.cluster.case import (
    BAD,
    CONFIG,
    GOOD,
    HELD,
    OF_CONFIG_MAP,
    RULE,
    Case,
    ConfigHeld,
    config_maps,
    image_of,
)
from tests.cluster.conversation import Conversation, answered
from tests.cluster.harness import AuditRecord, Cluster
from tests.cluster.roles import CONFIG_ROLE, COPIES_ROLE
from tests.cluster.scene import Scene
from tests.cluster.test_apply_contract import MAPS, config_map
from tests.cluster.test_gradual import POLICY, Shift, shifting
from tests.real.waiting import until

Json = dict[str, Any]
CASE = Case(Action.GRADUAL, config=True)
CI = "ci"
pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("brief")]
VERBS = ("create", "get", "delete")
COPIED = data_digest({"data": HELD[GOOD]})


class Applied(Scene):
    """A scene in which a pipeline applies the ConfigMap, with a label by which another tool knows its objects."""

    async def hold(self, one: ConfigHeld, data: Mapping[str, str]) -> None:
        async with Conversation(self.cluster) as people:
            body = one.manifest(data)
            body["metadata"]["labels"] = {"argocd.argoproj.io/instance": "web"}
            answered(await people.apply(f"{one.kind.lower()}s", body, CI))

    async def make(self, one: ConfigHeld) -> Json:
        await self.hold(one, one.versions[GOOD])
        return await self.cluster.admin.get(f"{one.path(self.cluster.namespace)}/{one.name}")


async def test_every_good_pod_starts_on_what_was_saved_and_nothing_of_the_copies_is_left(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject]
) -> None:
    async with Applied.set_up(cluster, api, rights, None, case=replace(CASE, secret=True)) as scene:
        await scene.life(None)
        facts = await scene.facts()
        assert [run.closed.outcome for run in facts.runs if run.closed] == [runs.RECOVERED]
        assert [run.opened.plan.strategy for run in facts.runs] == ["gradual"]
        assert (facts.image, facts.held, facts.secret) == (objects.image(GOOD), HELD[GOOD], GOOD)
        assert (facts.copies, facts.mixed, facts.leaks) == ([], [], [])
        # The helper's pods did read, under other names, and before the shared ones held that again.
        helper, held = capacity.helper_name(objects.DEPLOYMENT), scene.case.held
        reads = [r for r in scene.world.node.configuration.reads if r.pod.startswith(f"{helper}-")]
        copied = {(str(one.kind), data_digest({"data": one.versions[GOOD]})) for one in held}
        assert {(seen.source.kind, seen.digest) for r in reads for seen in r.seen} == copied
        assert not {seen.source.name for r in reads for seen in r.seen} & {one.name for one in held}
        for one in held:
            await _goes_to_whoever_applied_it(scene, one)


async def _goes_to_whoever_applied_it(scene: Applied, one: ConfigHeld) -> None:
    """What the guard has written is a copy that is gone, and what the pipeline owns as before."""
    mine = [r for r in await scene.cluster.audit() if r.user.endswith("guard") and one.name in _named(r)]
    written = [(r.verb, _named(r) == one.name, r.code) for r in mine]
    assert written == [("create", False, 201), ("patch", True, 200), ("delete", False, 200)]
    if one is OF_CONFIG_MAP:
        _is_nobody_elses(mine[0].body)
    async with Conversation(scene.cluster) as people:
        plural = f"{one.kind.lower()}s"
        assert MANAGER not in {e["manager"] for e in entries_of(await people.get(plural, one.name))}
        third = answered(await people.apply(plural, one.manifest(one.edit), CI))
        assert third["data"] == one.edit


def _named(record: AuditRecord) -> str:
    return record.name or str(((record.body or {}).get("metadata") or {}).get("name", ""))


def _is_nobody_elses(made: Json) -> None:
    """Nothing keeps it from being read for good, and no tool takes it for its own."""
    assert made["immutable"] is True
    assert "ownerReferences" not in made["metadata"]
    assert not any("argocd" in key for key in (*made["metadata"]["labels"], *made["metadata"]["annotations"]))


@pytest.mark.parametrize("edited", ["with", "in place"])
async def test_whatever_was_edited_no_pod_starts_on_it_once_the_run_has_begun(cluster: Cluster, edited: str) -> None:
    async with shifting(cluster, 3, borrowed=False, edited=edited) as shift:
        reads = shift.world.node.configuration.reads
        before = len(reads)
        run = await shift.ended()
        assert run.closed is not None
        assert (run.closed.outcome, dict(run.compensations)) == (runs.RECOVERED, {}), run.closed.reason
        assert {seen.digest for read in reads[before:] for seen in read.seen} == {COPIED}
        # As many again as production has, after the helper's.
        assert len(reads) - before == 6
        assert shift.lowest >= 3
        assert (await cluster.admin.get(f"{config_maps(cluster.namespace)}/{CONFIG}"))["data"] == HELD[GOOD]


async def test_a_quicker_run_puts_the_configuration_back_before_its_first_pod(cluster: Cluster) -> None:
    slow = replace(POLICY, gradual=GradualPolicy(steps=(0.5, 1.0), wait=60.0, window=60.0))
    async with shifting(cluster, 2, borrowed=False, policy=slow, edited="with") as shift:
        judge = next(i for i, step in enumerate(shift.plan.steps) if isinstance(step, JudgeHelper))
        await until(lambda: _reached(shift, judge), 60.0)
        before, reads = shift.state.run(shift.run), shift.world.node.configuration.reads

        async def quicker() -> RunOpened:
            workload = Workload(await shift.world.deployment())
            record = Record("another", "1", "another", (), 0, 0)
            plan = await shift.planner.take_over(before, workload, [record], rule=RULE)
            assert isinstance(plan, Plan)
            return RunOpened(
                datetime.now(UTC), "run-2", before.opened.target, RULE.name, "urgent", plan, parent=before.id
            )

        start = len(reads)
        assert await shift.executor.take_over(before, quicker)
        shift.run = "run-2"
        run = await shift.ended()
        assert run.closed is not None
        assert (run.closed.outcome, dict(run.compensations)) == (runs.RECOVERED, {}), run.closed.reason
        assert {seen.digest for read in reads[start:] for seen in read.seen} == {COPIED}
        assert await copies(cluster) == []


@pytest.mark.parametrize("made_again", [False, True])
async def test_a_copy_that_somebody_takes_away_ends_the_run_and_is_not_held_against_the_release(
    cluster: Cluster, made_again: bool
) -> None:
    steps = GradualPolicy(steps=(0.5, 1.0), wait=1.0, window=1.0, hold=5.0)
    async with shifting(cluster, 2, borrowed=False, policy=replace(POLICY, gradual=steps), edited="with") as shift:
        judge = next(i for i, step in enumerate(shift.plan.steps) if isinstance(step, JudgeHelper))
        await until(lambda: _reached(shift, judge), 60.0)
        [copy] = await copies(cluster)
        path = config_maps(cluster.namespace)
        await cluster.admin.delete(f"{path}/{copy['metadata']['name']}")
        if made_again:
            labels = copy["metadata"]["labels"]
            body = config_map({"LEVEL": "theirs"}, copy["metadata"]["name"], labels=labels)
            await cluster.admin.create(path, body)
        run = await shift.ended()
        assert run.closed is not None
        assert (run.closed.outcome, dict(run.compensations)) == (runs.ABANDONED, {})
        said = english().text(run.closed.reason)
        assert ("is none of the guard's" if made_again else "Somebody deleted ConfigMap") in said
        [production] = await shift.deployments()
        assert (image_of(production), production["spec"]["replicas"]) == (objects.image(BAD), 2)
        # Theirs stays.
        assert [c["data"] for c in await copies(cluster)] == ([{"LEVEL": "theirs"}] if made_again else [])
        assert shift.lowest >= 2


async def test_an_edit_in_mid_run_is_found_before_production_is_made_smaller(cluster: Cluster) -> None:
    steps = GradualPolicy(steps=(0.5, 1.0), wait=1.0, window=1.0, hold=5.0)
    async with shifting(cluster, 2, borrowed=False, policy=replace(POLICY, gradual=steps), edited="with") as shift:
        judge = next(i for i, step in enumerate(shift.plan.steps) if isinstance(step, JudgeHelper))
        await until(lambda: _reached(shift, judge), 60.0)
        path = f"{config_maps(cluster.namespace)}/{CONFIG}"
        await cluster.admin.patch(path, {"data": {"LEVEL": "theirs"}}, MERGE_PATCH)
        run = await shift.ended()
        assert run.closed is not None
        assert (run.closed.outcome, dict(run.compensations)) == (runs.ABANDONED, {})
        assert "LEVEL" in english().text(run.closed.reason)
        assert ScaleProduction(0) in shift.plan.steps
        assert ScaleProduction(0) not in run.done
        assert (await cluster.admin.get(path))["data"]["LEVEL"] == "theirs"
        assert await copies(cluster) == []


async def copies(cluster: Cluster) -> list[Json]:
    found = await cluster.admin.list(config_maps(cluster.namespace))
    return [c for c in found if COPY_LABEL in (c["metadata"].get("labels") or {})]


async def _reached(shift: Shift, step: int) -> bool:
    return shift.state.run(shift.run).step >= step


class Without:
    """`Rights` by hand, for the embedded API server, which asks for none: no `verb` on what cannot be named."""

    def __init__(self, verb: str) -> None:
        self._verb = verb

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        del group, namespace
        return (verb, resource, name) != (self._verb, MAPS, "")


@pytest.mark.parametrize("verb", VERBS)
async def test_without_a_right_to_copies_it_goes_back_at_once_and_mixes_nothing_either(
    cluster: Cluster, api: ClusterPort, rights: Sequence[RawObject], verb: str
) -> None:
    async with Scene.set_up(cluster, api, rights, None, case=CASE) as scene:
        if cluster.kind == "sandbox":
            scene.account = Without(verb)
        else:
            scene.account = api  # type: ignore[assignment] # the adapter tells its rights as well
            await scene.cluster.regrant("guard", [*rights, *without_verb(verb)])
            await until(lambda: _lacks(scene, verb))
        await scene.life(None)
        facts = await scene.facts()
        async with scene.stores.journal() as journal:
            plans = [e.event.plan for e in await journal.read_all() if isinstance(e.event, RunOpened)]
        assert [plan.strategy for plan in plans] == ["immediate"]
        assert (facts.image, facts.held, facts.copies, facts.mixed) == (objects.image(GOOD), HELD[GOOD], [], [])
        mine = [r for r in await scene.cluster.audit() if r.user.endswith("guard")]
        assert [r for r in mine if r.code == 403 and r.verb not in {"list", "watch"}] == []


def without_verb(verb: str) -> list[RawObject]:
    """The Roles of configuration, less one verb on copies."""
    copies = [{**rule, "verbs": [v for v in rule["verbs"] if v != verb]} for rule in COPIES_ROLE]
    return [*CONFIG_ROLE, *copies]


async def _lacks(scene: Scene, verb: str) -> bool:
    account, namespace = scene.account, scene.cluster.namespace
    assert account is not None
    others = [await account.may(v, "", MAPS, namespace) for v in VERBS if v != verb]
    return await account.may(verb, "", MAPS, namespace) is False and all(others)
