"""The Lease adapter, and two keepers over it with clocks of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from logcaster_guard.adapters.kubernetes.access import missing_for_lease
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.lease import KubernetesLease
from logcaster_guard.domain.errors import ClusterError, Conflict, NoAuthority, NotFound
from logcaster_guard.domain.leadership import Record, Terms
from logcaster_guard.engine.fencing import FencedCluster
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.ports import Kind
from tests.cluster.harness import Cluster
from tests.fakes.clock import FakeClock
from tests.real.waiting import until

Json = dict[str, Any]
NAME = "logcaster-guard"
AT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
RECORD = Record("one", 1, 30.0, acquired=AT, renewed=AT)
TERMS = Terms(duration=30.0, renew_every=5.0, timeout=10.0)
OVERLAY = Path(__file__).parents[2] / "deploy" / "overlays" / "high-availability"
LEASES: list[Json] = next(d["rules"] for d in yaml.safe_load_all((OVERLAY / "rbac.yaml").read_text()))
MARKS = [{"apiGroups": [""], "resources": ["services"], "verbs": ["get", "patch"]}]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubernetesCluster]:
    await cluster.grant("guard", [*LEASES, *MARKS])
    made = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    yield made
    await made.aclose()


@pytest.fixture
async def lease(cluster: Cluster, api: KubernetesCluster) -> KubernetesLease:
    await allowed(api, cluster, lacking=0)
    return KubernetesLease(api, cluster.namespace, NAME)


async def allowed(api: KubernetesCluster, cluster: Cluster, *, lacking: int) -> Sequence[str]:
    """What is missing of the rights on the Lease, once the API server knows of those that were granted."""

    async def granted() -> Sequence[str] | None:
        found = await missing_for_lease(api, cluster.namespace, NAME)
        return found or [""] if len(found) == lacking else None

    return await until(granted) or []


def path(cluster: Cluster) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases/{NAME}"


async def test_it_is_a_lease_as_others_write_it(cluster: Cluster, lease: KubernetesLease) -> None:
    assert await lease.read() is None
    there = replace(RECORD, acquired=AT.astimezone(timezone(timedelta(hours=9))))
    written = await lease.write(there)
    raw = await cluster.admin.get(path(cluster))
    assert raw["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 30,
        "leaseTransitions": 1,
        "acquireTime": "2026-03-04T05:06:07.000089Z",
        "renewTime": "2026-03-04T05:06:07.000089Z",
    }
    assert written == replace(RECORD, version=raw["metadata"]["resourceVersion"]) == await lease.read()


async def test_of_two_who_make_it_one_does(lease: KubernetesLease) -> None:
    found = await asyncio.gather(
        *(lease.write(replace(RECORD, holder=str(n))) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(f, Record) for f in found) == 1
    assert sum(isinstance(f, Conflict) for f in found) == 4


async def test_who_has_not_seen_the_newest_record_does_not_write(lease: KubernetesLease) -> None:
    first = await lease.write(RECORD)
    second = await lease.write(replace(first, holder="two", epoch=2))
    assert second.version != first.version
    with pytest.raises(Conflict):
        await lease.write(replace(first, renewed=AT + timedelta(seconds=5)))
    assert await lease.read() == second


async def test_nobody_holds_one_that_was_given_back(cluster: Cluster, lease: KubernetesLease) -> None:
    first = await lease.write(RECORD)
    freed = await lease.write(replace(first, holder=""))
    assert freed.holder == ""
    assert "holderIdentity" not in (await cluster.admin.get(path(cluster)))["spec"]


async def test_one_that_is_gone_is_not_made_by_a_renewal(cluster: Cluster, lease: KubernetesLease) -> None:
    first = await lease.write(RECORD)
    await cluster.admin.delete(path(cluster))
    with pytest.raises(NotFound):
        await lease.write(replace(first, renewed=AT + timedelta(seconds=5)))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"holderIdentity": "other", "renewTime": "2026-03-04T05:06:07.000000Z"},
        {"holderIdentity": "other", "renewTime": "2026-03-04T14:06:07.123456+09:00", "leaseDurationSeconds": 15},
    ],
)
async def test_what_another_program_wrote_is_read_for_what_it_says(
    cluster: Cluster, lease: KubernetesLease, spec: Json
) -> None:
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec}
    await cluster.admin.create(path(cluster).rpartition("/")[0], body)
    found = await lease.read()
    assert found is not None
    assert (found.holder, found.epoch) == (spec.get("holderIdentity", ""), 0)
    taken = await lease.write(replace(found, holder="one", epoch=1, duration=30.0, renewed=AT, acquired=AT))
    assert replace(taken, version="") == RECORD


def without(verb: str) -> list[Json]:
    """The shipped Role's rules less one verb."""
    kept = [{**rule, "verbs": [v for v in rule["verbs"] if v != verb]} for rule in LEASES]
    return [rule for rule in kept if rule["verbs"]]


@pytest.mark.parametrize("verb", ["get", "create", "patch"])
async def test_without_a_verb_of_the_shipped_role_it_is_named_and_its_use_is_refused(
    cluster: Cluster, verb: str
) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    await cluster.grant("guard", without(verb))
    made = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    try:
        (sentence,) = await allowed(made, cluster, lacking=1)
        assert f"the verb {verb} on leases.coordination.k8s.io there" in sentence
        lease = KubernetesLease(made, cluster.namespace, NAME)
        with pytest.raises(ClusterError) as caught:
            await (lease.read() if verb == "get" else lease.write(replace(RECORD, version="1" * (verb == "patch"))))
    finally:
        await made.aclose()
    assert caught.value.status == 403


class Contender:
    """An elector with a clock of its own, whose wall is wherever `skew` puts it."""

    def __init__(self, api: KubernetesCluster, namespace: str, name: str, *, skew: float = 0.0) -> None:
        self.clock = FakeClock(monotonic=50_000.0 * len(name), now=datetime.now(UTC) + timedelta(seconds=skew))
        self.elector = LeaderElector(KubernetesLease(api, namespace, NAME), self.clock, TERMS, name)
        self.cluster = FencedCluster(api, self.elector.term())
        self.task = asyncio.create_task(self.elector.run())

    @property
    def acts(self) -> bool:
        return not self.elector.term().over

    async def pass_(self, seconds: float) -> None:
        """Let its clock advance, with time between for the API server to answer."""
        for _ in range(int(seconds)):
            await self.clock.advance(1.0)
            for _ in range(8):
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.mark.parametrize("skew", [0.0, -86_400.0, 86_400.0])
async def test_a_frozen_holder_is_replaced_and_may_write_nothing(
    cluster: Cluster, lease: KubernetesLease, api: KubernetesCluster, skew: float
) -> None:
    del lease
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    await cluster.admin.create(f"/api/v1/namespaces/{cluster.namespace}/services", service)
    first, second = (
        Contender(api, cluster.namespace, "first"),
        Contender(api, cluster.namespace, "the-second", skew=skew),
    )
    try:
        await until(lambda: _acts(first))
        fenced = FencedCluster(api, first.elector.term())
        mark = [{"op": "add", "path": "/metadata/annotations", "value": {"by": "first"}}]
        await fenced.json_patch(Kind.SERVICE, cluster.namespace, "web", mark)
        # Its clock stands still from here on; the other's does not.
        await second.pass_(2)
        assert not second.acts
        await second.pass_(TERMS.duration)
        await until(lambda: _acts(second))
        # It wakes, and its monotonic clock has gone on all the while.
        first.clock.skip(TERMS.duration + 2)
        with pytest.raises(NoAuthority):
            await fenced.json_patch(Kind.SERVICE, cluster.namespace, "web", mark)
        await first.pass_(12)
        assert [first.acts, second.acts] == [False, True]
        assert first.elector.holder == "the-second"
    finally:
        await first.stop()
        await second.stop()
    raw = await cluster.admin.get(path(cluster))
    assert (raw["spec"]["holderIdentity"], raw["spec"]["leaseTransitions"]) == ("the-second", 2)


async def _acts(contender: Contender) -> bool:
    if not contender.acts:
        await contender.pass_(5)
    return contender.acts
