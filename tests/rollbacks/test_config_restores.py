"""What of the configuration comes back, what is refused by name, and which pods are replaced for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import pytest

from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import ConfigPolicy, Incomplete, Policy, Shared
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import HASH_LABEL, REVISION, Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks import config, config_restores, env, gradual, immediate
from logcaster_guard.rollbacks.config_restores import ConfigFacts
from logcaster_guard.rollbacks.immediate import Facts
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.restart_pods import RestartPods
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.scale_production import ScaleProduction
from tests.domain.build import at, deployment, template
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.rollbacks import test_gradual
from tests.rollbacks.build import request as asked
from tests.rollbacks.build import told

Json = dict[str, Any]
NAME, LONG_AGO = "settings", "2026-01-01T00:00:00Z"
CONFIG = ConfigObject(ConfigKind.CONFIG_MAP, "default", NAME)
SECRET = ConfigObject(ConfigKind.SECRET, "default", "password")
FROM = [{"configMapRef": {"name": NAME}}]
BAD_TEMPLATE, GOOD_TEMPLATE = (template(f"logcaster/logcaster-c:{v}.0", envFrom=FROM) for v in (2, 1))
BAD = Workload(deployment(BAD_TEMPLATE))
RELEASE = Release(GOOD_TEMPLATE)
ONE, TWO = {"LEVEL": "info", "LIMIT": "10"}, {"LEVEL": "debug", "NEW": "1"}
READ_BY_OTHERS = {"spec": {"containers": [{"name": "c", "envFrom": FROM}]}}


class World:
    """A cluster whose ConfigMap holds v2's content, and what v1 was kept with."""

    def __init__(self) -> None:
        self.cluster, self.blobs = FakeCluster(FakeClock()), MemoryBlobs()
        self.cluster.add(Kind.CONFIG_MAP, NAME, data=TWO)
        self.contents: dict[str, str] = {}

    async def saved(self, data: Mapping[str, str] | None = None, **fields: Any) -> Self:
        metadata = {"name": NAME, "namespace": "default", "uid": "u"}
        kept = {"metadata": metadata, "data": ONE if data is None else data, **fields}
        self.contents[str(CONFIG)] = await self.blobs.put(json.dumps(kept).encode())
        return self

    @property
    def record(self) -> Record:
        return Record(RELEASE.hash, "1", "blob", ("logcaster/logcaster-c:1.0",), 0, 0, configuration="c1",
                      contents=self.contents)  # fmt: skip

    def request(self, policy: Policy | None = None, workload: Workload = BAD, record: Record | None = None) -> Request:
        return asked(workload, self.record if record is None else record, policy=policy)

    async def facts(self, request: Request | None = None, of: Json = GOOD_TEMPLATE) -> ConfigFacts:
        request = self.request() if request is None else request
        ports = PlanningPorts(self.cluster, self.blobs, None)  # type: ignore[arg-type] # nothing is inspected
        return await config_restores.gather(request, request.destination, of, ports)


async def planned(world: World, policy: Policy | None = None) -> Plan | NotApplicable:
    request = world.request(policy)
    return immediate.plan(Facts(request, RELEASE, None, (), await world.facts(request)))


def refusal(found: Plan | NotApplicable) -> str:
    assert isinstance(found, NotApplicable)
    assert found.guardrail is Guardrail.CONFIGURATION
    return told(found)


async def test_what_differs_is_put_back_before_the_template_and_the_plan_names_keys_and_never_values() -> None:
    plan = await planned(await World().saved())
    assert isinstance(plan, Plan)
    assert [type(step) for step in plan.steps] == [RestoreConfigMap, RestoreTemplate, AwaitRollout]
    assert english().text(plan.lines[0]) == "give ConfigMap default/settings back what it held: ~LEVEL, +LIMIT, -NEW"
    assert config_restores.differences(plan) == [
        "~ ConfigMap default/settings[LEVEL]: 5 bytes → 4 bytes",
        "+ ConfigMap default/settings[LIMIT]: 2 bytes",
        "- ConfigMap default/settings[NEW]: 1 bytes",
    ]
    assert (plan.to_configuration, plan.unrestored) == ("c1", ())
    assert not any(value in str(plan) for value in ("info", "debug"))


@pytest.mark.parametrize("kept", [{}, {str(CONFIG): None}])
async def test_where_nothing_differs_or_nothing_is_known_the_plan_is_as_ever(kept: Json) -> None:
    world = World()
    if kept:
        await world.saved(TWO)
    plan = await planned(world)
    assert isinstance(plan, Plan)
    assert plan.steps == (RestoreTemplate("blob"), AwaitRollout(600.0))
    assert plan.unrestored == ()


async def test_a_key_that_no_container_reads_is_no_difference() -> None:
    world = await World().saved({"LEVEL": "debug", "other": "1"})
    one_key = template(env=[{"name": "L", "valueFrom": {"configMapKeyRef": {"name": NAME, "key": "LEVEL"}}}])
    assert not (await world.facts(of=one_key)).differing
    assert (await world.facts()).differing
    # What the template does not refer to counts where settings name it.
    assert not (await world.facts(of=template())).objects
    named = Policy(config=ConfigPolicy(objects={"logcaster": (NAME,)}))
    assert (await world.facts(world.request(named), of=template())).differing


async def test_one_that_is_gone_is_made_again() -> None:
    world = await World().saved()
    world.cluster.remove(Kind.CONFIG_MAP, NAME)
    plan = await planned(world)
    assert isinstance(plan, Plan)
    [step] = [s for s in plan.steps if isinstance(s, RestoreConfigMap)]
    assert (step.uid, [c.mark for c in step.changes]) == ("", ["+LEVEL", "+LIMIT"])


async def test_what_is_not_known_stays_and_the_plan_says_so() -> None:
    world = World()
    world.contents[str(CONFIG)] = "lost"
    volumes = [{"secretRef": {"name": "password"}}, *FROM]
    facts = await world.facts(of=template(envFrom=volumes))
    assert facts.unread == (CONFIG, SECRET)
    found = config_restores.restores(world.request(), facts)
    assert not isinstance(found, NotApplicable)
    said = [english().text(line) for line in found.unrestored]
    assert said == [f"{one} stays as it is: what it held, or holds, is not known" for one in (CONFIG, SECRET)]
    # What may not be read now is not known either; what is only out of reach is waited for.
    await world.saved()
    for status, unread in ((403, (CONFIG,)), (401, None)):
        error = Rejected("no", status=status)
        world.cluster.fault = refusing(error)
        if unread is not None:
            assert (await world.facts()).unread == unread
            continue
        with pytest.raises(Rejected):
            await world.facts()


async def test_what_is_never_followed_is_not_spoken_of() -> None:
    world = await World().saved()
    world.cluster.add(Kind.CONFIG_MAP, "kube-root-ca.crt", data={"ca.crt": "x"})
    facts = await world.facts(of=template(envFrom=[{"configMapRef": {"name": "kube-root-ca.crt"}}, *FROM]))
    assert (facts.unread, [str(o.object) for o in facts.objects]) == ((), [str(CONFIG)])


def refusing(error: Rejected) -> Callable[[str, Kind, str], Rejected | None]:
    return lambda verb, *_: error if verb == "get" else None


def owned_by(**metadata: Any) -> Callable[[World], None]:
    return lambda w: w.cluster.change(Kind.CONFIG_MAP, NAME, lambda c: c["metadata"].update(metadata))


def managed(manager: str, field: str = "f:data") -> Callable[[World], None]:
    return owned_by(managedFields=[{"manager": manager, "operation": "Update", "fieldsV1": {field: {}}}])


def reference(kind: str, api: str, **more: Any) -> Callable[[World], None]:
    return owned_by(ownerReferences=[{"kind": kind, "apiVersion": api, "name": "db", "uid": "x", **more}])


HELM = {"annotations": {"meta.helm.sh/release-name": "web"}, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "web", "kustomize.toolkit.fluxcd.io/namespace": "flux"}


@pytest.mark.parametrize(
    ("owned", "words"),
    [
        (owned_by(**HELM), "kept by Helm for the release web: go back there (helm -n default rollback web REVISION)"),
        (managed("helm"), "kept by Helm: go back there"),
        (owned_by(labels=FLUX), "and Flux Kustomization flux/web would undo what is written"),
        (managed("argocd-controller"), "and Argo CD Application"),
        (reference("ExternalSecret", "external-secrets.io/v1"), "written by ExternalSecret db: change it there"),
        (reference("Deployment", "apps/v1", controller=True), "written by Deployment db: change it there"),
        (managed("web-operator"), "written by web-operator"),
        (managed("manager"), "written by manager"),
        (managed("external-secrets.io"), "written by external-secrets.io"),
        (lambda w: w.cluster.change(Kind.CONFIG_MAP, NAME, lambda c: c.update(immutable=True)), "is immutable, or was"),
    ],
)
async def test_what_others_write_is_refused_by_name_with_what_to_do(owned: Callable[[World], None], words: str) -> None:
    world = await World().saved()
    owned(world)
    said = refusal(await planned(world))
    assert said.startswith("ConfigMap default/settings does not hold what the good release read, and ")
    assert words in said
    assert "config.incomplete: proceed" in said
    going_on = await planned(world, Policy(config=ConfigPolicy(incomplete=Incomplete.PROCEED)))
    assert isinstance(going_on, Plan)
    assert [type(s) for s in going_on.steps] == [RestoreTemplate, AwaitRollout]
    assert english().text(going_on.lines[-1]).startswith("it stays as it is (config.incomplete: proceed): ConfigMap ")
    # It is no known release that comes of it.
    assert going_on.to_configuration == ""


@pytest.mark.parametrize(
    "owned",
    [managed("kubectl-edit"), managed("ci"), managed("web-operator", "f:metadata"), reference("Deployment", "apps/v1")],
)
async def test_what_people_and_pipelines_write_is_put_back(owned: Callable[[World], None]) -> None:
    world = await World().saved()
    owned(world)
    assert isinstance(await planned(world), Plan)


@pytest.mark.parametrize(
    ("policy", "workloads", "refused"),
    [
        (GitOps.REFUSE, FLUX, True),
        (GitOps.SUSPEND, {}, True),
        (GitOps.SUSPEND, FLUX, False),
        (GitOps.PROCEED, {}, False),
    ],
)
async def test_an_owner_that_is_suspended_for_the_workload_is_for_what_else_is_its_own(
    policy: GitOps, workloads: Mapping[str, str], refused: bool
) -> None:
    world = await World().saved()
    owned_by(labels=FLUX)(world)
    raw = deployment(BAD_TEMPLATE)
    raw["metadata"]["labels"] = workloads
    request = world.request(Policy(gitops=policy), Workload(raw))
    found = immediate.plan(Facts(request, RELEASE, None, (), await world.facts(request)))
    assert isinstance(found, NotApplicable) is refused


async def test_one_that_was_not_there_is_taken_back_by_whoever_keeps_it() -> None:
    world = World()
    world.contents[str(CONFIG)] = ""
    owned_by(**HELM)(world)
    assert "is kept by Helm" in refusal(await planned(world))


async def test_one_that_is_gone_and_was_immutable_is_not_made_again() -> None:
    world = await World().saved(immutable=True)
    world.cluster.remove(Kind.CONFIG_MAP, NAME)
    said = refusal(await planned(world))
    assert f"ConfigMap default/{NAME} is gone, and was immutable" in said
    assert "under a new name and apply the good release with that name in it" in said


async def test_one_that_was_not_there_is_refused_and_one_that_is_still_absent_is_not() -> None:
    world = World()
    world.contents[str(CONFIG)] = ""
    said = refusal(await planned(world))
    assert "was not there when the good release's pods started, and is now: delete it" in said
    assert f"(kubectl -n default delete configmap {NAME}), and the good release's pods do without it again" in said
    world.cluster.add(Kind.JOB, "import", spec={"template": READ_BY_OTHERS})
    assert f"delete configmap {NAME}) where Job import can do without it" in refusal(await planned(world))
    world.cluster.remove(Kind.CONFIG_MAP, NAME)
    assert isinstance(await planned(world), Plan)


USERS = {
    Kind.DEPLOYMENT: {"template": READ_BY_OTHERS},
    Kind.STATEFUL_SET: {"template": READ_BY_OTHERS},
    Kind.DAEMON_SET: {"template": READ_BY_OTHERS},
    Kind.JOB: {"template": READ_BY_OTHERS},
    Kind.CRON_JOB: {"jobTemplate": {"spec": {"template": READ_BY_OTHERS}}},
    Kind.POD: READ_BY_OTHERS["spec"],
}


@pytest.mark.parametrize("kind", USERS)
async def test_what_others_of_the_namespace_read_is_refused_unless_settings_say_otherwise(kind: Kind) -> None:
    world = await World().saved()
    if kind is not Kind.DEPLOYMENT:
        world.cluster.add(kind, "other", spec=USERS[kind], status={})
    else:
        world.cluster.add_deployment("other", "x")
        world.cluster.object(kind, "other")["spec"] |= {"template": READ_BY_OTHERS}
    said = refusal(await planned(world))
    assert f"and {kind} other read it as well: set config.shared: restore" in said
    assert isinstance(await planned(world, Policy(config=ConfigPolicy(shared=Shared.RESTORE))), Plan)


async def test_where_others_may_not_be_listed_it_is_taken_for_shared() -> None:
    world = await World().saved()
    error = Rejected("no", status=403)
    world.cluster.fault = lambda verb, kind, _: error if (verb, kind) == ("list", Kind.JOB) else None
    assert "may not list every Job in default. Grant list as deploy/components/config does" in refusal(
        await planned(world)
    )
    assert isinstance(await planned(world, Policy(config=ConfigPolicy(shared=Shared.RESTORE))), Plan)


def with_pods(world: World, template: Json, *, deleting: bool = False) -> None:
    """A pod of the workload's own ReplicaSet that carries this template."""
    world.cluster.add(Kind.REPLICA_SET, "set", spec={"template": template})
    made = world.cluster.object(Kind.REPLICA_SET, "set")["metadata"]
    controller = {"kind": "Deployment", "name": BAD.name, "uid": BAD.uid, "controller": True}
    made |= {
        "ownerReferences": [controller],
        "annotations": {REVISION: "1"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    world.cluster.add(Kind.POD, "pod", spec=template["spec"])
    pod = world.cluster.object(Kind.POD, "pod")["metadata"]
    pod["labels"] = {HASH_LABEL: "abc"}
    pod["ownerReferences"] = [{"kind": "ReplicaSet", "name": f"{BAD.name}-abc", "uid": made["uid"], "controller": True}]
    if deleting:
        pod["deletionTimestamp"] = LONG_AGO


@pytest.mark.parametrize(
    ("of", "deleting", "restart"),
    [
        (GOOD_TEMPLATE, False, True),
        (GOOD_TEMPLATE, True, False),
        (BAD_TEMPLATE, False, False),
        # Other annotations make new pods by themselves.
        ({**GOOD_TEMPLATE, "metadata": {**GOOD_TEMPLATE["metadata"], "annotations": {"checksum": "2"}}}, False, False),
    ],
)
async def test_pods_of_the_good_release_that_live_already_are_replaced(of: Json, deleting: bool, restart: bool) -> None:
    world = await World().saved()
    with_pods(world, of, deleting=deleting)
    plan = await planned(world)
    assert isinstance(plan, Plan)
    assert plan.steps[1] == RestoreTemplate("blob", restart)
    assert ("and replace each pod once" in english().text(plan.lines[1])) is restart
    # Where nothing is put back they go on, as ever.
    await world.saved(TWO)
    plan = await planned(world)
    assert isinstance(plan, Plan)
    assert plan.steps[0] == RestoreTemplate("blob")


@pytest.mark.parametrize("notes", [None, {"checksum/config": "1"}])
@pytest.mark.parametrize("way", [immediate, config], ids=lambda way: way.__name__.rpartition(".")[2])
async def test_the_same_template_is_written_with_what_replaces_its_pods(
    way: Any, notes: Mapping[str, str] | None
) -> None:
    world, workload = await World().saved(), Workload(deployment(GOOD_TEMPLATE))
    request = world.request(workload=workload)
    kept = (
        GOOD_TEMPLATE
        if notes is None
        else {**GOOD_TEMPLATE, "metadata": {"labels": GOOD_TEMPLATE["metadata"]["labels"], "annotations": notes}}
    )
    plan = way.plan(Facts(request, Release(kept), None, (), await world.facts(request)))
    assert isinstance(plan, Plan)
    assert plan.steps[1] == RestoreTemplate("blob", restart=notes is None)
    assert plan.from_template == plan.to_template == RELEASE.hash
    assert plan.to_configuration == "c1"


async def test_config_rollback_keeps_another_template_and_makes_a_release_that_nobody_knows() -> None:
    world = await World().saved()
    request = world.request()
    facts = Facts(request, Release(BAD_TEMPLATE), None, (), await world.facts(request, BAD_TEMPLATE))
    plan = config.plan(facts)
    assert isinstance(plan, Plan)
    assert [type(s) for s in plan.steps] == [RestoreConfigMap, RestartPods, AwaitRollout]
    assert (plan.strategy, plan.from_template, plan.to_template) == ("config", BAD.hash, BAD.hash)
    assert plan.to_images == BAD.images
    # It is told from the release that is left, and refused where it is known to be bad already.
    assert plan.destination not in {plan.origin, replace(plan.destination, configuration="c1")}
    known_bad = config.plan(replace(facts, request=replace(request, bad=frozenset({plan.destination}))))
    assert isinstance(known_bad, NotApplicable)
    assert "would carry a release that is known to be bad" in told(known_bad)
    assert isinstance(config.plan(replace(facts, request=replace(request, bad=frozenset({plan.origin})))), Plan)
    assert "and keep its template (kubectl.kubernetes.io/restartedAt)" in english().text(plan.lines[1])
    nothing = config.plan(replace(facts, configuration=ConfigFacts()))
    assert isinstance(nothing, NotApplicable)
    assert "holds what revision 1+c1 read, so what differs is something else" in told(nothing)
    unknown = replace(request, destinations=[replace(world.record, contents={})])
    found = config.plan(Facts(unknown, Release(BAD_TEMPLATE), None, ()))
    assert isinstance(found, NotApplicable)
    assert "was not kept: choose immediate_rollback" in told(found)


async def test_variables_come_back_with_the_configuration() -> None:
    world = await World().saved()
    good = template("logcaster/logcaster-c:1.0", envFrom=FROM, env=[{"name": "A", "value": "1"}])
    request = world.request()
    found = env.plan(Facts(request, Release(good), None, (), await world.facts(request)))
    assert isinstance(found, Plan)
    assert [s.kind for s in found.steps] == ["restore_config_map", "restore_variables", "await_rollout"]


BESIDE = test_gradual.bad()


async def gradually(world: World, workload: Workload = BESIDE) -> Plan | NotApplicable:
    around, request = test_gradual.AROUND, world.request(workload=workload)
    return gradual.plan(replace(around, request=request, release=RELEASE, configuration=await world.facts(request)))


async def test_good_pods_beside_the_bad_ones_read_copies_and_what_is_shared_waits_until_those_are_gone() -> None:
    world = await World().saved()
    plan, digest = await gradually(world), world.contents[str(CONFIG)]
    assert isinstance(plan, Plan)
    kinds = [step.kind for step in plan.steps]
    assert kinds[:2] == ["copy_config_map", "create_helper"]
    assert plan.steps[0] == CopyConfigMap(NAME, digest)
    assert kinds[-7:-3] == ["judge_helper", "await_stopped", "restore_config_map", "restore_template"]
    # Production has been scaled to none before.
    assert [s.replicas for s in plan.steps if isinstance(s, ScaleProduction)][-2:] == [0, 4]
    assert kinds.index("restore_template") < max(n for n, kind in enumerate(kinds) if kind == "scale_production")
    assert plan.to_configuration == "c1"
    said = [english().text(line) for line in plan.lines]
    assert said[0].startswith("copy what the good release read of ConfigMap default/settings, for the pods beside")
    assert "wait until no pod of production runs any more, 600 s at most" in said


async def test_where_nothing_differs_nothing_is_copied_and_the_same_template_is_no_way_back() -> None:
    world = await World().saved(TWO)
    plan = await gradually(world)
    assert isinstance(plan, Plan)
    assert not any(isinstance(s, CopyConfigMap | RestoreConfigMap) for s in plan.steps)
    same = await gradually(world, Workload(deployment(GOOD_TEMPLATE)))
    assert isinstance(same, NotApplicable)
    assert "choose immediate_rollback" in told(same)
    # An edit in place: the same pods go on beside, on what was saved.
    edited = await gradually(await World().saved(), Workload(deployment(GOOD_TEMPLATE)))
    assert isinstance(edited, Plan)
    assert edited.from_template == edited.to_template


async def test_what_may_not_be_put_back_is_not_copied_either() -> None:
    world = await World().saved()
    owned_by(**HELM)(world)
    assert "kept by Helm" in refusal(await gradually(world))


async def test_what_pods_read_by_themselves_cannot_be_copied_for_them() -> None:
    world = await World().saved()
    around, request = test_gradual.AROUND, world.request(workload=BESIDE)
    policy = Policy(config=ConfigPolicy(objects={request.target.name: (NAME,)}))
    request = replace(request, policy=policy)
    plain = replace(around, request=request, configuration=await world.facts(request, template()))
    also = replace(plain, configuration=await world.facts(request))
    for facts in (plain, also):
        refused = gradual.plan(facts)
        assert isinstance(refused, NotApplicable)
        assert refused.guardrail is Guardrail.STRATEGY_UNFIT
        assert told(refused).startswith("ConfigMap default/settings must hold what the good release read before")


async def test_who_takes_over_puts_configuration_back_first_and_goes_where_the_other_went() -> None:
    world = await World().saved()
    before = await gradually(world)
    assert isinstance(before, Plan)
    old = Run(RunOpened(at(0), "r", "default/logcaster-prod", "slow", "", before))
    other = replace(world.record, template="another", blob="another", configuration="c9")
    found = gradual.take_over(old, world.request(record=other))
    assert [s.kind for s in found.steps][:2] == ["restore_config_map", "restore_template"]
    assert found.steps[1] == RestoreTemplate("blob", restart=True)
    assert (found.strategy, found.to_template, found.to_configuration) == ("immediate", RELEASE.hash, "c1")
