"""Each verb of the shipped Roles is needed: without it the guard names it at its start, and its use is refused."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes.access import (
    CONFIG_PERMISSIONS,
    JOURNAL_PERMISSIONS,
    OWNER_PERMISSIONS,
    PERMISSIONS,
    SAVING_PERMISSIONS,
    SECRET_PERMISSIONS,
    missing_for_configuration,
    missing_for_journal,
    missing_for_owners,
    missing_permissions,
)
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.event_channel import event_of
from logcaster_guard.adapters.plugin_types import Subject
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Rejected, Unavailable
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.gitops import Reference
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.signals import Target
from logcaster_guard.ports import Kind
from logcaster_guard.sandbox import objects
from tests.cluster.case import GOOD, Case
from tests.cluster.ending import Facts
from tests.cluster.harness import Cluster
from tests.cluster.owners import define
from tests.cluster.roles import FURTHER, OF_TARGETS, TARGETS, on_config_maps, rules_in
from tests.cluster.scene import Scene, autoscaler
from tests.fakes.clock import START
from tests.real.waiting import until

Json = dict[str, Any]
Use = Callable[[KubernetesCluster, str], Awaitable[object]]
DEPLOY = Path(__file__).parents[2] / "deploy"


NAMES = {
    "logcaster-prod": "web",
    "logcaster-prod-rollback": "web-rollback",
    "logcaster-active": "web",
    "logcaster-blue": "web-blue",
    "logcaster-green": "web-green",
    "logcaster-config": "web",
    "logcaster-credentials": "web",
}
SECRETS_RULES = rules_in("components/secrets/rbac.yaml", names=NAMES)
OTHERS = rules_in(*TARGETS, FURTHER[0], names=NAMES)
RULES = [*rules_in(*TARGETS, *FURTHER, names=NAMES), *on_config_maps(NAMES), *SECRETS_RULES]
PAUSE = [{"op": "add", "path": "/metadata/annotations", "value": {}}]
EMPTY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
NOTE = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "note"}}
NOTICE = Notice("run-1/1", START, "run.opened", Severity.WARNING, "t", "x", run="run-1")


async def tell(guard: KubernetesCluster, namespace: str) -> object:
    event = event_of(NOTICE, Subject(Kind.DEPLOYMENT, namespace, "web"), "")
    return await guard.create(Kind.EVENT, namespace, event)


async def gone(guard: KubernetesCluster, kind: Kind, namespace: str, name: str = "web") -> object:
    await guard.delete(kind, namespace, name, uid="u1", resource_version=None)
    return None


async def applied(guard: KubernetesCluster, namespace: str) -> object:
    """What is gone is made again by its name, which a Role can name: a POST it cannot."""
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
    return await guard.apply(Kind.CONFIG_MAP, namespace, "web", made, manager="ci", force=True)


async def watched(guard: KubernetesCluster, namespace: str, kind: Kind = Kind.CONFIG_MAP) -> object:
    """A watch of a second: it ends by itself, or is refused."""
    events = guard.events(kind, namespace, "web", "1", lasting=1, silence=5.0)
    with contextlib.suppress(Unavailable):
        return [line async for line in events]
    return None


USES: Mapping[tuple[str, str], Use] = {
    ("deployments", "get"): lambda guard, ns: guard.get(Kind.DEPLOYMENT, ns, "web"),
    ("deployments", "patch"): lambda guard, ns: guard.json_patch(Kind.DEPLOYMENT, ns, "web", PAUSE),
    ("deployments", "list"): lambda guard, ns: guard.list(Kind.DEPLOYMENT, ns),
    ("deployments", "create"): lambda guard, ns: guard.create(Kind.DEPLOYMENT, ns, EMPTY),
    ("deployments", "delete"): lambda guard, ns: gone(guard, Kind.DEPLOYMENT, ns, "web-rollback"),
    ("statefulsets", "get"): lambda guard, ns: guard.get(Kind.STATEFUL_SET, ns, "web"),
    ("statefulsets", "patch"): lambda guard, ns: guard.json_patch(Kind.STATEFUL_SET, ns, "web", PAUSE),
    ("daemonsets", "get"): lambda guard, ns: guard.get(Kind.DAEMON_SET, ns, "web"),
    ("daemonsets", "patch"): lambda guard, ns: guard.json_patch(Kind.DAEMON_SET, ns, "web", PAUSE),
    ("controllerrevisions", "list"): lambda guard, ns: guard.list(Kind.CONTROLLER_REVISION, ns),
    ("pods", "delete"): lambda guard, ns: gone(guard, Kind.POD, ns),
    ("poddisruptionbudgets", "list"): lambda guard, ns: guard.list(Kind.DISRUPTION_BUDGET, ns),
    ("persistentvolumeclaims", "get"): lambda guard, ns: guard.get(Kind.VOLUME_CLAIM, ns, "web"),
    ("replicasets", "list"): lambda guard, ns: guard.list(Kind.REPLICA_SET, ns),
    ("pods", "list"): lambda guard, ns: guard.list(Kind.POD, ns, "app=web"),
    ("services", "get"): lambda guard, ns: guard.get(Kind.SERVICE, ns, "web"),
    ("services", "patch"): lambda guard, ns: guard.json_patch(Kind.SERVICE, ns, "web", PAUSE),
    ("endpointslices", "list"): lambda guard, ns: guard.list(Kind.ENDPOINT_SLICE, ns, "app=web"),
    ("horizontalpodautoscalers", "get"): lambda guard, ns: guard.get(Kind.AUTOSCALER, ns, "web"),
    ("horizontalpodautoscalers", "list"): lambda guard, ns: guard.list(Kind.AUTOSCALER, ns),
    ("horizontalpodautoscalers", "patch"): lambda guard, ns: guard.json_patch(Kind.AUTOSCALER, ns, "web", PAUSE),
    ("events", "create"): tell,
    ("applications", "get"): lambda guard, ns: guard.get(Kind.APPLICATION, ns, "web"),
    ("applications", "patch"): lambda guard, ns: guard.json_patch(Kind.APPLICATION, ns, "web", PAUSE),
    ("kustomizations", "get"): lambda guard, ns: guard.get(Kind.KUSTOMIZATION, ns, "web"),
    ("kustomizations", "patch"): lambda guard, ns: guard.json_patch(Kind.KUSTOMIZATION, ns, "web", PAUSE),
    ("helmreleases", "get"): lambda guard, ns: guard.get(Kind.HELM_RELEASE, ns, "web"),
    ("helmreleases", "patch"): lambda guard, ns: guard.json_patch(Kind.HELM_RELEASE, ns, "web", PAUSE),
    ("gitrepositories", "get"): lambda guard, ns: guard.get(Kind.GIT_REPOSITORY, ns, "web"),
    ("ocirepositories", "get"): lambda guard, ns: guard.get(Kind.OCI_REPOSITORY, ns, "web"),
    ("buckets", "get"): lambda guard, ns: guard.get(Kind.BUCKET, ns, "web"),
    ("helmcharts", "get"): lambda guard, ns: guard.get(Kind.HELM_CHART, ns, "web"),
    ("configmaps", "get"): lambda guard, ns: guard.get(Kind.CONFIG_MAP, ns, "web"),
    ("configmaps", "list"): lambda guard, ns: guard.listing(Kind.CONFIG_MAP, ns, "web"),
    ("configmaps", "watch"): watched,
    ("configmaps", "patch"): lambda guard, ns: guard.json_patch(Kind.CONFIG_MAP, ns, "web", PAUSE),
    ("configmaps", "create"): applied,
    ("secrets", "get"): lambda guard, ns: guard.get(Kind.SECRET, ns, "web"),
    ("secrets", "list"): lambda guard, ns: guard.list(Kind.SECRET, ns),
    ("secrets", "watch"): lambda guard, ns: watched(guard, ns, Kind.SECRET),
    ("secrets", "create"): lambda guard, ns: guard.create(Kind.SECRET, ns, NOTE),
    ("secrets", "patch"): lambda guard, ns: guard.json_patch(Kind.SECRET, ns, "web", PAUSE),
    ("secrets", "delete"): lambda guard, ns: gone(guard, Kind.SECRET, ns),
}
WITH = {("configmaps", "patch"): {("configmaps", "create")}}
"""Uses that take another verb besides: an apply that makes an object is a patch as well."""
VERBS = list(
    dict.fromkeys(
        (group, resource, verb)
        for rule in RULES
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )
)


def targets(cluster: Cluster) -> list[Target]:
    """One of each kind: together they need the whole Role."""
    web = Target(name="web", namespace=cluster.namespace, deployment="web", service="web")
    kinds = [replace(web, kind=kind) for kind in ("StatefulSet", "DaemonSet")]
    return [web, *kinds, replace(web, environments={"blue": "web-blue", "green": "web-green"})]


async def missing(guard: KubernetesCluster, cluster: Cluster) -> list[str]:
    """What the guard names at its start: for targets, owners of each kind that may be suspended, and its journal."""
    kinds = sorted(kind for permission in OWNER_PERMISSIONS for kind in permission.kinds)
    owners = [Reference(kind, cluster.namespace, "web") for kind in kinds]
    return [
        *await missing_permissions(guard, targets(cluster)),
        *await missing_for_owners(guard, owners),
        *await missing_for_journal(guard, cluster.namespace),
        *await missing_for_configuration(
            guard, [ConfigObject(kind, cluster.namespace, "web") for kind in ConfigKind], [cluster.namespace]
        ),
    ]


async def guard_with(cluster: Cluster, rules: Sequence[Json], lacking: int) -> KubernetesCluster:
    """The adapter with these rights, once the API server knows of them."""
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    await cluster.grant("guard", rules)
    await define(cluster)
    made = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)

    async def granted() -> bool:
        return len(await missing(made, cluster)) == lacking

    try:
        await until(granted)
    except BaseException:
        await made.aclose()
        raise
    return made


def without(group: str, resource: str, verb: str, rules: Sequence[Json] = RULES) -> list[Json]:
    """The Roles' rules less one verb on one resource."""
    found = []
    for rule in rules:
        for name in rule["resources"]:
            hit = group in rule["apiGroups"] and resource == name
            verbs = [v for v in rule["verbs"] if not (hit and v == verb)]
            if verbs:
                found.append({**rule, "resources": [name], "verbs": verbs})
    return found


async def refused(use: Use, guard: KubernetesCluster, namespace: str) -> bool:
    """Whether the API server answers 403; that there is no such object, or another one, is no refusal."""
    try:
        await use(guard, namespace)
    except (Conflict, NotFound):
        return False
    except Rejected as error:
        return error.status == 403
    return False


def test_every_verb_of_the_role_has_a_use_and_every_use_its_verb() -> None:
    assert {(resource, verb) for _, resource, verb in VERBS} == set(USES)
    needed = (
        *PERMISSIONS,
        *OWNER_PERMISSIONS,
        *JOURNAL_PERMISSIONS,
        *CONFIG_PERMISSIONS,
        *SECRET_PERMISSIONS,
        *SAVING_PERMISSIONS,
    )
    assert {(p.resource, verb) for p in needed for verb in p.verbs} == set(USES)


async def test_with_the_whole_role_nothing_is_refused(cluster: Cluster) -> None:
    guard = await guard_with(cluster, RULES, lacking=0)
    try:
        found = [key for key, use in USES.items() if await refused(use, guard, cluster.namespace)]
    finally:
        await guard.aclose()
    assert found == []


@pytest.mark.parametrize(
    ("group", "resource", "verb"), VERBS, ids=[f"{verb} {resource}" for _, resource, verb in VERBS]
)
async def test_without_the_verb_it_is_named_and_its_use_is_refused(
    cluster: Cluster, group: str, resource: str, verb: str
) -> None:
    # A sentence for each object that is asked for by name: two Deployments of a target with environments beside the
    # other one, and its helper.
    named = {"get": 3, "patch": 4, "delete": 3} if resource == "deployments" else {}
    if resource == "secrets":
        # Of the journal, of what is kept there, and of the one that pods refer to.
        named = {"get": 3, "list": 3, "create": 3, "patch": 3, "delete": 2}
    guard = await guard_with(cluster, without(group, resource, verb), lacking=named.get(verb, 1))
    try:
        sentences = await missing(guard, cluster)
        found = {key for key, use in USES.items() if await refused(use, guard, cluster.namespace)}
        with pytest.raises(ClusterError) as caught:
            await USES[resource, verb](guard, cluster.namespace)
    finally:
        await guard.aclose()
    full = f"{resource}.{group}" if group else resource
    assert all(f"the verb {verb} on {full} there" in sentence for sentence in sentences)
    assert found == {(resource, verb)} | WITH.get((resource, verb), set())
    assert isinstance(caught.value, Rejected)
    assert caught.value.status == 403


def limited(verb: str, resource: str, name: str) -> list[Json]:
    """The Roles' rules, with one verb on one resource allowed on a single object only."""
    group = next(g for g, r, v in VERBS if (r, v) == (resource, verb))
    one = {"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": [name]}
    return [*without(group, resource, verb), one]


COPIED = {"config-copies": (Kind.CONFIG_MAP, "configmaps"), "secret-copies": (Kind.SECRET, "secrets")}


NEEDED = [("config-copies", v) for v in ("create", "get", "list", "delete")]
NEEDED += [("secret-copies", v) for v in ("create", "get", "delete")]


@pytest.mark.parametrize(("component", "verb"), NEEDED)
async def test_a_copy_needs_each_verb_of_its_component(cluster: Cluster, component: str, verb: str) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    kind, resource = COPIED[component]
    await cluster.grant("guard", without("", resource, verb, rules_in(f"components/{component}/rbac.yaml")))
    guard, namespace = (
        await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0),
        cluster.namespace,
    )
    made = {"apiVersion": "v1", "kind": str(kind), "metadata": {"name": "web"}, "immutable": True}
    uses: Mapping[str, Use] = {
        "create": lambda guard, ns: guard.create(kind, ns, made),
        "get": lambda guard, ns: guard.get(kind, ns, "web"),
        "delete": lambda guard, ns: gone(guard, kind, ns),
        "list": lambda guard, ns: guard.list(kind, ns),
        "patch": lambda guard, ns: guard.json_patch(kind, ns, "web", PAUSE),
    }

    async def granted() -> bool:
        others = [await guard.may(v, "", resource, namespace) for c, v in NEEDED if c == component and v != verb]
        return all(others)

    try:
        await until(granted)
        found = {name for name, use in uses.items() if await refused(use, guard, namespace)}
    finally:
        await guard.aclose()
    assert found == {verb, *(uses.keys() - {v for c, v in NEEDED if c == component})}


@pytest.mark.parametrize(
    ("there", "told"),
    [({}, []), ({"mine": "web"}, []), ({"theirs": "worker"}, []), ({"mine": "web", "other": "web-green"}, ["other"])],
)
async def test_a_role_that_names_the_autoscaler_is_told_of_only_where_another_one_is_meant(
    cluster: Cluster, there: Mapping[str, str], told: list[str]
) -> None:
    base = f"/apis/autoscaling/v2/namespaces/{cluster.namespace}/horizontalpodautoscalers"
    for name, workload in there.items():
        body = autoscaler(1, 3, workload)
        body["metadata"]["name"] = name
        await cluster.admin.create(base, body)
    rules = limited("patch", "horizontalpodautoscalers", "mine")
    guard = await guard_with(cluster, rules, lacking=len(told))
    try:
        sentences = await missing(guard, cluster)
    finally:
        await guard.aclose()
    names = [f"cannot patch horizontalpodautoscalers.autoscaling {name} in namespace" for name in told]
    assert [name in sentence for name, sentence in zip(names, sentences, strict=True)] == [True] * len(told)


async def test_a_role_that_names_what_may_be_deleted_claims_nothing_of_what_will_be(cluster: Cluster) -> None:
    guard = await guard_with(cluster, limited("delete", "pods", "web-0"), lacking=0)
    await guard.aclose()


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("patch", "deployments.apps"), ("delete", "deployments.apps"), ("patch", "statefulsets.apps"),
        ("patch", "daemonsets.apps"), ("patch", "services"), ("patch", "horizontalpodautoscalers.autoscaling"),
    ],
)  # fmt: skip
async def test_what_is_not_named_may_not_be_changed(cluster: Cluster, verb: str, resource: str) -> None:
    guard = await guard_with(cluster, RULES, lacking=0)
    name, _, group = resource.partition(".")
    try:
        assert await guard.may(verb, group, name, cluster.namespace, "somebody-elses") is False
        assert await guard.may(verb, group, name, cluster.namespace) is False
    finally:
        await guard.aclose()


@pytest.mark.parametrize("verb", ["create", "update", "deletecollection"])
@pytest.mark.parametrize("resource", ["statefulsets.apps", "configmaps", "pods"])
async def test_nothing_beyond_the_role_is_allowed(cluster: Cluster, resource: str, verb: str) -> None:
    guard = await guard_with(cluster, RULES, lacking=0)
    name, _, group = resource.partition(".")
    try:
        assert await guard.may(verb, group, name, cluster.namespace) is False
    finally:
        await guard.aclose()


@pytest.mark.parametrize("verb", ["update", "watch", "deletecollection"])
async def test_a_journal_in_the_cluster_needs_no_more_of_secrets(cluster: Cluster, verb: str) -> None:
    guard = await guard_with(cluster, RULES, lacking=0)
    try:
        assert await guard.may(verb, "", "secrets", cluster.namespace) is False
    finally:
        await guard.aclose()


async def test_without_a_journal_in_the_cluster_no_secret_may_be_touched(cluster: Cluster) -> None:
    lacking = (*JOURNAL_PERMISSIONS, *SECRET_PERMISSIONS, *SAVING_PERMISSIONS)
    verbs = [verb for permission in lacking for verb in permission.verbs]
    guard = await guard_with(cluster, [*OTHERS, *on_config_maps(NAMES)], lacking=len(verbs))
    try:
        assert {await guard.may(verb, "", "secrets", cluster.namespace) for verb in [*verbs, "update"]} == {False}
    finally:
        await guard.aclose()


@contextlib.asynccontextmanager
async def lacking(cluster: Cluster, verb: str, *, refused: bool) -> AsyncIterator[Scene]:
    """A bad release, and guards that are to go back step by step and may not do `verb` on Deployments."""
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    account = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    case = Case(Action.GRADUAL, refused=refused)
    rights = without("apps", "deployments", verb, OF_TARGETS)
    try:
        async with Scene.set_up(cluster, account, rights, None, case=case) as scene:
            scene.account = account
            await until(lambda: allowed(scene, account, "get"))
            yield scene
    finally:
        await account.aclose()


async def allowed(scene: Scene, account: KubernetesCluster, verb: str) -> bool:
    return bool(await account.may(verb, "apps", "deployments", scene.cluster.namespace, objects.DEPLOYMENT))


async def strategies(scene: Scene) -> list[str]:
    async with scene.stores.journal() as journal:
        events = [entry.event for entry in await journal.read_all()]
    return [event.plan.strategy for event in events if isinstance(event, RunOpened)]


async def lived(scene: Scene) -> Facts:
    """How it stands when a guard has nothing left to do; it has tried nothing that it may not do."""
    await scene.life(None)
    assert [r for r in await scene.cluster.audit() if r.user.endswith("guard") and r.code == 403] == []
    return await scene.facts()


async def test_a_gradual_rollback_that_may_not_create_its_helper_becomes_an_immediate_one(cluster: Cluster) -> None:
    async with lacking(cluster, "create", refused=False) as scene:
        facts = await lived(scene)
        assert await strategies(scene) == ["immediate"]
        assert [run.closed.outcome for run in facts.runs if run.closed] == ["recovered"]
        assert facts.image == objects.image(GOOD)


async def test_what_may_not_be_rolled_back_is_refused_until_it_may(cluster: Cluster) -> None:
    async with lacking(cluster, "patch", refused=True) as scene:
        facts = await lived(scene)
        assert (facts.changes, facts.runs, facts.ledger.freeze) == (0, [], None)

        await scene.cluster.regrant("guard", OF_TARGETS)
        account, scene.case = scene.account, Case(Action.GRADUAL)
        assert isinstance(account, KubernetesCluster)
        await until(lambda: allowed(scene, account, "patch"))
        facts = await lived(scene)
        assert await strategies(scene) == ["gradual"]
        assert facts.image == objects.image(GOOD)
