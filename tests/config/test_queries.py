"""What `check` says of operators' PromQL, offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.config import ConfigFault, Loaded, load
from logcaster_guard.config.queries import surprises, tree_of
from logcaster_guard.domain.promql_syntax import SyntaxFault, parsed, reach
from logcaster_guard.domain.signals import Signal, SourceName, Unit

RULES = (
    "rollback_triggers:\n  - {name: a, condition: error_rate > 5%, duration: 5m, action: alert_only}\n"
    "  - {name: b, condition: p95_latency > 2s, duration: 5m, action: alert_only}\n"
)


def loaded(folder: Path, settings: str) -> Loaded | list[ConfigFault]:
    (folder / "rules.yaml").write_text(RULES)
    (folder / "guard.yaml").write_text(settings)
    return load(folder / "rules.yaml", folder / "guard.yaml")


def of(query: str, more: str = "unit: count, lookback: 5m") -> str:
    return f"signals:\n  mine:\n    {{{more},\n     query: '{query}'}}\n"


@pytest.mark.parametrize(
    ("query", "offset", "words"),
    [
        ("sum(x)}}", 6, "unexpected right brace"),
        ("sum(rate(a))", 4, "expected type matrix in call to function"),
        ('sum(x{a="$namespace"}', 3, "unclosed left parenthesis"),
        ('sum(rate(x{a="${deployment}"}[$lookback])))', 42, "unexpected right parenthesis"),
        ("sum(x) sum(y)", 0, "invalid promql query"),
        ("x{a=~`\\d`} + rate(y[5q])", 20, "duration"),
    ],
)
def test_promql_that_does_not_parse_is_refused_at_its_place(
    tmp_path: Path, query: str, offset: int, words: str
) -> None:
    faults = loaded(tmp_path, of(query))
    assert isinstance(faults, list)
    assert [(f.line, f.column) for f in faults] == [(4, 14 + offset)]
    assert faults[0].found.startswith("PromQL that does not parse: ")
    assert words in faults[0].found


def test_what_a_newer_prometheus_may_take_is_a_warning(tmp_path: Path) -> None:
    found = loaded(tmp_path, of("sum(new_function(x[5m]))"))
    assert isinstance(found, Loaded)
    place = f"{tmp_path / 'guard.yaml'}:4:18: signal mine: the query may not parse"
    assert [w for w in found.warnings if w.startswith(place) and "new_function" in w]


def test_metricsql_is_never_refused(tmp_path: Path) -> None:
    settings = "sources: {prometheus: {dialect: metricsql}}\n" + of("sum(rate(a)) default 0")
    found = loaded(tmp_path, settings)
    assert isinstance(found, Loaded)
    assert any("the query may not parse" in w for w in found.warnings)


def test_a_selector_that_does_not_parse_is_refused(tmp_path: Path) -> None:
    faults = loaded(tmp_path, "metrics: {selector: 'pod=~\"$pods\"}'}\n")
    assert isinstance(faults, list)
    assert [(f.line, f.column) for f in faults] == [(1, 34)]


@pytest.mark.parametrize(
    ("query", "unit", "lookback", "says"),
    [
        ("sum(rate(x[5m])) > 5", Unit.COUNT, 300, "the comparison >"),
        ("(max(x == 1))", Unit.COUNT, 0, "the comparison =="),
        ("sum(x > 5) > bool 1", Unit.COUNT, 0, None),
        ("sum(rate(x[5m])) / (sum(rate(y[5m])) > 0)", Unit.RATIO, 300, None),
        ("sum(x) / sum(y) * 100", Unit.RATIO, 0, "drop the * 100"),
        ("100 * (sum(x) / sum(y))", Unit.RATIO, 0, "drop the * 100"),
        ("sum(x) * 100", Unit.COUNT, 0, None),
        ("sum(x offset 5m)", Unit.COUNT, 0, "reads back 5m and its lookback is 0s"),
        ("sum(rate(x[5m] offset 5m))", Unit.COUNT, 300, "reads back 10m and its lookback is 5m"),
        ("sum(rate(x[5m] offset 5m))", Unit.COUNT, 600, None),
        ("job:errors:rate5m", Unit.COUNT, 0, 'the recording rule "job:errors:rate5m"'),
        ("job:errors:rate5m", Unit.COUNT, 300, None),
        ("max(upstream_rq_time)", Unit.SECONDS, 0, "looks like milliseconds"),
        (
            "histogram_quantile(0.5, sum by (le) (rate(a_milliseconds_bucket[5m])))",
            Unit.SECONDS,
            300,
            "looks like milliseconds",
        ),
        ("max(latency_ms) / 1000", Unit.SECONDS, 0, None),
        ("max(items)", Unit.SECONDS, 0, None),
    ],
)
def test_what_parses_and_may_surprise_is_told(query: str, unit: Unit, lookback: float, says: str | None) -> None:
    tree = tree_of(query, lookback)
    assert tree is not None
    assert not isinstance(tree, SyntaxFault)
    told = list(surprises(Signal("s", unit, SourceName.PROMETHEUS, lookback, query), tree))
    assert len(told) == (says is not None)
    assert says is None or says in told[0]


def test_warnings_of_a_query_name_its_place(tmp_path: Path) -> None:
    found = loaded(tmp_path, of("sum(x) > 5"))
    assert isinstance(found, Loaded)
    assert [w for w in found.warnings if w.startswith(f"{tmp_path / 'guard.yaml'}:4:14: signal mine: the comparison")]


@pytest.mark.parametrize(
    ("metrics", "warned"),
    [
        ("{duration: istio_request_duration_milliseconds}", True),
        ("{duration: response_latency_ms}", True),
        ("{duration: envoy_cluster_upstream_rq_time}", True),
        ("{duration: envoy_cluster_upstream_rq_time, duration_unit: milliseconds}", False),
        ("{duration: my_time, duration_unit: seconds}", False),
        ("{duration: http_request_duration_seconds}", False),
    ],
)
def test_a_histogram_that_looks_like_milliseconds_is_told(tmp_path: Path, metrics: str, warned: bool) -> None:
    found = loaded(tmp_path, f"metrics: {metrics}\n")
    assert isinstance(found, Loaded)
    assert any("metrics.duration_unit: milliseconds" in w for w in found.warnings) == warned


def test_how_far_a_query_reaches_is_the_longest_way_through_it() -> None:
    tree = parsed("max_over_time(rate(x[5m] offset 1m)[30m:] offset 2m) + y offset 7m")
    assert not isinstance(tree, SyntaxFault)
    assert reach(tree) == 38 * 60
