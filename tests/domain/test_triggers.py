from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import triggers
from logcaster_guard.domain.conditions import Judgement, Verdict
from logcaster_guard.domain.triggers import Change, Phase, Sample, TriggerState, advance, backfill, refine, restored
from tests.domain.build import rule

RULE = rule(duration=300.0)
POLL, STALENESS = 30.0, 60.0
MET, QUIET = Judgement(Verdict.MET), Judgement(Verdict.NOT_MET)
BLIND = Judgement(Verdict.UNKNOWN, blind=("error_rate",))
EMPTY = Judgement(Verdict.UNKNOWN, missing=("error_rate",))
UNDEFINED = Judgement(Verdict.UNKNOWN)


def tick(state: TriggerState, judgement: Judgement, now: float, *, fresh: bool = True) -> TriggerState:
    return advance(state, RULE, judgement, now=now, staleness=STALENESS, fresh=fresh)[0]


def play(polls: Iterable[tuple[float, Judgement]], state: TriggerState | None = None) -> TriggerState:
    state = state or TriggerState()
    for now, judgement in polls:
        state = tick(state, judgement, now)
    return state


def met_from(start: float, end: float) -> list[tuple[float, Judgement]]:
    count = int((end - start) / POLL) + 1
    return [(start + POLL * i, MET) for i in range(count)]


def samples(text: str, *, end: float, step: float) -> list[Sample]:
    """`+` met, `-` not met, `?` unknown; the last one at `end`."""
    verdicts = {"+": Verdict.MET, "-": Verdict.NOT_MET, "?": Verdict.UNKNOWN}
    return [Sample(end - step * (len(text) - 1 - i), verdicts[c]) for i, c in enumerate(text)]


def test_it_fires_when_met_for_the_whole_duration() -> None:
    state = play(met_from(0.0, 270.0))
    assert state.phase is Phase.PENDING
    assert state.due_at(RULE) == 300.0
    _, change = advance(state, RULE, MET, now=300.0, staleness=STALENESS, fresh=True)
    assert change is Change.FIRED


def test_it_does_not_fire_before_nor_on_a_reading_that_is_not_fresh() -> None:
    state = play(met_from(0.0, 270.0))
    assert tick(state, MET, 299.9).phase is Phase.PENDING
    stale = tick(state, MET, 300.0, fresh=False)
    assert stale.phase is Phase.PENDING
    assert stale.due_at(RULE) == 300.0


@pytest.mark.parametrize("unknown", [BLIND, EMPTY, UNDEFINED])
def test_unknown_never_fires(unknown: Judgement) -> None:
    state = play([*met_from(0.0, 270.0), (300.0, unknown), (330.0, unknown)])
    assert state.phase is Phase.PENDING
    assert state.due_at(RULE) is None


def test_a_source_error_keeps_the_onset_and_credits_nothing_however_long() -> None:
    before = play(met_from(0.0, 150.0))
    blind = play([(150.0 + POLL * i, BLIND) for i in range(1, 200)], before)
    assert (blind.phase, blind.onset, blind.credit) == (Phase.PENDING, 0.0, before.credit)
    again = tick(blind, MET, 6_150.0)
    assert (again.onset, again.credit) == (0.0, 150.0)
    assert again.due_at(RULE) == 6_300.0


@pytest.mark.parametrize("missing", [EMPTY, UNDEFINED])
def test_no_data_beyond_the_staleness_resets_the_onset(missing: Judgement) -> None:
    before = play(met_from(0.0, 150.0))
    held = tick(before, missing, 180.0)
    assert held.onset == 0.0
    held = tick(held, missing, 210.0)
    assert held.onset == 0.0
    lost, change = advance(held, RULE, missing, now=211.0, staleness=STALENESS, fresh=True)
    assert (lost.phase, lost.onset, change) == (Phase.INACTIVE, None, Change.DATA_LOST)


def test_lost_data_end_the_breach_alone() -> None:
    """When it was quiet, and how long it cools down, holds on."""
    state = play([*met_from(0.0, 150.0), (211.0, EMPTY)], TriggerState(quiet_at=-30.0, cooling_until=400.0))
    assert state == TriggerState(
        interrupted=True, known_at=150.0, quiet_at=-30.0, gap_from=150.0, cooling_until=400.0
    )  # fmt: skip


def test_a_source_error_between_two_gaps_is_no_part_of_them() -> None:
    assert play([*met_from(0.0, 150.0), (180.0, EMPTY), (210.0, BLIND), (240.0, EMPTY)]).onset == 0.0


def test_one_missing_scrape_costs_its_time_and_not_the_onset() -> None:
    state = play([*met_from(0.0, 120.0), (150.0, EMPTY), (180.0, MET)])
    assert (state.onset, state.credit) == (0.0, 120.0)


def test_a_quiet_reading_ends_the_breach() -> None:
    state, change = advance(play(met_from(0.0, 270.0)), RULE, QUIET, now=290.0, staleness=STALENESS, fresh=True)
    assert (state.phase, state.onset, state.credit, change) == (Phase.INACTIVE, None, 0.0, Change.RECOVERED)


def test_a_quiet_reading_leaves_when_it_was_taken_and_how_long_the_trigger_cools_down() -> None:
    ended = tick(replace(play(met_from(0.0, 270.0)), cooling_until=400.0), QUIET, 290.0)
    assert ended == TriggerState(known_at=290.0, quiet_at=290.0, cooling_until=400.0)


def test_a_quiet_reading_of_a_quiet_trigger_is_no_news() -> None:
    assert advance(TriggerState(), RULE, QUIET, now=30.0, staleness=STALENESS, fresh=True)[1] is None


def test_a_breach_that_begins_owes_nothing_to_the_one_before() -> None:
    before = TriggerState(
        credit=100.0, interrupted=True, known_at=30.0, quiet_at=20.0, gap_from=40.0, restored=True, cooling_until=400.0
    )
    begun, change = advance(before, RULE, MET, now=60.0, staleness=STALENESS, fresh=True)
    assert change is Change.PENDING
    assert begun == TriggerState(
        Phase.PENDING, onset=60.0, credited_to=60.0, known_at=60.0, quiet_at=20.0, cooling_until=400.0
    )  # fmt: skip


def test_a_reading_that_is_met_ends_what_interrupted_the_breach() -> None:
    before = replace(restored(RULE, onset=0.0, fired_at=None), interrupted=True, gap_from=10.0)
    assert tick(before, MET, 30.0) == TriggerState(Phase.PENDING, onset=0.0, credited_to=30.0, known_at=30.0)


def test_readings_cover_the_time_up_to_the_staleness() -> None:
    state = tick(TriggerState(), MET, 100.0)
    assert state.unproven_since(100.0 + STALENESS, STALENESS) is None
    assert state.unproven_since(100.5 + STALENESS, STALENESS) == 100.0


def test_what_fires_stays_firing_while_blind_and_recovers() -> None:
    firing = play(met_from(0.0, 300.0))
    assert firing.phase is Phase.FIRING
    assert tick(firing, BLIND, 330.0).phase is Phase.FIRING
    assert tick(firing, QUIET, 330.0).phase is Phase.INACTIVE


def test_it_fires_once() -> None:
    firing = play(met_from(0.0, 300.0))
    assert advance(firing, RULE, MET, now=330.0, staleness=STALENESS, fresh=True)[1] is None


READINGS = st.lists(
    st.tuples(st.floats(0.5, 150.0), st.sampled_from([MET, MET, MET, MET, QUIET, BLIND, EMPTY])), max_size=60
)


@given(READINGS)
def test_it_fires_only_on_a_met_reading_after_a_whole_duration_of_proven_time(
    steps: Sequence[tuple[float, Judgement]],
) -> None:
    state, now, proven, last_met = TriggerState(), 0.0, 0.0, None
    for wait, judgement in steps:
        now += wait
        state, change = advance(state, RULE, judgement, now=now, staleness=STALENESS, fresh=True)
        # The proof kept apart: stretches between two met readings in a row, not further apart than the staleness.
        if judgement is QUIET:
            proven = 0.0
        if judgement is MET and last_met is not None and now - last_met <= STALENESS:
            proven += now - last_met
        last_met = now if judgement is MET else None
        if change is Change.FIRED:
            assert judgement is MET
            assert proven >= RULE.duration - 1e-6
        if state.phase is not Phase.INACTIVE:
            assert state.onset is not None
            assert state.credit <= now - state.onset + 1e-6


@given(st.floats(0.0, POLL), st.floats(0.0, 4.0))
def test_the_lag_does_not_depend_on_the_poll_phase(phase: float, latency: float) -> None:
    """A breach that begins at 0, with range data each 0.75 s; polls each 30 s from `phase` on, a dated evaluation."""
    step = 0.75
    poll, state = phase, TriggerState(known_at=phase - POLL, quiet_at=phase - POLL)
    state = tick(state, MET, poll)
    known = [Sample(t, Verdict.MET if t >= 0 else Verdict.NOT_MET) for t in _grid(poll - POLL, poll, step)]
    state = refine(state, known, step=step, now=poll, hole=STALENESS, credit_from=0.0)
    assert state.onset is not None
    assert 0.0 <= state.onset <= step + 1e-6
    due = state.due_at(RULE)
    while due is not None and poll + POLL < due:
        poll += POLL
        state = tick(state, MET, poll)
        due = state.due_at(RULE)
    assert due is not None
    assert state.onset is not None
    assert due == pytest.approx(state.onset + RULE.duration)
    assert tick(state, MET, due + latency).phase is Phase.FIRING


def _grid(start: float, end: float, step: float) -> list[float]:
    return [end - step * i for i in reversed(range(int((end - start) / step) + 1))]


@pytest.mark.parametrize(
    ("seen", "onset", "credit"),
    [
        ("----++++", 70.0, 30.0),  # the breach began where it was met first
        ("++++++++", 30.0, 70.0),  # as far as was asked
        ("--++-+++", 80.0, 20.0),  # quiet in between: only the last breach
        ("--++?+++", 50.0, 30.0),  # a hole credits nothing and does not move the onset
        ("++????++", 90.0, 10.0),  # too long a hole does
        ("------?+", 100.0, 0.0),
        ("-------?", 100.0, 0.0),  # nothing shows the present
        ("+++++++-", 100.0, 0.0),  # not met at the very instant of the reading
    ],
)
def test_refining_the_onset(seen: str, onset: float, credit: float) -> None:
    state = tick(TriggerState(), MET, 100.0)
    found = refine(state, samples(seen, end=100.0, step=10.0), step=10.0, now=100.0, hole=20.0, credit_from=0.0)
    assert (found.onset, found.credit, found.credited_to) == (onset, credit, 100.0)


@pytest.mark.parametrize(
    ("gap", "hole", "onset", "credit"),
    [
        (15.0, 20.0, 85.0, 15.0),
        (15.5, 20.0, 84.5, 0.0),
        (20.0, 20.0, 80.0, 0.0),
        (20.5, 20.0, 100.0, 0.0),
        (15.0, 5.0, 85.0, 15.0),
        (15.5, 5.0, 100.0, 0.0),
    ],
)
def test_how_far_apart_readings_of_one_breach_may_be(gap: float, hole: float, onset: float, credit: float) -> None:
    state = tick(TriggerState(), MET, 100.0)
    seen = [Sample(100.0 - gap, Verdict.MET), Sample(100.0, Verdict.MET)]
    found = refine(state, seen, step=10.0, now=100.0, hole=hole, credit_from=0.0)
    assert (found.onset, found.credit) == (onset, credit)


def test_an_onset_is_never_before_the_last_quiet_reading() -> None:
    state = tick(TriggerState(quiet_at=55.0), MET, 100.0)
    found = refine(state, samples("++++++++", end=100.0, step=10.0), step=10.0, now=100.0, hole=20.0, credit_from=0.0)
    assert (found.onset, found.credit) == (55.0, 45.0)


@given(st.text("+-?", max_size=30), st.floats(0.0, 200.0))
def test_refining_credits_no_more_than_was_met(seen: str, quiet: float) -> None:
    state = tick(TriggerState(quiet_at=quiet), MET, 200.0)
    found = refine(state, samples(seen, end=200.0, step=5.0), step=5.0, now=200.0, hole=10.0, credit_from=0.0)
    assert found.onset is not None
    assert quiet <= found.onset <= 200.0
    assert 0.0 <= found.credit <= min(200.0 - found.onset, 5.0 * seen.count("+")) + 1e-6


def test_nothing_of_before_a_release_is_credited() -> None:
    state = tick(TriggerState(), MET, 100.0)
    found = refine(state, samples("++++++++", end=100.0, step=10.0), step=10.0, now=100.0, hole=20.0, credit_from=85.0)
    assert (found.onset, found.credit) == (30.0, 15.0)


def test_a_breach_older_than_the_samples_is_followed_over_coarser_ones() -> None:
    state = tick(TriggerState(), MET, 100.0)
    older = triggers.earlier_onset(state, samples("-++?++++", end=100.0, step=60.0), step=60.0, hole=60.0)
    assert (older.onset, older.credit) == (100.0 - 6 * 60.0, 0.0)


@pytest.mark.parametrize(("seen", "onset"), [("++??++++", -80.0), ("++?+++++", -320.0), ("", 100.0)])
def test_a_breach_is_followed_over_holes_of_two_and_a_half_coarse_steps(seen: str, onset: float) -> None:
    state = tick(TriggerState(), MET, 100.0)
    assert triggers.earlier_onset(state, samples(seen, end=100.0, step=60.0), step=60.0, hole=60.0).onset == onset


def interrupted(credit: float = 100.0, phase: Phase = Phase.PENDING) -> TriggerState:
    return TriggerState(phase=phase, onset=0.0, credit=credit, credited_to=100.0, interrupted=True)


def test_range_data_credits_the_time_that_nobody_looked() -> None:
    filled = backfill(interrupted(), samples("+++++", end=200.0, step=25.0), step=25.0)
    assert (filled.onset, filled.credit, filled.credited_to, filled.interrupted) == (0.0, 200.0, 200.0, False)
    assert tick(filled, MET, 300.0).phase is Phase.PENDING
    assert tick(filled, MET, 240.0).credit == 240.0


@pytest.mark.parametrize(
    ("seen", "onset", "credit"),
    [
        ("+-+++", 150.0, 50.0),
        ("-++++", 125.0, 75.0),  # not met at the very instant up to which it is credited
        ("-+++++", 0.0, 200.0),  # not met before that
        ("++++", 0.0, 200.0),  # from the first sample after it on
    ],
)
def test_not_met_in_range_data_starts_the_breach_again(seen: str, onset: float, credit: float) -> None:
    filled = backfill(interrupted(), samples(seen, end=200.0, step=25.0), step=25.0)
    assert (filled.onset, filled.credit) == (onset, credit)


def test_what_was_firing_needs_its_whole_duration_again_after_a_quiet_stretch() -> None:
    filled = backfill(interrupted(300.0, Phase.FIRING), samples("+-+++", end=200.0, step=25.0), step=25.0)
    assert (filled.phase, filled.onset, filled.credit) == (Phase.PENDING, 150.0, 50.0)


def test_holes_in_range_data_are_not_credited() -> None:
    filled = backfill(interrupted(), samples("++??+", end=200.0, step=25.0), step=25.0)
    assert (filled.onset, filled.credit) == (0.0, 125.0)


@pytest.mark.parametrize(("gap", "credit"), [(37.5, 137.5), (38.0, 100.0)])
def test_time_between_range_samples_is_credited_up_to_one_and_a_half_steps(gap: float, credit: float) -> None:
    seen = [Sample(100.0, Verdict.MET), Sample(100.0 + gap, Verdict.MET)]
    assert backfill(interrupted(), seen, step=25.0).credit == credit


@pytest.mark.parametrize("nothing", ["", "?????"])
def test_without_range_data_nothing_is_credited(nothing: str) -> None:
    filled = backfill(interrupted(), samples(nothing, end=200.0, step=25.0), step=25.0)
    assert (filled.onset, filled.credit, filled.credited_to, filled.interrupted) == (0.0, 100.0, 100.0, True)
    assert tick(filled, MET, 200.0).credit == 100.0


@given(st.text("+-?", max_size=20), st.floats(0.0, 300.0), st.sampled_from([Phase.PENDING, Phase.FIRING]))
def test_backfilling_credits_no_more_than_was_met(seen: str, credit: float, phase: Phase) -> None:
    filled = backfill(interrupted(credit, phase), samples(seen, end=300.0, step=10.0), step=10.0)
    assert filled.credit <= credit + 10.0 * seen.count("+")
    if "-" in seen:
        assert filled.credit <= 10.0 * len(seen.rpartition("-")[2])
        assert filled.phase is Phase.PENDING
    assert filled.onset is not None


def test_a_template_change_restarts_the_clock_and_keeps_the_onset() -> None:
    state = triggers.restart_clock(play(met_from(0.0, 270.0)), 280.0)
    assert (state.phase, state.onset, state.credit) == (Phase.PENDING, 0.0, 0.0)
    state = play([(300.0 + POLL * i, MET) for i in range(10)], state)
    assert (state.phase, state.onset) == (Phase.PENDING, 0.0)
    assert tick(state, MET, 600.0).phase is Phase.FIRING


def test_the_time_from_a_template_change_to_the_next_reading_does_not_count() -> None:
    state = triggers.restart_clock(play(met_from(0.0, 270.0)), 280.0)
    assert state.due_at(RULE) is None
    assert state.unproven_since(281.0, STALENESS) == 280.0
    state = tick(state, MET, 300.0)
    assert (state.credit, state.due_at(RULE)) == (0.0, 600.0)


def test_a_template_change_unfires() -> None:
    assert triggers.restart_clock(play(met_from(0.0, 300.0)), 310.0).phase is Phase.PENDING
    assert triggers.restart_clock(TriggerState(), 310.0) == TriggerState()


@pytest.mark.parametrize("fired_at", [None, 300.0])
def test_a_restored_trigger_needs_a_fresh_reading(fired_at: float | None) -> None:
    state = restored(RULE, onset=0.0, fired_at=fired_at)
    assert state.phase is Phase.PENDING
    assert tick(state, BLIND, 330.0).phase is Phase.PENDING
    assert tick(state, EMPTY, 330.0).phase is not Phase.FIRING
    assert tick(state, MET, 330.0, fresh=False).phase is Phase.PENDING


def test_a_restored_trigger_resumes_its_credit_over_range_data() -> None:
    state = backfill(restored(RULE, onset=0.0, fired_at=None), samples("+" * 11, end=300.0, step=30.0), step=30.0)
    assert tick(state, MET, 300.0).phase is Phase.FIRING


def test_a_restored_trigger_starts_its_duration_again_without_range_data() -> None:
    for fired_at in (None, 300.0):
        state = tick(restored(RULE, onset=0.0, fired_at=fired_at), MET, 600.0)
        assert (state.phase, state.credit, state.onset) == (Phase.PENDING, 0.0, 0.0)
        assert play([(600.0 + POLL * i, MET) for i in range(1, 11)], state).phase is Phase.FIRING


def test_a_trigger_that_had_fired_fires_again_at_once_after_a_short_absence() -> None:
    assert tick(restored(RULE, onset=0.0, fired_at=300.0), MET, 330.0).phase is Phase.FIRING
    pending = tick(restored(RULE, onset=0.0, fired_at=None), MET, 30.0)
    assert (pending.phase, pending.credit) == (Phase.PENDING, 30.0)


def test_a_restored_trigger_whose_absence_range_data_do_not_cover_whole_starts_again_after_the_hole() -> None:
    state = restored(RULE, onset=0.0, fired_at=300.0)
    filled = backfill(state, samples("++", end=430.0, step=30.0), step=30.0)
    assert (filled.credit, filled.restored) == (30.0, False)
    assert backfill(state, samples("?", end=430.0, step=30.0), step=30.0).restored


def test_after_a_run_nothing_of_before_counts() -> None:
    state = triggers.after_run(500.0, 1_800.0)
    assert state.phase_at(600.0) is Phase.COOLING_DOWN
    assert state.phase_at(2_300.0) is Phase.INACTIVE
    found = refine(
        tick(state, MET, 530.0), samples("++++", end=530.0, step=30.0), step=30.0, now=530.0, hole=60.0, credit_from=0.0
    )
    assert (found.onset, found.credit) == (500.0, 30.0)
