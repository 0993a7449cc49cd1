"""What a closed run's late requests made is swept away; what only carries the guard's marks is told, and stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from logcaster_guard.domain import provenance
from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.claims import Claim, of_copy
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import Rejected, Unavailable
from logcaster_guard.domain.events import (
    HoldReleased,
    NoticeQueued,
    RunClosed,
    RunEnding,
    RunOpened,
    StepDone,
    StepIntended,
    StepStarted,
)
from logcaster_guard.domain.observations import Before, ExternalChange, Failed, Observation, Pending
from logcaster_guard.domain.provenance import MANAGED, RUN, TOKEN
from logcaster_guard.domain.rules import Action, GradualPolicy, Policy
from logcaster_guard.domain.runs import ABANDONED, Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.journal_state import JournalState, run_stream
from logcaster_guard.engine.left_copies import LeftCopies
from logcaster_guard.engine.sweeping import Sweeper
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Entry, Json, Kind
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.helper_deployment import helper_pods
from logcaster_guard.steps.remove_helper import RemoveHelperHandler
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import HandlerContext, handlers_of
from logcaster_guard.stores import CODEC
from tests.engine.bench import FIRES, bench, rule
from tests.fakes.clock import START, FakeClock
from tests.fakes.journal import MemoryJournal
from tests.fakes.pods import PopulatedCluster

PROD, SHOP = "logcaster-prod", "shop"
HELPER = f"{PROD}-rollback-1a2b3c4d"
SECRET = "7" * 32


@dataclass
class Swept:
    """A gradual run that has closed with its helper's creation still on its way, and a sweeper after it."""

    clock: FakeClock
    cluster: PopulatedCluster
    journal: MemoryJournal
    state: JournalState
    sweeper: Sweeper

    async def sweep(self) -> None:
        await self.sweeper.sweep()
        await self.sweeper.look_for_claims()

    @property
    def deployments(self) -> Sequence[str]:
        return sorted(self.cluster.names(Kind.DEPLOYMENT))

    @property
    def notices(self) -> list[str]:
        queued = [e.event.notice for e in self.journal.entries if isinstance(e.event, NoticeQueued)]
        return [n.title for n in queued if n.event == "marks.unproven"]

    def mark(self, name: str, *, token: str = SECRET) -> None:
        """Somebody puts the marks of the run's helper on a Deployment."""
        metadata = self.cluster.object(Kind.DEPLOYMENT, name)["metadata"]
        metadata["labels"] = {**MANAGED, HELPER_LABEL: HELPER}
        metadata["annotations"] |= {RUN: "r", **({TOKEN: token} if token else {})}

    async def create(self, name: str = HELPER, *, token: str = SECRET) -> None:
        """The late request takes effect."""
        owner = self.cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["uid"]
        labels = {HELPER_LABEL: name}
        template = {
            "metadata": {"labels": {"app": PROD, **labels}},
            "spec": {"containers": [{"name": "c", "image": "v1"}]},
        }
        body: Json = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "labels": {**MANAGED, **labels},
                "annotations": {RUN: "r", TOKEN: token},
                "ownerReferences": [{"kind": "Deployment", "name": PROD, "uid": owner}],
            },
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        }
        await self.cluster.create(Kind.DEPLOYMENT, "default", body)


def sweeper(state: JournalState, cluster: PopulatedCluster, clock: FakeClock, targets: Sequence[Target]) -> Sweeper:
    nothing: Any = None
    context = HandlerContext(cluster, nothing, clock, nothing, nothing, nothing, nothing, 5.0)
    copies = LeftCopies(cluster, clock, list(ConfigKind))
    return Sweeper(state, cluster, clock, targets, handlers_of(KINDS, context), copies=copies)


async def swept(*, token: str = SECRET, run: bool = True, targets: Sequence[str] = (PROD,)) -> Swept:
    clock = FakeClock()
    cluster = PopulatedCluster(clock)
    for name in (PROD, SHOP):
        cluster.add_deployment(name, "v1")
        cluster.add(Kind.SERVICE, name, spec={"selector": {"app": name}})
    journal = MemoryJournal()
    if run:
        await journal.append(run_stream("r"), _run(cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["uid"], token), 0)
    state = JournalState(journal, FakeClock())
    await state.load()
    found = [Target(n, "default", n, service=n if n in (PROD, SHOP) else None) for n in targets]
    return Swept(clock, cluster, journal, state, sweeper(state, cluster, clock, found))


def _run(uid: str, token: str) -> list[RunOpened | StepStarted | StepIntended | RunEnding | HoldReleased | RunClosed]:
    plan = Plan(
        strategy="gradual",
        namespace="default",
        deployment=PROD,
        uid=uid,
        from_template="bad",
        to_template="good",
        from_images=("v2",),
        to_images=("v1",),
        replicas=3,
        autoscaled=False,
        service=PROD,
        selector={"app": PROD},
        steps=(CreateHelper(HELPER, "blob", 1, {"app": PROD}),),
        floor=3,
    )
    name = f"helper/{HELPER}"
    since = START if token else None
    owed = Compensation(name, "helper", HELPER, "", original=None, written=0, run="r", token=token, since=since)
    end = START + timedelta(seconds=9)
    return [
        RunOpened(START, "r", f"default/{PROD}", "rule", "it was met", plan),
        StepStarted(START, "r", 0),
        StepIntended(START, "r", 0, 1, owed),
        RunEnding(end, "r", "abandoned", "somebody did something", freeze=True),
        HoldReleased(end, "r", name, "the helper is gone"),
        RunClosed(end, "r", "abandoned", "somebody did something", freeze=True),
    ]


async def test_a_helper_that_a_late_request_made_is_swept_away() -> None:
    made = await swept()
    await made.create()
    await made.sweep()
    assert (made.deployments, made.notices) == ([PROD, SHOP], [])


@pytest.mark.parametrize("name", [PROD, SHOP])
@pytest.mark.parametrize("token", [SECRET, ""])
async def test_marks_on_somebody_elses_deployment_are_told_once_and_nothing_is_deleted(name: str, token: str) -> None:
    made = await swept()
    made.mark(name, token=token)
    for _ in range(3):
        await made.sweep()
    assert made.deployments == [PROD, SHOP]
    assert len(made.notices) == 1
    assert f"default/{name}" in made.notices[0]
    assert [f"default/{name}" in english().text(c.summary) for c in made.sweeper.unproven[f"default/{PROD}"]] == [True]


async def test_a_guard_that_is_started_again_does_not_tell_it_again_and_other_marks_are_told() -> None:
    made = await swept()
    made.mark(PROD)
    await made.sweep()
    again = JournalState(made.journal, FakeClock())
    await again.load()
    started_again = sweeper(again, made.cluster, made.clock, [Target(PROD, "default", PROD)])
    await started_again.look_for_claims()
    assert len(made.notices) == 1
    made.mark(PROD, token="8" * 32)
    await started_again.look_for_claims()
    assert len(made.notices) == 2


async def test_a_deployment_under_the_helpers_name_needs_the_token() -> None:
    made = await swept()
    await made.create(token="8" * 32)
    await made.sweep()
    assert HELPER in made.deployments
    assert len(made.notices) == 1


async def test_what_an_earlier_version_made_without_a_token_is_told_and_stays() -> None:
    made = await swept(token="")
    await made.create(token="")
    await made.sweep()
    assert HELPER in made.deployments
    assert len(made.notices) == 1
    [claim] = made.sweeper.unproven[f"default/{PROD}"]
    assert "earlier version" in english().text(claim.summary)


async def test_whoever_serves_alone_stays() -> None:
    made = await swept()
    await made.create()
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=0))
    await made.sweep()
    assert HELPER in made.deployments
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=1))
    await made.sweep()
    assert HELPER not in made.deployments


async def test_a_target_is_never_swept_away() -> None:
    made = await swept(targets=(PROD, HELPER))
    await made.create()
    await made.sweep()
    assert HELPER in made.deployments


async def test_it_is_deleted_as_it_was_looked_at_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await swept()
    await made.create()
    given: list[tuple[str, str | None]] = []
    delete = made.cluster.delete

    async def meanwhile(kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        given.append((uid, resource_version))
        made.cluster.change(kind, name, lambda d: d["metadata"]["annotations"].update(mine="yes"))
        await delete(kind, namespace, name, uid=uid, resource_version=resource_version)

    monkeypatch.setattr(made.cluster, "delete", meanwhile)
    await made.sweep()
    assert HELPER in made.deployments
    assert all(uid and version for uid, version in given)
    assert given


async def test_the_helper_of_a_run_that_no_journal_knows_is_told_with_what_mends_it() -> None:
    made = await swept(run=False)
    await made.create()
    await made.sweep()
    assert HELPER in made.deployments
    assert len(made.notices) == 1
    [claim] = made.sweeper.unproven[f"default/{PROD}"]
    assert "run r, which the journal does not know" in english().text(claim.summary)
    assert f"scale deployment {PROD}" in claim.remedy


async def test_marks_on_the_owner_of_a_target_that_is_no_longer_configured_stop_nothing() -> None:
    made = await swept(targets=(PROD,))
    made.mark(SHOP)
    await made.sweeper.look_for_claims([(f"default/{SHOP}", Claim("Kustomization flux/shop", "k", "r", "c"))])
    assert len(made.notices) == len(made.sweeper.unproven[f"default/{PROD}"]) == 1


async def test_what_may_not_be_listed_is_no_reason_to_stop() -> None:
    made = await swept()
    await made.create()
    made.mark(SHOP)
    made.cluster.fault = lambda verb, kind, _: (
        Rejected("no", status=403) if (verb, kind) == ("list", Kind.DEPLOYMENT) else None
    )
    await made.sweep()
    assert HELPER not in made.deployments


def test_the_marks_hold_the_token() -> None:
    owed = Compensation("h", "helper", HELPER, "", original=None, written=0, run="r")
    assert provenance.marks(replace(owed, token=SECRET)) == {RUN: "r", TOKEN: SECRET}


async def test_pods_that_only_carry_the_helpers_label_are_none_of_the_helpers() -> None:
    made = await swept()
    await made.create()
    made.cluster.change(
        Kind.DEPLOYMENT, SHOP, lambda d: d["spec"]["template"]["metadata"]["labels"].update({HELPER_LABEL: HELPER})
    )
    helper = Workload(made.cluster.object(Kind.DEPLOYMENT, HELPER))
    listed = await made.cluster.list(Kind.POD, "default", f"{HELPER_LABEL}={HELPER}")
    found = await helper_pods(made.cluster, helper)
    assert (len(listed), len(found)) == (4, 1)
    assert found[0]["metadata"]["ownerReferences"] == [{"uid": helper.uid}]


async def test_a_helper_that_its_run_left_is_found_at_the_start_where_the_journal_is_lost() -> None:
    policy = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=policy, cluster=PopulatedCluster) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        [helper] = set(made.cluster.names(Kind.DEPLOYMENT)) - {PROD}
        size = made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"]
        assert size < 3
        await made.stop()
        made.journal = MemoryJournal()
        await made.start()
        await made.pass_(200.0)
        [notice] = made.notices("marks.unproven")
        assert helper in notice.title
        assert "which the journal does not know" in notice.text
        [shown] = made.guard.read_model.target(made.guard.read_model.targets[0]).unproven
        assert helper in english().text(shown)
        assert helper in made.cluster.names(Kind.DEPLOYMENT)
        assert made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == size


@pytest.mark.parametrize("skew", [-900.0, 900.0])
async def test_a_run_knows_its_own_helper_whatever_the_clocks_differ_by(skew: float) -> None:
    policy = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=policy, cluster=PopulatedCluster) as made:
        made.cluster.skew = skew
        await made.bad_v2()
        await made.pass_(1_000.0)
        assert [done.step for done in made.told(StepDone)][:2] == [0, 1]
        assert made.told(RunClosed)
        assert made.cluster.names(Kind.DEPLOYMENT) == [PROD]


def of_an_earlier_version(entry: Entry) -> Entry:
    """The event without what that version did not write down."""
    document = json.loads(CODEC.encode(entry.event))
    for held in (document, document.get("hold") or {}):
        for name in ("token", "since", "owners", "attributed", "theirs"):
            held.pop(name, None)
    document.get("plan", {}).pop("leftover", None)
    return replace(entry, event=CODEC.decode(json.dumps(document)))


async def test_a_run_that_an_earlier_version_has_left_open_comes_to_its_end_and_its_helper_is_told() -> None:
    policy = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=policy, cluster=PopulatedCluster) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        [helper] = set(made.cluster.names(Kind.DEPLOYMENT)) - {PROD}
        del made.cluster.object(Kind.DEPLOYMENT, helper)["metadata"]["annotations"][TOKEN]
        await made.stop()
        assert made.journal is not None
        made.journal.rewrite(of_an_earlier_version)
        await made.start()
        await made.pass_(200.0)
        [closed] = made.told(RunClosed)
        assert (closed.outcome, closed.freeze) == (ABANDONED, True)
        [notice] = made.notices("hold.not_given_back")
        assert helper in notice.text
        assert helper in made.cluster.names(Kind.DEPLOYMENT)
        assert made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 3


def in_mid_run(made: Swept, *, floor: int = 3) -> Run:
    """The run before its end, with its helper out."""
    run = made.state.run("r")
    plan = replace(run.opened.plan, floor=floor)
    return replace(run, opened=replace(run.opened, plan=plan), compensations=run.taken, closed=None)


async def given_back(made: Swept, run: Run) -> Observation:
    """What is seen of the helper, after an attempt to give it back."""
    compensator, (owed,) = RemoveHelperHandler(made.cluster), run.compensations.values()
    seen = await compensator.observe_compensation(owed, run)
    if not isinstance(seen, Pending):
        await compensator.compensate(owed, run)
    return seen


@pytest.mark.parametrize(
    ("journalled", "shown", "seen"),
    [(SECRET, SECRET, Before), (SECRET, "8" * 32, ExternalChange), ("", "", Failed)],
    ids=["the runs own", "somebody elses", "of an earlier version"],
)
async def test_a_run_gives_back_its_own_helper_alone(journalled: str, shown: str, seen: type[Observation]) -> None:
    made = await swept(token=journalled)
    await made.create(token=shown)
    assert isinstance(await given_back(made, in_mid_run(made)), seen)
    assert (HELPER in made.deployments) is (seen is not Before)


@pytest.mark.parametrize("replicas", [0, 1])
async def test_a_helper_goes_where_production_serves_or_nobody_is_to(replicas: int) -> None:
    made = await swept()
    await made.create()
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=replicas))
    await given_back(made, in_mid_run(made, floor=0))
    assert HELPER not in made.deployments


async def test_a_helper_that_serves_alone_stays_though_nobody_served_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = await swept()
    await made.create()
    pods = made.cluster._pods

    def unready() -> Sequence[Json]:
        return [p for p in pods() if HELPER_LABEL in p["metadata"]["labels"]]

    monkeypatch.setattr(made.cluster, "_pods", unready)
    assert isinstance(await given_back(made, in_mid_run(made, floor=0)), Pending)
    assert HELPER in made.deployments


def copied(cluster: PopulatedCluster, kind: Kind, name: str, run: str, token: str = SECRET) -> None:
    """A copy of configuration as a run makes it."""
    cluster.add(kind, name, data={"level": "v1"})
    metadata = cluster.object(kind, name)["metadata"]
    metadata["labels"] = {**MANAGED, COPY_LABEL: "true"}
    metadata["annotations"] = {RUN: run, TOKEN: token}


async def test_copies_that_a_lost_journal_knew_are_told_with_who_reads_them_and_left_alone() -> None:
    made = await swept()
    copied(made.cluster, Kind.CONFIG_MAP, "app-1234", "another")
    copied(made.cluster, Kind.SECRET, "db-1234", "another")
    volume = {"name": "files", "configMap": {"name": "app-1234"}}
    made.cluster.change(Kind.DEPLOYMENT, SHOP, lambda d: d["spec"]["template"]["spec"].update(volumes=[volume]))
    for _ in range(2):
        await made.sweep()
    queued = [e.event.notice for e in made.journal.entries if isinstance(e.event, NoticeQueued)]
    texts = {n.facts["object"]: n.text for n in queued}
    assert list(texts) == ["ConfigMap default/app-1234", "Secret default/db-1234"]
    read, unread = texts.values()
    assert "names run another, which the journal does not know" in read
    assert f"Deployment {SHOP} refers to it: once nothing does any more, delete it" in read
    assert "kubectl -n default delete configmap app-1234" in read
    assert "Nothing refers to it: delete it: kubectl -n default delete secret db-1234" in unread
    assert len(made.sweeper.unproven[f"default/{PROD}"]) == 2
    assert {"app-1234", "db-1234"} <= {*made.cluster.names(Kind.CONFIG_MAP), *made.cluster.names(Kind.SECRET)}
    made.cluster.remove(Kind.CONFIG_MAP, "app-1234")
    made.cluster.remove(Kind.SECRET, "db-1234")
    await made.sweep()
    assert made.sweeper.unproven[f"default/{PROD}"] == []


async def test_where_no_copy_is_left_nobody_looks_again() -> None:
    made = await swept()
    asked: list[Kind] = []
    made.cluster.fault = lambda verb, kind, _: asked.append(kind) if verb == "list" else None
    for _ in range(3):
        await made.sweep()
    assert [kind for kind in asked if kind in {Kind.CONFIG_MAP, Kind.SECRET}] == [Kind.CONFIG_MAP, Kind.SECRET]
    made = await swept()
    away = Unavailable("no answer")
    made.cluster.fault = lambda verb, kind, _: away if (verb, kind) == ("list", Kind.CONFIG_MAP) else None
    copied(made.cluster, Kind.CONFIG_MAP, "app-1234", "another")
    await made.sweep()
    assert made.notices == []
    made.cluster.fault = lambda *_: None
    await made.sweep()
    assert len(made.notices) == 1


@pytest.mark.parametrize("forged", [False, True])
async def test_a_copy_of_a_run_that_the_journal_knows_is_told_only_where_the_run_did_not_make_it(forged: bool) -> None:
    made = await swept()
    owed = Compensation(
        "c", "config_copy", "app-1234", "", original=None, written=0, run="r", token=SECRET, since=START
    )
    [run] = made.state.runs()
    run = replace(run, taken={**run.taken, owed.id: owed})
    copied(made.cluster, Kind.CONFIG_MAP, "app-1234", "r", token="8" * 32 if forged else SECRET)
    raw = made.cluster.object(Kind.CONFIG_MAP, "app-1234")
    raw["metadata"]["creationTimestamp"] = (START + timedelta(days=1)).isoformat()
    claim = of_copy(ConfigKind.CONFIG_MAP, raw, [run], "")
    assert (claim is not None) is forged
    if claim is not None:
        assert "does not carry the token" in english().text(claim.reason)
