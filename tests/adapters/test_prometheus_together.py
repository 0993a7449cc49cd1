"""One query asks for the pods of many targets, and each target reads what it would have read alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import pytest

from logcaster_guard.adapters.sources.prometheus import PrometheusSource
from logcaster_guard.domain.ownership import Roster, of_deployment
from logcaster_guard.domain.signals import Fault, Gap, NoData, Reading, SourceError, Target, Value
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.ports import Request
from tests.adapters import sources_server as server
from tests.adapters.sources_server import Exchange, serving
from tests.adapters.test_prometheus import EPOCH, ERRORS, MAX_BYTES, REQUESTS, SIGNAL_OF_MINE, queries_in, source

SIGNALS = [replace(s, query=(s.query or "").replace("{", '{namespace="$namespace", ')) for s in (ERRORS, REQUESTS)]
NAMES = ("web", "web-api", "shop", "quiet")
HASHES = {"web": "5f", "web-api": "6d", "shop": "7c"}


def target(name: str, namespace: str = "prod") -> Target:
    return Target(name, namespace, name)


async def owned(of: Target, _: bool) -> Roster:
    pod = pod_of(of.deployment)
    return of_deployment(of.deployment, {pod[:-6]: "v1"}, {pod: "v1"})


def pod_of(name: str) -> str:
    return f"{name}-{HASHES.get(name, '8b')}4d5-aaaaa"


@dataclass
class Backend:
    """Answers of the pods that a query finds: `errors` and all requests a second, by name; an age in seconds.

    What finds a `loud` one's pods beside others is too large; alone it is so too if it is `deafening`.
    """

    errors: dict[str, tuple[float, float]]
    ages: dict[str, float] = field(default_factory=dict)
    loud: str = ""
    deafening: bool = False

    async def __call__(self, exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.path).query)["query"][0]
        pattern = re.compile(re.findall(r'pod=~"((?:[^"\\]|\\.)*)"', query)[0].replace("\\\\", "\\"))
        names = [name for name in self.errors if pattern.fullmatch(pod_of(name))]
        if self.loud in names and (len(names) > 1 or self.deafening):
            await server.answer("x" * (MAX_BYTES + 1))(exchange)
            return
        data = {
            "resultType": "vector",
            "result": self.dated(names, query) if "timestamp" in query else self.rated(names),
        }
        await server.json_answer({"status": "success", "data": data})(exchange)

    def dated(self, names: Sequence[str], query: str) -> list[object]:
        ages = {name: self.ages.get(name, 5.0) for name in names}
        if "by (pod)" not in query:
            return [{"metric": {"n": "0"}, "value": [EPOCH, str(EPOCH - min(ages.values()))]}]
        return [
            {"metric": {"n": "0", "pod": pod_of(name)}, "value": [EPOCH, str(EPOCH - age)]}
            for name, age in ages.items()
        ]

    def rated(self, names: Sequence[str]) -> list[object]:
        return [
            {"metric": {"namespace": "prod", "pod": pod_of(name), "status": status}, "value": [EPOCH, str(number)]}
            for name in names
            for status, number in zip(("500", "200"), self.errors[name], strict=True)
        ]


async def together(made: PrometheusSource, targets: Sequence[Target]) -> dict[str, dict[str, Reading]]:
    requests = [Request(t, signal, shared=True) for t in targets for signal in SIGNALS]
    found: dict[str, dict[str, Reading]] = {}
    async for request, reading in made.read(requests):
        found.setdefault(request.target.name, {})[request.signal.name] = reading
    return found


RATES = {"web": (1.0, 3.0), "web-api": (0.0, 8.0), "shop": (5.0, 5.0)}


async def test_each_target_reads_what_it_would_have_read_alone() -> None:
    async with serving(Backend(RATES)) as prometheus:
        made = source(prometheus.url, rosters=owned)
        joint = await together(made, [target(name) for name in NAMES])
        asked = len(prometheus.exchanges)
        alone = {name: dict(await read_now(made, target(name), SIGNALS)) for name in NAMES}
        await made.aclose()
    assert joint == alone
    assert joint["shop"] == {"error_rate": Value(1_000.0, 0.5), "request_rate": Value(1_000.0, 10.0)}
    assert {name: [getattr(r, "sampled", None) for r in by_name.values()] for name, by_name in joint.items()} == {
        name: [getattr(r, "sampled", None) for r in by_name.values()] for name, by_name in alone.items()
    }
    # One query for both signals, and one for the age of what it has found.
    assert asked == 2


async def test_samples_that_lag_are_the_lag_of_their_own_target() -> None:
    async with serving(Backend(RATES, ages={"shop": 200.0})) as prometheus:
        made = source(prometheus.url, rosters=owned)
        joint = await together(made, [target(name) for name in RATES])
        await made.aclose()
    assert joint["web"]["error_rate"] == Value(1_000.0, 0.25)
    lagging = joint["shop"]["error_rate"]
    assert isinstance(lagging, NoData)
    assert lagging.gap is Gap.LAGGING


@pytest.mark.parametrize("deafening", [False, True])
async def test_what_is_too_much_for_one_query_is_asked_for_in_halves(deafening: bool) -> None:
    async with serving(Backend(RATES, loud="shop", deafening=deafening)) as prometheus:
        made = source(prometheus.url, rosters=owned)
        for _ in range(2):
            joint = await together(made, [target(name) for name in NAMES])
        await made.aclose()
    assert joint["web"]["error_rate"] == Value(1_000.0, 0.25)
    assert joint["web-api"]["request_rate"] == Value(1_000.0, 8.0)
    loud = joint["shop"]["error_rate"]
    if deafening:
        assert isinstance(loud, SourceError)
        assert loud.fault is Fault.TOO_LARGE
    else:
        assert loud == Value(1_000.0, 0.5)


async def test_a_query_stays_short_enough_for_a_url() -> None:
    names = [f"{'a-service-with-a-long-name' * 2}-{n}" for n in range(100)]
    async with serving(Backend(dict.fromkeys(names, (1.0, 1.0)))) as prometheus:
        made = source(prometheus.url, rosters=owned)
        joint = await together(made, [target(name) for name in names])
        await made.aclose()
        asked = queries_in(prometheus.exchanges)
    assert set(joint) == set(names)
    assert all(by_name["error_rate"] == Value(1_000.0, 0.5) for by_name in joint.values())
    assert max(map(len, asked)) <= 4_000
    assert len(asked) < 20


async def test_only_what_names_nothing_but_pods_is_asked_for_together_and_only_within_a_namespace() -> None:
    mine = replace(SIGNAL_OF_MINE, query='sum(rate(y{pod=~"$pods"}[1m]))')
    apart = replace(SIGNALS[0], query='sum by (namespace, pod, status) (rate(x{app="$deployment", pod=~"$pods"}[5m]))')
    targets = [target("web"), target("web-api"), target("shop", "other")]
    async with serving(Backend(RATES)) as prometheus:
        made = source(prometheus.url, rosters=owned)
        requests = [Request(t, signal, shared=True) for t in targets for signal in (SIGNALS[0], mine, apart)]
        assert len([answer async for answer in made.read(requests)]) == len(requests)
        await made.aclose()
        asked = [q for q in queries_in(prometheus.exchanges) if "5m" in q]
    # `prod` together, `other` by itself; what names the Deployment for each.
    assert len([q for q in asked if "app=" not in q]) == 2
    assert len([q for q in asked if "app=" in q]) == 3
