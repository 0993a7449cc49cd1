"""Watches of an API server that does not do what it should: nothing is missed unsaid, nobody is asked too often."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes import api_requests as adapter
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.watches import FAILURES_BEFORE_LIST, LONGEST_PAUSE, KubernetesWatches
from logcaster_guard.ports import Bookmark, Change, Interruption, Json, Kind, Listing, WatchEvent
from tests.adapters.misbehaving import Server, http, refusal, serving
from tests.fakes.clock import FakeClock

SILENCE = 0.2


def config_map(version: str, name: str = "app") -> Json:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop", "resourceVersion": version}}


def listing(version: str, *items: Json) -> bytes:
    return http(200, {"kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": list(items)})


def stream(*events: Json | bytes, more: int = 0) -> bytes:
    """The events of a watch, after which the server ends it, or breaks off with `more` bytes to come."""
    lines = b"".join(e if isinstance(e, bytes) else json.dumps(e).encode() + b"\n" for e in events)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(lines) + more}\r\nConnection: close\r\n\r\n"
    return head.encode() + lines


def event(kind: str, version: str) -> Json:
    return {"type": kind, "object": config_map(version)}


EXPIRED: Json = {"type": "ERROR", "object": refusal(410, "too old resource version")}


async def told(
    cluster: KubernetesCluster, count: int, *, clock: FakeClock | None = None, pauses: list[float] | None = None
) -> Sequence[WatchEvent]:
    """The first events of a watch, whose pauses are passed over (and noted)."""
    clock = clock or FakeClock()
    found: list[WatchEvent] = []

    async def pass_over() -> None:
        while True:
            if (wake := clock.next_wake) is not None:
                if pauses is not None:
                    pauses.append(wake - clock.monotonic())
                await clock.advance(wake - clock.monotonic())
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(pass_over())
    watches = KubernetesWatches(cluster, clock, silence=SILENCE, jitter=lambda: 1.0)
    async with asyncio.timeout(20.0), aclosing(watches.watch(Kind.CONFIG_MAP, "shop")) as events:
        async for one in events:
            found.append(one)
            if len(found) == count:
                break
    ticking.cancel()
    return found


def asked(server: Server) -> list[str]:
    """Each request: `list`, or the resourceVersion from which on it watches."""
    queries = [parse_qs(urlsplit(request.split(" ")[1]).query) for request in server.requests]
    return [query["resourceVersion"][0] if "watch" in query else "list" for query in queries]


async def test_a_watch_that_ends_goes_on_from_where_it_was() -> None:
    answers = [
        listing("10", config_map("7")),
        stream(event("ADDED", "11"), {"type": "BOOKMARK", "object": config_map("15")}),
        stream(event("MODIFIED", "16")),
        stream(event("DELETED", "17")),
    ]
    async with serving(*answers) as (cluster, server):
        events = await told(cluster, 5)
    assert events == [
        Listing((config_map("7"),), "10", 1000.0),
        Change(config_map("11"), "11"),
        Bookmark("15"),
        Change(config_map("16"), "16"),
        Change(config_map("17"), "17", deleted=True),
    ]
    assert asked(server) == ["list", "10", "15", "16"]
    query = parse_qs(urlsplit(server.requests[1].split(" ")[1]).query)
    assert (query["allowWatchBookmarks"], query["timeoutSeconds"]) == (["true"], ["300"])


@pytest.mark.parametrize("gone", [stream(EXPIRED), http(410, refusal(410))])
async def test_what_the_server_has_forgotten_is_listed_anew(gone: bytes) -> None:
    answers = [listing("10"), gone, listing("50", config_map("42")), stream(event("MODIFIED", "51"))]
    async with serving(*answers) as (cluster, server):
        events = await told(cluster, 3)
    assert [type(e) for e in events] == [Listing, Listing, Change]
    assert asked(server) == ["list", "10", "list", "50"]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (http(500, refusal(500)), "answered 500"),
        (http(403, refusal(403)), "answered 403"),
        (stream({"type": "ERROR", "object": refusal(500, "etcd is away")}), "etcd is away"),
        (stream(more=10), "broke before its answer was whole"),
        (None, "did not answer within 0.2 s"),
        (stream(b"no json\n"), "no event of a watch"),
        (stream({"type": "ADDED", "object": {"metadata": {}}}), "no event of a watch"),
        (stream({"type": "RENAMED", "object": config_map("12")}), "no event of a watch"),
    ],
)
async def test_an_interruption_is_told_and_the_watch_goes_on_from_where_it_was(
    broken: bytes | None, words: str
) -> None:
    async with serving(listing("10"), broken, stream(event("ADDED", "11"))) as (cluster, server):
        events = await told(cluster, 3)
    assert [type(e) for e in events] == [Listing, Interruption, Change]
    assert isinstance(events[1], Interruption)
    assert words in str(events[1].error)
    assert asked(server) == ["list", "10", "10"]


async def test_an_event_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MAX_LINE", 1000)
    async with serving(listing("10"), stream(b"x" * 5000)) as (cluster, _):
        events = await told(cluster, 2)
    assert isinstance(events[1], Interruption)
    assert "too large" in str(events[1].error)


async def test_a_place_that_leads_nowhere_is_given_up_for_a_list() -> None:
    """As after a restored backup: the server knows no such version yet, and says something else than 410."""
    ahead = http(504, refusal(504, "Too large resource version"))
    answers = [listing("90"), *[ahead] * FAILURES_BEFORE_LIST, listing("20"), stream(event("ADDED", "21"))]
    async with serving(*answers) as (cluster, server):
        events = await told(cluster, 1 + FAILURES_BEFORE_LIST + 2)
    assert [type(e) for e in events[-2:]] == [Listing, Change]
    assert asked(server) == ["list", *["90"] * FAILURES_BEFORE_LIST, "list", "20"]


@pytest.mark.parametrize(
    "answers",
    [
        [http(500, refusal(500))],
        [http(403, refusal(403))],
        [listing("10"), http(500, refusal(500))],
    ],
)
async def test_the_longer_there_is_no_answer_the_less_often_it_is_asked_for(answers: list[bytes]) -> None:
    pauses: list[float] = []
    async with serving(*answers) as (cluster, _):
        await told(cluster, 10, pauses=pauses)
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE


@pytest.mark.parametrize("ends", [[stream()], [stream(EXPIRED), listing("10")]])
async def test_a_server_that_ends_each_watch_at_once_is_not_asked_all_the_time(ends: list[bytes]) -> None:
    pauses: list[float] = []
    clock = FakeClock()
    async with serving(listing("10"), *ends * 20) as (cluster, server):
        await told(cluster, 12, clock=clock, pauses=pauses)
    assert min(pauses) >= 1.0
    assert len(server.requests) <= 2 * len(pauses) + 2
    assert sum(pauses) > 20 * len(pauses[5:])


async def test_the_server_tells_when_it_wants_to_be_asked_again() -> None:
    pauses: list[float] = []
    busy = http(429, refusal(429), "Retry-After: 45")
    async with serving(listing("10"), busy, stream(event("ADDED", "11"))) as (cluster, _):
        await told(cluster, 3, pauses=pauses)
    assert pauses[0] == 45.0


async def test_an_event_shows_that_the_server_answers_again() -> None:
    pauses: list[float] = []
    busy = http(500, refusal(500))
    answers = [listing("10"), busy, busy, stream(event("ADDED", "11"), more=10), busy]
    async with serving(*answers) as (cluster, _):
        await told(cluster, 6, pauses=pauses)
    assert pauses == [2.0, 4.0, 2.0]


async def test_credentials_that_are_refused_are_fetched_again() -> None:
    configuration = Configuration()
    configuration.api_key["BearerToken"] = "Bearer old"

    async def renew() -> None:
        configuration.api_key["BearerToken"] = "Bearer new"

    answers = [listing("10"), http(401, refusal(401)), stream(event("ADDED", "11"))]
    async with serving(*answers, reload=renew, configuration=configuration) as (cluster, server):
        await told(cluster, 3)
    assert ["Bearer new" in request for request in server.requests] == [False, False, True]


async def test_a_name_is_asked_for_alone() -> None:
    async with serving(listing("10"), stream(event("ADDED", "11"))) as (cluster, server):
        watches = KubernetesWatches(cluster, FakeClock())
        async with aclosing(watches.watch(Kind.CONFIG_MAP, "shop", "app")) as events:
            await anext(events)
            await anext(events)
    queries: list[dict[str, Any]] = [parse_qs(urlsplit(r.split(" ")[1]).query) for r in server.requests]
    assert [query["fieldSelector"] for query in queries] == [["metadata.name=app"]] * 2
