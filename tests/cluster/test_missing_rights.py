"""A switch, or a suspension, that the guard's account may not carry out: refused before a run is opened, not by it."""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import releases, runs
from logcaster_guard.domain.events import NoticeQueued, RevisionGood, RevisionLive, RunOpened
from logcaster_guard.domain.gitops import OwnerKind
from logcaster_guard.domain.rules import Action, BlueGreenPolicy
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Kind, Rights
from logcaster_guard.sandbox import objects
from tests.cluster import owners
from tests.cluster.case import BAD, GOOD, POLICY, WITHIN, Case, image_of
from tests.cluster.ending import Facts
from tests.cluster.environments import BLUE, GREEN, IDLE
from tests.cluster.harness import Cluster
from tests.cluster.roles import FURTHER, TARGETS, rules_in
from tests.cluster.scene import Scene
from tests.cluster.test_role import without
from tests.real.waiting import until

pytestmark = [pytest.mark.timeout(240)]
RULES = rules_in(*TARGETS, *FURTHER)
SERVICES, DEPLOYMENTS = ("", "services"), ("apps", "deployments")
AUTOSCALERS = ("autoscaling", "horizontalpodautoscalers")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)


@dataclass
class Told:
    """`Rights` by hand, for the embedded API server, which asks for none: everything but `lacking`."""

    lacking: set[tuple[str, str, str]] = field(default_factory=set)

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        del namespace, name
        return (group, resource, verb) not in self.lacking


@dataclass
class Lacking:
    """A scene whose guards may do everything but one verb on one resource, until it is `granted`."""

    scene: Scene
    account: Rights
    right: tuple[str, str, str]
    name: str

    async def take_away(self) -> None:
        if isinstance(self.account, Told):
            self.account.lacking.add(self.right)
        else:
            await self.scene.cluster.regrant("guard", without(*self.right, RULES))
            await until(lambda: self._may(False), WITHIN)

    async def granted(self) -> None:
        if isinstance(self.account, Told):
            self.account.lacking.clear()
        else:
            await self.scene.cluster.regrant("guard", RULES)
            await until(lambda: self._may(True), WITHIN)

    async def _may(self, wanted: bool) -> bool:
        group, resource, verb = self.right
        namespace = self.scene.cluster.namespace
        others = await self.account.may("patch", *DEPLOYMENTS, namespace, objects.DEPLOYMENT) if wanted else True
        return (await self.account.may(verb, group, resource, namespace, self.name), others) == (wanted, True)

    async def lived(self) -> Facts:
        """How it stands when a guard has nothing left to do; it has tried nothing that it may not do."""
        await self.scene.life(None)
        assert [r for r in await self.scene.cluster.audit() if r.user.endswith("guard") and r.code == 403] == []
        return await self.scene.facts()

    async def refusal(self) -> str:
        async with self.scene.stores.journal() as journal:
            events = [e.event for e in await journal.read_all()]
        [notice] = [e.notice for e in events if isinstance(e, NoticeQueued) and e.notice.event == "trigger.refused"]
        return notice.text

    async def strategies(self) -> list[str]:
        async with self.scene.stores.journal() as journal:
            events = [e.event for e in await journal.read_all()]
        return [e.plan.strategy for e in events if isinstance(e, RunOpened)]


@contextlib.asynccontextmanager
async def lacking(
    cluster: Cluster, case: Case, right: tuple[str, str, str], name: str, *, minimum: int | None = None
) -> AsyncIterator[Lacking]:
    api = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10.0)
    try:
        async with Scene.set_up(cluster, api, RULES, minimum, case=case) as scene:
            scene.account = Told() if cluster.kind == "sandbox" else api
            made = Lacking(scene, scene.account, right, name)
            await made.take_away()
            yield made
    finally:
        await api.aclose()


def sentence(right: tuple[str, str, str], name: str, namespace: str, strategy: str, granted_by: str) -> str:
    group, resource, verb = right
    full = f"{resource}.{group}" if group else resource
    return (
        f"The guard cannot {verb} {full}{name and f' {name}'} in namespace {namespace}, so it cannot carry out "
        f"{strategy}_rollback: grant its account the verb {verb} on {full} there, as {granted_by} does."
    )


@pytest.mark.parametrize(
    ("right", "name", "missing", "minimum"),
    [
        ((*SERVICES, "patch"), objects.ACTIVE_SERVICE, False, None),
        ((*DEPLOYMENTS, "patch"), BLUE, False, None),
        ((*DEPLOYMENTS, "create"), "", True, None),
        ((*DEPLOYMENTS, "delete"), BLUE, True, None),
        ((*AUTOSCALERS, "patch"), objects.DEPLOYMENT, False, IDLE),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else None,
)
async def test_a_switch_that_may_not_be_made_is_refused_until_it_may(
    cluster: Cluster, right: tuple[str, str, str], name: str, missing: bool, minimum: int | None
) -> None:
    case = Case(Action.BLUE_GREEN, missing=missing, refused=True)
    async with lacking(cluster, case, right, name, minimum=minimum) as lack:
        facts = await lack.lived()
        assert (facts.image, facts.changes, facts.runs, facts.ledger.freeze) == (objects.image(BAD), 0, [], None)
        namespace = lack.scene.cluster.namespace
        granted_by = "deploy/rbac.yaml" if right[:2] == AUTOSCALERS else "deploy/components/blue-green"
        assert sentence(right, name, namespace, "blue_green", granted_by) in await lack.refusal()

        await lack.granted()
        lack.scene.case = replace(case, refused=False)
        facts = await lack.lived()
        assert [run.closed.outcome for run in facts.runs if run.closed] == [runs.RECOVERED]
        assert (await lack.strategies(), facts.image) == (["blue_green"], objects.image(GOOD))


async def live_was_good(scene: Scene) -> None:
    """The live environment carried the good release too, before the bad one."""
    async with scene.stores.journal() as journal:
        events = [e.event for e in await journal.read_all()]
    bad = next(e for e in reversed(events) if isinstance(e, RevisionLive))
    raw = copy.deepcopy(await scene.world.deployment(GREEN))
    raw["spec"]["template"]["spec"]["containers"][0]["image"] = objects.image(GOOD)
    workload = Workload(raw)
    blob = await scene.stores.blobs.put(releases.of_workload(workload).to_bytes())
    live = replace(bad, at=bad.at, template=workload.hash, revision="1", blob=blob, images=workload.images)
    before = scene.folder
    scene.folder = before.with_name(f"{before.name}-told-anew")
    shutil.copytree(before / "blobs", scene.folder / "blobs")
    good = RevisionGood(bad.at, workload.hash, 1.0, POLICY.ledger.good_after)
    async with scene.stores.journal() as journal:
        await journal.append(f"target/{scene.target.key}", [*events[:-1], live, good, bad], 0)


@pytest.mark.parametrize("granted", [True, False])
async def test_without_the_right_to_switch_what_is_configured_otherwise_is_done(
    cluster: Cluster, granted: bool
) -> None:
    async with lacking(cluster, Case(Action.BLUE_GREEN), (*SERVICES, "patch"), objects.ACTIVE_SERVICE) as lack:
        await live_was_good(lack.scene)
        judged = BlueGreenPolicy(wait=0.1, window=0.1, otherwise=Action.IMMEDIATE)
        lack.scene.policy = replace(POLICY, blue_green=judged)
        if granted:
            await lack.granted()
        facts = await lack.lived()
        assert await lack.strategies() == ["blue_green" if granted else "immediate"]
        assert [run.closed.outcome for run in facts.runs if run.closed] == [runs.RECOVERED]
        green = await lack.scene.world.deployment(GREEN)
        assert image_of(green) == objects.image(BAD if granted else GOOD)


@pytest.mark.parametrize("verb", ["patch", "get"])
@pytest.mark.parametrize("kind", list(OwnerKind))
async def test_an_owner_that_may_not_be_suspended_is_the_reason_to_refuse(
    cluster: Cluster, kind: OwnerKind, verb: str
) -> None:
    if (cluster.kind, verb) == ("sandbox", "get"):
        pytest.skip("the embedded API server asks for no rights")
    resource = RESOURCES[Kind(kind)]
    right = (resource.group, resource.plural, verb)
    case = Case(Action.IMMEDIATE, owner=kind, refused=True)
    async with lacking(cluster, case, right, owners.NAME) as lack:
        assert lack.scene.owned is not None
        before, facts = await lack.scene.owned.raw(), await lack.lived()
        assert (facts.image, facts.changes, facts.runs) == (objects.image(BAD), 0, [])
        assert (await lack.scene.owned.raw())["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        namespace, told = lack.scene.cluster.namespace, await lack.refusal()
        expected = sentence(right, owners.NAME, namespace, "immediate", "deploy/components/gitops")
        if verb == "get":
            project = "Argo CD" if kind is OwnerKind.APPLICATION else "Flux"
            suspend = (
                f"suspend {project} {kind} {namespace}/{owners.NAME}, which {namespace}/{objects.DEPLOYMENT} belongs to"
            )
            expected = expected.replace("carry out immediate_rollback", suspend)
        assert expected in told

        await lack.granted()
        lack.scene.case = replace(case, refused=False)
        facts = await lack.lived()
        assert [run.closed.outcome for run in facts.runs if run.closed] == [runs.RECOVERED]
        assert (facts.image, facts.owner) == (objects.image(GOOD), (True, True, True))
