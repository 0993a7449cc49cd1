"""Answers of people are taken in once, denied once, and told; whatever an undo brings back changes nothing."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from logcaster_guard.domain.errors import ClusterError, Unavailable
from logcaster_guard.domain.events import AnswerDenied, RunAnswered, RunClosed, RunOpened, TargetFrozen, TargetThawed
from logcaster_guard.domain.inbox.annotations import ABANDON, APPROVE, FREEZE, ROLLBACK, VETO
from logcaster_guard.domain.inbox.commands import AnswerRun, RunCommand, value_of
from logcaster_guard.domain.rules import Action
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from tests.engine.bench import KEY, PROD, Bench, bench, hpa, in_mid_run, minimum, rule

ASKS = rule(action=Action.ALERT_THEN)
ASKED = 301.0


async def asked(made: Bench) -> RunOpened:
    await made.bad_v2()
    await made.pass_(ASKED)
    return made.told(RunOpened)[-1]


def to(made: Bench, opened: RunOpened, words: str = "by the one on call") -> str:
    return value_of(
        AnswerRun(RunCommand.ABANDON, opened.approval_token, made.clock.now() + timedelta(minutes=10), words)
    )


def heard(made: Bench) -> list[tuple[str, bool]]:
    return [(h.annotation.partition("/")[2], h.counted) for h in made.guard.state.heard(KEY)]


async def test_an_answer_is_in_the_journal_before_its_consequence() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, approve=to(made, opened))
        await made.pass_(10.0)
        [answer] = made.told(RunAnswered)
        assert (answer.answer, answer.run, answer.words) == (RunCommand.APPROVE, opened.run, "by the one on call")
        assert made.writes() == 1
        assert heard(made) == [("approve", True)]


async def test_an_answer_that_counted_counts_after_a_restart_too_and_only_once() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, veto=to(made, opened))
        await made.pass_(2.0)
        await made.restart()
        await made.pass_(60.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["vetoed"]
        assert (len(made.told(RunAnswered)), made.told(AnswerDenied)) == (1, [])


async def test_a_no_counts_when_a_yes_comes_with_it() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        value = to(made, opened)
        made.cluster.annotate(PROD, veto=value, approve=value)
        await made.pass_(60.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["vetoed"]
        assert made.writes() == 0
        assert heard(made) == [("veto", True), ("approve", False)]


async def test_what_an_undo_brings_back_neither_counts_nor_is_told_again() -> None:
    async with bench(rules=[ASKS]) as made:
        first = await asked(made)
        value = to(made, first)
        made.cluster.annotate(PROD, veto=value)
        await made.pass_(30.0)
        made.cluster.annotate(PROD, veto=None)
        made.cluster.roll(PROD, "v1")
        await made.pass_(2_500.0)
        made.cluster.roll(PROD, "v3")
        await made.pass_(ASKED)
        second = made.told(RunOpened)[-1]
        assert second.run != first.run
        made.cluster.annotate(PROD, veto=value)
        await made.pass_(700.0)
        assert made.told(RunClosed)[-1].outcome == "recovered"
        assert (len(made.told(RunAnswered)), made.told(AnswerDenied)) == (1, [])


async def test_annotations_of_replica_sets_are_nobodys_word() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        value = to(made, opened)

        def edit(replica_set: dict[str, Any]) -> None:
            names = (VETO, ABANDON, FREEZE, ROLLBACK)
            replica_set["metadata"]["annotations"].update(dict.fromkeys(names, value))

        for number in (1, 2):
            made.cluster.change(Kind.REPLICA_SET, f"{PROD}-{number}", edit)
        await made.pass_(400.0)
        assert made.writes() == 1
        assert (made.told(RunAnswered), made.told(AnswerDenied), made.told(TargetFrozen)) == ([], [], [])


async def test_a_denial_is_told_once_with_its_reason_over_restarts_and_while_no_run_is_open() -> None:
    async with bench(rules=[ASKS]) as made:
        await made.good_v1()
        made.cluster.annotate(PROD, approve="0123456789abcdef 2099-01-01T00:00:00Z")
        await made.pass_(60.0)
        await made.restart()
        await made.pass_(60.0)
        [denied] = made.told(AnswerDenied)
        [notice] = made.notices("answer.denied")
        assert (denied.annotation, denied.run) == (APPROVE, None)
        assert "no rollback is open here" in notice.text
        assert heard(made) == [("approve", False)]


async def test_a_veto_that_comes_too_late_is_denied_and_does_not_end_the_run() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        made.cluster.annotate(PROD, approve=to(made, opened))
        await made.pass_(10.0)
        made.cluster.annotate(PROD, veto=to(made, opened))
        await made.pass_(10.0)
        [denied] = made.told(AnswerDenied)
        assert "does not ask any more: abandon it" in english().text(denied.reason)
        assert made.told(RunClosed) == []


async def test_silence_is_no_consent_while_nobody_can_be_heard() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)

        def away(verb: str, kind: Kind, name: str) -> ClusterError | None:
            del name
            return Unavailable("away") if verb == "get" and kind is Kind.DEPLOYMENT else None

        made.cluster.fault = away
        await made.pass_(290.0)
        made.cluster.annotate(PROD, veto=to(made, opened))
        await made.pass_(60.0)
        made.cluster.fault = lambda *_: None
        await made.pass_(60.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["vetoed"]
        assert made.writes() == 0


async def test_abandoning_gives_back_what_is_borrowed_freezes_and_tells() -> None:
    async with bench() as made:
        made.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(1))
        await in_mid_run(made)
        assert minimum(made) == 3
        [opened] = made.told(RunOpened)
        made.cluster.annotate(PROD, abandon=to(made, opened, "it makes things worse"))
        await made.pass_(10.0)
        [closed] = made.told(RunClosed)
        assert (closed.outcome, closed.freeze, minimum(made)) == ("abandoned", True, 1)
        assert english().text(closed.reason) == "a person abandoned it: it makes things worse"
        [notice] = made.notices("run.closed")
        assert "logcaster-guard resume default/logcaster-prod" in notice.text
        await made.pass_(2_000.0)
        assert len(made.told(RunOpened)) == 1


@pytest.mark.parametrize("token", ["0" * 16, ""])
async def test_abandoning_another_run_is_denied(token: str) -> None:
    async with bench() as made:
        await in_mid_run(made)
        soon = made.clock.now() + timedelta(minutes=1)
        made.cluster.annotate(PROD, abandon=value_of(AnswerRun(RunCommand.ABANDON, token, soon, "")))
        await made.pass_(10.0)
        assert made.told(RunClosed) == []
        assert len(made.told(AnswerDenied)) == 1


async def test_a_run_that_stopped_on_a_defect_can_be_abandoned() -> None:
    async with bench() as made:
        await made.bad_v2()
        await made.pass_(290.0)

        def defect(verb: str, kind: Kind, name: str) -> ClusterError | None:
            del kind, name
            if verb == "patch":
                raise ZeroDivisionError("a defect")
            return None

        made.cluster.fault = defect
        await made.pass_(20.0)
        assert [n.event for n in made.inbox.notices][-1] == "run.crashed"
        made.cluster.fault = lambda *_: None
        [opened] = made.told(RunOpened)
        made.cluster.annotate(PROD, abandon=to(made, opened))
        await made.pass_(60.0)
        [closed] = made.told(RunClosed)
        assert (closed.outcome, made.writes()) == ("abandoned", 0)


async def test_a_persons_freeze_counts_beside_the_guards_own_and_one_word_lifts_both() -> None:
    async with bench() as made:
        await in_mid_run(made)
        [opened] = made.told(RunOpened)
        made.cluster.annotate(PROD, abandon=to(made, opened))
        await made.pass_(60.0)
        made.cluster.annotate(PROD, freeze="we look into it")
        await made.pass_(60.0)
        freeze = made.guard.state.ledger(KEY).freeze
        assert freeze is not None
        assert (freeze.by, freeze.reason) == ("annotation", "we look into it")
        made.cluster.annotate(PROD, freeze="false: over")
        await made.pass_(60.0)
        assert made.guard.state.ledger(KEY).freeze is None
        assert len(made.told(TargetThawed)) == 1


async def test_the_annotations_of_another_object_of_the_same_name_are_others() -> None:
    async with bench(rules=[ASKS]) as made:
        await made.good_v1()
        made.cluster.annotate(PROD, approve="0123456789abcdef 2099-01-01T00:00:00Z")
        await made.pass_(60.0)
        again = copy.deepcopy(made.cluster.object(Kind.DEPLOYMENT, PROD))
        made.cluster.remove(Kind.DEPLOYMENT, PROD)
        made.cluster.add_deployment(PROD, "v1")
        made.cluster.annotate(PROD, approve=again["metadata"]["annotations"][APPROVE])
        await made.pass_(60.0)
        assert len({d.digest for d in made.told(AnswerDenied)}) == 2


async def test_of_a_freeze_of_half_a_megabyte_the_journal_has_the_beginning_and_the_digest() -> None:
    async with bench() as made:
        await made.start()
        for end in "ab":
            made.cluster.annotate(PROD, freeze="look into it " + "x" * 500_000 + end)
            await made.pass_(100.0)
        first, second = made.told(TargetFrozen)
        assert first.reason != second.reason
        assert first.reason.startswith("look into it xxx")
        assert "500014 characters, SHA-256 " in first.reason
        assert len(first.reason) < 1_200
        made.cluster.annotate(PROD, freeze=" " * 2_000 + "false: over")
        await made.pass_(100.0)
        assert [len(english().text(e.reason)) < 1_200 for e in made.told(TargetThawed)] == [True]


async def test_every_rule_of_a_target_cools_down_when_a_run_on_it_has_ended() -> None:
    async with bench() as made:
        await in_mid_run(made)
        [opened] = made.told(RunOpened)
        made.cluster.annotate(PROD, abandon=to(made, opened))
        ended = made.clock.monotonic()
        await made.pass_(60.0)
        assert len(made.told(RunClosed)) == 1
        assert all((state.cooling_until or 0.0) > ended for state in made.guard.watches[KEY].triggers.states.values())
