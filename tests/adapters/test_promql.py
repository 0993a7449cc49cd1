from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.promql import TemplateFault, allowed, duration, placeholders, render
from logcaster_guard.domain.signals import Target
from logcaster_guard.messages.texts import english

TARGET = Target("shop", "prod", "logcaster-prod", service="logcaster", labels={"team": "blue", "metric": "up"})


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ('up{namespace="$namespace"}', 'up{namespace="prod"}'),
        ("up{pod=~'${deployment}-.*'}", "up{pod=~'logcaster-prod-.*'}"),
        ('rate(x{service="$service",team="$label_team"}[$lookback])', 'rate(x{service="logcaster",team="blue"}[5m])'),
        ('x{status=~"5..$"}', 'x{status=~"5..$"}'),
        ('x{status=~"^5..$$"}', 'x{status=~"^5..$"}'),
        ("$label_metric > 0", "up > 0"),
        ("x # it's $namespace\n + y{n='$namespace'}", "x # it's prod\n + y{n='prod'}"),
        (r'x{a="\"",n="$namespace"}', r'x{a="\"",n="prod"}'),
        ("x{a=`\\`,n=`$namespace`}", "x{a=`\\`,n=`prod`}"),
        ("", ""),
    ],
)
def test_the_targets_fields_are_filled_in(template: str, rendered: str) -> None:
    assert render(template, TARGET, 300) == rendered


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ('x{pod=~"$deployment-.+"}', r'x{pod=~"a\\.b-.+"}'),
        ("x{pod !~ \n '${deployment}',a='$deployment'}", r"x{pod !~ \n 'a\\.b',a='a.b'}".replace(r"\n", "\n")),
        ("x{pod=~`$deployment`}", r"x{pod=~`a\.b`}"),
        ("x{pod=~\"'$deployment'\"}", "x{pod=~\"'a\\\\.b'\"}"),
        ('x{pod=~"$label_alternatives"}', r'x{pod=~"p\\|\\(q\\)\\$"}'),
        ('x{pod=~".+",d="$deployment"}', 'x{pod=~".+",d="a.b"}'),
        ('x{a="=~",d="$deployment"}', 'x{a="=~",d="a.b"}'),
    ],
)
def test_in_a_regular_expression_a_value_matches_itself_only(template: str, rendered: str) -> None:
    target = Target("t", "ns", "a.b", labels={"alternatives": "p|(q)$"})
    assert render(template, target, 300) == rendered


def test_the_pattern_of_the_pods_is_filled_in_as_it_is_and_stands_in_regular_expressions_only() -> None:
    assert render('x{pod=~"$pods"}', TARGET, 300, r"a\.b-[0-9]+") == r'x{pod=~"a\\.b-[0-9]+"}'
    assert render('x{pod=~"$pods"}', TARGET, 300) == 'x{pod=~".+"}'
    for template in ('x{pod="$pods"}', "$pods"):
        with pytest.raises(TemplateFault) as caught:
            render(template, TARGET, 300)
    assert re.search("regular expression", english().text(caught.value.reason))


@given(value=st.text(max_size=20), other=st.text(max_size=20))
def test_a_pattern_of_a_value_matches_no_other(value: str, other: str) -> None:
    rendered = render("a{b=~'$label_x'}", Target("t", "ns", "d", labels={"x": value}), 60)
    inside = rendered.removeprefix("a{b=~'").removesuffix("'}")
    pattern = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), inside)
    assert re.fullmatch(pattern, value)
    assert (re.fullmatch(pattern, other) is None) == (other != value)


@pytest.mark.parametrize(
    ("template", "lookback", "says"),
    [
        ("up{a='$nothing'}", 300, r"\$nothing is not known for the target shop; allowed: \$deployment"),
        ("up{a='$label_nothing'}", 300, r"\$label_nothing is not known"),
        ("rate(x[$lookback])", 0, "needs a lookback above 0"),
        ("rate(x[$lookback])", float("nan"), "needs a lookback above 0"),
        ("x{} == $deployment", 300, "put it between quotes"),
    ],
)
def test_what_cannot_be_filled_in_is_said(template: str, lookback: float, says: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        render(template, TARGET, lookback)
    assert re.search(says, english().text(caught.value.reason))


def test_a_target_without_a_service_has_no_service_to_fill_in() -> None:
    target = Target("shop", "prod", "web")
    assert "service" not in allowed(target)
    with pytest.raises(TemplateFault) as caught:
        render('x{s="$service"}', target, 300)
    assert re.search("service", english().text(caught.value.reason))


def test_placeholders_are_told_without_a_target() -> None:
    found = placeholders('a{n="$namespace",b="${label_x}",c="$$d"}[$lookback]')
    assert found == {"namespace", "label_x", "lookback"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5m"), (3600, "1h"), (90, "90s"), (0.5, "500ms"), (7200.5, "7200500ms"), (60, "1m")]
)
def test_durations_are_promql(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(value=st.text(max_size=30), quote=st.sampled_from("\"'"))
def test_no_value_can_end_the_string_that_it_stands_in(value: str, quote: str) -> None:
    target = Target("t", "ns", "d", labels={"x": value})
    rendered = render(f"a{{b={quote}$label_x{quote}}}", target, 60)
    inside = rendered.removeprefix(f"a{{b={quote}").removesuffix(f"{quote}}}")
    assert re.fullmatch(rf"(?:[^\\\n{quote}]|\\.)*", inside, re.DOTALL)
    unescaped = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), inside)
    assert unescaped == value


def test_a_backtick_cannot_stand_between_backticks() -> None:
    with pytest.raises(TemplateFault) as caught:
        render("a{b=`$label_x`}", Target("t", "ns", "d", labels={"x": "`"}), 60)
    assert re.search("double quotes", english().text(caught.value.reason))
