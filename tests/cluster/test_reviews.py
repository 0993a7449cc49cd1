"""Who a token's holder is and what they may change, as the API server tells the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml

from logcaster_guard.adapters.kubernetes.access import DELEGATED, missing_delegations
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.reviews import KubernetesGate
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.ports import Kind
from tests.cluster.harness import Cluster
from tests.cluster.test_people import DEPLOY
from tests.real.waiting import until

RULE = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"], "verbs": ["get", "patch"]}


@pytest.fixture
async def gate(cluster: Cluster) -> AsyncIterator[KubernetesGate]:
    made = KubernetesGate(
        await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=10.0), audience=None
    )
    yield made
    await made.aclose()


async def test_a_token_is_its_holders_and_the_rights_are_theirs_alone(cluster: Cluster, gate: KubernetesGate) -> None:
    await cluster.grant("alice", [RULE])
    alice, bob = [await gate.caller(cluster.token(user)) for user in ("alice", "bob")]
    assert alice is not None
    assert bob is not None
    assert (alice.name.rpartition(":")[2], bob.name.rpartition(":")[2]) == ("alice", "bob")
    here = (Kind.DEPLOYMENT, cluster.namespace, "web")

    async def granted() -> bool:
        return await gate.may_change(alice, *here)

    await until(granted)
    assert not await gate.may_change(bob, *here)
    if cluster.kind == "real":
        elsewhere = [(Kind.DEPLOYMENT, cluster.namespace, "another"), (Kind.STATEFUL_SET, cluster.namespace, "web")]
        assert not any([await gate.may_change(alice, *place) for place in elsewhere])


@pytest.mark.parametrize("token", ["nobodys", "x" * 4_000, "a b", "\u00e9", "a\nb"])
async def test_any_other_token_is_nobodys(gate: KubernetesGate, token: str) -> None:
    assert await gate.caller(token) is None


async def test_a_token_for_another_audience_is_nobodys(cluster: Cluster) -> None:
    made = KubernetesGate(
        await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=10.0), audience="logcaster-guard"
    )
    try:
        assert await made.caller(cluster.token("alice")) is None
        if cluster.kind == "real":
            base = f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts"
            await cluster.admin.create(base, {"metadata": {"name": "people"}})
            spec = {"spec": {"audiences": ["logcaster-guard"], "expirationSeconds": 600}}
            answer = await cluster.admin.create(f"{base}/people/token", spec)
            caller = await made.caller(str(answer["status"]["token"]))
            assert caller is not None
            assert caller.name == f"system:serviceaccount:{cluster.namespace}:people"
    finally:
        await made.aclose()


async def test_each_verb_of_the_component_is_needed_named_and_enough(cluster: Cluster) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    role = next(yaml.safe_load_all((DEPLOY / "components" / "api-auth" / "rbac.yaml").read_text()))
    shipped = {
        (g, r, v) for rule in role["rules"] for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
    }
    assert shipped == {(p.group, p.resource, v) for p in DELEGATED for v in p.verbs}
    guard = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    gate = KubernetesGate(guard, audience=None)
    base, name = "/apis/rbac.authorization.k8s.io/v1", cluster.namespace
    try:
        assert len(await missing_delegations(guard)) == 2
        with pytest.raises(Rejected, match="403"):
            await gate.caller(cluster.token("alice"))
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [cluster.subjects("guard")]}
        await cluster.admin.create(f"{base}/clusterrolebindings", binding)
        await cluster.admin.create(f"{base}/clusterroles", {"metadata": {"name": name}, "rules": role["rules"][:1]})

        async def lacking(count: int) -> bool:
            return len(await missing_delegations(guard)) == count

        await until(lambda: lacking(1))
        (sentence,) = await missing_delegations(guard)
        assert "create subjectaccessreviews.authorization.k8s.io" in sentence
        alice = await gate.caller(cluster.token("alice"))
        assert alice is not None
        with pytest.raises(Rejected, match="403"):
            await gate.may_change(alice, Kind.DEPLOYMENT, cluster.namespace, "web")
        await cluster.admin.delete(f"{base}/clusterroles/{name}")
        await cluster.admin.create(f"{base}/clusterroles", {"metadata": {"name": name}, "rules": role["rules"]})
        await until(lambda: lacking(0))
        assert not await gate.may_change(alice, Kind.DEPLOYMENT, cluster.namespace, "web")
    finally:
        await gate.aclose()
        await cluster.admin.delete(f"{base}/clusterrolebindings/{name}")
        await cluster.admin.delete(f"{base}/clusterroles/{name}")
