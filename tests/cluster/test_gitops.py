"""A workload that Argo CD or Flux owns: refused, suspended until a fix arrives, or fought over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import gitops, runs
from logcaster_guard.domain.events import Event, OwnerResumed, OwnerSuspended, RunClosed, StepDone
from logcaster_guard.domain.gitops import GitOps, OwnerKind
from logcaster_guard.domain.notices import Delivered, Delivery, Notice
from logcaster_guard.domain.rules import Action
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, STRATEGIC_PATCH, ApiRefused
from logcaster_guard.stores import CODEC
from tests.cluster import owners
from tests.cluster.case import BAD, GOOD, WITHIN, Case, ImageSource, image_of
from tests.cluster.crashes import Cell, Moment, Point, Tape
from tests.cluster.harness import Cluster
from tests.cluster.owners import AUTOMATED, Fighter, Owned
from tests.cluster.roles import OF_TARGETS
from tests.cluster.scene import Scene
from tests.real.waiting import until

Json = dict[str, Any]
FIX = "3.0"
OWNERS = list(OwnerKind)
pytestmark = [pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


@dataclass
class Told:
    """A channel that keeps what it is given."""

    name: str = "inbox"
    notices: list[Notice] = field(default_factory=list)

    async def deliver(self, notice: Notice) -> Delivery:
        self.notices.append(notice)
        return Delivered()

    async def aclose(self) -> None:
        pass

    def of(self, event: str) -> list[Notice]:
        return [n for n in self.notices if n.event == event]


@dataclass
class Watched:
    """A scene with its owner, a guard at work on it, and what people were told."""

    scene: Scene
    owned: Owned
    told: Told
    fighter: Fighter
    task: asyncio.Task[None] | None = None
    journal: SqliteJournal | None = None

    @contextlib.asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """A guard from its start to its end."""
        self.journal = await SqliteJournal.open(CODEC, self.scene.folder / "journal.db")
        source = ImageSource(self.scene.world, self.scene.clock, self.scene.case)
        guard = self.scene.guard(self.journal, source, Tape(None))
        task = asyncio.create_task(guard.run())
        try:
            yield
            if task.done():
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.journal.aclose()
            self.journal = None

    async def events(self, *kinds: type[Event]) -> list[Event]:
        assert self.journal is not None
        return [e.event for e in await self.journal.read_all() if isinstance(e.event, kinds)]

    async def happened(self, *kinds: type[Event], within: float = WITHIN) -> Event:
        async def there() -> list[Event]:
            return await self.events(*kinds)

        return (await until(there, within))[-1]

    async def closed(self) -> RunClosed:
        found = await self.happened(RunClosed)
        assert isinstance(found, RunClosed)
        return found

    async def image(self) -> str:
        return image_of(await self.scene.world.deployment())


@contextlib.asynccontextmanager
async def watched(
    cluster: Cluster, kind: OwnerKind, policy: GitOps, *, rights: Sequence[Json] = OF_TARGETS
) -> AsyncIterator[Watched]:
    api = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    try:
        async with Scene.set_up(
            cluster, api, rights, None, case=Case(Action.IMMEDIATE, owner=kind, gitops=policy)
        ) as scene:
            assert scene.owned is not None
            told = Told()
            scene.channels = [told]
            fighter = Fighter(scene.owned, {v: objects.image(v) for v in (GOOD, BAD, FIX)})
            yield Watched(scene, scene.owned, told, fighter)
    finally:
        await api.aclose()


@pytest.mark.parametrize("kind", OWNERS)
async def test_the_owner_makes_the_guard_refuse_and_the_bad_commit_is_named(cluster: Cluster, kind: OwnerKind) -> None:
    async with watched(cluster, kind, GitOps.REFUSE) as world, world.guarded():

        async def refused() -> list[Notice]:
            return world.told.of("trigger.refused")

        [notice] = await until(refused, WITHIN)
        assert notice.facts["guardrails"] == "gitops_owner"
        assert f"{kind} {world.owned.namespace}/{owners.NAME}" in notice.text
        assert f"revert the bad release (revision {BAD})" in notice.text
        assert await world.image() == objects.image(BAD)
        assert not await world.owned.suspended()
        assert await world.events(RunClosed) == []


async def test_without_rights_the_commit_is_not_named_and_suspending_is_refused(cluster: Cluster) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    for policy in (GitOps.REFUSE, GitOps.SUSPEND):
        async with watched(cluster, OwnerKind.KUSTOMIZATION, policy) as world:
            await world.scene.cluster.regrant("guard", OF_TARGETS)
            async with world.guarded():

                async def refused(world: Watched = world) -> list[Notice]:
                    return world.told.of("trigger.refused")

                [notice] = await until(refused, WITHIN)
                assert notice.facts["guardrails"] == "gitops_owner"
                assert "kustomizations.kustomize.toolkit.fluxcd.io" in notice.text
                assert await world.events(RunClosed) == []


@pytest.mark.parametrize("kind", OWNERS)
async def test_it_stays_suspended_after_the_rollback_until_a_fix_arrives(cluster: Cluster, kind: OwnerKind) -> None:
    async with watched(cluster, kind, GitOps.SUSPEND) as world:
        before = await world.owned.spec()
        async with world.fighter.fighting():
            async with world.guarded():
                assert (await world.closed()).outcome == runs.RECOVERED
                assert await world.owned.suspended()
                assert await world.image() == objects.image(GOOD)
                [suspended] = await world.events(OwnerSuspended)
                assert isinstance(suspended, OwnerSuspended)
                await until(lambda: _there(world.told.of("owner.suspended")), WITHIN)
                [notice] = world.told.of("owner.suspended")
                assert BAD in notice.text
            # A guard that is started later has it from the journal; the bad revision alone is no news to it.
            async with world.guarded():
                await asyncio.sleep(1.0)
                assert await world.owned.suspended()
                assert world.fighter.applied == []
                await world.owned.wants(FIX)
                resumed = await world.happened(OwnerResumed)
                assert isinstance(resumed, OwnerResumed)
                assert (resumed.by, FIX in english().text(resumed.reason)) == ("guard", True)
                await until(lambda: _equal(world.image(), objects.image(FIX)), WITHIN)
                await until(lambda: _there(world.told.of("owner.resumed")), WITHIN)
        raw = await world.owned.raw()
        assert (raw["spec"], gitops.mark_of(raw)) == (before, None)
        assert list(raw["spec"].get("syncPolicy", {}).get("automated", AUTOMATED)) == list(AUTOMATED)
        assert set(world.fighter.applied) == {objects.image(FIX)}


@pytest.mark.parametrize("kind", OWNERS)
async def test_somebody_elses_resume_is_theirs(cluster: Cluster, kind: OwnerKind) -> None:
    async with watched(cluster, kind, GitOps.SUSPEND) as world, world.guarded():
        assert (await world.closed()).outcome == runs.RECOVERED
        await world.owned.resumed_by_a_person()
        theirs = await world.owned.spec()
        resumed = await world.happened(OwnerResumed)
        assert isinstance(resumed, OwnerResumed)
        assert resumed.by == "somebody else"
        assert await world.owned.spec() == theirs
        await world.owned.wants(FIX)
        await asyncio.sleep(0.5)
        assert await world.owned.spec() == theirs
        assert len(await world.events(OwnerResumed)) == 1


@pytest.mark.parametrize("kind", OWNERS)
async def test_a_run_that_is_abandoned_gives_the_owner_back_at_once(cluster: Cluster, kind: OwnerKind) -> None:
    async with watched(cluster, kind, GitOps.SUSPEND) as world:
        before = await world.owned.spec()
        async with world.guarded():

            async def restored() -> bool:
                done = [e for e in await world.events(StepDone) if isinstance(e, StepDone)]
                return any(e.step >= 1 for e in done)

            await until(restored, WITHIN)
            await world.scene.world.deploy(FIX)
            assert (await world.closed()).outcome == runs.ABANDONED
            assert await world.events(OwnerSuspended) == []
        raw = await world.owned.raw()
        assert (raw["spec"], gitops.mark_of(raw)) == (before, None)
        assert await world.image() == objects.image(FIX)


async def test_a_suspension_that_arrives_after_its_run_has_closed_is_undone(cluster: Cluster) -> None:
    async with watched(cluster, OwnerKind.KUSTOMIZATION, GitOps.SUSPEND) as world:
        before = await world.owned.spec()
        tape = await world.scene.life(Cell(Point(f"patch {Kind.KUSTOMIZATION}", 1), Moment.LATE))
        assert tape.unsent is not None
        await world.scene.world.deploy(FIX)
        await world.scene.world.rolled_out(WITHIN)
        await world.scene.life(None)
        assert not await world.owned.suspended()
        await tape.unsent()
        assert await world.owned.suspended()
        await world.scene.swept()
        raw = await world.owned.raw()
        assert (raw["spec"], gitops.mark_of(raw)) == (before, None)


@pytest.mark.parametrize("kind", [OwnerKind.KUSTOMIZATION, OwnerKind.HELM_RELEASE])
@pytest.mark.parametrize("swept", [False, True], ids=["between two looks", "after the guard has let go of it"])
async def test_whoever_resumes_an_owner_and_suspends_it_again_keeps_it_suspended(
    cluster: Cluster, kind: OwnerKind, swept: bool
) -> None:
    async with watched(cluster, kind, GitOps.SUSPEND) as world:
        async with world.guarded():
            assert (await world.closed()).outcome == runs.RECOVERED
            await world.owned.resumed_by_a_person()
            if swept:
                await world.happened(OwnerResumed)
            await world.owned.admin.patch(world.owned.path, {"spec": {"suspend": True}})
            resumed = await world.happened(OwnerResumed)
            assert isinstance(resumed, OwnerResumed)
            assert resumed.by == "somebody else"
            await world.owned.wants(FIX)
        await world.scene.swept()
        raw = await world.owned.raw()
        assert (raw["spec"]["suspend"], gitops.mark_of(raw)) == (True, None)


async def test_an_owner_that_a_person_has_suspended_stays_so(cluster: Cluster) -> None:
    async with watched(cluster, OwnerKind.KUSTOMIZATION, GitOps.SUSPEND) as world:
        await world.owned.admin.patch(world.owned.path, {"spec": {"suspend": True}})
        async with world.guarded():
            assert (await world.closed()).outcome == runs.RECOVERED
            assert await world.events(OwnerSuspended) == []
            await world.owned.wants(FIX)
            await asyncio.sleep(0.5)
            assert await world.owned.suspended()
        assert gitops.mark_of(await world.owned.raw()) is None


@pytest.mark.parametrize("kind", OWNERS)
async def test_an_owner_that_fights_back_is_found_out(cluster: Cluster, kind: OwnerKind) -> None:
    async with watched(cluster, kind, GitOps.PROCEED) as world, world.fighter.fighting(), world.guarded():
        closed = await world.closed()
        assert (closed.outcome, closed.freeze) == (runs.ABANDONED, True)
        assert "bad release" in english().text(closed.reason)
        await until(lambda: _there(world.told.of("run.closed")), WITHIN)
        [opened] = world.told.of("run.opened")
        assert f"{kind} {world.owned.namespace}/{owners.NAME}, which may undo this" in opened.text
        await until(lambda: _equal(world.image(), objects.image(BAD)), WITHIN)
        assert 1 <= len(world.fighter.applied) <= 2


async def test_the_kinds_are_kept_as_a_real_server_keeps_custom_resources(cluster: Cluster) -> None:
    await owners.define(cluster)
    admin, namespace = cluster.admin, cluster.namespace
    for kind in (*owners.KINDS, *owners.SOURCES):
        resource = RESOURCES[kind]
        spec = {"list": [{"name": "a"}], "anything": {"null": {}}}
        body = {"apiVersion": f"{resource.group}/{resource.version}", "kind": kind.value, "metadata": {"name": "a"}}
        made = await admin.create(owners.path(kind, namespace), {**body, "spec": spec, "status": {"b": 1}})
        assert (made["spec"], made["metadata"]["generation"]) == (spec, 1)
        assert ("status" in made) is (kind is Kind.APPLICATION)
        place = owners.path(kind, namespace, "a")
        patched = await admin.patch(place, {"spec": {"list": None}, "metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
        assert (patched["spec"], patched["metadata"]["generation"]) == ({"anything": {"null": {}}}, 2)
        with pytest.raises(ApiRefused) as refused:
            await admin.patch(place, {"spec": {"list": []}}, STRATEGIC_PATCH)
        assert refused.value.status == 415
        [listed] = await admin.list(owners.path(kind, namespace))
        assert listed["metadata"]["name"] == "a"


async def _there(notices: list[Notice]) -> list[Notice]:
    return notices


async def _equal(image: Any, wanted: str) -> bool:
    found: str = await image
    return found == wanted
