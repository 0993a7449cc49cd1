"""A suspended owner after its run, with a clock that the test turns; the rest is in tests/cluster/test_gitops.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from logcaster_guard.domain import gitops
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.events import OwnerResumed, OwnerSuspended, RunClosed
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.rules import FallbackPolicy, Policy
from logcaster_guard.domain.runs import NOT_RECOVERED, RECOVERED
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.web import metrics, rendering
from tests.engine.bench import KEY, PROD, PROVEN, Bench, bench

OWNER = "Kustomization default/web"
BAD, FIX = "main@sha1:2", "main@sha1:3"


def wants(made: Bench, revision: str) -> None:
    made.cluster.change(Kind.GIT_REPOSITORY, "web", lambda s: s.update(status={"artifact": {"revision": revision}}))


def suspended(made: Bench) -> bool:
    return gitops.is_suspended(made.cluster.object(Kind.KUSTOMIZATION, "web"))


def owned(made: Bench) -> None:
    """The workload belongs to a Kustomization, which has rolled the bad revision out."""
    labels = {"kustomize.toolkit.fluxcd.io/name": "web"}
    made.cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["labels"] = labels
    spec = {"sourceRef": {"kind": "GitRepository", "name": "web"}}
    made.cluster.add(Kind.KUSTOMIZATION, "web", spec=spec, status={"lastAttemptedRevision": BAD})
    made.cluster.add(Kind.GIT_REPOSITORY, "web", status={"artifact": {"revision": BAD}})


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    """v2 has been rolled back to v1, and its owner stays suspended."""
    async with bench(policy=Policy(gitops=GitOps.SUSPEND)) as found:
        owned(found)
        await found.bad_v2()
        await found.pass_(900.0)
        assert [c.outcome for c in found.told(RunClosed)] == [RECOVERED]
        assert [s.hold.object for s in found.told(OwnerSuspended)] == [OWNER]
        assert suspended(found)
        yield found


def shown(made: Bench) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rendering.status(made.guard.read_model.status(), english())["targets"][0]["suspended"]
    return found


async def test_people_see_it_as_long_as_it_lasts(made: Bench) -> None:
    [notice] = made.notices("owner.suspended")
    assert "flux resume kustomization web --namespace default" in notice.text
    [told] = shown(made)
    assert (told["owner"], told["revision"]) == (OWNER, BAD)
    wants(made, FIX)
    await made.pass_(60.0)
    assert shown(made) == []
    assert (suspended(made), [r.by for r in made.told(OwnerResumed)]) == (False, ["guard"])
    assert len(made.notices("owner.resumed")) == 1


async def test_it_outlives_the_guard(made: Bench) -> None:
    await made.restart()
    await made.pass_(300.0)
    assert suspended(made)
    assert [t["owner"] for t in shown(made)] == [OWNER]
    wants(made, FIX)
    await made.restart()
    await made.pass_(60.0)
    assert not suspended(made)
    await made.restart()
    await made.pass_(60.0)
    assert len(made.told(OwnerResumed)) == len(made.notices("owner.resumed")) == 1


@pytest.mark.parametrize("kind", [Kind.KUSTOMIZATION, Kind.GIT_REPOSITORY])
async def test_what_cannot_be_read_is_no_news(made: Bench, kind: Kind) -> None:
    def away(verb: str, of: Kind, name: str) -> ClusterError | None:
        return Unavailable(f"{verb} {of} {name}: away", status=503) if of is kind else None

    made.cluster.fault = away
    wants(made, FIX)
    await made.pass_(300.0)
    assert suspended(made)
    made.cluster.fault = lambda *_: None
    await made.pass_(60.0)
    assert not suspended(made)


async def test_people_are_told_once_that_it_may_not_be_resumed(made: Bench) -> None:
    def forbidden(verb: str, of: Kind, name: str) -> ClusterError | None:
        return Rejected(f"{name} is forbidden", status=403) if (verb, of) == ("patch", Kind.KUSTOMIZATION) else None

    made.cluster.fault = forbidden
    wants(made, FIX)
    await made.pass_(300.0)
    [notice] = made.notices("owner.not_resumed")
    assert "forbidden" in notice.text
    assert made.told(OwnerResumed) == []
    made.cluster.fault = lambda *_: None
    await made.pass_(60.0)
    assert not suspended(made)


async def test_nothing_is_resumed_that_could_not_be_written_down(made: Bench) -> None:
    assert made.journal is not None
    made.journal.fault = "disk full"
    wants(made, FIX)
    await made.pass_(120.0)
    assert suspended(made)
    made.journal.fault = None
    await made.pass_(60.0)
    assert (suspended(made), [r.by for r in made.told(OwnerResumed)]) == (False, ["guard"])


async def test_what_the_guard_resumed_and_could_not_write_down_is_its_own(made: Bench) -> None:
    def fills_up(verb: str, of: Kind, name: str) -> ClusterError | None:
        del name
        if (verb, of) == ("patch", Kind.KUSTOMIZATION) and made.journal is not None:
            made.journal.fault = "disk full"
        return None

    made.cluster.fault = fills_up
    wants(made, FIX)
    await made.pass_(60.0)
    assert (suspended(made), made.told(OwnerResumed)) == (False, [])
    assert made.journal is not None
    made.journal.fault = None
    # The outbox waits longer and longer for its journal.
    await made.pass_(900.0)
    assert [(r.by, FIX in english().text(r.reason)) for r in made.told(OwnerResumed)] == [("guard", True)]


async def test_an_owner_that_is_gone_is_let_go(made: Bench) -> None:
    made.cluster.remove(Kind.KUSTOMIZATION, "web")
    await made.pass_(60.0)
    assert [(r.by, r.reason) for r in made.told(OwnerResumed)] == [("somebody else", WorkloadGone(OWNER))]


async def test_the_mark_that_is_left_after_somebody_elses_resume_is_taken_away(made: Bench) -> None:
    made.cluster.change(Kind.KUSTOMIZATION, "web", lambda k: k["spec"].update(suspend=False))
    await made.pass_(120.0)
    raw = made.cluster.object(Kind.KUSTOMIZATION, "web")
    assert ([r.by for r in made.told(OwnerResumed)], gitops.mark_of(raw)) == (["somebody else"], None)
    assert raw["spec"]["suspend"] is False


async def test_the_metric_says_whether_one_is_suspended(made: Bench) -> None:
    def shown_as() -> float | None:
        return metrics.registry(made.guard.read_model.status).get_sample_value(
            "logcaster_guard_owner_suspended", {"target": KEY}
        )

    assert shown_as() == 1.0
    wants(made, FIX)
    await made.pass_(60.0)
    assert shown_as() == 0.0


NOT_SERVED = "the answer 404 did not come from a Kubernetes API that serves it"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable(NOT_SERVED, status=404), NOT_SERVED),
        (Rejected("no", status=403), "grant its account the verb get on kustomizations.kustomize.toolkit.fluxcd.io"),
    ],
)
async def test_an_owner_that_is_out_of_reach_is_a_reason_to_refuse(error: ClusterError, told: str) -> None:
    async with bench(policy=Policy(gitops=GitOps.SUSPEND)) as made:
        owned(made)
        made.cluster.fault = lambda _, of, __: error if of is Kind.KUSTOMIZATION else None
        await made.bad_v2()
        await made.pass_(600.0)
        [notice] = made.notices("trigger.refused")
        assert notice.facts["guardrails"] == "gitops_owner"
        assert told in notice.text
        assert str(error) in notice.text
        assert made.writes() == 0


async def test_a_run_that_follows_finds_the_owner_suspended_and_leaves_it_so() -> None:
    policy = Policy(gitops=GitOps.SUSPEND, fallback=FallbackPolicy(not_recovered=1))
    async with bench(policy=policy) as made:
        owned(made)
        await made.good_v1()
        made.errors["v1.1"] = 0.0
        made.cluster.roll(PROD, "v1.1")
        await made.pass_(PROVEN)
        made.errors["v1.1"] = 0.3
        made.cluster.roll(PROD, "v2")
        await made.pass_(3_600.0)
        assert [c.outcome for c in made.told(RunClosed)] == [NOT_RECOVERED, RECOVERED]
        assert made.cluster.image(PROD) == "v1"
        assert made.writes(Kind.KUSTOMIZATION) == len(made.told(OwnerSuspended)) == 1
        assert suspended(made)
        wants(made, FIX)
        await made.pass_(60.0)
        assert not suspended(made)


@pytest.mark.parametrize(
    ("mark", "resumed"),
    [
        ({}, True),
        ({"token": "0" * 32}, False),
        ({"token": ""}, False),
        ({"token": "\ud800"}, False),
        ({"run": "another"}, False),
    ],
)
async def test_only_what_the_journal_tells_of_is_resumed_after_a_run(
    made: Bench, mark: dict[str, object], resumed: bool
) -> None:
    before = gitops.mark_of(made.cluster.object(Kind.KUSTOMIZATION, "web"))
    assert before is not None
    wants(made, FIX)
    await made.pass_(60.0)
    assert not suspended(made)
    fields = {"suspend": False, "force": True}
    text = json.dumps({"run": before.run, "token": before.token, "fields": fields} | mark)

    def late(owner: dict[str, Any]) -> None:
        owner["spec"]["suspend"] = True
        owner["metadata"]["annotations"][gitops.MARK] = text

    made.cluster.change(Kind.KUSTOMIZATION, "web", late)
    await made.pass_(200.0)
    assert suspended(made) is not resumed
    assert len(made.notices("marks.unproven")) == (0 if resumed else 1)
    # What stood there comes from the journal: the field was absent, whatever the annotation says.
    assert resumed is ("suspend" not in made.cluster.object(Kind.KUSTOMIZATION, "web")["spec"])
