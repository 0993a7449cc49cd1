"""The offline parser against a real Prometheus: what that takes is not refused, and hardly anything else is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import pytest

from logcaster_guard.domain.promql_syntax import SyntaxFault, parsed
from tests.real.prometheus import Prometheus

pytestmark = pytest.mark.slow

GOOD = r"""
up
sum(rate(x[5m])) by (pod)
sum by (pod) (rate(x{a="b",c!~"d.+"}[5m]))
(a or 0 * b) / (b > 0)
a{b=`c\.d`}
a{b=`c"d`}
a{b='it\'s', c="x\"y", d="\\d+", e="\u00e9"}
x offset -5m
x @ end()
max_over_time(rate(x[5m])[30m:])
rate(x[1h30m])
a == bool 1
a and on(b) c
a * on(b) group_left(c) d
a unless ignoring(x) b
histogram_quantile(0.95, sum(rate(x_bucket[5m])) by (le))
label_replace(a, "b", "$1", "c", "(.*)")
topk(5, a)
count_values("v", a)
absent_over_time(x[5m])
1 + 2e3
-a ^ 0x1F
a atan2 b
{__name__=~"x.*"}
a # comment
predict_linear(x[1h], 3600)
holt_winters(x[5m], 0.5, 0.5)
a:b:c
sum without (a) (b)
a{b="c",}
a and b or c unless d
offset
a{on="x"}
sum(sum)
avg_over_time((a/b)[5m:30s])
label_replace(max(timestamp(a or b)), "n", "0", "", "") or vector(0)
""".strip().splitlines()
BAD = r"""
}}
rate(a)
sum(
a{b="c"
a{b=c}
a{b="c"}}
rate(x[5m)
rate(x[5x])
rate(x[])
a b
1 2
a +
* a
sum by a (b)
raet(x[5m])
x{b=~"("}
sum(x[5m])
rate(x[5m], 1)
histogram_quantile(x)
topk(a)
a and 1
a => 5
a{b=="c"}
rate(x{a="b}[5m])
a > bool
1 > 2
a offset
(a
{a=~".*"}
a.b
$x
a{b "c"}
sum(a,b)
vector(a)
a{__name__="b"}
a * group_left b
a + bool b
abs("x")
a{b="\d"}
"a" + 1
rate(rate(x[5m]))
rate(sum(x)[5m])
a[5m] + b[5m]
WITH (a = 1) a
a default 0
""".strip().splitlines()
NEWER = frozenset({"limitk(5, a)", "mad_over_time(x[5m])", '{"a.b"}', "a offset 5"})
"""What the parser takes and Prometheus 2.42 does not yet."""


async def test_the_parser_agrees_with_prometheus(
    start_prometheus: Callable[[Sequence[Mapping[str, Any]]], Awaitable[Prometheus]],
) -> None:
    server = await start_prometheus([])
    taken: dict[str, bool] = {}
    async with aiohttp.ClientSession() as session:
        for query in (*GOOD, *BAD, *NEWER):
            async with session.get(f"{server.url}/api/v1/query", params={"query": query}) as answer:
                taken[query] = answer.status == 200
    ours = {query: parsed(query) for query in taken}
    assert [q for q in GOOD if not taken[q]] == [q for q in BAD if taken[q]] == []
    refused = {q for q, tree in ours.items() if isinstance(tree, SyntaxFault)}
    assert {q for q in refused if taken[q]} == {"holt_winters(x[5m], 0.5, 0.5)"}  # renamed in Prometheus 3
    assert {q for q in taken if not taken[q] and q not in refused} <= NEWER
    assert [q for q, tree in ours.items() if isinstance(tree, SyntaxFault) and tree.certain and taken[q]] == []
