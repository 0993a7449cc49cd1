from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.attribution import (
    Attribution,
    Before,
    Cause,
    Comparison,
    EditsRead,
    Level,
    Past,
    Space,
    Suspect,
    Witness,
    Yardstick,
    attributed,
    chance,
    compared,
    judged_past,
    strongest,
    yardsticks,
)
from logcaster_guard.domain.conditions import And, Comparator, Compare, Negate, Not, Number, SignalRef
from logcaster_guard.domain.configuration.edits import Blame
from logcaster_guard.domain.evidence import evidence, facts, shown
from logcaster_guard.domain.rules import AttributionPolicy, EditAttribution
from logcaster_guard.domain.signals import Unit
from logcaster_guard.messages.texts import english

POLICY = AttributionPolicy()
ERRORS = Yardstick("error_rate", 0.05)
QUIET = Past(Before.QUIET, 600.0)
UNITS = {"error_rate": Unit.RATIO}
ME, OTHER, THIRD = "shop/a", "shop/b", "shop/c"


def beside(new: float, old: float, before: float | None = 0.0, measure: Yardstick = ERRORS) -> Comparison:
    return compared(measure, Level(new, before), Level(old, before), against="the old pods", policy=POLICY)


@pytest.mark.parametrize(
    ("new", "old", "before", "verdict"),
    [
        (0.30, 0.00, 0.00, Space.STANDS_OUT),
        (0.30, 0.30, 0.00, Space.ALIKE),  # a failing dependency
        (0.33, 0.30, 0.00, Space.ALIKE),  # the same, and the noise of some hundred requests
        (0.60, 0.20, 0.00, Space.STANDS_OUT),  # a failing dependency and a bad release
        (0.055, 0.045, 0.00, Space.ALIKE),  # both on their way
        (0.055, 0.02, 0.00, Space.STANDS_OUT),
        (0.30, 0.30, None, Space.ALIKE),
        (0.30, 0.01, None, Space.STANDS_OUT),
        (0.02, 0.30, 0.00, Space.ALIKE),  # only the old pods fail
        (0.03, 0.025, 0.00, Space.ALIKE),  # half of what it takes to breach
        (0.03, 0.024, 0.00, Space.INCONCLUSIVE),
        (0.025, 0.00, 0.00, Space.STANDS_OUT),  # by just the margin
        (0.05, 0.05, None, Space.INCONCLUSIVE),  # at the threshold is not beyond it
        (0.05, 0.05, 0.05, Space.INCONCLUSIVE),  # nothing has moved
    ],
)
def test_what_hits_old_and_new_alike_blames_nobody(
    new: float, old: float, before: float | None, verdict: Space
) -> None:
    assert beside(new, old, before).verdict is verdict


def test_what_may_be_chance_is_inconclusive() -> None:
    """5.5% against 4%, where 4% is usual: of some hundred requests that says nothing, of some ten thousand it does."""
    for requests, verdict in ((200.0, Space.INCONCLUSIVE), (20_000.0, Space.STANDS_OUT)):
        least = chance(0.055, requests, 0.04, requests)
        found = compared(ERRORS, Level(0.055, 0.04), Level(0.04, 0.04), against=OTHER, policy=POLICY, least=least)
        assert found.verdict is verdict


@pytest.mark.parametrize(
    ("new", "requests", "other", "other_requests", "expected"),
    [
        (0.1, 100.0, 0.2, 300.0, 3.0 * (0.175 * 0.825 * (1 / 100 + 1 / 300)) ** 0.5),
        (0.0, 100.0, 0.0, 300.0, 0.0),
        (1.0, 100.0, 1.0, 300.0, 0.0),
    ],
)
def test_chance_is_three_standard_errors_of_the_pooled_share(
    new: float, requests: float, other: float, other_requests: float, expected: float
) -> None:
    assert chance(new, requests, other, other_requests) == pytest.approx(expected)


def test_the_difference_in_differences_is_of_both_changes() -> None:
    found = compared(ERRORS, Level(0.40, 0.01), Level(0.25, 0.05), against=OTHER, policy=POLICY)
    assert found.did == pytest.approx((0.40 - 0.01) - (0.25 - 0.05))
    assert found.margin == pytest.approx(0.5 * (0.25 - 0.05))
    half_known = compared(ERRORS, Level(0.40, 0.30), Level(0.10), against=OTHER, policy=POLICY)
    assert half_known.did == pytest.approx(0.40 - 0.10)
    assert half_known.margin == pytest.approx(0.5 * 0.10)


def test_a_signal_that_is_worse_the_lower_it_is_counts_the_other_way_round() -> None:
    served = Yardstick("served", 0.95, rising=False)
    assert beside(0.60, 0.99, 1.0, served).verdict is Space.STANDS_OUT
    assert beside(0.60, 0.99, 1.0, served).did == pytest.approx(0.99 - 0.60)
    assert beside(0.60, 0.62, 1.0, served).verdict is Space.ALIKE


@given(shift=st.floats(0.0, 0.5), base=st.floats(0.0, 0.4), noise=st.floats(0.0, 0.2), threshold=st.floats(0.01, 0.5))
def test_a_shift_of_both_sides_never_makes_the_new_release_stand_out(
    shift: float, base: float, noise: float, threshold: float
) -> None:
    """As long as the new pods differ from the old by less than the share of what both have moved."""
    extra = noise * shift
    found = beside(base + shift + extra, base + shift, base, Yardstick("error_rate", threshold))
    assert found.verdict is not Space.STANDS_OUT


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Compare(Comparator.GT, SignalRef("a"), Number(1)), [Yardstick("a", 1)]),
        (Compare(Comparator.LT, Number(1), SignalRef("a")), [Yardstick("a", 1)]),
        (Compare(Comparator.LE, SignalRef("a"), Negate(Number(1))), [Yardstick("a", -1, rising=False)]),
        (Not(Compare(Comparator.GE, SignalRef("a"), Number(1))), [Yardstick("a", 1, rising=False)]),
        (
            Not(
                And(
                    (
                        Compare(Comparator.GT, SignalRef("a"), Number(1)),
                        Compare(Comparator.LT, SignalRef("b"), Number(2)),
                    )
                )
            ),
            [Yardstick("a", 1, rising=False), Yardstick("b", 2)],
        ),
        (Compare(Comparator.EQ, SignalRef("a"), Number(1)), []),
        (Compare(Comparator.GT, SignalRef("a"), SignalRef("b")), []),
        (
            And(
                (
                    Compare(Comparator.GT, SignalRef("a"), Number(1)),
                    Compare(Comparator.GT, SignalRef("request_rate"), Number(9)),
                )
            ),
            [Yardstick("a", 1)],
        ),
    ],
)
def test_a_condition_is_measured_by_its_comparisons_with_numbers(
    condition: Compare | Not | And, found: list[Yardstick]
) -> None:
    assert list(yardsticks(condition)) == found


@pytest.mark.parametrize(
    ("known", "met", "by_ledger", "expected"),
    [
        (600.0, 0.0, False, Past(Before.QUIET, 600.0, 0.0)),
        (600.0, 60.0, False, Past(Before.QUIET, 600.0, 0.1)),
        (600.0, 75.0, True, Past(Before.BREACHED, 600.0, 0.125)),
        (59.0, 0.0, False, Past(Before.UNKNOWN, 59.0, 0.0)),
        (60.0, 0.0, False, Past(Before.QUIET, 60.0, 0.0)),
        (0.0, 0.0, True, Past(Before.QUIET, by_ledger=True)),
        (0.0, 0.0, False, Past(Before.UNKNOWN)),
        (50.0, 5.0, True, Past(Before.QUIET, 50.0, 0.1, by_ledger=True)),
        (30.0, 30.0, True, Past(Before.BREACHED, 30.0, 1.0)),
        (0.5, 0.5, False, Past(Before.BREACHED, 0.5, 1.0)),
    ],
)
def test_the_time_before_the_rollout_is_judged_on_values_then_by_the_ledger(
    known: float, met: float, by_ledger: bool, expected: Past
) -> None:
    assert judged_past(known, met, by_ledger=by_ledger, policy=POLICY) == expected


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.0512, Unit.RATIO, "5.12%"),
        (1.5, Unit.SECONDS, "1.5s"),
        (2.0, Unit.PER_SECOND, "2/s"),
        (512.0, Unit.BYTES, "512B"),
        (3.0, Unit.COUNT, "3"),
        (3.0, None, "3"),
    ],
)
def test_a_number_is_told_with_its_unit(number: float, unit: Unit | None, text: str) -> None:
    assert shown(number, unit) == text


def test_that_no_other_target_breaches_is_evidence_too() -> None:
    alone = Attribution(Cause.ROLLOUT, QUIET, suspects=(Suspect(ME, 1.0, rolled=True),), watched=3)
    assert "None of the 3 other targets breaches at the same moment." in english().text(evidence(alone, UNITS))


def test_no_history_is_needed_where_the_policy_asks_for_none() -> None:
    policy = AttributionPolicy(least_history=None)
    found = [judged_past(known, 0.0, by_ledger=False, policy=policy).before for known in (0.5, 0.0)]
    assert found == [Before.QUIET, Before.UNKNOWN]


@pytest.mark.parametrize(
    ("verdicts", "counts"),
    [
        ([Space.ALIKE, Space.STANDS_OUT], Space.STANDS_OUT),
        ([Space.INCONCLUSIVE, Space.ALIKE, Space.INCONCLUSIVE], Space.ALIKE),
        ([Space.INCONCLUSIVE], Space.INCONCLUSIVE),
        ([], None),
    ],
)
def test_of_several_comparisons_the_one_that_tells_most_counts(verdicts: list[Space], counts: Space | None) -> None:
    found = strongest([replace(beside(0.3, 0.0), verdict=v) for v in verdicts])
    assert (None if found is None else found.verdict) is counts


def witness(
    target: str, after: float, *, onset: float = 1_000.0, rolled: float | None = 990.0, breaching: bool = True
) -> Witness:
    levels: Mapping[str, Level] = {"error_rate": Level(after, 0.0)}
    return Witness(target, target.split("/", maxsplit=1)[0], breaching, onset, rolled, levels)


def judged(others: Sequence[Witness], *, after: float = 0.3, **changed: object) -> Attribution:
    given_: dict[str, object] = {"past": QUIET, "beside": [], "policy": POLICY, **changed}
    return attributed(witness(ME, after), others, measures=[ERRORS], **given_)  # type: ignore[arg-type] # a table


def test_alone_and_quiet_before_the_release_is_blamed() -> None:
    assert judged([]).cause is Cause.ROLLOUT
    assert judged([witness(OTHER, 0.0, breaching=False)]).cause is Cause.ROLLOUT


def test_in_breach_before_or_unknown_it_is_not() -> None:
    assert judged([], past=Past(Before.BREACHED, 600.0, 0.5)).cause is Cause.OLDER
    assert judged([], past=Past()).cause is Cause.UNPROVEN
    assert judged([], past=Past(), policy=replace(POLICY, least_history=None)).cause is Cause.ROLLOUT


def test_old_pods_that_fare_alike_acquit_it_and_old_pods_that_do_not_single_it_out() -> None:
    assert judged([], beside=[beside(0.3, 0.3)]).cause is Cause.SHARED
    unrelated = witness(OTHER, 0.3, rolled=None)
    assert judged([unrelated]).cause is Cause.SHARED
    assert judged([unrelated], beside=[beside(0.3, 0.0)]).cause is Cause.ROLLOUT
    unclear = replace(beside(0.3, 0.0), verdict=Space.INCONCLUSIVE)
    assert judged([unrelated], beside=[unclear]).cause is Cause.SHARED
    assert judged([], beside=[unclear]).cause is Cause.ROLLOUT


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        (witness(OTHER, 0.3), Cause.SEVERAL),
        (witness(OTHER, 0.3, rolled=None), Cause.SHARED),
        (witness(OTHER, 0.3, rolled=1_000.0 - 3_601.0), Cause.SHARED),
        (witness(OTHER, 0.3, rolled=1_000.0 - 3_600.0), Cause.SEVERAL),
        (witness(OTHER, 0.3, onset=1_600.0), Cause.SEVERAL),
        (witness(OTHER, 0.3, onset=1_601.0), Cause.ROLLOUT),
        (witness(OTHER, 0.3, onset=399.0, rolled=390.0), Cause.ROLLOUT),
        (witness("elsewhere/b", 0.3), Cause.ROLLOUT),
        (witness("elsewhere/b", 0.3, rolled=None), Cause.SHARED),
        (witness(OTHER, 0.1), Cause.ROLLOUT),
        (witness(OTHER, 0.25), Cause.SEVERAL),
        (witness(OTHER, 0.1, rolled=None), Cause.ROLLOUT),
        (replace(witness(OTHER, 0.1), levels={}), Cause.SEVERAL),
        (replace(witness(OTHER, 0.3, rolled=None), undone=True), Cause.ROLLOUT),
        (witness(OTHER, 0.3, breaching=False), Cause.ROLLOUT),
        (replace(witness(OTHER, 0.3), onset=None), Cause.ROLLOUT),
    ],
    ids=["alike", "not rolled out", "rolled out long ago", "just recent", "just together", "much later", "much earlier",
         "a rollout elsewhere", "no rollout elsewhere", "stands out", "no margin", "stands out from one not rolled out",
         "cannot be compared", "is being undone", "does not breach", "breaches since nobody knows when"],
)  # fmt: skip
def test_what_breaches_together_must_be_stood_out_from(other: Witness, cause: Cause) -> None:
    assert judged([other]).cause is cause


def test_who_stands_out_is_not_blamed_while_another_is_the_first_suspect() -> None:
    """Further from the breach than the other's rollout, though the error rate rose more."""
    me = witness(ME, 0.3, rolled=1_000.0 - 3_000.0)
    found = attributed(me, [witness(OTHER, 0.1)], past=QUIET, beside=[], measures=[ERRORS], policy=POLICY)
    assert (found.suspects[0].target, found.cause) == (OTHER, Cause.SEVERAL)


def test_a_rollback_elsewhere_does_not_blame_a_release_that_had_been_well_for_long() -> None:
    other, me = replace(witness(OTHER, 0.3, rolled=None), undone=True), witness(ME, 0.3, rolled=1_000.0 - 3_601.0)
    found = attributed(me, [other], past=QUIET, beside=[], measures=[ERRORS], policy=POLICY)
    assert found.cause is Cause.SHARED


def test_whoever_is_not_blamed_what_was_looked_at_is_told() -> None:
    unclear = replace(beside(0.3, 0.0), verdict=Space.INCONCLUSIVE)
    found = judged([witness(OTHER, 0.3)], beside=[unclear])
    assert found.rival is not None
    assert (found.cause, found.past, found.beside, found.rival.against) == (Cause.SEVERAL, QUIET, unclear, OTHER)
    assert ({s.target for s in found.suspects}, found.watched, found.lag) == ({ME, OTHER}, 1, 10.0)


def test_suspects_are_ranked_by_how_far_they_rose_and_how_soon_after_their_rollout() -> None:
    late = witness(OTHER, 0.3, rolled=400.0)
    found = judged([late, witness(THIRD, 0.2), witness("shop/d", 0.9, rolled=None)])
    assert [s.target for s in found.suspects] == [ME, THIRD, OTHER, "shop/d"]
    assert found.suspects[-1].rolled is False
    assert found.cause is Cause.SHARED


SPEED = Yardstick("speed", 10.0, rising=False)
"""Worse the lower it is."""


def test_the_rival_is_the_one_that_it_stands_out_from_the_least() -> None:
    slower = replace(witness(THIRD, 0.0), levels={"speed": Level(20.0, 20.0)})
    me = replace(witness(ME, 0.3), levels={"error_rate": Level(0.3, 0.0), "speed": Level(14.9, 20.0)})
    rest = [witness(OTHER, 0.1), slower]
    found = attributed(me, rest, past=QUIET, beside=[], measures=[ERRORS, SPEED], policy=POLICY)
    assert found.rival is not None
    assert (found.cause, found.rival.against) == (Cause.ROLLOUT, THIRD)


@pytest.mark.parametrize(
    ("levels", "lag", "score"),
    [
        ({"error_rate": Level(0.3, 0.0)}, 0.0, 6.0),  # right with the rollout
        ({"error_rate": Level(0.3, 0.0)}, 600.0, 3.0),  # `together` seconds later: half
        ({"error_rate": Level(0.3, 0.04)}, 0.0, 26.0),  # what was there before is no rise
        ({"error_rate": Level(0.123, 0.0)}, 0.0, 2.46),
        ({"error_rate": Level(0.3, 0.05)}, 0.0, 1.0),  # in breach before: by how much it rose cannot be told
        ({}, 0.0, 1.0),
        ({"error_rate": Level(0.1, 0.0), "speed": Level(0.0, 20.0)}, 0.0, 2.0),
        ({"error_rate": Level(0.2, 0.0), "speed": Level(5.0, 20.0)}, 0.0, 4.0),  # the signal that rose most
        ({"speed": Level(5.0, 20.0)}, 0.0, 1.5),
    ],
)
def test_a_suspects_score_is_its_rise_in_terms_of_a_breach(
    levels: Mapping[str, Level], lag: float, score: float
) -> None:
    me = replace(witness(ME, 0.3, rolled=1_000.0 - lag), levels=levels)
    found = attributed(me, [], past=QUIET, beside=[], measures=[ERRORS, SPEED], policy=POLICY)
    assert found.suspects == (Suspect(ME, score, rolled=True),)


def test_who_was_not_rolled_out_scores_nothing() -> None:
    found = judged([witness(OTHER, 0.9, rolled=None)])
    assert found.suspects[-1] == Suspect(OTHER, 0.0, rolled=False)


def test_of_ten_that_fail_alike_nobody_is_blamed_and_of_ten_with_one_worse_that_one() -> None:
    alike = [witness(f"shop/s{n}", 0.20 + n / 200) for n in range(10)]
    for n, me in enumerate(alike):
        rest = alike[:n] + alike[n + 1 :]
        found = attributed(me, rest, past=QUIET, beside=[], measures=[ERRORS], policy=POLICY)
        assert found.cause is Cause.SEVERAL
    worse = witness("shop/bad", 0.7)
    assert attributed(worse, alike, past=QUIET, beside=[], measures=[ERRORS], policy=POLICY).cause is Cause.ROLLOUT
    for me in alike:
        rest = [w for w in (worse, *alike) if w is not me]
        assert attributed(me, rest, past=QUIET, beside=[], measures=[ERRORS], policy=POLICY).cause is Cause.SEVERAL


def test_the_evidence_is_told_with_its_numbers() -> None:
    found = judged([witness(OTHER, 0.3, rolled=None)], beside=[beside(0.3, 0.0)])
    text = english().text
    said = text(evidence(found, UNITS))
    assert "10 s after the rollout" in said
    assert "quiet on 600 s of values" in said
    assert "error_rate: 30% (before 0%) against 0% (before 0%) of the old pods: stands out" in said
    assert "difference-in-differences 30%, margin 2.5%" in said
    assert facts(found, UNITS)["cause"] == "rollout"
    assert text(facts(found, UNITS)["suspects"]) == f"{ME} (score 5.9), {OTHER} (no recent rollout)"


STANDS_OUT, ALIKE, INCONCLUSIVE = beside(0.3, 0.0), beside(0.3, 0.3), beside(0.03, 0.024)
ALERT, ROLLBACK = EditAttribution.ALERT, EditAttribution.ROLLBACK


@pytest.mark.parametrize(
    ("blame", "compared_with", "indistinct", "cause"),
    [
        (Blame.NOT_READ, [], ROLLBACK, Cause.UNREAD),
        (Blame.COMPARE, [STANDS_OUT], ALERT, Cause.ROLLOUT),
        (Blame.COMPARE, [ALIKE], ROLLBACK, Cause.SHARED),
        (Blame.COMPARE, [INCONCLUSIVE], ALERT, Cause.INDISTINCT),
        (Blame.COMPARE, [], ALERT, Cause.INDISTINCT),  # the signal is not by pod
        (Blame.COMPARE, [], ROLLBACK, Cause.ROLLOUT),
        (Blame.INDISTINCT, [], ALERT, Cause.INDISTINCT),
        (Blame.INDISTINCT, [], ROLLBACK, Cause.ROLLOUT),
        (Blame.REPLACED, [], ALERT, Cause.ROLLOUT),
    ],
)
def test_an_edit_is_blamed_by_the_pods_that_have_read_it(
    blame: Blame, compared_with: Sequence[Comparison], indistinct: EditAttribution, cause: Cause
) -> None:
    me = Witness(ME, "shop", breaching=True, onset=1_000.0, rolled=900.0)
    edits = EditsRead(("ConfigMap shop/app",), blame, ("a",), ("b", "c"), ())
    found = attributed(
        me, [], past=QUIET, beside=compared_with, measures=[ERRORS], policy=POLICY, edits=edits, indistinct=indistinct
    )
    assert found.cause is cause
    told = english().text(evidence(found, UNITS))
    assert "Edits of ConfigMap shop/app: 1 pods have read them, 2 have not." in told
    before = replace(QUIET, before=Before.BREACHED, breached=0.5)
    worse = attributed(
        me, [], past=before, beside=compared_with, measures=[ERRORS], policy=POLICY, edits=edits, indistinct=indistinct
    )
    assert worse.cause is (Cause.UNREAD if blame is Blame.NOT_READ else Cause.OLDER)
