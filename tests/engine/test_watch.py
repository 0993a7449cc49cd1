from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.conditions import And
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.events import (
    RunClosed,
    RunOpened,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.rules import Action, Limits, Policy
from logcaster_guard.domain.signals import Fault, SourceName
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.ports import Kind
from tests.engine.bench import ANOTHER, ERRORS, FIRES, HEALTH, KEY, PROD, Bench, bench, rule, wall

STEP = 0.75
"""How finely an onset is looked for in range data, for polls each 30 s."""


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    async with bench() as found:
        yield found


@pytest.fixture
async def pastless() -> AsyncIterator[Bench]:
    async with bench(past=False) as found:
        yield found


@pytest.mark.parametrize("phase", [0.1, 7.3, 15.0, 29.9])
async def test_it_fires_exactly_when_the_duration_is_full_whatever_the_poll_phase(made: Bench, phase: float) -> None:
    await made.good_v1()
    await made.pass_(phase)
    made.cluster.roll(PROD, "v2")
    began = made.clock.monotonic()
    await made.pass_(295.0)
    assert made.told(TriggerFired) == []
    await made.pass_(10.0)
    [fired] = made.told(TriggerFired)
    assert timedelta(0) <= fired.onset - wall(began) <= timedelta(seconds=STEP)
    assert fired.at - fired.onset == timedelta(seconds=ERRORS.duration)
    assert fired.evidence == {"error_rate": "30%"}
    # With a reading of that very instant, and a run at once.
    assert any(abs(wall(at) - fired.at) < timedelta(milliseconds=1) for at in made.prometheus.reads)
    assert [opened.at for opened in made.told(RunOpened)] == [fired.at]


async def test_without_range_data_it_fires_a_duration_after_the_first_bad_reading(pastless: Bench) -> None:
    await pastless.bad_v2()
    await pastless.pass_(400.0)
    [pending], [fired] = pastless.told(TriggerPending), pastless.told(TriggerFired)
    assert fired.at - pending.at == timedelta(seconds=300)


async def test_a_threshold_that_the_histogram_cannot_show_is_told_once(made: Bench) -> None:
    made.prometheus.ceiling = 0.05  # and the rule asks for more
    with capture_logs() as logs:
        await made.good_v1()
        await made.pass_(120.0)
    [told] = [line for line in logs if line["event"] == "rule.out_of_reach"]
    assert (told["rule"], told["largest_bucket"], told["log_level"]) == (ERRORS.name, 0.05, "warning")


async def test_one_missing_scrape_does_not_reset_the_onset(pastless: Bench) -> None:
    await pastless.bad_v2()
    await pastless.pass_(100.0)
    pastless.prometheus.set(PROD, "error_rate", None)
    await pastless.pass_(30.0)
    pastless.prometheus.set(PROD, "error_rate", 0.3)
    await pastless.pass_(300.0)
    [pending], [fired] = pastless.told(TriggerPending), pastless.told(TriggerFired)
    assert fired.onset == pending.onset
    # What nobody could see is not credited.
    assert fired.at - pending.at == timedelta(seconds=360)
    assert pastless.told(TriggerCleared) == []


async def test_no_data_for_long_ends_the_breach(pastless: Bench) -> None:
    await pastless.bad_v2()
    await pastless.pass_(100.0)
    pastless.prometheus.set(PROD, "error_rate", None)
    await pastless.pass_(600.0)
    assert [c.reason for c in pastless.told(TriggerCleared)] == ["no data"]
    assert pastless.told(TriggerFired) == []


async def test_a_hanging_source_delays_nothing_else() -> None:
    async with bench(deployments=[PROD, ANOTHER]) as made:
        await made.good_v1()
        made.http.gate.clear()
        made.cluster.roll(PROD, "v2")
        made.cluster.roll(ANOTHER, "v2")
        began = made.clock.monotonic()
        await made.pass_(310.0)
        fired = made.told(TriggerFired)
        assert len(fired) == 2
        for event in fired:
            assert event.at <= wall(began + STEP + 300.0)
        hung = len(made.http.reads)
        made.http.gate.set()
        await made.pass_(60.0)
        missed = [w.reader.missed for w in made.guard.watches.values()]
        assert all(9 <= m[SourceName.HTTP] <= 11 for m in missed)
        assert all(SourceName.PROMETHEUS not in m for m in missed)
        # Counted, and not made up for: two targets, a poll each 30 s.
        assert len(made.http.reads) - hung <= 2 * 3


async def test_a_hanging_source_does_not_delay_the_dated_evaluation_of_another_rule(made: Bench) -> None:
    await made.bad_v2()
    made.http.set(PROD, "health_check_fails", 9)
    await made.pass_(115.0)
    made.http.gate.clear()
    await made.pass_(195.0)
    assert [f.rule for f in made.told(TriggerFired)] == [ERRORS.name]


async def test_losing_prometheus_for_the_whole_window_is_told_once_and_fires_nothing(made: Bench) -> None:
    await made.good_v1()
    with capture_logs() as logs:
        made.prometheus.fault = Fault.REFUSED
        await made.pass_(1_000.0)
        assert [e["what"] for e in logs if e["event"] == "source.failing"] == ["source prometheus"]
        assert len(made.notices("source.failing")) == 1
        made.prometheus.fault = None
        await made.pass_(60.0)
    assert [e["what"] for e in logs if e["event"] == "source.recovered"] == ["source prometheus"]
    assert len(made.notices("source.recovered")) == 1
    assert made.told(TriggerFired) == []
    assert made.told(RunOpened) == []


async def test_nothing_fires_blind_and_range_data_counts_afterwards(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(100.0)
    made.prometheus.fault = Fault.TIMED_OUT
    await made.pass_(400.0)
    assert made.told(TriggerFired) == []
    made.prometheus.fault = None
    await made.pass_(60.0)
    [pending], [fired] = made.told(TriggerPending), made.told(TriggerFired)
    assert fired.onset == pending.onset


async def test_a_breach_that_paused_while_blind_gets_its_whole_duration(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(100.0)
    made.prometheus.fault = Fault.TIMED_OUT
    await made.pass_(100.0)
    made.prometheus.set(PROD, "error_rate", 0.0)
    await made.pass_(60.0)
    made.prometheus.set(PROD, "error_rate", 0.3)
    again = made.clock.monotonic()
    await made.pass_(60.0)
    made.prometheus.fault = None
    await made.pass_(230.0)
    assert made.told(TriggerFired) == []
    await made.pass_(60.0)
    [fired] = made.told(TriggerFired)
    assert fired.onset >= wall(again)
    assert made.told(TriggerPending)[-1].onset == fired.onset


async def test_nothing_is_decided_for_a_rule_that_has_gone_blind() -> None:
    """Refused before, it would be allowed by now; another rule that fires must not take it along."""
    slower = replace(HEALTH, duration=400.0)
    async with bench(rules=[ERRORS, slower]) as made:
        await made.good_v1()
        made.cluster.annotate(PROD, freeze="move")
        await made.pass_(30.0)
        made.cluster.roll(PROD, "v2")
        await made.pass_(310.0)
        assert [f.rule for f in made.told(TriggerFired)] == [ERRORS.name]
        made.prometheus.fault = Fault.TIMED_OUT
        made.cluster.annotate(PROD, freeze="false: done")
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(500.0)
        assert [o.rule for o in made.told(RunOpened)] == [slower.name]


@pytest.mark.parametrize("seconds", [3_600.0, -3_600.0])
async def test_a_jump_of_the_wall_clock_changes_nothing(made: Bench, seconds: float) -> None:
    await made.bad_v2()
    await made.pass_(100.0)
    [pending] = made.told(TriggerPending)
    made.clock.jump_wall(seconds)
    await made.pass_(210.0)
    [fired] = made.told(TriggerFired)
    assert fired.onset == pending.onset
    assert fired.at - timedelta(seconds=seconds) - fired.onset == timedelta(seconds=300)
    assert len(made.told(RunOpened)) == 1


async def test_a_jump_of_the_wall_clock_does_not_put_an_old_breach_down_to_a_new_rollout(made: Bench) -> None:
    made.errors["v2"] = 0.0
    await made.good_v1()
    made.prometheus.set(PROD, "error_rate", 0.3)
    await made.pass_(60.0)
    made.errors["v2"] = 0.3
    made.cluster.roll(PROD, "v2")
    await made.pass_(60.0)
    made.clock.jump_wall(3_600.0)
    await made.pass_(400.0)
    assert len(made.told(TriggerFired)) == 1
    assert made.told(RunOpened) == []


async def test_a_restart_takes_the_breach_up_again_from_range_data(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(150.0)
    await made.stop()
    await made.pass_(100.0)
    await made.start()
    await made.pass_(70.0)
    [fired] = made.told(TriggerFired)
    assert fired.onset == made.told(TriggerPending)[0].onset
    assert timedelta(seconds=299) <= fired.at - fired.onset <= timedelta(seconds=301)
    assert len(made.told(RunOpened)) == 1


async def test_a_restart_without_range_data_starts_the_duration_again(pastless: Bench) -> None:
    await pastless.bad_v2()
    await pastless.pass_(150.0)
    await pastless.stop()
    await pastless.pass_(100.0)
    await pastless.start()
    back = pastless.clock.monotonic()
    await pastless.pass_(310.0)
    [fired] = pastless.told(TriggerFired)
    assert fired.at == wall(back + 300.0)
    assert fired.onset == pastless.told(TriggerPending)[0].onset


async def test_a_single_reading_after_a_restart_is_an_instant_and_no_stretch(pastless: Bench) -> None:
    await pastless.bad_v2()
    await pastless.pass_(150.0)
    await pastless.stop()
    await pastless.pass_(ERRORS.duration)
    await pastless.start()
    pastless.prometheus.fault = Fault.REFUSED
    await pastless.pass_(100.0)
    pastless.prometheus.fault = None
    await pastless.pass_(ERRORS.duration + 130.0)
    [fired] = pastless.told(TriggerFired)
    back = next(at for at in pastless.prometheus.reads if wall(at) >= fired.at - timedelta(seconds=ERRORS.duration))
    assert abs(fired.at - wall(back) - timedelta(seconds=ERRORS.duration)) < timedelta(milliseconds=1)


async def test_a_restart_while_blind_fires_nothing(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(150.0)
    made.prometheus.fault = Fault.REFUSED
    await made.restart()
    await made.pass_(600.0)
    assert made.told(TriggerFired) == []


async def test_a_release_by_others_gets_its_whole_duration_to_mend_what_began_before_it(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(200.0)
    made.cluster.roll(PROD, "v3")
    rolled = made.clock.monotonic()
    await made.pass_(290.0)
    assert made.told(TriggerFired) == []
    await made.pass_(60.0)
    [fired] = made.told(TriggerFired)
    assert fired.onset < wall(rolled)
    [opened] = made.told(RunOpened)
    assert opened.at >= wall(rolled + 300.0)
    assert made.notices("trigger.refused") == []


async def test_a_release_that_comes_while_range_data_is_read_is_not_overlooked(made: Bench) -> None:
    await made.bad_v2()
    made.prometheus.history_gate.clear()
    await made.pass_(30.0)
    made.cluster.roll(PROD, "v3")
    rolled = made.clock.monotonic()
    await made.pass_(30.0)
    made.prometheus.history_gate.set()
    await made.pass_(300.0)
    [fired] = made.told(TriggerFired)
    assert fired.at >= wall(rolled + 300.0)
    assert [r.at for r in made.told(RunOpened)] == [fired.at]


async def test_a_release_by_others_gets_its_whole_duration_across_a_restart(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(200.0)
    made.cluster.roll(PROD, "v3")
    rolled = made.clock.monotonic()
    await made.pass_(35.0)
    await made.restart()
    await made.pass_(300.0)
    [fired] = made.told(TriggerFired)
    assert fired.at >= wall(rolled + 299.0)
    assert [r.at for r in made.told(RunOpened)] == [fired.at]


async def test_what_was_before_a_runs_end_counts_no_more_after_a_restart() -> None:
    asks = rule(action=Action.ALERT_THEN)
    async with bench(rules=[asks], policy=Policy(limits=Limits(cooldown=0.0))) as made:
        await made.bad_v2()
        await made.pass_(FIRES)
        [opened] = made.told(RunOpened)
        expiry = made.clock.now() + timedelta(seconds=600)
        made.cluster.annotate(PROD, veto=f"{opened.approval_token} {expiry:%Y-%m-%dT%H:%M:%SZ} no")
        await made.pass_(10.0)
        [closed] = made.told(RunClosed)
        await made.restart()
        await made.pass_(400.0)
        [_, again] = made.told(TriggerFired)
        assert timedelta(seconds=300) <= again.at - closed.at <= timedelta(seconds=305)


async def test_what_fired_before_a_run_does_not_fire_again_because_the_wall_clock_was_set_back() -> None:
    async with bench(rules=[ERRORS], policy=Policy(limits=Limits(cooldown=0.0))) as made:
        await made.bad_v2()
        await made.pass_(FIRES)
        made.clock.jump_wall(-3_600.0)
        await made.pass_(600.0)
        assert len(made.told(RunClosed)) == 1
        made.prometheus.set(PROD, "error_rate", 0.3)
        await made.restart()
        await made.pass_(60.0)
        assert len(made.told(TriggerFired)) == 1


async def test_what_fired_at_an_instant_to_come_proves_nothing(pastless: Bench) -> None:
    await pastless.good_v1()
    pastless.prometheus.set(PROD, "error_rate", 0.3)
    await pastless.pass_(400.0)
    assert len(pastless.told(TriggerFired)) == 1
    await pastless.stop()
    pastless.clock.jump_wall(-3_600.0)
    await pastless.pass_(600.0)
    await pastless.start()
    await pastless.pass_(200.0)
    assert len(pastless.told(TriggerFired)) == 1


async def test_a_known_release_that_comes_back_gets_its_whole_duration_though_the_wall_clock_jumps(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(100.0)
    made.cluster.roll(PROD, "v3")
    await made.pass_(200.0)
    made.clock.jump_wall(3_600.0)
    made.cluster.roll(PROD, "v2")
    rolled = made.clock.monotonic()
    await made.pass_(260.0)
    assert made.told(TriggerFired) == []
    await made.pass_(60.0)
    [fired] = made.told(TriggerFired)
    assert fired.at - timedelta(hours=1) >= wall(rolled + 269.0)


async def test_a_release_at_the_instant_of_a_start_is_no_defect(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(100.0)
    await made.stop()
    made.cluster.roll(PROD, "v3")
    with capture_logs() as logs:
        await made.start()
        await made.pass_(100.0)
    assert [line for line in logs if line["event"] == "watch.crashed"] == []


async def test_an_old_breach_is_not_put_down_to_any_rollout() -> None:
    """It begins when the release has stood for longer than the rule's window, and within that it would be."""
    for stood, rolled_back in ((2_000.0, True), (4_000.0, False)):
        async with bench(rules=[rule(rollout_window=3_600.0)]) as made:
            made.errors["v2"] = 0.0
            await made.bad_v2()
            await made.pass_(stood)
            made.prometheus.set(PROD, "error_rate", 0.3)
            await made.pass_(400.0)
            assert bool(made.told(RunOpened)) is rolled_back
            refused = [n.facts["guardrails"] for n in made.notices("trigger.refused")]
            assert [r.startswith("not_caused_by_a_rollout") for r in refused] == ([] if rolled_back else [True])


async def test_a_defect_in_one_loop_is_logged_and_ends_nothing(made: Bench) -> None:
    await made.good_v1()
    made.http.defect = RuntimeError("a source must not raise")
    with capture_logs() as logs:
        made.cluster.roll(PROD, "v2")
        await made.pass_(310.0)
    assert [e["loop"] for e in logs if e["event"] == "watch.crashed"]
    assert len(made.told(RunOpened)) == 1
    made.http.defect = None
    reads = len(made.http.reads)
    await made.pass_(90.0)
    assert len(made.http.reads) > reads


async def test_without_a_journal_it_only_watches(made: Bench) -> None:
    made.journal = None
    await made.good_v1()
    with capture_logs() as logs:
        made.cluster.roll(PROD, "v2")
        await made.pass_(600.0)
    events = [e["event"] for e in logs]
    assert events.count("trigger.fired") == 1
    [refused] = [e for e in logs if e["event"] == "trigger.refused"]
    assert "no_journal" in refused["guardrails"]
    assert made.cluster.writes == []


async def test_an_unreadable_journal_is_told_and_only_watched_over(made: Bench) -> None:
    assert made.journal is not None
    made.journal.fault = "the disk is gone"
    with capture_logs() as logs:
        await made.bad_v2()
        await made.pass_(400.0)
    assert "journal.unavailable" in [e["event"] for e in logs]
    assert made.cluster.writes == []


async def test_a_poll_costs_one_read_of_each_source(made: Bench) -> None:
    await made.good_v1()
    before = len(made.prometheus.reads), len(made.http.reads)
    await made.pass_(300.0)
    assert (len(made.prometheus.reads) - before[0], len(made.http.reads) - before[1]) == (10, 10)


async def test_while_a_rule_fires_and_is_refused_nothing_is_read_out_of_turn(made: Bench) -> None:
    await made.good_v1()
    made.cluster.annotate(PROD, freeze="move")
    await made.pass_(30.0)
    made.cluster.roll(PROD, "v2")
    await made.pass_(400.0)
    assert made.guard.read_model.target(KEY).rule(ERRORS.name).phase is Phase.FIRING
    before = len(made.prometheus.reads)
    await made.pass_(300.0)
    assert len(made.prometheus.reads) - before == 10
    assert len(made.notices("trigger.refused")) == 1


async def test_retry_after_is_honoured(made: Bench) -> None:
    await made.start()
    watch = made.guard.watches[KEY]
    assert watch.reader.next_slot(SourceName.HTTP, made.clock.monotonic(), 100.0) == made.clock.monotonic() + 120.0


async def test_stopping_is_prompt_while_a_source_hangs(made: Bench) -> None:
    await made.good_v1()
    made.prometheus.gate.clear()
    await made.pass_(30.0)
    await asyncio.wait_for(made.stop(), 5.0)


async def test_rules_of_two_sources_are_judged_on_fresh_readings_of_both() -> None:
    both = replace(ERRORS, name="both", condition=And((ERRORS.condition, HEALTH.condition)), duration=120.0)
    async with bench(rules=[both]) as found:
        await found.good_v1()
        found.http.set(PROD, "health_check_fails", 9)
        found.cluster.roll(PROD, "v2")
        await found.pass_(200.0)
        [fired] = found.told(TriggerFired)
        at = (fired.at - wall(0.0)).total_seconds()
        for source in (found.prometheus, found.http):
            assert any(abs(read - at) < 1e-3 for read in source.reads)


@pytest.mark.parametrize("error", [Unavailable("503", status=503), Rejected("get is forbidden", status=403)])
async def test_people_are_told_soon_of_a_trigger_that_has_fired_and_cannot_be_decided_on(
    made: Bench, error: ClusterError
) -> None:
    await made.bad_v2()
    await made.pass_(FIRES - 20)
    made.cluster.fault = lambda verb, kind, _: error if (verb, kind) == ("get", Kind.DEPLOYMENT) else None
    await made.pass_(50.0)
    assert len(made.told(TriggerFired)) == 1
    assert made.notices("decision.postponed") == []
    await made.pass_(200.0)
    [notice] = made.notices("decision.postponed")
    assert notice.title == f"high_error_rate fired on {KEY}: whether to roll back cannot be decided yet"
    assert notice.facts["detail"] == str(error)
    assert made.told(RunOpened) == []
    made.cluster.fault = lambda *_: None
    await made.pass_(1_000.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]
    assert len(made.notices("decision.postponed")) == 1


async def test_a_short_absence_of_the_api_server_when_a_trigger_fires_is_not_told(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(FIRES - 20)
    made.cluster.fault = lambda *_: Unavailable("503", status=503)
    await made.pass_(50.0)
    made.cluster.fault = lambda *_: None
    await made.pass_(1_000.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]
    assert made.notices("decision.postponed") == []
