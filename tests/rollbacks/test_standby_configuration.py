"""What the other environment's pods are proven to have read, and what is done where that is not proven."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.domain import manual
from logcaster_guard.domain.configuration.copies import referring
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.rules import ConfigPolicy, Policy
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload, template_hash
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import blue_green, config_restores
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.await_environment import AwaitEnvironment
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_later import RestoreLater
from logcaster_guard.steps.roll_environment import RollEnvironment
from tests.domain.build import at, pod
from tests.rollbacks import test_blue_green as environments
from tests.rollbacks.build import told
from tests.rollbacks.test_config_restores import CONFIG, FROM, HELM, NAME, ONE, World, owned_by, refusal

Json = dict[str, Any]
READS = {"containers": [{"name": "c", "image": "v1", "envFrom": FROM}]}
REST = environments.REST
SWITCHED = ["await_environment", REST[0], "restore_later", *REST[1:]]


def reading(workload: Workload) -> Workload:
    raw = copy.deepcopy(workload.raw)
    raw["spec"]["template"]["spec"] = copy.deepcopy(READS)
    raw["spec"]["selector"] = {"matchLabels": raw["spec"]["template"]["metadata"]["labels"]}
    return Workload(raw)


OTHER, LIVE = reading(environments.OTHER), reading(environments.LIVE)
POD = pod({"environment": "blue"})


class Standby(World):
    """The bad release is live, the good one waits with its pods, and both read the ConfigMap by its name."""

    policy = Policy()
    live = LIVE
    other: Workload | None = OTHER
    snapshots: dict[str, Snapshot] = {}  # noqa: RUF012 - never changed
    pods: Sequence[Json] = (POD,)

    @property
    def good(self) -> Any:
        return replace(
            environments.RECORD, template=OTHER.hash, configuration="c1", contents=self.contents, snapshot="saved"
        )

    async def plan(self) -> Plan | NotApplicable:
        asked = replace(environments.ASKED, workload=self.live, destinations=(self.good,), policy=self.policy)
        target = replace(asked.target, namespace="default")
        asked = replace(asked, target=target)
        facts = await self.facts(asked, OTHER.template)
        around = replace(environments.AROUND, request=asked, other=self.other, pods=list(self.pods))
        return blue_green.plan(replace(around, configuration=facts, snapshots=self.snapshots))


def kinds(plan: Plan | NotApplicable) -> list[str]:
    assert isinstance(plan, Plan), told(plan)
    return [step.kind for step in plan.steps]


async def test_pods_that_may_have_read_what_differs_start_anew_on_copies_before_the_switch() -> None:
    world = await Standby().saved()
    plan = await world.plan()
    assert kinds(plan) == ["copy_config_map", "roll_environment", *SWITCHED]
    assert isinstance(plan, Plan)
    (step,) = (s for s in plan.steps if isinstance(s, CopyConfigMap))
    names = {(ConfigKind.CONFIG_MAP, NAME): step.copy("any run's")}
    assert plan.to_template == template_hash(referring(OTHER.template, names)) != OTHER.hash
    assert (plan.good, plan.to_configuration) == (world.good.release, "")
    said = [english().text(line) for line in plan.lines]
    assert said[1] == "start each pod of Deployment default/web-blue anew, on the copies"
    assert said[4] == (
        "once web-green has no pods, give ConfigMap default/settings back what it held: ~LEVEL, +LIMIT, -NEW"
    )
    assert "~ ConfigMap default/settings[LEVEL]: 5 bytes → 4 bytes" in config_restores.differences(plan)


async def test_the_same_plan_is_made_again_until_the_environment_was_changed() -> None:
    world = await Standby().saved()
    first, again = await world.plan(), await world.plan()
    assert first == again
    world.other = Workload({**OTHER.raw, "metadata": {**OTHER.raw["metadata"], "generation": 99}})
    later = await world.plan()
    assert isinstance(first, Plan)
    assert isinstance(later, Plan)
    # Nobody takes the copy of an earlier run for this one's.
    assert later.to_template != first.to_template
    # Whoever has agreed to the one has agreed to the other.
    assert later.good == first.good
    assert manual.approval_token(later) == manual.approval_token(first)


def held(world: Standby, **metadata: Any) -> None:
    """The ConfigMap holds what was saved, and has been `metadata` since."""

    def hold(raw: Json) -> None:
        raw["data"] = dict(ONE)
        raw["metadata"] |= metadata

    world.cluster.change(Kind.CONFIG_MAP, NAME, hold)


async def stood(**then: Any) -> Standby:
    """What the good release's pods read was saved at resourceVersion 7 of the object `u`, with `then` besides."""
    world = Standby()
    metadata = {"name": NAME, "namespace": "default", "uid": "u", "resourceVersion": "7"}
    await world.saved(metadata=metadata, **then)
    held(world, uid="u")
    return world


@pytest.mark.parametrize(
    ("then", "now", "pods", "rolled"),
    [
        # It has stood still since: whoever reads it has read that.
        ({}, {"resourceVersion": "7"}, [POD], False),
        # It may have held something else meanwhile.
        ({}, {"resourceVersion": "9"}, [POD], True),
        ({}, {"uid": "another", "resourceVersion": "7"}, [POD], True),
        # An immutable one cannot have.
        ({"immutable": True}, {"resourceVersion": "9"}, [POD], False),
        # Pods that are still to start read what is there now, and another Deployment's are none of its own.
        ({}, {"resourceVersion": "9"}, [], False),
        ({}, {"resourceVersion": "9"}, [pod({"environment": "green"})], False),
    ],
)
async def test_only_what_stood_still_since_it_was_saved_proves_what_pods_have_read(
    then: Json, now: Json, pods: Sequence[Json], rolled: bool
) -> None:
    world = await stood(**then)
    world.cluster.object(Kind.CONFIG_MAP, NAME)["metadata"] |= now
    world.pods = pods
    plan = await world.plan()
    assert ("copy_config_map" in kinds(plan), "roll_environment" in kinds(plan)) == (rolled, rolled)
    # It holds what was saved: there is nothing to put back.
    assert "restore_later" not in kinds(plan)
    assert isinstance(plan, Plan)
    assert (plan.to_template == OTHER.hash, plan.to_configuration) == (not rolled, "" if rolled else "c1")


@pytest.mark.parametrize(("pods", "restarted"), [([POD], True), ([], False)])
async def test_what_only_its_own_pods_read_and_was_pruned_is_made_again_before_the_first_of_them(
    pods: Sequence[Json], restarted: bool
) -> None:
    world = await Standby().saved()
    world.cluster.remove(Kind.CONFIG_MAP, NAME)
    world.live, world.pods = environments.LIVE, pods
    plan = await world.plan()
    assert kinds(plan) == ["restore_config_map", *["roll_environment"][:restarted], "await_environment", *REST]
    assert isinstance(plan, Plan)
    assert isinstance(plan.steps[0], RestoreConfigMap)
    assert not any(isinstance(s, RollEnvironment) and not s.restart for s in plan.steps)
    assert (plan.to_template, plan.stands_for, plan.to_configuration) == (OTHER.hash, "", "c1")


async def test_one_that_is_gone_and_the_bad_pods_name_as_well_is_not_made_again_beside_them() -> None:
    world = await Standby().saved()
    world.cluster.remove(Kind.CONFIG_MAP, NAME)
    assert kinds(await world.plan())[:2] == ["copy_config_map", "roll_environment"]


async def test_an_immutable_one_comes_back_under_another_name_and_never_under_its_own() -> None:
    """As the copy does that an earlier run has made, and that went with the last that named it."""
    world = await Standby().saved(immutable=True)
    world.cluster.remove(Kind.CONFIG_MAP, NAME)
    world.live = environments.LIVE
    assert kinds(await world.plan()) == ["copy_config_map", "roll_environment", "await_environment", *REST]


async def test_a_missing_environment_is_made_with_copies_from_the_start() -> None:
    world = await Standby().saved()
    world.other, world.pods = None, ()
    manifest = {**copy.deepcopy(OTHER.raw), "kind": "Deployment"}
    world.snapshots = {"saved": Snapshot(at(0), "default/active", (manifest,))}
    plan = await world.plan()
    assert kinds(plan) == ["copy_config_map", "restore_environment", *SWITCHED]
    assert isinstance(plan, Plan)
    assert plan.good == world.good.release


async def test_what_may_not_be_put_back_or_cannot_be_copied_refuses_as_ever() -> None:
    world = await Standby().saved()
    world.policy = Policy(config=ConfigPolicy(objects={environments.TARGET.name: (NAME,)}))
    assert "ConfigMap default/settings must hold" in told(await world.plan())
    world.policy = Policy()
    owned_by(**HELM)(world)
    assert "kept by Helm" in refusal(await world.plan())


async def test_both_environments_may_read_it_and_anybody_else_is_others() -> None:
    world = await Standby().saved()
    for name in ("web-blue", "web-green"):
        world.cluster.add(Kind.DEPLOYMENT, name, spec={"template": {"spec": READS}})
    assert isinstance(await world.plan(), Plan)
    world.cluster.add(Kind.DEPLOYMENT, "batch", spec={"template": {"spec": READS}})
    assert "Deployment batch" in refusal(await world.plan())


async def test_it_is_scaled_up_once_no_pod_of_its_old_template_can_start() -> None:
    world = await Standby().saved()
    world.other = Workload({**OTHER.raw, "spec": {**OTHER.raw["spec"], "replicas": 1}})
    plan = await world.plan()
    assert kinds(plan)[1:5] == ["roll_environment", "await_environment", "scale_environment", "await_environment"]
    assert isinstance(plan, Plan)
    assert [s.replicas for s in plan.steps if isinstance(s, AwaitEnvironment)] == [1, 3]


def test_later_and_now_are_the_same_step() -> None:
    step = RestoreConfigMap(NAME, "u", "digest", ())
    assert RestoreLater.put_off(step).restore == step
    assert str(CONFIG).endswith(NAME)
