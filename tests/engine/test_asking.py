"""People are asked first: what they answer counts, and silence is consent only while the breach can be seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from logcaster_guard.domain.events import PeopleReminded, RunClosed, RunOpened
from logcaster_guard.domain.rules import Action, AlertPolicy, Limits, Policy
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.texts import Language, Texts
from tests.engine.bench import KEY, PROD, Bench, bench, rule

ASKS = rule(action=Action.ALERT_THEN)
ASKED = 301.0


async def asked(made: Bench) -> RunOpened:
    """v2 is bad, and people are asked."""
    await made.bad_v2()
    await made.pass_(ASKED)
    [opened] = made.told(RunOpened)
    assert made.writes() == 0
    return opened


def said(made: Bench, opened: RunOpened, ahead: float = 600.0, token: str = "") -> str:
    expiry = made.clock.now() + timedelta(seconds=ahead)
    return f"{token or opened.approval_token} {expiry:%Y-%m-%dT%H:%M:%SZ} by the one on call"


def outcome(made: Bench) -> str:
    [closed] = made.told(RunClosed)
    return closed.outcome


async def test_silence_is_consent_after_the_grace() -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        await made.pass_(280.0)
        assert made.writes() == 0
        await made.pass_(30.0)
        assert (made.writes(), made.cluster.image(PROD)) == (1, "v1")
        await made.pass_(700.0)
        assert outcome(made) == "recovered"
        assert [r.number for r in made.told(PeopleReminded)] == [1, 2]


async def test_the_alert_says_how_to_veto_and_until_when() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        [notice] = made.notices("run.opened")
        assert f"guard.logcaster.io/veto='{opened.approval_token} " in notice.facts["veto"]
        assert notice.facts["until"] in notice.text
        assert notice.facts["veto"] in notice.text


async def test_a_veto_ends_it_and_leaves_everything_as_it_was() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, veto=said(made, opened))
        await made.pass_(600.0)
        assert (outcome(made), made.writes()) == ("vetoed", 0)
        assert made.guard.state.ledger(KEY).freeze is None


@pytest.mark.parametrize("restarted", [False, True], ids=["in one life", "across a restart"])
async def test_a_veto_holds_for_that_release_until_its_end_and_then_people_are_asked_again(restarted: bool) -> None:
    policy = Policy(alert=AlertPolicy(veto_for=7_200.0))
    async with bench(rules=[ASKS], policy=policy) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, veto=said(made, opened))
        await made.pass_(5.0)
        until = (made.clock.now() + timedelta(seconds=7_200.0)).strftime("%Y-%m-%dT%H:%M")
        [closed] = made.notices("run.closed")
        assert closed.facts["vetoed_until"].startswith(until)
        for language in Language:
            assert closed.facts["vetoed_until"] in Texts(language).notice(closed).text
        if restarted:
            await made.restart()
        await made.pass_(6_900.0)
        assert (len(made.told(RunOpened)), made.writes()) == (1, 0)
        [refused] = made.notices("trigger.refused")
        assert "vetoed" in refused.facts["guardrails"]
        assert "by the one on call" in refused.text
        await made.pass_(400.0)
        assert len(made.told(RunOpened)) == 2


async def test_a_veto_is_lifted_by_a_person_and_is_none_of_the_next_release() -> None:
    async with bench(rules=[ASKS], policy=Policy(limits=Limits(cooldown=60.0))) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, veto=said(made, opened))
        await made.pass_(900.0)
        assert len(made.told(RunOpened)) == 1
        made.cluster.roll(PROD, "v3")
        await made.pass_(900.0)
        assert [run.plan.from_images for run in made.told(RunOpened)] == [("v2",), ("v3",)]


async def test_an_approval_shortens_the_grace() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, approve=said(made, opened))
        await made.pass_(10.0)
        assert made.writes() == 1


@pytest.mark.parametrize(
    ("ahead", "token"), [(600.0, "0" * 16), (-1.0, ""), (90_000.0, ""), (600.0, "0" * 2_000)]
)  # fmt: skip
async def test_an_answer_to_another_run_or_at_another_time_is_none(ahead: float, token: str) -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, approve=said(made, opened, ahead, token))
        await made.pass_(60.0)
        assert made.writes() == 0


async def test_without_an_approval_that_is_required_nothing_happens() -> None:
    policy = Policy(alert=AlertPolicy(require_approval=True, approval_timeout=1_000.0))
    async with bench(rules=[ASKS], policy=policy) as made:
        await asked(made)
        await made.pass_(1_100.0)
        assert (outcome(made), made.writes()) == ("not approved", 0)


async def test_a_breach_that_goes_away_is_not_rolled_back() -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(320.0)
        assert (outcome(made), made.writes()) == ("subsided", 0)


async def test_a_breach_that_goes_away_is_not_rolled_back_for_what_another_rule_says() -> None:
    """The other one has not been met for its duration, and nobody has asked where that comes from."""
    async with bench(rules=[ASKS, rule("memory_leak", "request_rate", 0.9, 3_600.0)]) as made:
        await asked(made)
        made.prometheus.set(PROD, "request_rate", 0.95)
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(320.0)
        assert (outcome(made), made.writes()) == ("subsided", 0)


async def test_a_breach_that_cannot_be_seen_is_not_rolled_back() -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        made.prometheus.fault = Fault.TIMED_OUT
        await made.pass_(600.0)
        assert made.writes() == 0
        made.prometheus.fault = None
        await made.pass_(120.0)
        assert made.writes() == 1


async def test_a_freeze_is_a_veto() -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        made.cluster.annotate(PROD, freeze="wait for the database")
        await made.pass_(400.0)
        assert (outcome(made), made.writes()) == ("vetoed", 0)


async def test_somebodys_own_rollout_ends_the_question_without_a_freeze() -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        made.cluster.roll(PROD, "v3")
        await made.pass_(20.0)
        assert (outcome(made), made.writes()) == ("abandoned", 0)
        assert made.guard.state.ledger(KEY).freeze is None


@pytest.mark.parametrize("jump", [0.0, 3_600.0, -3_600.0])
async def test_a_question_outlives_the_guard_that_asked_it_and_silence_counts_only_where_a_guard_listened(
    jump: float,
) -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        await made.pass_(200.0)
        await made.stop()
        made.clock.jump_wall(jump)
        await made.start()
        # The reminder after 120 s is the last that the journal tells of the time before.
        await made.pass_(170.0)
        assert made.writes() == 0
        await made.pass_(40.0)
        assert made.writes() == 1
        assert len(made.told(RunOpened)) == 1


async def test_a_more_urgent_rule_takes_over_at_once() -> None:
    urgent = rule("health_check_failure", "health_check_fails", 3, 120.0)
    async with bench(rules=[ASKS, urgent]) as made:
        asking = await asked(made)
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(160.0)
        slower, quicker = made.told(RunOpened)
        assert (slower.run, quicker.parent, quicker.plan.strategy) == (asking.run, asking.run, "immediate")
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated"]
        assert made.writes() == 1
        made.http.set(PROD, "health_check_fails", 0)
        await made.pass_(700.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated", "recovered"]
        assert len(set(made.streams(RunOpened))) == 1


async def test_a_more_urgent_rule_on_trial_neither_takes_over_nor_keeps_people_from_being_reminded() -> None:
    urgent = replace(rule("health_check_failure", "health_check_fails", 3, 30.0), dry_run=True)
    async with bench(rules=[ASKS, urgent]) as made:
        await asked(made)
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(200.0)
        assert (len(made.told(RunOpened)), made.writes()) == (1, 0)
        assert [n.facts["guardrails"] for n in made.notices("trigger.refused")] == ["dry_run"]
        assert [reminded.number for reminded in made.told(PeopleReminded)] == [1]


async def test_nobody_is_asked_any_more_once_somebody_has_rolled_back_and_theirs_is_kept() -> None:
    async with bench(rules=[ASKS]) as made:
        await asked(made)
        made.cluster.roll(PROD, "v1")
        await made.pass_(5.0)
        assert outcome(made) == "abandoned"
        assert made.guard.state.ledger(KEY).freeze is None
        made.cluster.roll(PROD, "v2")
        await made.pass_(280.0)
        assert (made.writes(), made.cluster.image(PROD)) == (0, "v2")
