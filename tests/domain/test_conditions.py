from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.conditions import (
    And,
    Binary,
    Comparator,
    Compare,
    Condition,
    Negate,
    NoDataPolicy,
    Not,
    Number,
    Operator,
    Or,
    SignalRef,
    Verdict,
    judge,
    out_of_reach,
    signals_of,
)
from logcaster_guard.domain.signals import Fault, Gap, NoData, Reading, SourceError, Value

MET, NOT_MET, UNKNOWN = Verdict.MET, Verdict.NOT_MET, Verdict.UNKNOWN
HOLD, OK, BREACH = NoDataPolicy.HOLD, NoDataPolicy.OK, NoDataPolicy.BREACH

HIGH, LOW = Value(0.0, 1.0), Value(0.0, 0.0)
EMPTY = NoData(0.0, Gap.EMPTY)
FAILED = SourceError(0.0, Fault.REFUSED)
AS_READING: Mapping[Verdict, Reading] = {MET: HIGH, NOT_MET: LOW, UNKNOWN: EMPTY}


def above(name: str, limit: float = 0.5) -> Compare:
    return Compare(Comparator.GT, SignalRef(name), Number(limit))


A, B = above("a"), above("b")


@pytest.mark.parametrize(
    ("comparator", "below", "equal", "over"),
    [
        (Comparator.GT, NOT_MET, NOT_MET, MET),
        (Comparator.GE, NOT_MET, MET, MET),
        (Comparator.LT, MET, NOT_MET, NOT_MET),
        (Comparator.LE, MET, MET, NOT_MET),
        (Comparator.EQ, NOT_MET, MET, NOT_MET),
        (Comparator.NE, MET, NOT_MET, MET),
    ],
)
def test_comparisons(comparator: Comparator, below: Verdict, equal: Verdict, over: Verdict) -> None:
    condition = Compare(comparator, SignalRef("a"), Number(0.05))
    found = [judge(condition, {"a": Value(0.0, n)}).verdict for n in (0.04, 0.05, 0.06)]
    assert found == [below, equal, over]


@pytest.mark.parametrize(
    ("a", "b", "both", "either"),
    [
        (MET, MET, MET, MET),
        (MET, NOT_MET, NOT_MET, MET),
        (MET, UNKNOWN, UNKNOWN, MET),
        (NOT_MET, NOT_MET, NOT_MET, NOT_MET),
        (NOT_MET, UNKNOWN, NOT_MET, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_kleene_logic(a: Verdict, b: Verdict, both: Verdict, either: Verdict) -> None:
    for left, right in ((a, b), (b, a)):
        readings = {"a": AS_READING[left], "b": AS_READING[right]}
        assert judge(And((A, B)), readings).verdict is both
        assert judge(Or((A, B)), readings).verdict is either


@pytest.mark.parametrize(("inner", "outer"), [(MET, NOT_MET), (NOT_MET, MET), (UNKNOWN, UNKNOWN)])
def test_negation(inner: Verdict, outer: Verdict) -> None:
    assert judge(Not(A), {"a": AS_READING[inner]}).verdict is outer


@pytest.mark.parametrize(
    ("reading", "policy", "verdict"),
    [
        (EMPTY, HOLD, UNKNOWN),
        (EMPTY, OK, NOT_MET),
        (EMPTY, BREACH, MET),
        (FAILED, HOLD, UNKNOWN),
        (FAILED, OK, UNKNOWN),
        (FAILED, BREACH, UNKNOWN),
        (LOW, BREACH, NOT_MET),
        (HIGH, OK, MET),
    ],
)
@pytest.mark.parametrize("negated", [False, True])
def test_the_policy_speaks_for_the_whole_condition_and_never_for_a_failing_source(
    reading: Reading, policy: NoDataPolicy, verdict: Verdict, *, negated: bool
) -> None:
    condition: Condition = Not(Compare(Comparator.LE, SignalRef("a"), Number(0.5))) if negated else A
    assert judge(condition, {"a": reading}, policy).verdict is verdict


def test_a_signal_that_was_never_read_is_no_data() -> None:
    assert judge(A, {}).missing == ("a",)


def test_what_kept_it_open_is_named_only_while_it_is_open() -> None:
    open_ = judge(And((A, B)), {"a": FAILED, "b": EMPTY})
    assert (open_.verdict, open_.blind, open_.missing) == (UNKNOWN, ("a",), ("b",))
    closed = judge(Or((A, B)), {"a": FAILED, "b": HIGH})
    assert (closed.verdict, closed.blind, closed.missing) == (MET, (), ())


@pytest.mark.parametrize(
    "expression",
    [
        Negate(SignalRef("a")),
        Binary(Operator.ADD, SignalRef("a"), Number(1.0)),
        Binary(Operator.ADD, Number(1.0), SignalRef("a")),
        Binary(Operator.MUL, SignalRef("a"), SignalRef("a")),
    ],
)
@pytest.mark.parametrize("missing", [EMPTY, FAILED])
def test_what_is_reckoned_with_a_missing_number_is_open(expression: Negate | Binary, missing: Reading) -> None:
    for condition in (
        Compare(Comparator.GT, expression, Number(0.5)),
        Compare(Comparator.LT, Number(0.5), expression),
    ):
        assert judge(condition, {"a": missing}).verdict is UNKNOWN


def test_a_signal_is_compared_with_a_signal() -> None:
    condition = Compare(Comparator.GT, SignalRef("a"), SignalRef("b"))
    assert [judge(condition, {"a": HIGH, "b": b}).verdict for b in (LOW, HIGH, EMPTY)] == [MET, NOT_MET, UNKNOWN]


def test_arithmetic() -> None:
    half = Binary(Operator.DIV, SignalRef("a"), SignalRef("b"))
    less = Binary(Operator.SUB, Binary(Operator.MUL, half, Number(4.0)), Binary(Operator.ADD, Number(1.0), Number(0.5)))
    condition = Compare(Comparator.EQ, Negate(less), Number(-0.5))
    assert judge(condition, {"a": Value(0.0, 1.0), "b": Value(0.0, 2.0)}).verdict is MET
    assert signals_of(condition) == {"a", "b"}


@pytest.mark.parametrize(
    "undefined",
    [
        Binary(Operator.DIV, SignalRef("a"), Number(0.0)),
        Binary(Operator.MUL, SignalRef("a"), Number(1e308)),
        Binary(Operator.DIV, SignalRef("a"), Number(1e-308)),
    ],
)
def test_what_has_no_finite_result_is_no_number(undefined: Binary) -> None:
    readings = {"a": Value(0.0, 1e300)}
    assert judge(Compare(Comparator.GT, undefined, Number(0.0)), readings).verdict is UNKNOWN
    assert judge(Compare(Comparator.GT, undefined, Number(0.0)), readings, BREACH).verdict is MET


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from("abc").map(above),
    lambda inner: st.one_of(
        inner.map(Not),
        st.tuples(inner, inner).map(And),
        st.tuples(inner, inner).map(Or),
    ),
    max_leaves=8,
)
READINGS = st.fixed_dictionaries({n: st.sampled_from([HIGH, LOW, EMPTY, FAILED]) for n in "abc"})


@given(CONDITIONS, READINGS, st.sampled_from([HIGH, LOW]))
def test_filling_a_gap_never_overturns_what_was_decided(
    condition: Condition, readings: Mapping[str, Reading], filler: Reading
) -> None:
    decided = judge(condition, readings).verdict
    filled = {n: r if isinstance(r, Value) else filler for n, r in readings.items()}
    if decided is not UNKNOWN:
        assert judge(condition, filled).verdict is decided


@given(CONDITIONS, READINGS)
def test_policies_only_move_what_is_open_and_only_their_way(
    condition: Condition, readings: Mapping[str, Reading]
) -> None:
    held = judge(condition, readings, HOLD).verdict
    ok, breach = judge(condition, readings, OK).verdict, judge(condition, readings, BREACH).verdict
    if held is not UNKNOWN:
        assert ok is breach is held
    assert ok is not MET or held is MET
    assert breach is not NOT_MET or held is NOT_MET


@given(CONDITIONS, READINGS)
def test_de_morgan(condition: Condition, readings: Mapping[str, Reading]) -> None:
    for policy in NoDataPolicy:
        left = judge(Not(And((condition, A))), readings, policy).verdict
        assert left is judge(Or((Not(condition), Not(A))), readings, policy).verdict


ABOVE, AT_LEAST = (Compare(c, SignalRef("latency"), Number(5.0)) for c in (Comparator.GT, Comparator.GE))
BELOW = Compare(Comparator.LT, SignalRef("latency"), Number(5.0))
OTHERS = Compare(Comparator.GT, SignalRef("error_rate"), Number(0.05))


@pytest.mark.parametrize(
    ("condition", "highest", "expected"),
    [
        (ABOVE, 5.0, True),
        (ABOVE, 5.1, False),
        (AT_LEAST, 4.9, True),
        (AT_LEAST, 5.0, False),
        (BELOW, 1.0, False),
        (OTHERS, 1.0, False),  # of which no highest is known
        (replace(OTHERS, comparator=Comparator.GE), 1.0, False),
        (Not(ABOVE), 1.0, True),
        (Not(ABOVE), 6.0, False),
        (And((OTHERS, ABOVE)), 1.0, True),
        (Or((OTHERS, ABOVE)), 1.0, True),
        (Or((OTHERS, ABOVE)), 6.0, False),
    ],
)
def test_a_comparison_above_what_the_buckets_can_tell_never_holds(
    condition: Condition, highest: float, *, expected: bool
) -> None:
    assert out_of_reach(condition, {"latency": highest}) is expected
