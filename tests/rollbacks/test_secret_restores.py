"""Secrets that come back with a release: planned as ConfigMaps are, and nothing of their values stands in a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.domain.configuration.content import Concealed
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import ConfigPolicy, Incomplete, Policy
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import LAST_APPLIED, Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import config_restores, gradual, immediate
from logcaster_guard.rollbacks.config_restores import ConfigFacts
from logcaster_guard.rollbacks.immediate import Facts
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.copy_secret import CopySecret
from logcaster_guard.steps.restore_secret import RestoreSecret
from logcaster_guard.steps.restore_template import RestoreTemplate
from tests import canary
from tests.canary import ONE, TWO, encoded
from tests.domain.build import at, deployment, template
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.saved_secrets import MemorySavedSecrets
from tests.rollbacks import test_gradual
from tests.rollbacks.build import request as asked
from tests.rollbacks.build import told

Json = dict[str, Any]
NAME = "credentials"
DB = ConfigObject(ConfigKind.SECRET, "default", NAME)
BAD_TEMPLATE, GOOD_TEMPLATE = (
    template(f"logcaster/logcaster-c:{v}.0", envFrom=[{"secretRef": {"name": NAME}}]) for v in (2, 1)
)
BAD, RELEASE = Workload(deployment(BAD_TEMPLATE)), Release(GOOD_TEMPLATE)
BESIDE = test_gradual.bad()


def data(value: str, **more: str) -> Json:
    return {key: encoded(text) for key, text in {"password": value, **more}.items()}


class World:
    """A cluster whose Secret holds v2's content, and what v1 was kept with."""

    def __init__(self, **fields: Any) -> None:
        self.cluster, self.blobs = FakeCluster(FakeClock()), MemoryBlobs()
        self.secrets: MemorySavedSecrets | None = MemorySavedSecrets()
        self.cluster.add(Kind.SECRET, NAME, data=data(TWO, new="1"), type="Opaque", **fields)
        self.contents: dict[str, str] = {}

    async def saved(self, **fields: Any) -> World:
        assert self.secrets is not None
        metadata = {"name": NAME, "namespace": "default", "uid": "u", **fields.pop("metadata", {})}
        kept = {"kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data(ONE, old="1"), **fields}
        self.contents[str(DB)] = await self.secrets.put("default", Concealed(json.dumps(kept).encode()))
        return self

    @property
    def record(self) -> Record:
        images = ("logcaster/logcaster-c:1.0",)
        return Record(RELEASE.hash, "1", "blob", images, 0, 0, configuration="c1", contents=self.contents)

    async def facts(self) -> ConfigFacts:
        ports = PlanningPorts(self.cluster, self.blobs, None, self.secrets)  # type: ignore[arg-type] # nothing is inspected
        return await config_restores.gather(asked(BAD, self.record), self.record, GOOD_TEMPLATE, ports)

    async def plan(self, policy: Policy | None = None) -> Plan | NotApplicable:
        return immediate.plan(Facts(asked(BAD, self.record, policy=policy), RELEASE, None, (), await self.facts()))


async def test_a_secret_is_put_back_before_the_template_and_the_plan_names_its_keys_alone() -> None:
    world = await World().saved()
    plan = await world.plan()
    assert isinstance(plan, Plan)
    assert [type(step) for step in plan.steps] == [RestoreSecret, RestoreTemplate, AwaitRollout]
    assert english().text(plan.lines[0]) == "give Secret default/credentials back what it held: -new, +old, ~password"
    assert config_restores.differences(plan) == [
        "- Secret default/credentials[new]",
        "+ Secret default/credentials[old]",
        "~ Secret default/credentials[password]",
    ]
    [step] = [step for step in plan.steps if isinstance(step, RestoreSecret)]
    assert {(change.before, change.after) for change in step.changes} == {(0, None), (None, 0), (0, 0)}
    # The digest of what it holds now is keyed: a short password's plain one would tell it.
    assert world.secrets is not None
    key, password = await world.secrets.key("default"), step.changes[-1]
    assert password.seen == key.digest(encoded(TWO).encode())[: len(password.seen)] != ""
    assert [(r.verb, r.full_name, r.name) for r in step.rights(plan)] == [
        ("get", "secrets", NAME),
        ("patch", "secrets", NAME),
    ]
    assert all("components/secrets" in right.granted_by for right in step.rights(plan))


async def test_no_value_is_in_the_facts_or_the_plan() -> None:
    world = await World().saved()
    facts, plan = await world.facts(), await world.plan()
    for text in (repr(facts), repr(plan), str(plan)):
        assert not canary.is_in(text)
    assert facts.differing


async def test_a_secret_of_another_type_refuses_the_run_unless_it_may_be_left_as_it_is() -> None:
    world = await World().saved(type="kubernetes.io/basic-auth")
    found = await world.plan()
    assert isinstance(found, NotApplicable)
    assert "Secret default/credentials is of another type than it was" in told(found)
    plan = await world.plan(Policy(config=ConfigPolicy(incomplete=Incomplete.PROCEED)))
    assert isinstance(plan, Plan)
    assert not any(isinstance(step, RestoreSecret) for step in plan.steps)


async def test_string_data_is_said_to_leave_keys_behind() -> None:
    applied = {LAST_APPLIED: json.dumps({"stringData": {"password": ONE}})}
    world = await World().saved(metadata={"annotations": applied})
    plan = await world.plan()
    assert isinstance(plan, Plan)
    [note] = [english().text(note) for note in plan.unrestored]
    assert note.startswith("Secret default/credentials was applied with stringData")
    assert not canary.is_in(str(plan))


@pytest.mark.parametrize("why", ["named only", "forbidden", "no key"])
async def test_a_secret_that_is_not_read_stays_and_the_plan_says_so(why: str) -> None:
    world = await World().saved()
    assert world.secrets is not None
    if why == "named only":
        world.secrets = None
    elif why == "no key":
        world.secrets.refused = Rejected("403: Forbidden", status=403)
    else:
        refused = Rejected("403: Forbidden", status=403)
        world.cluster.fault = lambda verb, kind, _: refused if (verb, kind) == ("get", Kind.SECRET) else None
    plan = await world.plan()
    assert isinstance(plan, Plan)
    assert [type(step) for step in plan.steps] == [RestoreTemplate, AwaitRollout]
    [note] = [english().text(note) for note in plan.unrestored]
    assert "Secret default/credentials" in note


async def test_credentials_that_have_expired_say_nothing_of_a_secret() -> None:
    world = await World().saved()
    world.cluster.fault = lambda _, kind, __: Rejected("Unauthorized", status=401) if kind is Kind.SECRET else None
    with pytest.raises(Rejected):
        await world.plan()


async def test_good_pods_beside_the_bad_ones_read_a_copy_of_the_secret() -> None:
    world = await World().saved()
    request, place = asked(BESIDE, world.record), world.contents[str(DB)]
    facts = replace(test_gradual.AROUND, request=request, release=RELEASE, configuration=await world.facts())
    plan = gradual.plan(facts)
    assert isinstance(plan, Plan)
    assert [step for step in plan.steps if isinstance(step, CopySecret)] == [CopySecret(NAME, place)]
    kinds = [step.kind for step in plan.steps]
    assert kinds[:2] == ["copy_secret", "create_helper"]
    assert kinds[kinds.index("await_stopped") :][:3] == ["await_stopped", "restore_secret", "restore_template"]
    assert english().text(plan.lines[0]).startswith("copy what the good release read of Secret default/credentials")
    # Whoever takes over puts it back first.
    old = Run(RunOpened(at(0), "r", "default/logcaster-prod", "slow", "", plan))
    assert [step.kind for step in gradual.take_over(old, request).steps][:2] == ["restore_secret", "restore_template"]


@pytest.mark.parametrize("kind", ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"])
async def test_a_token_that_the_cluster_issues_is_neither_copied_nor_put_back(kind: str) -> None:
    world = World()
    world.cluster.object(Kind.SECRET, NAME)["type"] = kind
    assert (await (await world.saved(type=kind)).facts()).objects == ()
    world.cluster.remove(Kind.SECRET, NAME)
    assert (await world.facts()).objects == ()
