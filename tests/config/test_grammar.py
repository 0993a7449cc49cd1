from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logcaster_guard.config.grammar import MAX_LENGTH, parse_condition
from logcaster_guard.domain.conditions import (
    And,
    Arithmetic,
    Binary,
    Comparator,
    Compare,
    Condition,
    Negate,
    Not,
    Number,
    Operator,
    Or,
    SignalRef,
    Verdict,
    judge,
    signals_of,
)
from logcaster_guard.domain.signals import BUILT_IN_UNITS, Unit, Value
from logcaster_guard.fields.faults import AllRefused, Refused

UNITS = {**BUILT_IN_UNITS, "heap": Unit.BYTES, "odd": None}


def parse(text: str) -> Condition:
    return parse_condition(text, UNITS)


def refusals(text: str) -> tuple[Refused, ...]:
    with pytest.raises(AllRefused) as caught:
        parse(text)
    return caught.value.parts


def above(name: str, value: float) -> Compare:
    return Compare(Comparator.GT, SignalRef(name), Number(value))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("error_rate > 5%", above("error_rate", 0.05)),
        ("error_rate > 7%", above("error_rate", 0.07)),
        ("health_check_fails > 3", above("health_check_fails", 3)),
        ("p95_latency > 2s", above("p95_latency", 2)),
        ("p95_latency>250ms", above("p95_latency", 0.25)),
        ("p95_latency > 2m", above("p95_latency", 120)),
        ("p95_latency > 1h", above("p95_latency", 3_600)),
        ("heap > 1.5GiB", above("heap", 1.5 * (1 << 30))),
        ("heap > 512MiB", above("heap", 512 << 20)),
        ("heap > 4KiB", above("heap", 4_096)),
        ("heap > 17B", above("heap", 17)),
        ("request_rate > 10", above("request_rate", 10)),
        ("p95_latency > 2 * 500ms", above("p95_latency", 1)),
        ("error_rate > -(5% - 2 * 1%)", above("error_rate", -(0.05 - 2 * 0.01))),
        ("((p95_latency)) > 2s", above("p95_latency", 2)),
        ("(((p95_latency > 2s)))", above("p95_latency", 2)),
        ("5% < error_rate", Compare(Comparator.LT, Number(0.05), SignalRef("error_rate"))),
        ("restart_count == 3", Compare(Comparator.EQ, SignalRef("restart_count"), Number(3))),
        ("restart_count != 3", Compare(Comparator.NE, SignalRef("restart_count"), Number(3))),
        ("restart_count >= 3", Compare(Comparator.GE, SignalRef("restart_count"), Number(3))),
        ("restart_count <= 3", Compare(Comparator.LE, SignalRef("restart_count"), Number(3))),
        ("not error_rate > 5%", Not(above("error_rate", 0.05))),
        (
            "error_rate > 5% or p95_latency > 2s and restart_count > 1",
            Or((above("error_rate", 0.05), And((above("p95_latency", 2), above("restart_count", 1))))),
        ),
        (
            "(error_rate > 5%\n or p95_latency > 2s)\n and restart_count > 1",
            And((Or((above("error_rate", 0.05), above("p95_latency", 2))), above("restart_count", 1))),
        ),
        (
            "error_rate * request_rate > 3",
            Compare(Comparator.GT, Binary(Operator.MUL, SignalRef("error_rate"), SignalRef("request_rate")), Number(3)),
        ),
        (
            "-restart_count + unready_pods - 1 > 0",
            Compare(
                Comparator.GT,
                Binary(
                    Operator.SUB,
                    Binary(Operator.ADD, Negate(SignalRef("restart_count")), SignalRef("unready_pods")),
                    Number(1),
                ),
                Number(0),
            ),
        ),
    ],
)
def test_conditions_become_trees_in_base_units(text: str, tree: Condition) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "p95_latency / response_time > 1.5",
        "p95_latency / response_time > 150%",
        "p95_latency / response_time > error_rate",
        "error_rate / memory_usage > 2",
        "2 * error_rate > 5%",
        "error_rate / 2 > 5%",
        "error_rate * memory_usage > 1%",
        "100% - error_rate < 95%",
        "request_rate * 5% < 3",
        "1 / error_rate > 20",
        "p95_latency - response_time > 1s",
        "restart_count + 1 > unready_pods",
        "restart_count / unready_pods > 2",
        "odd > 5",
        "odd > 5s",
        "odd / heap > p95_latency",
    ],
)
def test_dimensions_that_fit(text: str) -> None:
    parse(text)


@pytest.mark.parametrize(
    ("text", "offset", "found", "suggestion"),
    [
        ("error_rate > 5", 13, 'the bare number "5" beside "error_rate" (a share)', '"5%"'),
        ("error_rate > 0.05", 13, 'the bare number "0.05"', '"5%" or "0.05%"'),
        ("1 - error_rate > 5%", 0, 'the bare number "1"', '"100%" or "1%"'),
        ("p95_latency > 2", 14, 'the bare number "2" beside "p95_latency" (a duration)', '"2s" or "2ms"'),
        ("heap > 100", 7, 'the bare number "100" beside "heap" (a size in bytes)', '"100MiB" or "100B"'),
        ("memory_usage > 2s", 0, '"memory_usage" (a share), compared with "2s" (a duration)', None),
        ("restart_count > 5%", 0, '"restart_count" (a count), compared with "5%" (a share)', None),
        ("request_rate > restart_count", 0, '(a rate per second), compared with "restart_count" (a count)', None),
        ("p95_latency + error_rate > 2s", 0, '"p95_latency" (a duration), added to "error_rate" (a share)', None),
        ("p95_latency * response_time > 2s", 0, "(a duration), times", None),
        ("restart_count / p95_latency > 2", 0, "(a count), divided by", None),
        ("p95_latency/response_time > restart_count", 0, "(a plain ratio), compared with", None),
        ("1 > 0", 0, "a comparison of two constants", None),
        ("restart_count / 0 > 1", 16, "a division by zero", None),
        ("restart_count / (2 - 2) > 1", 17, "a division by zero", None),
        ("eror_rate > 5%", 0, 'the unknown signal "eror_rate"', '"error_rate"'),
        ("ERROR_RATE > 5%", 0, 'the unknown signal "ERROR_RATE"', '"error_rate"'),
        ("error_rate > nan", 13, 'the unknown signal "nan"', None),
        ("heap > 5MB", 7, 'the unknown unit "MB"', '"5MiB"'),
        ("p95_latency > 2sec", 14, 'the unknown unit "sec"', '"2s"'),
        ("restart_count > 1e9", 16, 'the unknown unit "e9"', None),
        ("error_rate > 1.2.3%", 13, 'the malformed number "1.2.3"', None),
        ("restart_count > " + "9" * 40, 16, "a number of 40 characters", None),
        ("error_rate > 5 %", 15, '"%"', '"5%", without a blank'),
        ("p95_latency > 2 s", 16, '"s"', '"2s", without a blank'),
        ("error_rate > 5% AND restart_count > 1", 16, '"AND"', '"and"'),
        ("NOT error_rate > 5%", 0, '"NOT"', '"not"'),
        ("error_rate > 5% && restart_count > 1", 16, '"&"', '"and"'),
        ("restart_count = 3", 14, '"="', '"=="'),
        ("restart_count => 3", 14, '"="', '">="'),
        ("restart_count ≥ 3", 14, '"≥"', '">="'),
        ("! error_rate > 5%", 0, '"!"', '"not"'),
        ("1 < restart_count < 3", 18, '"<"', None),
        ("error_rate", 10, "the end of the condition", None),
        ("error_rate >", 12, "the end of the condition", None),
        ("(error_rate > 5%", 16, "the end of the condition", None),
        ("error_rate > 5% for 5m", 16, '"for"', None),
        ("__import__('os').system('id')", 10, '"("', None),
        ("error_rate > 5%; rm -rf /", 15, '";"', None),
        ("", 0, "an empty condition", None),
        (" \n", 0, "an empty condition", None),
        ("x" * (MAX_LENGTH + 1), 0, "a condition of 1,001 characters", None),
        ("a+" * 300 + "a", 500, "more than 500 names, numbers and signs", None),
        ("not " * 60 + "error_rate > 5%", 200, "more than 50 levels of nesting", None),
        ("restart_count > " + "*".join(["999999999999999"] * 40), 16, "a number that is too large", None),
    ],
)
def test_what_is_refused_is_told_with_its_place(text: str, offset: int, found: str, suggestion: str | None) -> None:
    (refusal,) = refusals(text)
    assert found in refusal.found
    assert refusal.offset == offset
    assert refusal.suggestion == suggestion
    assert refusal.allowed


def test_unknown_signals_name_the_known_ones() -> None:
    (refusal,) = refusals("a > 5%")
    for name in UNITS:
        assert name in refusal.allowed


def test_every_fault_of_a_condition_that_can_be_read_is_told() -> None:
    offsets = [r.offset for r in refusals("eror_rate > 5% or p95_latency > 2 and heap > 5MB or 1 > 2")]
    assert offsets == [0, 32, 45, 52]


def test_long_chains_stay_flat() -> None:
    tree = parse(" or ".join(["odd>1"] * 111))
    assert isinstance(tree, Or)
    assert len(tree.operands) == 111


WORDS = [
    *("error_rate", "p95_latency", "restart_count", "request_rate", "heap", "odd", "nope", "and", "or", "not", "AND"),
    *(
        ">",
        ">=",
        "<",
        "==",
        "!=",
        "+",
        "-",
        "*",
        "/",
        "(",
        ")",
        "5%",
        "2s",
        "3",
        "0",
        "5MiB",
        "1.5.2",
        "4x",
        "=",
        "&&",
        "é",
    ),
]


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=80))
@settings(max_examples=500, deadline=None)
def test_no_text_raises_anything_but_refusals_inside_it(text: str) -> None:
    offsets: list[int | None] = []
    try:
        tree = parse(text)
    except AllRefused as refused:
        offsets = [part.offset for part in refused.parts] or [None]
    assert all(offset is not None and 0 <= offset <= len(text) for offset in offsets)
    if offsets:
        return
    assert signals_of(tree) <= set(UNITS)
    judge(tree, {name: Value(0.0, 1.0) for name in UNITS})


def _binary(pair: tuple[tuple[str, Arithmetic], Operator, tuple[str, Arithmetic]]) -> tuple[str, Arithmetic]:
    (left, a), operator, (right, b) = pair
    return f"({left} {operator} {right})", Binary(operator, a, b)


def _compare(parts: tuple[tuple[str, Arithmetic], Comparator, int]) -> tuple[str, Condition]:
    (text, tree), comparator, number = parts
    return f"{text} {comparator} {number}", Compare(comparator, tree, Number(number))


def _joined(word: str, node: type[And | Or], parts: list[tuple[str, Condition]]) -> tuple[str, Condition]:
    return f" {word} ".join(f"({text})" for text, _ in parts), node(tuple(tree for _, tree in parts))


# Counts, which take bare numbers.
arithmetic: st.SearchStrategy[tuple[str, Arithmetic]] = st.recursive(
    st.sampled_from(["restart_count", "unready_pods"]).map(lambda name: (name, SignalRef(name))),
    lambda inner: st.tuples(inner, st.sampled_from([Operator.ADD, Operator.SUB]), inner).map(_binary),
    max_leaves=4,
)
condition: st.SearchStrategy[tuple[str, Condition]] = st.recursive(
    st.tuples(arithmetic, st.sampled_from(Comparator), st.integers(0, 9)).map(_compare),
    lambda inner: st.one_of(
        inner.map(lambda pair: (f"not ({pair[0]})", Not(pair[1]))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: _joined("and", And, parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: _joined("or", Or, parts)),
    ),
    max_leaves=6,
)


@given(condition)
@settings(max_examples=100, deadline=None)
def test_written_trees_are_read_back(written: tuple[str, Condition]) -> None:
    text, tree = written
    if len(text) <= MAX_LENGTH:
        assert parse(text) == tree


def test_a_condition_is_judged_as_it_reads() -> None:
    tree = parse("error_rate > 5% and not p95_latency / response_time < 2")
    readings = {"error_rate": Value(0, 0.06), "p95_latency": Value(0, 3.0), "response_time": Value(0, 1.0)}
    assert judge(tree, readings).verdict is Verdict.MET
