from __future__ import annotations

import asyncio
import gzip
import itertools
import logging
import math
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from logcaster_guard.adapters.sources.prometheus import PrometheusSection, PrometheusSource
from logcaster_guard.adapters.sources.prometheus.workers import Line, Workers
from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.domain.ownership import PodGroup, Roster
from logcaster_guard.domain.signals import (
    ByPod,
    Fault,
    Gap,
    Measure,
    NoData,
    Reading,
    Series,
    Signal,
    SourceError,
    SourceName,
    Target,
    Unit,
    Value,
)
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.messages.texts import english
from tests.adapters import sources_server as server
from tests.adapters.in_english import in_english
from tests.adapters.sources_server import Exchange, Script, serving
from tests.fakes.clock import START, FakeClock
from tests.fakes.services import Told, nobody, source_services

TARGET = Target("shop", "prod", "web", service="web")
QUERY = 'sum(rate(x{namespace="$namespace"}[$lookback]))'
SIGNAL = Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS, 300.0, QUERY)
SIGNAL_OF_MINE = Signal("mine", Unit.COUNT, SourceName.PROMETHEUS, 0.0, "sum(y)")
EPOCH = START.timestamp()
SHORT, LONG = 0.3, 30.0  # seconds: where the deadline must come, and where it must not
MAX_BYTES = 100_000


def source(url: str, clock: FakeClock | None = None, **options: Any) -> PrometheusSource:
    section = {"timeout": LONG, "max_bytes": MAX_BYTES, "max_series": 1_000, **options}
    services = source_services(clock or FakeClock(), rosters=section.pop("rosters", nobody))
    outside = {"proxy": section.pop("proxy", None), "workers": section.pop("workers", None)}
    return PrometheusSource(PrometheusSection.model_construct(url=url, **section), services, **outside)


async def read(url: str, clock: FakeClock | None = None, **options: Any) -> Reading:
    made = source(url, clock, **options)
    try:
        return (await read_now(made, TARGET, [SIGNAL]))["error_rate"]
    finally:
        await made.aclose()


def success(result_type: str, result: object, **more: object) -> Script:
    """Answers so to everything but the question how old the samples are, which it leaves open."""

    async def script(exchange: Exchange) -> None:
        data: dict[str, object] = {"resultType": result_type, "result": result}
        if "timestamp" in exchange.path:
            data = {"resultType": "vector", "result": []}
        await server.json_answer({"status": "success", "data": data, **more})(exchange)

    return script


def queries_in(exchanges: Sequence[Exchange]) -> list[str]:
    """What was asked for but the age of samples."""
    asked = (parse_qs(urlsplit(e.path).query)["query"][0] for e in exchanges)
    return [query for query in asked if "timestamp" not in query]


def vector(*texts: str, at: float = EPOCH) -> list[object]:
    return [{"metric": {"n": str(n)}, "value": [at, text]} for n, text in enumerate(texts)]


NAN_JSON = server.answer('{"status":"success","data":{"resultType":"scalar","result":[NaN,"1"]}}')
FAULTS: dict[str, tuple[Script, Fault, str]] = {
    "hangs": (server.hang, Fault.TIMED_OUT, "0.3 s"),
    "drips its body": (server.drip_body, Fault.TIMED_OUT, ""),
    "drips its headers": (server.drip_headers, Fault.TIMED_OUT, ""),
    "cut by length": (server.cut_length, Fault.TRUNCATED, ""),
    "cut chunked": (server.cut_chunked, Fault.TRUNCATED, ""),
    "closes at once": (server.close_silently, Fault.TRUNCATED, ""),
    "resets": (server.reset, Fault.TRUNCATED, ""),
    "not HTTP": (server.garbage, Fault.MALFORMED, ""),
    "redirects": (server.redirect, Fault.REDIRECTED, "302"),
    "endless": (server.endless, Fault.TOO_LARGE, "100000 bytes"),
    "bomb": (server.bomb, Fault.TOO_LARGE, "100000 bytes"),
    "not gzip": (server.answer("x", Content_Encoding="gzip"), Fault.MALFORMED, ""),
    "not JSON": (server.answer("<html>"), Fault.MALFORMED, "not JSON"),
    "deep JSON": (server.answer("[" * 50_000), Fault.MALFORMED, "not JSON"),
    "long number": (server.answer("9" * 50_000), Fault.MALFORMED, "not JSON"),
    "other JSON": (server.json_answer([1]), Fault.MALFORMED, "Prometheus"),
    "no data": (server.json_answer({"status": "success"}), Fault.MALFORMED, "no result"),
    "empty": (server.answer(""), Fault.MALFORMED, "not JSON"),
    "error as 200": (server.json_answer({"status": "error", "error": "a\nb"}), Fault.MALFORMED, "a b"),
    "parse error": (server.json_answer({"error": "1:5: parse error"}, 400), Fault.CLIENT_ERROR, "1:5: parse error"),
    "forbidden": (server.answer("no", 403), Fault.CLIENT_ERROR, "answered 403: no"),
    "page": (server.answer("<html>no", 403), Fault.CLIENT_ERROR, "answered 403"),
    "server error": (server.answer("", 500), Fault.SERVER_ERROR, "500"),
    "large error": (server.answer("x" * 200_000, 500), Fault.SERVER_ERROR, "500"),
    "no content": (server.answer("", 204), Fault.MALFORMED, ""),
    "unreadable sample": (success("vector", vector("much")), Fault.MALFORMED, "sample"),
    "strange series": (success("vector", [7]), Fault.MALFORMED, "sample"),
    "no instant": (NAN_JSON, Fault.MALFORMED, "sample"),
    "far too many series": (success("vector", vector(*["1"] * 1500)), Fault.TOO_LARGE, "1500 series"),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_each_fault_is_told_apart(case: str) -> None:
    script, fault, detail = FAULTS[case]
    async with serving(script) as prometheus:
        reading = await read(prometheus.url, timeout=SHORT if fault is Fault.TIMED_OUT else LONG)
    assert isinstance(reading, SourceError)
    assert (reading.fault, reading.retry_after) == (fault, None)
    assert detail in english().text(reading.detail)


@pytest.mark.parametrize(("status", "fault"), [(429, Fault.THROTTLED), (503, Fault.SERVER_ERROR)])
@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("86400", 300.0), ("soon", None)])
async def test_retry_after_is_told_and_nothing_is_asked_again(
    status: int, fault: Fault, header: str, wait: float | None
) -> None:
    async with serving(server.answer("", status, Retry_After=header)) as prometheus:
        reading = await read(prometheus.url)
        assert len(prometheus.exchanges) == 1
    assert in_english(reading) == SourceError(1000.0, fault, f"answered {status}", wait)


async def test_nobody_listens() -> None:
    reading = await read(f"http://127.0.0.1:{server.refusing_port()}")
    assert in_english(reading) == SourceError(1000.0, Fault.REFUSED, "connection refused")


@pytest.mark.usefixtures("no_names")
async def test_the_name_does_not_resolve() -> None:
    reading = await read("http://prometheus.example:9090")
    assert isinstance(reading, SourceError)
    assert reading.fault is Fault.NAME_NOT_FOUND


async def test_tls_is_trusted_only_by_its_authority(certificate: tuple[Path, ssl.SSLContext]) -> None:
    authority, context = certificate
    async with serving(success("vector", vector("1")), tls=context) as prometheus:
        untrusted = await read(prometheus.url)
        trusted = await read(prometheus.url, ca_file=str(authority))
    assert isinstance(untrusted, SourceError)
    assert untrusted.fault is Fault.TLS
    assert trusted == Value(1000.0, 1.0)


async def test_a_handshake_that_hangs_is_cut() -> None:
    async with serving(server.hang) as prometheus:
        reading = await read(prometheus.url.replace("http:", "https:"), timeout=SHORT)
    assert isinstance(reading, SourceError)
    assert reading.fault is Fault.TIMED_OUT


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (success("vector", vector("0.25")), Value(1000.0, 0.25)),
        (success("scalar", [EPOCH, "3"]), Value(1000.0, 3.0)),
        (success("vector", vector("1"), infos=["metric might not be a counter"]), Value(1000.0, 1.0)),
        (success("vector", []), NoData(1000.0, Gap.EMPTY)),
        (success("vector", vector("NaN")), NoData(1000.0, Gap.NOT_A_NUMBER)),
        (success("vector", vector("+Inf")), NoData(1000.0, Gap.INFINITE, "+Inf")),
        (success("vector", vector("-Inf")), NoData(1000.0, Gap.INFINITE, "-Inf")),
        (success("vector", vector("1", "2")), NoData(1000.0, Gap.WRONG_TYPE, "2 series; aggregate to one")),
        (success("vector", vector("1"), warnings=["store\ngone"]), NoData(1000.0, Gap.PARTIAL, "store gone")),
        (success("vector", vector("1"), warnings=["PromQL info: metric might not be a counter"]), Value(1000.0, 1.0)),
        (
            success("vector", vector("1"), warnings=["PromQL info: x", "No StoreAPIs matched for this query"]),
            NoData(1000.0, Gap.PARTIAL, "No StoreAPIs matched for this query"),
        ),
        (
            success("vector", vector("1"), isPartial=True),
            NoData(1000.0, Gap.PARTIAL, "the backend says isPartial"),
        ),
        (success("vector", vector("1"), isPartial=False), Value(1000.0, 1.0)),
        (success("vector", vector("1", at=EPOCH - 61)), NoData(1000.0, Gap.LAGGING, "61 s behind the guard's clock")),
        (success("vector", vector("1", at=EPOCH + 99)), NoData(1000.0, Gap.STALE, "99 s ahead of the guard's clock")),
        (
            success("string", [EPOCH, "x"]),
            NoData(1000.0, Gap.WRONG_TYPE, "a string; a scalar or one series is needed"),
        ),
        (success("matrix", []), NoData(1000.0, Gap.WRONG_TYPE, "a matrix; a scalar or one series is needed")),
        (
            success("vector", [{"metric": {}, "histogram": [EPOCH, {}]}]),
            NoData(1000.0, Gap.WRONG_TYPE, "a histogram; use histogram_quantile or histogram_count"),
        ),
    ],
)
async def test_an_answer_is_one_number_or_the_reason_why_not(script: Script, expected: Reading) -> None:
    async with serving(script) as prometheus:
        assert in_english(await read(prometheus.url)) == expected


async def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(b'{"status":"success","data":{"resultType":"scalar","result":[%d,"1"]}}' % EPOCH)
    async with serving(server.answer(body, Content_Encoding="gzip")) as prometheus:
        assert await read(prometheus.url) == Value(1000.0, 1.0)


async def test_the_query_carries_the_targets_fields() -> None:
    async with serving(success("vector", vector("1"))) as prometheus:
        await read(prometheus.url + "/behind/a/path/")
        path = urlsplit(prometheus.exchanges[0].path)
    assert path.path == "/behind/a/path/api/v1/query"
    assert parse_qs(path.query)["query"] == ['sum(rate(x{namespace="prod"}[5m]))']


@pytest.mark.parametrize("query", [None, "", "up{a='$nothing'}"])
async def test_a_query_that_cannot_be_asked_is_an_error_of_its_own(query: str | None) -> None:
    made = source("http://127.0.0.1:1")
    signal = Signal("mine", Unit.COUNT, SourceName.PROMETHEUS, 0.0, query)
    for answer in (await read_now(made, TARGET, [signal]))["mine"], await made.history(TARGET, signal, 0, 1, 1):
        assert isinstance(answer, SourceError)
        assert answer.fault is Fault.CLIENT_ERROR
    await made.aclose()


async def test_the_token_is_read_for_every_query_and_a_bad_one_is_never_told() -> None:
    tokens = iter(["first\n", "second", "", "hun\nter2", None])

    def token() -> str:
        value = next(tokens)
        if value is None:
            raise SecretUnreadable("the secret in file /run/secret cannot be read")
        return value

    signal = replace(SIGNAL, query="time()")
    async with serving(success("vector", vector("1"))) as prometheus:
        made = source(prometheus.url, token=Told(token))
        readings = [(await read_now(made, TARGET, [signal]))["error_rate"] for _ in range(5)]
        await made.aclose()
        sent = [exchange.header("Authorization") for exchange in prometheus.exchanges]
    assert sent == ["Bearer first", "Bearer second"]
    assert [type(r) for r in readings] == [Value, Value, SourceError, SourceError, SourceError]
    assert "ter2" not in repr(readings)


async def test_logs_hold_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(server.cut_length) as prometheus:
        reading = await read(prometheus.url.replace("//", "//user:hunter2@"), token=Told(lambda: "t0ken"))
    assert "hunter2" not in caplog.text + repr(reading)
    assert "t0ken" not in caplog.text + repr(reading)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.refusing_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with serving(success("vector", vector("1"))) as prometheus:
        assert await read(prometheus.url) == Value(1000.0, 1.0)
        assert await read("http://prometheus.example", proxy=prometheus.url) == Value(1000.0, 1.0)


async def test_signals_of_a_target_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def script(exchange: Exchange) -> None:
        # The age of the samples is asked for afterwards, alone.
        if "timestamp" not in exchange.path:
            await both.wait()
        await success("vector", vector("1"))(exchange)

    async with serving(script) as prometheus:
        made = source(prometheus.url)
        signals = [Signal(n, Unit.COUNT, SourceName.PROMETHEUS, 0.0, n) for n in ("a", "b")]
        readings = await read_now(made, TARGET, signals)
        await made.aclose()
    assert readings == {"a": Value(1000.0, 1.0), "b": Value(1000.0, 1.0)}


def aged(seconds: float) -> Script:
    """Answers 1, of samples that are `seconds` old and newer at each question."""
    polls = itertools.count()

    async def script(exchange: Exchange) -> None:
        asked = parse_qs(urlsplit(exchange.path).query)
        assert asked["nocache"] == ["1"]  # VictoriaMetrics would answer with older data, stamped as new
        result = vector("1")
        if "timestamp" in asked["query"][0]:
            now = EPOCH + next(polls) * 30
            result = [{"metric": {"n": "0"}, "value": [now, str(now - seconds)]}]
        await server.json_answer({"status": "success", "data": {"resultType": "vector", "result": result}})(exchange)

    return script


async def test_a_value_tells_when_its_newest_sample_was_taken() -> None:
    async with serving(aged(12.5)) as prometheus:
        reading = await read(prometheus.url)
        assert len(prometheus.exchanges) == 2
        [query] = [
            q for e in prometheus.exchanges if "timestamp" in (q := parse_qs(urlsplit(e.path).query)["query"][0])
        ]
    assert isinstance(reading, Value)
    assert reading.sampled == 987.5
    assert query == 'label_replace(max(timestamp(x{namespace="prod"})), "n", "0", "", "")'


@pytest.mark.parametrize(
    ("seconds", "polls", "old"), [(140.0, 1, False), (160.0, 1, True), (70.0, 2, False), (80.0, 2, True)]
)
async def test_samples_that_lag_behind_their_pace_are_no_data_and_named(seconds: float, polls: int, old: bool) -> None:
    async with serving(aged(seconds)) as prometheus:
        made = source(prometheus.url)
        readings = [(await read_now(made, TARGET, [SIGNAL]))["error_rate"] for _ in range(polls)]
        await made.aclose()
    if old:
        assert in_english(readings[-1]) == NoData(1000.0, Gap.LAGGING, f"the newest sample of x is {seconds:.0f} s old")
    else:
        assert isinstance(readings[-1], Value)


async def test_a_clock_that_is_ahead_makes_nothing_stale_and_moves_no_point() -> None:
    ahead = START + timedelta(seconds=100)
    script = server.json_answer(
        {"status": "success", "data": {"resultType": "vector", "result": vector("1", at=EPOCH + 100)}},
        Date=format_datetime(ahead, usegmt=True),
    )
    async with serving(script) as prometheus:
        made = source(prometheus.url)
        reading = (await read_now(made, TARGET, [replace(SIGNAL, query="time()")]))["error_rate"]
        assert isinstance(reading, Value)  # the first answer tells the skew
        await made.history(TARGET, SIGNAL, 990.0, 1000.0, 10.0)
        await made.aclose()
        asked = parse_qs(urlsplit(prometheus.exchanges[-1].path).query)
    assert made.ahead() == pytest.approx(101.0)
    assert float(asked["end"][0]) == pytest.approx(EPOCH + 100, abs=1.0)


async def test_a_target_whose_queries_hang_leaves_the_others_their_places() -> None:
    async def script(exchange: Exchange) -> None:
        await (server.hang if "slow" in exchange.path else success("vector", vector("1")))(exchange)

    async with serving(script) as prometheus:
        made = source(prometheus.url, workers=Workers(total=4, per_lane=2))
        slow = [Signal(f"s{n}", Unit.COUNT, SourceName.PROMETHEUS, 0.0, "slow") for n in range(6)]
        hanging = asyncio.create_task(read_now(made, TARGET, slow))
        quick = await read_now(made, Target("other", "prod", "api"), [SIGNAL])
        assert quick == {"error_rate": Value(1000.0, 1.0)}
        assert not hanging.done()
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        await made.aclose()


async def test_a_thread_that_cannot_be_cut_keeps_its_place_and_delays_nobody() -> None:
    stuck = threading.Event()

    def call(_: Line) -> bool:
        return stuck.wait(30)

    workers = Workers(total=3, per_lane=1)
    with pytest.raises(TimeoutError):
        await workers.run("a", call, 0.05)
    with pytest.raises(TimeoutError):
        await workers.run("a", lambda _: True, 0.05)
    assert await workers.run("b", lambda _: True, 5.0)
    stuck.set()
    assert await workers.run("a", lambda _: True, 5.0)
    await workers.aclose()


async def test_a_defect_in_a_thread_is_raised_where_it_is_awaited() -> None:
    workers = Workers(total=1, per_lane=1)
    with pytest.raises(ZeroDivisionError):
        await workers.run("a", lambda _: 1 / 0, 5.0)
    assert await workers.run("a", lambda _: True, 5.0)


def test_a_stuck_thread_does_not_hold_the_exit_of_the_process() -> None:
    program = (
        "import asyncio, threading\n"
        "from logcaster_guard.adapters.sources.prometheus.workers import Workers\n"
        "async def main():\n"
        "    try:\n"
        "        await Workers(total=1, per_lane=1).run('a', lambda _: threading.Event().wait(600), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('answered')\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (ended.stdout, ended.stderr) == ("answered\n", "")


def matrix(points: list[tuple[float, str]]) -> list[object]:
    return [{"metric": {}, "values": [[at, text] for at, text in points]}]


async def history(script: Script, clock: FakeClock, *span: float) -> tuple[object, dict[str, list[str]]]:
    async with serving(script) as prometheus:
        made = source(prometheus.url, clock)
        answer = await made.history(TARGET, SIGNAL, *span)
        await made.aclose()
        asked = parse_qs(urlsplit(prometheus.exchanges[0].path).query) if prometheus.exchanges else {}
    return answer, asked


async def test_history_is_on_the_guards_clock_with_sub_second_bounds() -> None:
    points = [(EPOCH - 10, "1"), (EPOCH - 7.5, "NaN"), (EPOCH - 5, "+Inf"), (EPOCH - 2.5, "0.5")]
    answer, asked = await history(success("matrix", matrix(points)), FakeClock(), 990.125, 2000.0, 2.5)
    assert isinstance(answer, Series)
    assert [(round(at, 3), number) for at, number in answer.points] == [(990.0, 1.0), (997.5, 0.5)]
    assert answer.step == 2.5
    assert asked["start"] == [f"{EPOCH - 9.875:.3f}"]
    assert asked["end"] == [f"{EPOCH:.3f}"]  # the future is not asked for: Prometheus would make it up
    assert asked["step"] == ["2.500"]


async def test_history_asks_for_no_more_points_than_prometheus_gives() -> None:
    clock = FakeClock(monotonic=100_000.0)
    answer, asked = await history(success("matrix", []), clock, 0.0, 100_000.0, 1.0)
    assert isinstance(answer, Series)
    assert answer.points == ()
    assert float(asked["step"][0]) == answer.step
    assert math.floor(100_000.0 / answer.step) + 1 <= 11_000


async def test_history_of_the_future_is_empty() -> None:
    assert await history(server.hang, FakeClock(), 2000.0, 3000.0, 1.0) == (Series((), 1.0), {})


@pytest.mark.parametrize(
    ("script", "fault", "detail"),
    [
        (success("matrix", matrix([]) * 2), Fault.MALFORMED, "2 series; aggregate to one"),
        (success("vector", []), Fault.MALFORMED, "a vector"),
        (success("matrix", matrix([]), warnings=["gone"]), Fault.MALFORMED, "partial answer: gone"),
        (success("matrix", matrix([]), isPartial=True), Fault.MALFORMED, "partial answer: the backend says isPartial"),
        (success("matrix", matrix([(EPOCH, "1"), (EPOCH, "2")])), Fault.MALFORMED, "sample"),
        (success("matrix", [{"metric": {}, "histograms": []}]), Fault.MALFORMED, "values"),
        (success("matrix", matrix([]) * 1001), Fault.TOO_LARGE, "1001 series"),
        (server.answer("", 503, Retry_After="5"), Fault.SERVER_ERROR, "503"),
    ],
)
async def test_history_that_cannot_be_used_says_why(script: Script, fault: Fault, detail: str) -> None:
    answer, _ = await history(script, FakeClock(), 900.0, 1000.0, 10.0)
    assert isinstance(answer, SourceError)
    assert answer.fault is fault
    assert detail in english().text(answer.detail)


async def test_a_wall_clock_that_jumps_during_the_query_moves_no_point() -> None:
    clock = FakeClock()

    async def script(exchange: Exchange) -> None:
        clock.jump_wall(3600)
        await success("matrix", matrix([(EPOCH - 1, "1")]))(exchange)

    answer, _ = await history(script, clock, 990.0, 1000.0, 1.0)
    assert isinstance(answer, Series)
    assert [(round(at, 3), number) for at, number in answer.points] == [(999.0, 1.0)]


WEB = Roster({"web-5f-aaaaa": "v1", "web-6d-bbbbb": "v2"}, pattern="web-.+")
PODS = 'sum by (namespace, pod, status) (rate(x{pod=~"$pods"}[$lookback]))'
BY_POD = ByPod(Measure.FAILED_SHARE, "x", "status", frozenset("45"), 'topk(1, x{pod=~"$pods"})')
ERRORS = Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS, 300.0, PODS, BY_POD)
REQUESTS = Signal("request_rate", Unit.PER_SECOND, SourceName.PROMETHEUS, 300.0, PODS, ByPod(Measure.TOTAL, "x"))


def by_pod(*series: tuple[str, str, str], at: float = EPOCH) -> list[object]:
    return [
        {"metric": {"namespace": "prod", "pod": pod, "status": status}, "value": [at, number]}
        for pod, status, number in series
    ]


MIXED = by_pod(
    ("web-5f-aaaaa", "200", "3"), ("web-6d-bbbbb", "200", "0.5"), ("web-6d-bbbbb", "500", "0.5"),
    ("web-migrate-x8k2p", "500", "96"),
)  # fmt: skip


async def web(_: Target, __: bool) -> Roster:
    return WEB


async def test_series_of_pods_are_read_of_the_targets_own_and_asked_for_once() -> None:
    async with serving(success("vector", MIXED)) as prometheus:
        made = source(prometheus.url, rosters=web)
        readings = await read_now(made, TARGET, [ERRORS, REQUESTS])
        await made.aclose()
        (asked,) = queries_in(prometheus.exchanges)
    assert readings == {"error_rate": Value(1000.0, 0.125), "request_rate": Value(1000.0, 4.0)}
    assert asked == 'sum by (namespace, pod, status) (rate(x{pod=~"web-.+"}[5m]))'


async def test_some_releases_alone_are_read_over_their_window() -> None:
    async with serving(success("vector", [{**s, "value": [EPOCH - 60, s["value"][1]]} for s in MIXED])) as prometheus:  # type: ignore[dict-item, index]
        made = source(prometheus.url, rosters=web)
        found = [
            await made.portion(TARGET, ERRORS, PodGroup(frozenset({release})), 850.0, 940.0)
            for release in ("v1", "v2", "v3")
        ]
        own = await made.portion(TARGET, SIGNAL, PodGroup(frozenset({"v1"})), 850.0, 940.0)
        await made.aclose()
        asked = parse_qs(urlsplit(prometheus.exchanges[0].path).query)
    assert found[:2] == [Value(940.0, 0.0), Value(940.0, 0.5)]
    assert isinstance(found[2], NoData)
    assert isinstance(own, NoData)
    assert own.gap is Gap.NOT_BY_POD
    assert "[90s]" in asked["query"][0]
    assert asked["time"] == [f"{EPOCH - 60:.3f}"]


async def test_history_is_of_the_targets_own_pods_at_each_instant() -> None:
    series = [
        {"metric": {"pod": "web-5f-aaaaa", "status": "200"}, "values": [[EPOCH - 20, "1"], [EPOCH - 10, "1"]]},
        {"metric": {"pod": "web-6d-bbbbb", "status": "500"}, "values": [[EPOCH - 10, "1"], [EPOCH, "1"]]},
        {"metric": {"pod": "web-migrate-x8k2p", "status": "500"}, "values": [[EPOCH - 20, "9"], [EPOCH, "9"]]},
    ]
    async with serving(success("matrix", series)) as prometheus:
        made = source(prometheus.url, rosters=web)
        past = await made.history(TARGET, ERRORS, 980.0, 1000.0, 10.0)
        await made.aclose()
    assert isinstance(past, Series)
    assert [(round(at), number) for at, number in past.points] == [(980, 0.0), (990, 0.5), (1000, 1.0)]


async def test_a_range_that_is_too_large_is_asked_for_in_parts() -> None:
    async def script(exchange: Exchange) -> None:
        asked = parse_qs(urlsplit(exchange.path).query)
        start, end = (float(asked[k][0]) for k in ("start", "end"))
        points = [(start + n, "1") for n in range(round(end - start) + 1)]
        long = server.answer("x" * (MAX_BYTES + 1))
        await (success("matrix", matrix(points)) if len(points) <= 30 else long)(exchange)

    answer, _ = await history(script, FakeClock(), 901.0, 1000.0, 1.0)
    assert isinstance(answer, Series)
    assert [round(at) for at, _ in answer.points] == list(range(901, 1001))


async def test_which_labels_there_are_is_told_where_none_is_a_status() -> None:
    async def script(exchange: Exchange) -> None:
        labels = {"pod": "web-5f-aaaaa", "code": "500", "__name__": "x"}
        asked = parse_qs(urlsplit(exchange.path).query)["query"][0]
        kept = labels if asked.startswith("topk(1, x{") else {"pod": "web-5f-aaaaa"}
        await success("vector", [{"metric": kept, "value": [EPOCH, "1"]}])(exchange)

    async with serving(script) as prometheus:
        made = source(prometheus.url, rosters=web)
        reading = (await read_now(made, TARGET, [ERRORS]))["error_rate"]
        await made.aclose()
    assert in_english(reading) == NoData(1000.0, Gap.NO_STATUS, "x has no label status; its labels are code, pod")


@pytest.mark.parametrize("unknown", [NoData(5.0, Gap.EMPTY, "not found"), SourceError(5.0, Fault.SERVER_ERROR, "503")])
async def test_without_knowing_whose_pods_they_are_nothing_is_asked(unknown: NoData | SourceError) -> None:
    async def rosters(_: Target, __: bool) -> NoData | SourceError:
        return unknown

    async with serving(success("vector", vector("0.25"))) as prometheus:
        made = source(prometheus.url, rosters=rosters)
        readings = await read_now(made, TARGET, [ERRORS, SIGNAL_OF_MINE])
        past = await made.history(TARGET, ERRORS, 900.0, 1000.0, 10.0)
        await made.aclose()
        assert len(queries_in(prometheus.exchanges)) == 1
    assert readings == {"error_rate": replace(unknown, at=1000.0), "mine": Value(1000.0, 0.25)}
    assert past == (replace(unknown, at=1000.0) if isinstance(unknown, SourceError) else Series((), 10.0))


async def test_series_that_name_no_pod_are_read_whole_and_never_apart() -> None:
    ingress = [{"metric": {"service": "web", "status": "200"}, "value": [EPOCH, "1"]}]
    whole = replace(ERRORS, query='sum by (namespace, pod, status) (rate(x{service="web"}[$lookback]))')
    async with serving(success("vector", ingress)) as prometheus:
        made = source(prometheus.url, rosters=web)
        readings = await read_now(made, TARGET, [whole, replace(whole, name="apart", apart=True)])
        portion = await made.portion(TARGET, whole, PodGroup(frozenset({"v1"})), 900.0, 1000.0)
        await made.aclose()
    assert readings["error_rate"] == Value(1000.0, 0.0)
    for apart in (readings["apart"], portion):
        assert isinstance(apart, NoData)
        assert apart.gap is Gap.NOT_BY_POD


async def test_a_query_that_is_the_same_for_each_deployment_is_not_read_of_one_apart() -> None:
    apart = replace(SIGNAL_OF_MINE, apart=True)
    telling = replace(apart, name="telling", query='sum(x{pod=~"$deployment-.+"})')
    async with serving(success("vector", vector("0.25"))) as prometheus:
        made = source(prometheus.url)
        readings = await read_now(made, TARGET, [apart, telling])
        await made.aclose()
    assert readings["telling"] == Value(1000.0, 0.25)
    assert isinstance(readings["mine"], NoData)
    assert readings["mine"].gap is Gap.NOT_BY_POD


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not [t for t in threading.enumerate() if t.name == "prometheus-query"]:
            return
        time.sleep(0.01)
    pytest.fail("a query's thread outlived its test")
