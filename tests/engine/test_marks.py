"""What people say of releases is taken in once, told, and decides where a rollback goes from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from logcaster_guard.domain.events import (
    AnswerDenied,
    RevisionMarked,
    RunAnswered,
    RunClosed,
    RunOpened,
    StepIntended,
    TargetFrozen,
)
from logcaster_guard.domain.inbox.annotations import MARK, stamp
from logcaster_guard.domain.inbox.commands import Mark, MarkRelease, Wish, value_of
from logcaster_guard.domain.inbox.denials import RunLeavesIt
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.rules import Action, FallbackPolicy, LedgerPolicy, Limits, Policy
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock, Json, Kind
from tests.engine.bench import FIRES, KEY, PROD, PROVEN, Bench, bench, hpa, in_mid_run, minimum, rule
from tests.fakes.cluster import FakeCluster

EAGER = Policy(limits=Limits(cooldown=60.0, per_target_per_day=9, per_cluster_per_hour=9))
ASKS = rule(action=Action.ALERT_THEN)


def template(made: Bench, image: str) -> str:
    """The hash by which the ledger knows the release."""
    [found] = [r.template for r in made.guard.state.ledger(KEY).records.values() if r.images == (image,)]
    return found


def say(made: Bench, image: str, mark: Mark, words: str = "by the one on call") -> None:
    expiry = made.clock.now() + timedelta(minutes=10)
    made.cluster.annotate(PROD, mark=value_of(MarkRelease(template(made, image), expiry, mark, words)))


def release_status(made: Bench, image: str) -> ReleaseStatus:
    return made.guard.state.ledger(KEY).records[template(made, image)].status(LedgerPolicy())


def destinations(made: Bench) -> list[tuple[str, ...]]:
    return [o.plan.to_images for o in made.told(RunOpened)]


async def rolled_back(made: Bench, *, earned: bool) -> None:
    """v1 is good; v2 is rolled back, after it had earned good or before."""
    await made.good_v1()
    made.errors["v2"] = 0.0 if earned else 0.3
    made.cluster.roll(PROD, "v2")
    if earned:
        await made.pass_(PROVEN)
        assert release_status(made, "v2") is ReleaseStatus.GOOD
        made.prometheus.set(PROD, "error_rate", 0.3)
    await made.pass_(1_000.0)
    assert destinations(made) == [("v1",)]
    assert release_status(made, "v2") is ReleaseStatus.BAD


async def breaking(made: Bench, image: str) -> None:
    """A release that fails is rolled out."""
    made.errors[image] = 0.3
    made.cluster.roll(PROD, image)
    await made.pass_(FIRES + 60.0)


@pytest.mark.parametrize(
    ("earned", "lifted", "expected", "goal"),
    [
        (True, False, ReleaseStatus.BAD, "v1"),
        (False, False, ReleaseStatus.BAD, "v1"),
        (False, True, ReleaseStatus.UNPROVEN, "v1"),
        (True, True, ReleaseStatus.GOOD, "v1"),  # v1 was live last
    ],
)
async def test_a_lifted_release_is_what_it_had_earned(
    goal: str, expected: ReleaseStatus, *, earned: bool, lifted: bool
) -> None:
    async with bench(policy=EAGER) as made:
        await rolled_back(made, earned=earned)
        if lifted:
            say(made, "v2", Mark.NOT_BAD, "the database was down")
            await made.pass_(60.0)
            [marked] = made.told(RevisionMarked)
            assert (marked.mark, marked.words) == (Mark.NOT_BAD, "the database was down")
        assert release_status(made, "v2") is expected
        await breaking(made, "v3")
        assert destinations(made)[1:] == [(goal,)]


@pytest.mark.parametrize("earned", [True, False])
async def test_where_nothing_else_is_good_only_a_lifted_release_that_had_earned_it_is_gone_back_to(
    *, earned: bool
) -> None:
    async with bench(policy=EAGER) as made:
        await rolled_back(made, earned=earned)
        say(made, "v1", Mark.BAD, "it loses data")
        await made.pass_(60.0)
        say(made, "v2", Mark.NOT_BAD)
        await made.pass_(60.0)
        await breaking(made, "v3")
        assert destinations(made)[1:] == ([("v2",)] if earned else [])
        assert not earned or made.cluster.image(PROD) == "v2"


async def test_what_is_marked_bad_is_never_gone_back_to_not_even_by_hand() -> None:
    async with bench(policy=EAGER) as made:
        await made.good_v1()
        say(made, "v1", Mark.BAD, "it loses data")
        await made.pass_(60.0)
        await breaking(made, "v2")
        assert (destinations(made), made.writes()) == ([], 0)
        assert "no_good_revision" in made.notices("trigger.refused")[-1].facts["guardrails"]
        runs = made.guard.watches[KEY].manual
        assert runs is not None
        refused = await runs.preview(Wish(Action.IMMEDIATE, template(made, "v1")))
        assert not isinstance(refused, Preview)
        assert "is bad (a person marked it bad: it loses data)" in " ".join(
            english().text(reason) for reason in refused
        )


class Slow(FakeCluster):
    """While `gate` is closed, nobody learns which autoscalers there are."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.gate = asyncio.Event()
        self.gate.set()

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        if kind is Kind.AUTOSCALER:
            await self.gate.wait()
        return await super().list(kind, namespace, selector)


async def test_what_is_marked_bad_while_the_rollback_to_it_is_planned_is_not_gone_back_to() -> None:
    async with bench(cluster=Slow) as made:
        await made.good_v1()
        made.errors["v4"] = 0.0
        made.cluster.roll(PROD, "v4")
        await made.pass_(PROVEN)
        made.cluster.roll(PROD, "v2")
        assert isinstance(made.cluster, Slow)
        made.cluster.gate.clear()
        await made.pass_(FIRES + 20.0)
        assert made.guard.state.runs() == []
        say(made, "v4", Mark.BAD)
        await made.pass_(40.0)
        assert [m.mark for m in made.told(RevisionMarked)] == [Mark.BAD]
        made.cluster.gate.set()
        await made.pass_(120.0)
        assert destinations(made) == [("v1",)]


async def test_a_mark_is_told_once_and_counts_over_restarts_and_undos() -> None:
    async with bench() as made:
        await made.good_v1()
        made.errors["v4"] = 0.0
        made.cluster.roll(PROD, "v4")
        await made.pass_(60.0)
        say(made, "v1", Mark.BAD, "it loses data")
        await made.pass_(60.0)
        value = made.cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["annotations"][MARK]
        say(made, "v1", Mark.NOT_BAD, "it does not")
        await made.pass_(60.0)
        # An undo brings the older annotation back.
        made.cluster.annotate(PROD, mark=value)
        await made.restart()
        await made.pass_(60.0)
        assert [m.mark for m in made.told(RevisionMarked)] == [Mark.BAD, Mark.NOT_BAD]
        assert (made.told(AnswerDenied), release_status(made, "v1")) == ([], ReleaseStatus.GOOD)
        bad, lifted = made.notices("revision.marked")
        assert bad.title == f"Somebody marked revision 1 (v1) of {KEY} bad"
        assert bad.text.startswith("It loses data. It is never gone back to")
        assert lifted.text == "It does not. It is good again, as it had earned: it can be gone back to."
        heard = [(h.annotation, h.counted) for h in made.guard.state.heard(KEY)]
        assert heard == [(MARK, True)] * 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("v1", "names no instant"),
        ("{unknown} {soon} bad", "not the whole hash of a release that the guard knows"),
        ("{prefix} {soon} bad", "not the whole hash of a release that the guard knows"),
        ("{v1} {late} bad", "has expired"),
        ("{v1} {soon} good", "one of bad, not-bad"),
        ("{v1} {soon} not-bad", "revision 1 is not bad"),
    ],
)
async def test_what_does_not_count_is_told_once_with_its_reason(value: str, words: str) -> None:
    async with bench() as made:
        await made.good_v1()
        known, now = template(made, "v1"), made.clock.now()
        times = {"soon": stamp(now + timedelta(minutes=5)), "late": stamp(now - timedelta(minutes=5))}
        made.cluster.annotate(PROD, mark=value.format(v1=known, prefix=known[:12], unknown="0" * 64, **times))
        await made.pass_(60.0)
        await made.restart()
        await made.pass_(60.0)
        [denied] = made.told(AnswerDenied)
        [notice] = made.notices("answer.denied")
        assert words in english().text(denied.reason)
        assert words in notice.text
        assert (made.told(RevisionMarked), release_status(made, "v1")) == ([], ReleaseStatus.GOOD)


async def test_an_open_run_ends_when_its_destination_is_marked_bad_and_gives_back_what_it_borrowed() -> None:
    async with bench() as made:
        made.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(1))
        await in_mid_run(made)
        assert minimum(made) == 3
        say(made, "v1", Mark.BAD, "it loses data")
        await made.pass_(5.0)
        [closed] = made.told(RunClosed)
        assert (closed.outcome, closed.freeze, minimum(made)) == ("abandoned", True, 1)
        assert english().text(closed.reason) == "a person marked its destination bad: it loses data"
        assert "it loses data" in made.notices("run.closed")[-1].text
        await made.pass_(2_000.0)
        assert (len(made.told(RunOpened)), made.writes()) == (1, 1)


async def test_a_mark_that_came_while_nobody_was_there_ends_the_run_before_anything_else_is_done() -> None:
    async with bench() as made:
        made.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(1))
        await in_mid_run(made)
        await made.stop()
        intended = len(made.told(StepIntended))
        say(made, "v1", Mark.BAD)
        made.cluster.stuck = False
        await made.start()
        await made.pass_(60.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["abandoned"]
        assert (len(made.told(StepIntended)), minimum(made)) == (intended, 1)


async def test_while_people_are_asked_a_mark_is_a_veto_and_the_next_rollback_goes_elsewhere() -> None:
    policy = Policy(limits=EAGER.limits, fallback=FallbackPolicy())
    async with bench(rules=[ASKS], policy=policy) as made:
        await made.good_v1()
        made.errors["v4"] = 0.0
        made.cluster.roll(PROD, "v4")
        await made.pass_(PROVEN)
        made.cluster.roll(PROD, "v2")
        await made.pass_(FIRES + 20.0)
        assert destinations(made) == [("v4",)]
        say(made, "v4", Mark.BAD, "it loses data")
        await made.pass_(10.0)
        [closed] = made.told(RunClosed)
        assert (closed.outcome, closed.freeze, made.writes()) == ("vetoed", False, 0)
        await made.pass_(1_000.0)
        assert destinations(made) == [("v4",), ("v1",)]
        assert made.told(TargetFrozen) == []


async def test_another_release_may_be_marked_while_a_run_goes_on() -> None:
    async with bench() as made:
        await made.good_v1()
        made.errors["v4"] = 0.0
        made.cluster.roll(PROD, "v4")
        await made.pass_(PROVEN)
        made.cluster.roll(PROD, "v2")
        await made.pass_(290.0)
        made.cluster.stuck = True
        await made.pass_(20.0)
        say(made, "v1", Mark.BAD)
        await made.pass_(5.0)
        assert [m.mark for m in made.told(RevisionMarked)] == [Mark.BAD]
        made.cluster.stuck = False
        made.cluster.finish()
        await made.pass_(1_000.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]


async def test_what_a_run_is_leaving_is_not_lifted_before_that_has_ended() -> None:
    async with bench() as made:
        await in_mid_run(made)
        say(made, "v2", Mark.NOT_BAD)
        await made.pass_(5.0)
        [denied] = made.told(AnswerDenied)
        [opened] = made.told(RunOpened)
        assert denied.reason == RunLeavesIt(opened.run, "2")
        assert release_status(made, "v2") is ReleaseStatus.BAD
        assert made.told(RunAnswered) == []


async def test_the_saved_release_of_what_was_good_is_kept_for_a_person_who_lifts_that_it_is_bad() -> None:
    async with bench(policy=EAGER) as made:
        await rolled_back(made, earned=True)
        await made.guard.forget_old_releases()
        say(made, "v1", Mark.BAD)
        await made.pass_(60.0)
        kept = made.guard.state.releases_to_keep(LedgerPolicy())
        blobs = {r.blob for r in made.guard.state.ledger(KEY).records.values()}
        assert blobs <= kept


@pytest.mark.parametrize("again", [False, True], ids=["once", "and once more afterwards"])
async def test_only_a_rollout_after_the_word_speaks_against_it(*, again: bool) -> None:
    async with bench(rules=[ASKS], policy=EAGER) as made:
        await made.bad_v2()
        await made.pass_(FIRES)
        assert destinations(made) == [("v1",)]
        made.cluster.roll(PROD, "v1")
        say(made, "v1", Mark.BAD)
        await made.pass_(60.0)
        if again:
            made.errors["v3"] = 0.0
            made.cluster.roll(PROD, "v3")
            await made.pass_(60.0)
            made.cluster.roll(PROD, "v1")
        await made.pass_(PROVEN + 60.0)
        assert release_status(made, "v1") is (ReleaseStatus.GOOD if again else ReleaseStatus.BAD)
