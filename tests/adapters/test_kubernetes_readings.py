from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard import messages
from logcaster_guard.adapters.kubernetes.event_channel import (
    ABOUT_THE_GUARD,
    ABOUT_THE_WORKLOAD,
    EventChannel,
    event_of,
)
from logcaster_guard.adapters.kubernetes.signals import KubernetesSource
from logcaster_guard.adapters.plugin_types import Subject
from logcaster_guard.adapters.translated_channel import Translated
from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.notices import Delivered, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import (
    Fault,
    Gap,
    NoData,
    Reading,
    Signal,
    SourceError,
    SourceName,
    Target,
    Unit,
    Value,
)
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.messages.texts import Language, Texts, english
from logcaster_guard.ports import Json, Kind
from tests.adapters.misbehaving import (
    deployment,
    http,
    refusal,
    serving,
)
from tests.fakes.clock import START, FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.services import view_of

TARGET = Target(name="web", namespace="shop", deployment="web")
STALLED, RESTARTS = (Signal(n, Unit.COUNT, SourceName.KUBERNETES) for n in ("rollout_stalled", "restart_count"))


@pytest.mark.parametrize(
    ("answer", "fault", "wait"),
    [
        (http(403, refusal(403)), Fault.CLIENT_ERROR, None),
        (http(429, refusal(429), "Retry-After: 5"), Fault.THROTTLED, 5.0),
        (http(500, refusal(500)), Fault.SERVER_ERROR, None),
        (http(200, deployment())[:-3], Fault.TRUNCATED, None),
        (http(200, b"{}"), Fault.MALFORMED, None),
        (http(200, deployment() | {"spec": None}), Fault.MALFORMED, None),
        (b"", Fault.TRUNCATED, None),
    ],
)
async def test_the_source_tells_a_failure_as_a_reading(answer: bytes, fault: Fault, wait: float | None) -> None:
    clock = FakeClock()
    async with serving(answer) as (cluster, _):
        source = KubernetesSource(cluster, view_of(cluster, clock), clock)
        readings = [
            (await read_now(source, TARGET, [STALLED]))["rollout_stalled"],
            await source.portion(TARGET, RESTARTS, PodGroup(), 0.0, clock.monotonic()),
        ]
    for reading in readings:
        assert isinstance(reading, SourceError)
        assert (reading.fault, reading.retry_after, reading.at) == (fault, wait, clock.monotonic())
        assert english().text(reading.detail)


async def test_restarts_are_told_of_some_pods_alone_and_nothing_else_is() -> None:
    clock = FakeClock()
    cluster = FakeCluster(clock)
    cluster.add_deployment("web", "v1")
    owner = {"uid": cluster.object(Kind.REPLICA_SET, "web-1")["metadata"]["uid"], "controller": True}
    for name, restarts in {"a": 1, "b": 7, "c": 3}.items():
        cluster.add(Kind.POD, name, status={"containerStatuses": [{"name": "c", "restartCount": restarts}]})
        cluster.object(Kind.POD, name)["metadata"] |= {"labels": {"app": "web"}, "ownerReferences": [owner]}
    source = KubernetesSource(cluster, view_of(cluster, clock), clock)
    target = Target("web", "default", "web")

    async def portion(signal: Signal, *names: str) -> Reading:
        return await source.portion(target, signal, PodGroup(names=frozenset(names)), 0.0, 60.0)

    assert await portion(RESTARTS, "a", "c") == Value(60.0, 3.0)
    assert await portion(RESTARTS, "b") == Value(60.0, 7.0)
    for nothing in (await portion(RESTARTS, "gone"), await portion(STALLED, "b")):
        assert isinstance(nothing, NoData)


async def test_a_missing_deployment_is_no_data() -> None:
    async with serving(http(404, refusal(404))) as (cluster, _):
        reading = (
            await read_now(KubernetesSource(cluster, view_of(cluster, FakeClock()), FakeClock()), TARGET, [STALLED])
        )["rollout_stalled"]
    assert isinstance(reading, NoData)
    assert reading.gap is Gap.EMPTY


def notice(**changes: Any) -> Notice:
    told: dict[str, Any] = {
        "id": "run-1/1", "at": START, "event": "run.opened", "severity": Severity.WARNING, "title": "Rollback",
        "text": "of web", "namespace": "shop", "deployment": "web", "run": "run-1",
    }  # fmt: skip
    return Notice(**(told | changes))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(403, refusal(403)), Undeliverable),
        (http(422, refusal(422)), Undeliverable),
        (http(404, refusal(404)), Undeliverable),
        (http(401, refusal(401)), TryLater),
        (http(503, refusal(503)), TryLater),
        (b"", TryLater),
        (http(409, refusal(409)), Delivered),
    ],
)
async def test_what_becomes_of_a_notice(answer: bytes, expected: type[object]) -> None:
    async with serving(http(200, deployment()), answer) as (cluster, server):
        delivery = await EventChannel(cluster).deliver(notice())
    assert isinstance(delivery, expected)
    assert len(server.requests) == 2
    if isinstance(delivery, Undeliverable | TryLater):
        assert "create Event shop/logcaster-guard." in english().text(delivery.detail)


async def test_a_throttled_notice_carries_the_wait() -> None:
    async with serving(http(429, refusal(429), "Retry-After: 9")) as (cluster, _):
        delivery = await EventChannel(cluster).deliver(notice())
    assert isinstance(delivery, TryLater)
    assert delivery.after == 9.0


@pytest.mark.parametrize("event", sorted(ABOUT_THE_WORKLOAD))
async def test_what_people_have_to_act_on_is_an_event_without_a_run(event: str) -> None:
    async with serving(http(200, deployment()), http(409, refusal(409))) as (cluster, server):
        assert isinstance(await EventChannel(cluster).deliver(notice(run="", event=event)), Delivered)
    assert len(server.requests) == 2


@pytest.mark.parametrize("changes", [{"run": ""}, {"namespace": ""}, {"deployment": ""}])
async def test_a_notice_of_no_run_sends_no_request(changes: dict[str, str]) -> None:
    async with serving(http(500, b"")) as (cluster, server):
        assert isinstance(await EventChannel(cluster).deliver(notice(**changes)), Delivered)
    assert server.requests == []


async def test_an_event_stands_at_the_workload_by_its_kind_and_uid() -> None:
    stateful = deployment() | {"kind": "StatefulSet"}
    async with serving(http(200, stateful), http(201, {})) as (cluster, server):
        await EventChannel(cluster, {("shop", "web"): Kind.STATEFUL_SET}).deliver(notice())
    assert "/apis/apps/v1/namespaces/shop/statefulsets/web" in str(server.requests[0])
    made = event_of(notice(), Subject(Kind.STATEFUL_SET, "shop", "web"), "u1")["involvedObject"]
    assert (made["kind"], made["uid"]) == ("StatefulSet", "u1")


POD, FIRST = Subject(Kind.POD, "guards", "guard-0"), Subject(Kind.DEPLOYMENT, "shop", "web")


def of_the_guard(event: str = "journal.failing") -> Notice:
    return notice(run="", namespace="", deployment="", event=event)


@pytest.mark.parametrize("event", sorted(ABOUT_THE_GUARD))
async def test_what_is_about_the_guard_itself_stands_at_its_own_pod(event: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD.name, "namespace": POD.namespace, "uid": "u7"}}
    async with serving(http(200, pod), http(409, refusal(409))) as (cluster, server):
        assert isinstance(await EventChannel(cluster, guard=[POD, FIRST]).deliver(of_the_guard(event)), Delivered)
    look, create = map(str, server.requests)
    assert "GET /api/v1/namespaces/guards/pods/guard-0" in look
    assert "POST /api/v1/namespaces/guards/events" in create
    made = event_of(of_the_guard(event), POD, "u7")["involvedObject"]
    assert made == {"apiVersion": "v1", "kind": "Pod", "namespace": "guards", "name": "guard-0", "uid": "u7"}


class Noting(FakeCluster):
    """Keeps what is created."""

    made: tuple[Json, ...] = ()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        raise NotFound(f"{kind} {namespace}/{name}", status=404)

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        del kind, namespace
        self.made += (body,)
        return body


async def test_it_is_told_in_the_language_of_the_settings() -> None:
    cluster = Noting(FakeClock(), FIRST.namespace)
    channel = Translated(EventChannel(cluster, guard=[FIRST]), Texts(Language.KOREAN))
    assert isinstance(await channel.deliver(messages.journal_failing("the disk is full", START)), Delivered)
    (made,) = cluster.made
    assert made["message"].startswith("가드가 ")
    assert made["involvedObject"]["name"] == FIRST.name


async def test_where_no_event_may_stand_at_the_guards_pod_it_stands_at_a_target() -> None:
    denied = http(403, refusal(403))
    async with serving(denied, denied, http(200, deployment()), http(409, refusal(409))) as (cluster, server):
        assert isinstance(await EventChannel(cluster, guard=[POD, FIRST]).deliver(of_the_guard()), Delivered)
    assert "POST /api/v1/namespaces/shop/events" in str(server.requests[-1])


async def test_an_api_server_that_is_away_does_not_move_the_guards_event_elsewhere() -> None:
    async with serving(http(503, refusal(503)), http(503, refusal(503))) as (cluster, server):
        assert isinstance(await EventChannel(cluster, guard=[POD, FIRST]).deliver(of_the_guard()), TryLater)
    assert len(server.requests) == 1
