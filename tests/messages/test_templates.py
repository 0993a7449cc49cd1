"""What a template cannot do: run for ever, call or reach anything, or say more than its room."""

from __future__ import annotations

import pytest

from logcaster_guard.messages.filters import FILTERS
from logcaster_guard.messages.templates import LONGEST_TEMPLATE, LONGEST_TEXT, BadTemplate, Templates, rendered

PARAMETERS = ("target", "names")
TEMPLATES = Templates(FILTERS)


def say(text: str) -> str:
    return rendered(TEMPLATES.compiled(text, PARAMETERS), {"target": "shop/web", "names": ["a", "b"]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("{{ target }}: {{ names|join('; ') }}", "shop/web: a; b"),
        ("{% if target == 'shop/web' and not names %}x{% elif names %}y{% endif %}", "y"),
        ("{{ target if names is defined else 'z' }}", "shop/web"),
    ],
)
def test_it_shows_filters_and_chooses(text: str, said: str) -> None:
    assert say(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in names %}{% for b in names %}{{ a }}{% endfor %}{% endfor %}",
        "{{ range(999999999)|join }}",
        "{{ 'x' * 999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ target.__class__.__mro__ }}",
        "{{ target['__class__'] }}",
        "{{ target.upper() }}",
        "{{ target.format(target) }}",
        "{{ ''|attr('__class__') }}",
        "{{ target|format }}",
        "{{ target|center(999999999) }}",
        "{{ cycler }}",
        "{{ self }}",
        "{% set x = target %}{{ x }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'x' %}",
        "{% filter upper %}x{% endfilter %}",
        "{{ [target] * 3 }}",
        "{{ {target: 1} }}",
        "{{ target ~ target }}",
        "{{ unknown }}",
        "{{ target",
        "{% if %}",
        "{{ target|josa('을') }}",
        "{{ " + "(" * 500 + "target" + ")" * 500 + " }}",
        "{% if target %}" * 150 + "x" + "{% endif %}" * 150,
        "x" * (LONGEST_TEMPLATE + 1),
    ],
    ids=lambda text: text[:40],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        say(text)


def test_a_text_is_cut_where_it_grows_too_long() -> None:
    template = TEMPLATES.compiled("{{ target }}" * 300, PARAMETERS)
    said = rendered(template, {"target": "x" * 10_000, "names": []})
    assert (len(said), said[-1]) == (LONGEST_TEXT, "…")
