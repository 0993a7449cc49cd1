"""Operators' PromQL, read as a tree: what does not parse, and what parses and may still surprise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from promql_parser import AggregateExpr, BinaryExpr, Expr, NumberLiteral, ParenExpr, UnaryExpr, VectorSelector

from logcaster_guard.config.schema import node_at
from logcaster_guard.config.yaml import Leaf, Node
from logcaster_guard.domain.promql import LABEL_PREFIX, TemplateFault, placeholders, render
from logcaster_guard.domain.promql_syntax import SyntaxFault, metric, parsed, reach, walk
from logcaster_guard.domain.signals import Signal, Target, Unit
from logcaster_guard.fields.durations import show_duration
from logcaster_guard.fields.faults import Refused, escaped, quoted
from logcaster_guard.messages.texts import Phrase, phrase

_COMPARISONS = frozenset({">", "<", ">=", "<=", "==", "!="})
_MILLISECONDS = re.compile(r"_(?:milliseconds|ms|time)(?:_bucket|_sum|_count)?")


def tree_of(query: str, lookback: float) -> Expr | SyntaxFault | None:
    """The query's tree, with words in the place of what differs by target; None if it cannot be filled in."""
    labels = {n.removeprefix(LABEL_PREFIX): "x" for n in placeholders(query) if n.startswith(LABEL_PREFIX)}
    anything = Target("x", "x", "x", service="x", labels=labels)
    try:
        return parsed(render(query, anything, lookback or 300.0), query)
    except TemplateFault:
        return None


def check_syntax(query: str, *, metricsql: bool) -> None:
    """Raise `Refused` for a query that no Prometheus takes; MetricsQL is more than the parser knows."""
    fault = tree_of(query, 0.0)
    if isinstance(fault, SyntaxFault) and fault.certain and not metricsql:
        found = phrase("found.broken_promql", words=fault.words)
        raise Refused(found, phrase("allowed.promql"), offset=fault.offset)


def check_selector(selector: str) -> None:
    """Raise `Refused` for label matchers that cannot stand between braces."""
    fault = tree_of(f"x{{{selector}}}", 0.0)
    if isinstance(fault, SyntaxFault):
        offset = min(max(fault.offset - 2, 0), max(len(selector) - 1, 0))
        raise Refused(phrase("found.broken_matchers", words=fault.words), phrase("allowed.matchers"), offset=offset)


def query_warnings(signals: Mapping[str, Signal], root: Node, file: str) -> Iterator[Phrase]:
    """What is told of each query in the settings `root`, with its place."""
    for name, signal in signals.items():
        leaf, entry = node_at(root, ("signals", name, "query"))
        if entry is None or entry.key != "query" or not isinstance(leaf, Leaf) or not signal.query:
            continue
        tree = tree_of(signal.query, signal.lookback)
        if isinstance(tree, SyntaxFault):
            at, found = leaf.locate(tree.offset), [phrase("warn.may_not_parse", words=tree.words)]
        else:
            at, found = leaf.locate(0), [] if tree is None else list(surprises(signal, tree))
        place = f"{escaped(file)}:{at.line}:{at.column}"
        yield from (phrase("warn.of_query", place=place, signal=name, warning=warning) for warning in found)


def surprises(signal: Signal, tree: Expr) -> Iterator[Phrase]:
    """What this query of the signal does and is seldom meant to do."""
    outside = _outside(tree)
    if isinstance(outside, BinaryExpr) and str(outside.op) in _COMPARISONS and not _is_bool(outside):
        yield phrase("warn.comparison_in_query", operator=str(outside.op))
    if signal.unit is Unit.RATIO and _times(outside, 100):
        yield phrase("warn.times_hundred")
    yield from _reaching(signal, tree)
    if signal.unit is Unit.SECONDS and not any(_in_thousands(part) for part in walk(tree)):
        names = sorted({n for n in _metrics(tree) if _MILLISECONDS.search(n)})
        if names:
            yield phrase("warn.metric_in_milliseconds", metric=names[0])


def in_milliseconds(name: str) -> bool:
    """Whether a metric's name looks as if it counted milliseconds."""
    return _MILLISECONDS.search(name) is not None


def _reaching(signal: Signal, tree: Expr) -> Iterator[Phrase]:
    behind = reach(tree)
    if behind > signal.lookback:
        found, lookback = show_duration(behind), show_duration(signal.lookback)
        yield phrase("warn.reaches_back", behind=found, lookback=lookback)
    recorded = sorted({n for n in _metrics(tree) if ":" in n})
    if recorded and not signal.lookback:
        yield phrase("warn.recording_rule", name=quoted(recorded[0]))


def _outside(tree: Expr) -> Expr:
    """The outermost operation that is no parenthesis, sign or aggregation."""
    while isinstance(tree, ParenExpr | UnaryExpr | AggregateExpr):
        tree = tree.expr
    return tree


def _is_bool(tree: BinaryExpr) -> bool:
    return tree.modifier is not None and tree.modifier.return_bool


def _times(tree: Expr, number: float) -> bool:
    return isinstance(tree, BinaryExpr) and str(tree.op) == "*" and number in {_number(tree.lhs), _number(tree.rhs)}


def _in_thousands(tree: Expr) -> bool:
    return isinstance(tree, BinaryExpr) and bool({_number(tree.lhs), _number(tree.rhs)} & {1000.0, 0.001})


def _number(tree: Expr) -> float | None:
    return tree.val if isinstance(tree, NumberLiteral) else None


def _metrics(tree: Expr) -> Iterator[str]:
    return (metric(part) for part in walk(tree) if isinstance(part, VectorSelector))
