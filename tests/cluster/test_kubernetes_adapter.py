from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes import cluster as adapter
from logcaster_guard.adapters.kubernetes.access import PERMISSIONS, missing_permissions
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.event_channel import EventChannel
from logcaster_guard.adapters.kubernetes.pods import endpoints_of
from logcaster_guard.adapters.kubernetes.rosters import Rosters
from logcaster_guard.adapters.kubernetes.signals import KubernetesSource
from logcaster_guard.domain.errors import Conflict, NotFound, Rejected
from logcaster_guard.domain.notices import Delivered, Notice, Severity
from logcaster_guard.domain.ownership import Roster
from logcaster_guard.domain.signals import NoData, Signal, SourceName, Target, Unit, Value
from logcaster_guard.domain.workload import Workload, template_hash
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.ports import Json, Kind, Request
from logcaster_guard.sandbox import objects
from tests.cluster.harness import Cluster
from tests.cluster.roles import TARGETS, rules_in
from tests.fakes.clock import START, FakeClock
from tests.fakes.services import view_of
from tests.real.waiting import until

RULES = rules_in(*TARGETS, names={objects.DEPLOYMENT: "web", f"{objects.DEPLOYMENT}-rollback": "web-rollback"})
LONG_AGO = "2025-12-31T23:00:00Z"
SIGNALS = [Signal(n, Unit.COUNT, SourceName.KUBERNETES) for n in ("restart_count", "unready_pods", "rollout_stalled")]


def pod_template(image: str = "web:1") -> Json:
    limits = {"limits": {"memory": "64Mi"}}
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image, "resources": limits}]},
    }


def deployment(replicas: int = 2, name: str = "web") -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template()},
    }


def path_of(cluster: Cluster, group: str, plural: str) -> str:
    return f"/{group}/namespaces/{cluster.namespace}/{plural}"


def deployments(cluster: Cluster) -> str:
    return path_of(cluster, "apis/apps/v1", "deployments")


def pods(cluster: Cluster) -> str:
    return path_of(cluster, "api/v1", "pods")


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[KubernetesCluster]:
    made = await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=10.0)
    yield made
    await made.aclose()


@pytest.fixture
async def guard(cluster: Cluster) -> AsyncIterator[KubernetesCluster]:
    """The adapter with the shipped Role's rights, once the API server knows of them."""
    await cluster.grant("guard", RULES)
    made = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)

    async def granted() -> bool:
        return not await missing_permissions(made, [target(cluster)])

    await until(granted)
    yield made
    await made.aclose()


def target(cluster: Cluster) -> Target:
    return Target(name="web", namespace=cluster.namespace, deployment="web", service="web")


async def running(cluster: Cluster, replicas: int = 2) -> list[Json]:
    """The Deployment's pods, once its controller made them all."""
    await cluster.admin.create(deployments(cluster), deployment(replicas))

    async def made() -> list[Json]:
        found = await cluster.admin.list(pods(cluster))
        return found if len(found) == replicas else []

    return await until(made)


async def set_status(cluster: Cluster, name: str, *, ready: bool, restarts: int = 0, waiting: str = "") -> None:
    container: Json = {"name": "web", "image": "web:1", "imageID": "", "ready": ready, "restartCount": restarts}
    container["state"] = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": LONG_AGO}}
    status = {
        "phase": "Pending" if waiting else "Running",
        "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": LONG_AGO}],
        "containerStatuses": [container],
    }
    await cluster.admin.patch(f"{pods(cluster)}/{name}/status", {"status": status})


def source(guard: KubernetesCluster, *crowded: str) -> KubernetesSource:
    return KubernetesSource(guard, view_of(guard, FakeClock(), *crowded), FakeClock())


async def numbers(cluster: Cluster, guard: KubernetesCluster) -> dict[str, float]:
    """What the source reads, which is the same by itself, through the shared view, and from a list of everything."""
    readings = await read_now(source(guard), target(cluster), SIGNALS)
    assert all(isinstance(r, Value) for r in readings.values()), readings
    for crowded in ([], [cluster.namespace]):
        requests = [Request(target(cluster), signal, shared=True) for signal in SIGNALS]
        shared = {r.signal.name: reading async for r, reading in source(guard, *crowded).read(requests)}
        assert shared == readings
    return {name: r.number for name, r in readings.items() if isinstance(r, Value)}


async def test_an_object_is_read_whole(cluster: Cluster, guard: KubernetesCluster) -> None:
    made = await cluster.admin.create(deployments(cluster), deployment(0))
    found = await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert found["spec"]["template"] == made["spec"]["template"]


async def test_what_is_not_there_is_not_found(cluster: Cluster, guard: KubernetesCluster) -> None:
    with pytest.raises(NotFound, match='"web" not found'):
        await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")
    with pytest.raises(NotFound):
        await guard.json_patch(Kind.DEPLOYMENT, cluster.namespace, "web", [])
    readings = await read_now(source(guard), target(cluster), SIGNALS)
    assert all(isinstance(reading, NoData) for reading in readings.values())


async def test_a_patch_on_a_stale_version_conflicts_and_changes_nothing(
    cluster: Cluster, guard: KubernetesCluster
) -> None:
    await cluster.admin.create(deployments(cluster), deployment(0))

    async def settled() -> Json:
        seen = await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")
        return seen if Workload(seen).observed else {}

    def pause(version: str) -> list[Json]:
        return [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/spec/paused", "value": True},
        ]

    version = Workload(await until(settled)).resource_version
    paused = await guard.json_patch(Kind.DEPLOYMENT, cluster.namespace, "web", pause(version))
    assert Workload(paused).paused
    with pytest.raises(Conflict):
        await guard.json_patch(Kind.DEPLOYMENT, cluster.namespace, "web", pause(version))
    owners = {m["manager"] for m in paused["metadata"]["managedFields"]}
    assert "logcaster-guard" in owners


async def test_a_failed_test_operation_is_rejected(cluster: Cluster, guard: KubernetesCluster) -> None:
    await cluster.admin.create(deployments(cluster), deployment(0))
    with pytest.raises(Rejected) as caught:
        await guard.json_patch(
            Kind.DEPLOYMENT, cluster.namespace, "web", [{"op": "test", "path": "/spec/replicas", "value": 9}]
        )
    assert caught.value.status == 422


async def test_a_list_takes_the_selector_and_every_kind_is_served(cluster: Cluster, guard: KubernetesCluster) -> None:
    for name, labels in (("a", {"app": "web"}), ("b", {"app": "other"})):
        await cluster.admin.create(pods(cluster), bare_pod(name, labels))
    assert [p["metadata"]["name"] for p in await guard.list(Kind.POD, cluster.namespace, "app=web")] == ["a"]
    assert len(await guard.list(Kind.POD, cluster.namespace)) == 2
    for kind in (Kind.REPLICA_SET, Kind.AUTOSCALER):
        assert await guard.list(kind, cluster.namespace) == []


def bare_pod(name: str, labels: dict[str, str]) -> Json:
    spec = {"containers": [{"name": "c", "image": "web:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


async def test_server_side_apply_is_under_the_given_manager(cluster: Cluster, guard: KubernetesCluster) -> None:
    await cluster.admin.create(deployments(cluster), deployment(0))
    body = deployment(0)
    body["metadata"]["namespace"] = cluster.namespace
    body["spec"]["template"] = pod_template("web:2")

    async def apply(manager: str, *, force: bool) -> Json:
        return await guard.apply(Kind.DEPLOYMENT, cluster.namespace, "web", body, manager=manager, force=force)

    with pytest.raises(Conflict, match="conflict"):
        await apply("ci", force=False)
    applied = Workload(await apply("ci", force=True))
    assert applied.images == ("web:2",)
    managers = {(m["manager"], m["operation"]) for m in applied.raw["metadata"]["managedFields"]}
    assert ("ci", "Apply") in managers
    # The one who created it still owns a part: alone, this manager could not bring a whole template back.
    assert applied.server_side_manager() is None


async def test_a_name_that_is_taken_conflicts(cluster: Cluster, admin: KubernetesCluster) -> None:
    body = bare_pod("a", {})
    made = await admin.create(Kind.POD, cluster.namespace, body)
    assert made["metadata"]["uid"]
    with pytest.raises(Conflict, match="already exists"):
        await admin.create(Kind.POD, cluster.namespace, body)


async def test_a_deletion_holds_to_its_preconditions_and_waits_for_the_children(
    cluster: Cluster, admin: KubernetesCluster
) -> None:
    await cluster.admin.create(deployments(cluster), deployment(0))

    async def with_replica_set() -> bool:
        return bool(await admin.list(Kind.REPLICA_SET, cluster.namespace))

    await until(with_replica_set)
    workload = Workload(await admin.get(Kind.DEPLOYMENT, cluster.namespace, "web"))
    for uid, version in (("00000000-0000-0000-0000-000000000000", None), (workload.uid, "1")):
        with pytest.raises(Conflict):
            await admin.delete(Kind.DEPLOYMENT, cluster.namespace, "web", uid=uid, resource_version=version)
    assert not Workload(await admin.get(Kind.DEPLOYMENT, cluster.namespace, "web")).deleting
    await admin.delete(Kind.DEPLOYMENT, cluster.namespace, "web", uid=workload.uid, resource_version=None)

    async def gone() -> bool:
        try:
            found = await admin.get(Kind.DEPLOYMENT, cluster.namespace, "web")
        except NotFound:
            return True
        assert "foregroundDeletion" in found["metadata"]["finalizers"]
        return False

    await until(gone)
    assert not await admin.list(Kind.REPLICA_SET, cluster.namespace)
    with pytest.raises(NotFound):
        await admin.delete(Kind.DEPLOYMENT, cluster.namespace, "web", uid=workload.uid, resource_version=None)


async def test_wrong_credentials_are_rejected(cluster: Cluster) -> None:
    path = cluster.kubeconfig("guard")
    path.write_text(path.read_text().replace(cluster.guard_token, "nobody"))
    stranger = await connect(kubeconfig=path, context=None, timeout=10.0)
    with pytest.raises(Rejected) as caught:
        await stranger.get(Kind.DEPLOYMENT, cluster.namespace, "web")
    await stranger.aclose()
    assert caught.value.status == 401


async def test_missing_permissions_are_named_before_they_are_missed(cluster: Cluster) -> None:
    bare = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    missing = await missing_permissions(bare, [target(cluster)])
    if cluster.kind == "real":
        assert len(missing) == sum(len(p.verbs) for p in PERMISSIONS if p.concerns(target(cluster)))
        assert f"cannot patch deployments.apps web in namespace {cluster.namespace}" in "\n".join(missing)
        with pytest.raises(Rejected) as caught:
            await bare.get(Kind.DEPLOYMENT, cluster.namespace, "web")
        assert caught.value.status == 403
    else:
        assert missing == []
    await bare.aclose()


async def test_the_pods_of_the_deployment_make_the_signals(cluster: Cluster, guard: KubernetesCluster) -> None:
    first, second = [p["metadata"]["name"] for p in await running(cluster)]
    stranger = bare_pod("stranger", {"app": "web"})
    await cluster.admin.create(pods(cluster), stranger)
    await set_status(cluster, "stranger", ready=False, restarts=99)

    await set_status(cluster, first, ready=True, restarts=9)
    await set_status(cluster, second, ready=False, restarts=6, waiting="CrashLoopBackOff")

    async def counted() -> bool:
        return Workload(await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")).observed

    await until(counted)
    assert await numbers(cluster, guard) == {"restart_count": 6, "unready_pods": 1, "rollout_stalled": 1}
    await set_status(cluster, second, ready=True, restarts=7)

    async def quiet() -> bool:
        return await numbers(cluster, guard) == {"restart_count": 0, "unready_pods": 0, "rollout_stalled": 0}

    await until(quiet)


async def test_a_finished_rollout_with_a_crashing_pod_is_not_a_stalled_one(
    cluster: Cluster, guard: KubernetesCluster
) -> None:
    names = [p["metadata"]["name"] for p in await running(cluster)]
    for name in names:
        await set_status(cluster, name, ready=True)

    async def finished() -> bool:
        found = await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")
        return "NewReplicaSetAvailable" in [c.get("reason") for c in found["status"].get("conditions") or []]

    await until(finished)
    await set_status(cluster, names[0], ready=False, restarts=8, waiting="CrashLoopBackOff")

    async def unavailable() -> bool:
        found = await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")
        return bool(found["status"].get("availableReplicas", 0) == 1)

    await until(unavailable)
    assert await numbers(cluster, guard) == {"restart_count": 8, "unready_pods": 1, "rollout_stalled": 0}


async def test_running_pods_can_be_scraped(cluster: Cluster, guard: KubernetesCluster) -> None:
    name = (await running(cluster))[0]["metadata"]["name"]
    await set_status(cluster, name, ready=False)
    (found,) = await endpoints_of(guard, target(cluster))
    workload = await guard.get(Kind.DEPLOYMENT, cluster.namespace, "web")
    assert (found.pod, found.ip, found.memory_limit) == (name, "10.1.2.3", 64 * 1024**2)
    assert found.template == template_hash(workload["spec"]["template"])


@pytest.mark.parametrize("name", ["web", "logcaster-relay-of-the-second-region-with-a-name-of-its-own"])
async def test_whose_pod_a_name_is_follows_from_who_owns_it(
    cluster: Cluster, guard: KubernetesCluster, name: str
) -> None:
    for called, of in ((name, "one"), (f"{name}-b", "other")):
        body = deployment(1, called)
        body["spec"]["selector"]["matchLabels"]["of"] = body["spec"]["template"]["metadata"]["labels"]["of"] = of
        await cluster.admin.create(deployments(cluster), body)
    hook = f"{name}-"[:50] + "x8k2p"
    await cluster.admin.create(pods(cluster), bare_pod(hook, {"app": "web", "of": "one"}))

    async def made() -> list[Json]:
        found = await cluster.admin.list(pods(cluster))
        return found if len(found) == 3 else []

    items = await until(made)
    workload = await guard.get(Kind.DEPLOYMENT, cluster.namespace, name)
    sets = await guard.list(Kind.REPLICA_SET, cluster.namespace)
    (own_set,) = (s["metadata"] for s in sets if s["metadata"]["ownerReferences"][0]["name"] == name)
    (own,) = (
        i["metadata"]["name"]
        for i in items
        if (i["metadata"].get("ownerReferences") or [{}])[0].get("uid") == own_set["uid"]
    )
    roster = await Rosters(guard, view_of(guard, FakeClock()), FakeClock())(Target("t", cluster.namespace, name), False)
    assert isinstance(roster, Roster)
    assert roster.release(own) == template_hash(workload["spec"]["template"])
    assert [i["metadata"]["name"] for i in items if roster.release(i["metadata"]["name"]) is not None] == [own]
    assert re.fullmatch(roster.pattern, own)


def notice(cluster: Cluster, **changes: Any) -> Notice:
    told: dict[str, Any] = {
        "id": "run-1/1",
        "at": START,
        "event": "run.opened",
        "severity": Severity.WARNING,
        "title": "Rollback of web",
        "text": "Two\nlines.",
        "namespace": cluster.namespace,
        "deployment": "web",
        "run": "run-1",
    }
    return Notice(**(told | changes))


async def test_a_run_is_told_once_on_its_deployment(cluster: Cluster, guard: KubernetesCluster) -> None:
    made = await cluster.admin.create(deployments(cluster), deployment(0))
    channel = EventChannel(guard)
    for _ in range(2):
        assert isinstance(await channel.deliver(notice(cluster)), Delivered)
    found = await cluster.admin.list(path_of(cluster, "api/v1", "events"))
    ours = [e for e in found if e["source"]["component"] == "logcaster-guard"]
    assert [(e["type"], e["reason"], e["message"]) for e in ours] == [
        ("Warning", "RunOpened", "Rollback of web: Two\\nlines.")
    ]
    assert ours[0]["involvedObject"]["uid"] == made["metadata"]["uid"]


async def test_a_run_whose_deployment_is_gone_is_told_all_the_same(cluster: Cluster, guard: KubernetesCluster) -> None:
    assert isinstance(await EventChannel(guard).deliver(notice(cluster)), Delivered)
    assert len(await cluster.admin.list(path_of(cluster, "api/v1", "events"))) == 1


async def test_a_run_whose_deployment_may_no_longer_be_read_is_told_all_the_same(
    cluster: Cluster, guard: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: object) -> Json:
        raise Rejected("get is forbidden", status=403)

    monkeypatch.setattr(guard, "get", forbidden)
    assert isinstance(await EventChannel(guard).deliver(notice(cluster)), Delivered)
    assert len(await cluster.admin.list(path_of(cluster, "api/v1", "events"))) == 1


async def test_what_belongs_to_no_run_changes_nothing(cluster: Cluster, guard: KubernetesCluster) -> None:
    await EventChannel(guard).deliver(notice(cluster, run=""))
    await read_now(source(guard), target(cluster), SIGNALS)
    assert [r for r in await cluster.audit() if r.user == "guard" and r.namespace == cluster.namespace] == []


async def test_a_list_tells_its_version_and_an_earlier_one_is_shown_in_pages_as_it_was(
    cluster: Cluster, admin: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(cluster, "api/v1", "configmaps")
    for name in ("a", "b", "c"):
        await cluster.admin.create(path, {"metadata": {"name": name, "labels": {"app": "web"}}})
    monkeypatch.setattr(adapter, "PAGE", 1)
    then, version = await admin.listing(Kind.CONFIG_MAP, cluster.namespace, selector="app=web")
    await cluster.admin.delete(f"{path}/a")
    await cluster.admin.create(path, {"metadata": {"name": "d", "labels": {"app": "web"}}})
    now, later = await admin.listing(Kind.CONFIG_MAP, cluster.namespace, selector="app=web")
    assert [item["metadata"]["name"] for item in now] == ["b", "c", "d"]
    assert int(later) > int(version)
    again = await admin.listing(Kind.CONFIG_MAP, cluster.namespace, selector="app=web", version=version)
    assert again == (then, version)
    assert [item["metadata"]["name"] for item in then] == ["a", "b", "c"]
    one, _ = await admin.listing(Kind.CONFIG_MAP, cluster.namespace, "b")
    assert [item["metadata"]["name"] for item in one] == ["b"]
