from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.errors import ClusterError, Conflict, JournalUnavailable, Rejected, Unavailable
from logcaster_guard.domain.events import (
    Event,
    NoticeQueued,
    RevisionBad,
    RevisionGood,
    RevisionLive,
    RunClosed,
    RunOpened,
    StepIntended,
    TargetFrozen,
    TargetThawed,
    TriggerFired,
)
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.rules import Action, GradualPolicy, LedgerPolicy, Limits, Policy
from logcaster_guard.messages.texts import Language, Texts
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import (
    ANOTHER,
    FIRES,
    HEALTH,
    KEY,
    PROD,
    PROVEN,
    Bench,
    bench,
    hpa,
    in_mid_run,
    minimum,
    rule,
    wall,
)
from tests.fakes.journal import SlowJournal


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    async with bench() as found:
        yield found


@pytest.fixture
async def scaled() -> AsyncIterator[Bench]:
    async with bench() as found:
        found.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(2))
        yield found


async def test_a_run_whose_opening_was_not_confirmed_is_carried_out_and_no_second_one_is_opened(made: Bench) -> None:
    assert made.journal is not None
    await made.bad_v2()
    await made.pass_(290.0)
    append = made.journal.append

    async def mumble(stream: str, events: Sequence[Event], expected_seq: int) -> int:
        seq = await append(stream, events, expected_seq)
        if any(isinstance(e, RunOpened) for e in events):
            raise JournalUnavailable("the answer was lost")
        return seq

    made.journal.append = mumble  # type: ignore[method-assign]
    await made.pass_(1_000.0)
    assert len(made.told(RunOpened)) == 1
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]


STRICT = GradualPolicy(otherwise=Action.ALERT_ONLY)


def frozen(made: Bench) -> bool:
    return made.guard.state.ledger(KEY).freeze is not None


async def test_a_fired_rule_opens_one_run_which_ends_on_the_good_release(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(1_000.0)
    [opened], [closed] = made.told(RunOpened), made.told(RunClosed)
    assert (opened.plan.from_images, opened.plan.to_images) == (("v2",), ("v1",))
    assert (closed.run, closed.outcome, closed.freeze) == (opened.run, "recovered", False)
    assert made.cluster.image(PROD) == "v1"
    assert made.writes() == 1
    assert [n.event for n in made.inbox.notices] == ["run.opened", "run.restored", "run.closed"]
    ledger = made.guard.state.ledger(KEY)
    assert {r.images[0]: r.status(LedgerPolicy()) for r in ledger.records.values()} == {
        "v1": ReleaseStatus.GOOD,
        "v2": ReleaseStatus.BAD,
    }


async def test_recovery_is_watched_for_as_long_as_the_policy_says(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(1_000.0)
    [opened], [closed] = made.told(RunOpened), made.told(RunClosed)
    assert timedelta(seconds=300) <= closed.at - opened.at <= timedelta(seconds=340)


async def test_the_next_bad_release_goes_back_to_the_good_one_too_and_never_to_the_bad_one() -> None:
    async with bench(policy=Policy(limits=Limits(cooldown=0.0))) as made:
        await made.bad_v2()
        await made.pass_(1_000.0)
        made.cluster.roll(PROD, "v3")
        await made.pass_(1_000.0)
        assert [o.plan.to_images for o in made.told(RunOpened)] == [("v1",), ("v1",)]
        assert made.cluster.image(PROD) == "v1"


async def test_a_breach_after_a_rollback_is_not_put_down_to_the_rollback() -> None:
    async with bench(policy=Policy(limits=Limits(cooldown=0.0))) as made:
        await made.good_v1()
        made.errors["v2"] = 0.0
        made.cluster.roll(PROD, "v2")
        await made.pass_(1_000.0)
        assert len(made.told(RevisionGood)) == 2
        made.cluster.roll(PROD, "v3")
        await made.pass_(1_000.0)
        assert made.cluster.image(PROD) == "v2"
        made.prometheus.set(PROD, "error_rate", 0.3)
        await made.pass_(1_000.0)
        assert len(made.told(RunOpened)) == 1
        assert made.cluster.image(PROD) == "v2"
        assert [n.facts["guardrails"] for n in made.notices("trigger.refused")] == ["not_caused_by_a_rollout"]


async def test_not_recovered_freezes_and_goes_no_further(made: Bench) -> None:
    await made.good_v1()
    made.cluster.roll(PROD, "v2")
    made.errors["v1"] = 0.3
    await made.pass_(2_000.0)
    [closed] = made.told(RunClosed)
    assert (closed.outcome, closed.freeze) == ("not recovered", True)
    assert made.writes() == 1
    assert len(made.notices("run.closed")) == 1


@pytest.mark.parametrize("trial", [{"action": Action.ALERT_ONLY}, {"dry_run": True}], ids=["alert only", "dry run"])
async def test_a_rule_that_only_tells_people_has_no_say_in_whether_a_rollback_helped(trial: dict[str, Any]) -> None:
    busy = replace(rule("busy", "request_rate", 0.9), **trial)
    async with bench(rules=[rule(), busy]) as made:
        await made.bad_v2()
        made.prometheus.set(PROD, "request_rate", 5.0)
        await made.pass_(1_000.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]


async def test_blind_after_the_rollback_is_inconclusive_and_frozen(made: Bench) -> None:
    await made.good_v1()
    made.cluster.roll(PROD, "v2")
    await made.pass_(FIRES)
    made.prometheus.set(PROD, "error_rate", None)
    await made.pass_(2_000.0)
    [closed] = made.told(RunClosed)
    assert (closed.outcome, closed.freeze) == ("inconclusive", True)


async def test_a_rollout_that_does_not_end_fails_and_freezes(made: Bench) -> None:
    await in_mid_run(made)
    await made.pass_(700.0)
    [closed] = made.told(RunClosed)
    assert (closed.outcome, closed.freeze) == ("failed", True)


def failing(made: Bench, error: ClusterError, times: int, what: Kind = Kind.DEPLOYMENT) -> None:
    left = times

    def fault(verb: str, kind: Kind, _: str) -> ClusterError | None:
        nonlocal left
        if (verb, kind) != ("patch", what) or left == 0:
            return None
        left -= 1
        return error

    made.cluster.fault = fault


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_a_jump_of_the_wall_clock_lifts_no_limit(made: Bench, jump: float) -> None:
    await made.bad_v2()
    await made.pass_(700.0)
    assert len(made.told(RunClosed)) == 1
    made.clock.jump_wall(jump)
    made.cluster.roll(PROD, "v3")
    await made.pass_(700.0)
    assert len(made.told(RunOpened)) == 1
    assert "cooldown" in made.notices("trigger.refused")[0].facts["guardrails"]


async def test_a_conflict_is_retried_at_once(made: Bench) -> None:
    await made.bad_v2()
    failing(made, Conflict("the object has been modified", status=409), 2)
    await made.pass_(400.0)
    assert made.cluster.image(PROD) == "v1"
    [fired], intents = made.told(TriggerFired), made.told(StepIntended)
    assert [i.attempt for i in intents] == [1, 2, 3]
    assert intents[-1].at - fired.at < timedelta(seconds=0.1)


async def test_conflicts_without_end_do_not_fill_the_journal(made: Bench) -> None:
    await made.bad_v2()
    failing(made, Conflict("the object has been modified", status=409), 100_000)
    await made.pass_(700.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["failed"]
    assert max(Counter(i.at for i in made.told(StepIntended)).values()) <= 8


@pytest.mark.parametrize("asked", [None, 86_400.0])
async def test_an_api_server_that_is_away_for_a_while_is_waited_for(made: Bench, asked: float | None) -> None:
    await made.bad_v2()
    await made.pass_(290.0)
    made.cluster.fault = lambda verb, *_: Unavailable("503", status=503, retry_after=asked) if verb == "patch" else None
    await made.pass_(120.0)
    assert made.cluster.image(PROD) == "v2"
    made.cluster.fault = lambda *_: Unavailable("connection refused", retry_after=asked)
    await made.pass_(60.0)
    made.cluster.fault = lambda *_: None
    await made.pass_(500.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]
    assert made.writes() == 1


async def test_what_may_not_be_changed_ends_failed_frozen_and_told(made: Bench) -> None:
    await made.bad_v2()
    failing(made, Rejected("deployments.apps is forbidden: cannot patch", status=403), 1)
    await made.pass_(400.0)
    [closed] = made.told(RunClosed)
    assert (closed.outcome, closed.freeze) == ("failed", True)
    assert "cannot patch" in made.notices("run.closed")[0].text
    assert made.writes() == 0
    assert len(made.told(StepIntended)) == 1


async def test_a_release_that_is_gone_from_the_store_does_not_fit_a_gradual_rollback() -> None:
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=Policy(gradual=STRICT)) as made:
        await made.bad_v2()
        await made.blobs.keep_only([], older_than=0.0)
        with capture_logs() as logs:
            await made.pass_(400.0)
        assert [line for line in logs if line["event"] == "watch.crashed"] == []
        [notice] = made.notices("trigger.refused")
        assert notice.facts["guardrails"] == "strategy_unfit"
        assert "cannot be read" in notice.text


async def test_credentials_that_have_expired_are_waited_for(scaled: Bench) -> None:
    expired = Rejected("Unauthorized", status=401)
    await scaled.bad_v2()
    failing(scaled, expired, 3)
    await scaled.pass_(600.0)
    assert [i.attempt for i in scaled.told(StepIntended)] == [1, 1, 2, 3, 4]
    failing(scaled, expired, 3, Kind.AUTOSCALER)
    await scaled.pass_(600.0)
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]
    assert minimum(scaled) == 2
    assert not scaled.notices("hold.not_given_back")


async def test_the_end_of_a_run_is_told_while_the_api_server_is_still_away(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(290.0)
    made.cluster.fault = lambda verb, *_: Unavailable("503", status=503) if verb == "patch" else None
    await made.pass_(120.0)
    made.cluster.fault = lambda *_: Unavailable("connection refused")
    await made.pass_(220.0)
    assert [n.event for n in made.inbox.notices if n.run] == ["run.opened", "run.hindered", "run.closed"]


@pytest.mark.parametrize("verbs", [{"patch"}, {"get", "list", "patch"}])
async def test_people_are_told_soon_that_a_run_stands_still_as_the_api_server_does_not_do_its_part(
    made: Bench, verbs: set[str]
) -> None:
    await made.bad_v2()
    await made.pass_(290.0)
    made.cluster.fault = lambda verb, *_: Unavailable("503", status=503) if verb in verbs else None
    if verbs != {"patch"}:
        made.cluster.fault = lambda verb, *_: Unavailable("503", status=503) if verb == "patch" else None
        await made.pass_(20.0)
        made.cluster.fault = lambda verb, *_: Unavailable("503", status=503) if verb in verbs else None
    await made.pass_(110.0)
    [notice] = made.notices("run.hindered")
    assert notice.title == "Rollback of default/logcaster-prod stands still"
    assert "503" in notice.text
    await made.pass_(30.0)
    assert len(made.notices("run.hindered")) == 1
    made.cluster.fault = lambda *_: None
    await made.pass_(1_000.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0])
@pytest.mark.parametrize("after", [20.0, 100.0])
async def test_a_wall_clock_that_is_set_between_two_guards_ends_no_run(made: Bench, jump: float, after: float) -> None:
    """In the rollout, and while the recovery is verified."""
    await made.bad_v2()
    made.cluster.stuck = True
    await made.pass_(300.0)
    if after > 50.0:
        made.cluster.stuck = False
        made.cluster.finish()
    await made.pass_(after)
    await made.stop()
    made.clock.jump_wall(jump)
    await made.start()
    await made.pass_(10.0)
    assert made.told(RunClosed) == []
    made.cluster.stuck = False
    made.cluster.finish()
    await made.pass_(1_000.0)
    assert [(c.outcome, c.freeze) for c in made.told(RunClosed)] == [("recovered", False)]


async def test_a_run_that_is_much_older_than_any_mistake_of_a_clock_ends_though_no_guard_stays_up(made: Bench) -> None:
    await made.bad_v2()
    made.cluster.stuck = True
    await made.pass_(300.0)
    for _ in range(40):
        await made.pass_(300.0)
        await made.restart()
    await made.pass_(60.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["failed"]


async def test_a_release_that_is_gone_from_the_store_is_told_before_anything_is_opened(made: Bench) -> None:
    await made.bad_v2()
    await made.blobs.keep_only([], older_than=0.0)
    await made.pass_(400.0)
    [notice] = made.notices("trigger.refused")
    assert "saved release cannot be read" in notice.text
    assert made.told(RunOpened) == []
    assert made.writes() == 0


async def test_nothing_is_changed_while_the_journal_cannot_be_written(made: Bench) -> None:
    assert made.journal is not None
    await made.bad_v2()
    await made.pass_(100.0)
    made.journal.fault = "the disk is full"
    with capture_logs() as logs:
        await made.pass_(400.0)
    assert made.cluster.writes == []
    assert "journal.unavailable" in [e["event"] for e in logs]
    made.journal.fault = None
    await made.pass_(40.0)
    assert made.cluster.image(PROD) == "v1"


async def test_a_run_pauses_while_the_journal_cannot_be_written(scaled: Bench) -> None:
    assert scaled.journal is not None
    await in_mid_run(scaled)
    scaled.cluster.stuck = False
    scaled.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=4))
    scaled.journal.fault = "the disk is full"
    await scaled.pass_(60.0)
    assert scaled.writes() == 1
    scaled.journal.fault = None
    await scaled.pass_(500.0)
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]
    assert minimum(scaled) == 2


async def test_no_good_revision_alerts_once_and_neither_freezes_nor_accuses(made: Bench) -> None:
    await made.start()
    await made.pass_(30.0)
    made.cluster.roll(PROD, "v2")
    await made.pass_(700.0)
    assert made.told(RunOpened) == []
    [notice] = made.notices("trigger.refused")
    assert notice.facts["guardrails"] == "no_good_revision"
    await made.restart()
    await made.pass_(700.0)
    assert len(made.notices("trigger.refused")) == 1
    assert (made.told(TargetFrozen), made.told(RevisionBad)) == ([], [])


async def test_a_sole_release_that_becomes_quiet_earns_good_and_the_next_bad_one_goes_back_to_it() -> None:
    """A first release whose Service answers 503 while it starts: nothing to go back to, and nothing it is to blame."""
    async with bench(rules=[rule(duration=6.0)]) as made:
        made.prometheus.set(PROD, "error_rate", 1.0)
        await made.start()
        await made.pass_(60.0)
        assert [n.facts["guardrails"] for n in made.notices("trigger.refused")] == ["no_good_revision"]
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(PROVEN)
        assert [g.template for g in made.told(RevisionGood)] == [r.template for r in made.told(RevisionLive)]
        made.cluster.roll(PROD, "v2")
        await made.pass_(60.0)
        assert made.cluster.image(PROD) == "v1"


async def test_an_outside_incident_on_the_first_release_leaves_it_good_and_the_target_free() -> None:
    async with bench(rules=[rule(duration=6.0)]) as made:
        await made.good_v1()
        made.prometheus.set(PROD, "error_rate", 0.5)
        await made.pass_(60.0)
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(60.0)
        assert len(made.notices("trigger.refused")) == 1
        assert (made.told(RevisionBad), made.told(TargetFrozen)) == ([], [])
        made.cluster.roll(PROD, "v2")
        await made.pass_(60.0)
        assert made.cluster.image(PROD) == "v1"


async def test_a_frozen_target_is_not_rolled_back_and_its_release_is_bad_all_the_same(made: Bench) -> None:
    await made.good_v1()
    made.cluster.annotate(PROD, freeze="database move")
    await made.pass_(30.0)
    made.cluster.roll(PROD, "v2")
    await made.pass_(500.0)
    assert made.cluster.writes == []
    assert [n.facts["guardrails"] for n in made.notices("trigger.refused")] == ["frozen"]
    assert len(made.told(RevisionBad)) == 1
    made.cluster.annotate(PROD, freeze="false: done")
    await made.pass_(60.0)
    assert len(made.told(TargetThawed)) == 1
    assert made.cluster.image(PROD) == "v1"


async def test_what_the_next_deployment_leaves_in_place_is_told_at_the_end_and_logged(made: Bench) -> None:
    await made.good_v1()

    def deploy(deployment: Json) -> None:
        deployment["metadata"]["annotations"] |= {"meta.helm.sh/release-name": "shop"}
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"

    made.errors["v2"] = 0.3
    made.cluster.change(Kind.DEPLOYMENT, PROD, deploy)
    made.prometheus.set(PROD, "error_rate", 0.3)
    with capture_logs() as logs:
        await made.pass_(900.0)
    (closed,) = made.notices("run.closed")
    assert "helm -n default rollback shop REVISION" in closed.text
    assert "helm -n default rollback shop REVISION" in Texts(Language.KOREAN).notice(closed).text
    assert ["shop" in entry["leftover"] for entry in logs if entry["event"] == "run.opened"] == [True]


async def test_a_freeze_is_told_with_who_wrote_it_and_so_is_its_end(made: Bench) -> None:
    await made.good_v1()

    def freeze(deployment: Json) -> None:
        deployment["metadata"]["annotations"]["guard.logcaster.io/freeze"] = "move"
        owned: Json = {"f:metadata": {"f:annotations": {"f:guard.logcaster.io/freeze": {}}}}
        entry = {"manager": "kubectl-annotate", "time": "2026-01-01T10:00:00Z", "fieldsV1": owned}
        deployment["metadata"]["managedFields"] = [entry]

    made.cluster.change(Kind.DEPLOYMENT, PROD, freeze)
    await made.pass_(60.0)
    (told,) = made.notices("target.frozen")
    assert "kubectl-annotate" in told.text
    assert (told.deployment, told.facts["words"]) == (PROD, "move")
    made.cluster.roll(PROD, "v2")
    await made.pass_(400.0)
    (refused,) = made.notices("trigger.refused")
    assert "by annotation (field manager kubectl-annotate" in refused.text
    made.cluster.annotate(PROD, freeze="false: done")
    await made.pass_(60.0)
    assert len(made.notices("target.thawed")) == 1
    assert len(made.notices("target.frozen")) == 1


async def test_a_freeze_holds_through_an_undo_and_a_restart(made: Bench) -> None:
    await made.good_v1()
    made.cluster.annotate(PROD, freeze="false: old")
    await made.pass_(60.0)
    made.cluster.annotate(PROD, freeze="move")
    await made.pass_(60.0)

    def undo(deployment: Json) -> None:
        deployment["metadata"]["annotations"] = {"guard.logcaster.io/freeze": "false: old"}
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"

    made.cluster.change(Kind.DEPLOYMENT, PROD, undo)
    await made.pass_(60.0)
    await made.restart()
    await made.pass_(500.0)
    assert frozen(made)
    assert made.cluster.writes == []


async def test_limits_hold_over_targets_that_fire_at_once() -> None:
    policy = Policy(limits=Limits(per_cluster_per_hour=1))
    # Two that fail at once would be suspected of one cause if it were asked for.
    rules = [rule(rollout_window=None), HEALTH]
    async with bench(deployments=[PROD, ANOTHER], policy=policy, rules=rules) as made:
        made.journal = SlowJournal()
        await made.good_v1()
        for name in (PROD, ANOTHER):
            made.cluster.roll(name, "v2")
        await made.pass_(60.0)
        onset, parts = made.clock.now(), made.guard.watches.values()
        workloads = [await watch._revisions.look() for watch in parts]
        await asyncio.gather(
            *(
                watch.decisions.decide(rules[0], onset=onset, workload=workload, evidence={})
                for watch, workload in zip(parts, workloads, strict=True)
            )
        )
        await made.pass_(5.0)
        assert len(made.told(RunOpened)) == 1
        assert [n.facts["guardrails"] for n in made.notices("trigger.refused")] == ["cluster_budget"]


@pytest.mark.parametrize("after", [0.0, 0.5, 1.5, 30.0, 200.0])
async def test_a_run_that_was_left_open_is_taken_up_again(scaled: Bench, after: float) -> None:
    await scaled.bad_v2()
    while not scaled.told(RunOpened):
        await scaled.pass_(0.5)
    await scaled.pass_(after)
    await scaled.restart()
    await scaled.pass_(1_000.0)
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]
    assert (scaled.writes(), scaled.writes(Kind.AUTOSCALER)) == (1, 2)
    assert scaled.cluster.image(PROD) == "v1"
    assert minimum(scaled) == 2
    assert len(scaled.told(RunOpened)) == 1


async def test_an_effect_whose_answer_was_lost_is_found_done(made: Bench) -> None:
    await made.bad_v2()
    lost = False

    def fault(verb: str, kind: Kind, name: str) -> ClusterError | None:
        nonlocal lost
        if (verb, kind, lost) == ("patch", Kind.DEPLOYMENT, False):
            lost = True
            made.cluster.roll(name, "v1")
            return Unavailable("the connection was cut")
        return None

    made.cluster.fault = fault
    await made.pass_(800.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]
    assert made.writes() == 0
    assert len(made.told(StepIntended)) == 1


async def test_a_defect_in_a_run_is_told_and_the_run_stays_open(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(290.0)

    def defect(verb: str, kind: Kind, _: str) -> ClusterError | None:
        if (verb, kind) == ("patch", Kind.DEPLOYMENT):
            raise RuntimeError("a defect")
        return None

    made.cluster.fault = defect
    await made.pass_(60.0)
    assert len(made.notices("run.crashed")) == 1
    assert made.told(RunClosed) == []
    made.cluster.fault = lambda *_: None
    await made.restart()
    await made.pass_(600.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]


async def test_every_notice_is_queued_with_what_it_tells(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(1_000.0)
    [run] = set(made.streams(RunOpened))
    assert made.journal is not None
    queued = [e.event.notice.event for e in made.journal.entries if isinstance(e.event, NoticeQueued)]
    assert queued == ["run.opened", "run.restored", "run.closed"]
    assert {e.stream for e in made.journal.entries if isinstance(e.event, NoticeQueued)} == {run}


async def test_a_day_is_enough_for_two_rollbacks_only() -> None:
    async with bench(policy=Policy(limits=Limits(cooldown=0.0))) as made:
        await made.good_v1()
        for image in ("v2", "v3", "v4"):
            made.errors[image] = 0.3
            made.cluster.roll(PROD, image)
            await made.pass_(2_000.0)
        assert len(made.told(RunOpened)) == 2
        assert made.cluster.image(PROD) == "v4"
        assert made.notices("trigger.refused")[-1].facts["guardrails"] == "target_budget"
        assert wall(made.clock.monotonic()) == made.clock.now()
