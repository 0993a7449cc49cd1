"""What a look at a Deployment tells of its release, where only a real API shows it: numbers, restarts, clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.domain.events import PodsReplaced, RevisionGood, RevisionLive
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import Target
from logcaster_guard.engine.hub import Hub
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.live_workload import LiveWorkload
from logcaster_guard.engine.operator_inbox import OperatorInbox
from logcaster_guard.engine.problem_tracker import Problems
from logcaster_guard.engine.revisions import RevisionWatch
from logcaster_guard.engine.sampling import Sampler
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.snapshotting import Snapshotter
from logcaster_guard.engine.watched_workload import WatchedWorkload
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import STRATEGIC_PATCH
from tests.cluster.harness import Cluster
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.journal import MemoryJournal
from tests.fakes.services import view_of
from tests.real.waiting import until

pytestmark = pytest.mark.timeout(60)
BEHIND = 8.0
RESTARTED = "kubectl.kubernetes.io/restartedAt"


class ClockBehind(SystemClock):
    """A machine whose wall clock is behind everybody else's."""

    def now(self) -> datetime:
        return super().now() - timedelta(seconds=BEHIND)


class OneQuietRule:
    def quiet(self, _: float) -> Mapping[str, bool | None]:
        return {"rule": True}


class Watched:
    """A Deployment without pods, and the watch of its release by a guard whose clock is behind."""

    def __init__(self, cluster: Cluster, api: ClusterPort) -> None:
        assert isinstance(api, KubernetesCluster)
        api._requests._wall = lambda: time.time() - BEHIND
        self.cluster = cluster
        self.path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments"
        self.target = Target("web", cluster.namespace, objects.DEPLOYMENT)
        self.journal = MemoryJournal()
        clock, policy = ClockBehind(), Policy()
        self.state = JournalState(self.journal, clock)
        services = Services(
            cluster=api,
            clock=clock,
            state=self.state,
            blobs=MemoryBlobs(),
            policy=policy,
            sources={},
            sampler=Sampler({}, clock, policy.polling.interval),
            signals={},
            hub=Hub(),
            problems=Problems(self.state, clock),
            inbox=OperatorInbox(api, self.state, clock, policy),
        )
        self.watch = RevisionWatch(
            TargetContext(self.target, LiveWorkload(self.target, api)),
            services,
            OneQuietRule(),
            WatchedWorkload(self.target, view_of(api, clock)),
            Snapshotter(self.target, api, services.manifests, clock),
        )

    async def patch(self, body: Json) -> datetime:
        """Somebody changes the Deployment; returns the latest instant, by the guard's clock, at which it was not so."""
        at = ClockBehind().now()
        await self.cluster.admin.patch(f"{self.path}/{objects.DEPLOYMENT}", body, STRATEGIC_PATCH)
        return at

    async def look(self, number: str, *, before: str = "") -> None:
        """Look until the present release is known by this number; no look shows another one than that `before`."""

        async def numbered() -> bool:
            await self.watch.look()
            ledger = self.state.ledger(self.target.key)
            found = ledger.records[ledger.present or ""].revision
            assert found in {before, number}
            return found == number

        await until(numbered, 10)

    def told(self, kind: type) -> list[object]:
        return [e.event for e in self.journal.entries if isinstance(e.event, kind)]


async def test_a_release_is_known_by_its_own_number_and_dated_by_the_guards_clock(
    cluster: Cluster, api: ClusterPort, rights: list[Json]
) -> None:
    await cluster.grant("guard", rights)
    made = Watched(cluster, api)
    await cluster.admin.create(made.path, objects.deployment(objects.image("1.0"), replicas=0))
    await made.look("1")
    await asyncio.sleep(1.1)  # stamps have whole seconds
    await made.watch.look()
    before = await made.patch(objects.new_image(objects.image("2.0")))
    await made.look("2")
    live = made.told(RevisionLive)[-1]
    assert isinstance(live, RevisionLive)
    assert live.earliest is not None
    assert before - timedelta(seconds=2.5) <= live.earliest <= ClockBehind().now()
    ledger = made.state.ledger(made.target.key)
    assert [[r.images for r in ledger.named(n)] for n in ("1", "2")] == [
        [(objects.image("1.0"),)],
        [(objects.image("2.0"),)],
    ]


async def test_a_restart_is_no_new_release(cluster: Cluster, api: ClusterPort, rights: list[Json]) -> None:
    await cluster.grant("guard", rights)
    made = Watched(cluster, api)
    await cluster.admin.create(made.path, objects.deployment(objects.image("1.0"), replicas=0))
    await made.look("1")
    template = made.state.ledger(made.target.key).present or ""
    good = RevisionGood(ClockBehind().now(), template, 1.0, 600.0)
    await made.state.tell(target_stream(made.target.key), good)
    await made.patch({"spec": {"template": {"metadata": {"annotations": {RESTARTED: "now"}}}}})
    await made.look("2", before="1")
    [replaced] = made.told(PodsReplaced)
    assert isinstance(replaced, PodsReplaced)
    assert replaced.changed == (RESTARTED,)
    assert len(made.told(RevisionLive)) == 1
    assert made.state.ledger(made.target.key).replaced_before(ClockBehind().now()) is not None
