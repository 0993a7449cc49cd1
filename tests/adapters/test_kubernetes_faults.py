"""What the adapter makes of an API server that misbehaves, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes.answers import NoAnswer
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.events import EventChannel
from logcaster_guard.adapters.kubernetes.signals import KubernetesSource
from logcaster_guard.domain.errors import (
    ClusterError,
    ConfigurationError,
    Conflict,
    NotFound,
    Rejected,
    Unavailable,
)
from logcaster_guard.domain.notices import Delivered, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.domain.signals import Fault, Gap, NoData, Signal, SourceError, SourceName, Target, Unit
from logcaster_guard.ports import Json, Kind
from tests.fakes.clock import START, FakeClock

# A certificate that nobody trusts unless told to, for 127.0.0.1, with its key; it guards nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBjjCCATSgAwIBAgIUFHnknT0x1TYTcCaXczAoqEPcbjcwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIbG9vcGJhY2swIBcNMjYxMTIyMjMxMzI5WhgPMjEyNjEwMjky
MzEzMjlaMBMxETAPBgNVBAMMCGxvb3BiYWNrMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAECW0bo7Qpr7mfmcu1fR8qDMinWnwZ2nggX3yTk/2RtfVkpvt8FqGTHb7n
krO6MeqRCRw+oorKX+SC5sys3OJZI6NkMGIwHQYDVR0OBBYEFAzuBPwUCn5/m1//
ONt9Cq+GNOBSMB8GA1UdIwQYMBaAFAzuBPwUCn5/m1//ONt9Cq+GNOBSMA8GA1Ud
EwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAKBggqhkjOPQQDAgNIADBFAiAt
5TdwBR8erzYaWxeddE6Kem0CCZUPeJtoTxS5RIKfkwIhAOL2zCNEX9iG0MieXjrk
w2luhr0TuOEtmNBetUUUPmVq
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3VIMoa7rkLyVPKhu
hwTja5FWSFZyh2WoMJWuXi/0AV+hRANCAAQJbRujtCmvuZ+Zy7V9HyoMyKdafBna
eCBffJOT/ZG19WSm+3wWoZMdvueSs7ox6pEJHD6iispf5ILmzKzc4lkj
-----END PRIVATE KEY-----
"""


@dataclass
class Server:
    """Gives scripted bytes, one per request and the last for ever, then closes; None is silence."""

    answers: Sequence[bytes | None]
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(x[15:]) for x in head.lower().split("\r\n") if x.startswith("content-length:")), 0)
        self.bodies.append(await reader.readexactly(length))
        self.requests.append(head)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()


def http(status: int, body: bytes | Json, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Content-Type: application/json", *headers]
    if not any(header.startswith("Connection:") for header in headers):
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def refusal(status: int, message: str = "the server's own words", **more: object) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status, **more}


def deployment(name: str = "web") -> Json:
    return {"kind": "Deployment", "metadata": {"namespace": "shop", "name": name}, "spec": {}}


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()
        if conversations:
            await asyncio.wait(conversations, timeout=5.0)


@asynccontextmanager
async def serving(
    *answers: bytes | None,
    timeout: float = 10.0,  # noqa: ASYNC109 # handed on
    tls: ssl.SSLContext | None = None,
    reload: Callable[[], Awaitable[None]] | None = None,
    configuration: Configuration | None = None,
    max_bytes: int = 100_000,
) -> AsyncIterator[tuple[KubernetesCluster, Server]]:
    server = Server(answers)
    async with listening(server.serve, tls) as port:
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        configuration = configuration or Configuration()
        configuration.host = server.url
        cluster = KubernetesCluster(configuration, timeout=timeout, reload=reload, max_bytes=max_bytes)
        try:
            yield cluster, server
        finally:
            await cluster.aclose()


async def failing_get(cluster: KubernetesCluster) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
    return caught.value


@pytest.mark.parametrize(
    ("status", "expected", "fault"),
    [
        (400, Rejected, None),
        (401, Rejected, None),
        (403, Rejected, None),
        (404, NotFound, None),
        (405, Rejected, None),
        (408, NoAnswer, Fault.TIMED_OUT),
        (409, Conflict, None),
        (410, NoAnswer, Fault.CLIENT_ERROR),
        (413, Rejected, None),
        (415, Rejected, None),
        (422, Rejected, None),
        (429, NoAnswer, Fault.THROTTLED),
        (500, NoAnswer, Fault.SERVER_ERROR),
        (503, NoAnswer, Fault.SERVER_ERROR),
        (504, NoAnswer, Fault.SERVER_ERROR),
    ],
)
async def test_each_status_becomes_its_exception_with_the_servers_words(
    status: int, expected: type[ClusterError], fault: Fault | None
) -> None:
    async with serving(http(status, refusal(status))) as (cluster, server):
        error = await failing_get(cluster)
    assert type(error) is expected
    assert error.status == status
    assert getattr(error, "fault", None) == fault
    assert str(error) == f"Cannot get Deployment shop/web: the Kubernetes API answered {status}: the server's own words"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        (["Retry-After: 7"], {}, 7.0),
        ([], {"details": {"retryAfterSeconds": 3}}, 3.0),
        (["Retry-After: 7"], {"details": {"retryAfterSeconds": 3}}, 7.0),
        (["Retry-After: 999999999999"], {}, 3600.0),
        (["Retry-After: -1"], {}, None),
        (["Retry-After: inf"], {}, None),
        (["Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"], {}, None),
        ([], {"details": "none"}, None),
    ],
)
@pytest.mark.parametrize("status", [409, 429, 503])
async def test_retry_after_is_handed_on(
    status: int, headers: list[str], details: dict[str, Any], expected: float | None
) -> None:
    async with serving(http(status, refusal(status, **details), *headers)) as (cluster, _):
        assert (await failing_get(cluster)).retry_after == expected


@pytest.mark.parametrize("status", [404, 409])
async def test_a_404_or_409_that_no_api_server_wrote_says_nothing_about_the_object(status: int) -> None:
    async with serving(http(status, b"<html>default backend</html>")) as (cluster, _):
        error = await failing_get(cluster)
    assert isinstance(error, Unavailable)
    assert "default backend" in str(error)


async def test_control_characters_of_the_server_are_escaped_and_its_words_bounded() -> None:
    async with serving(http(403, refusal(403, "no\n\x1b[31mred\u202e" + "x" * 5000))) as (cluster, _):
        text = str(await failing_get(cluster))
    assert "no\\n\\x1b[31mred\\u202e" in text
    assert text.isprintable()
    assert len(text) < 800


async def test_a_body_that_is_not_utf_8_is_still_a_failure_with_its_status() -> None:
    async with serving(http(500, b"\xff\xfe")) as (cluster, _):
        assert (await failing_get(cluster)).status == 500


BROKEN: list[tuple[str, bytes, Fault]] = [
    ("closed without an answer", b"", Fault.TRUNCATED),
    ("cut in the head", b"HTTP/1.1 200 OK\r\nContent-Le", Fault.TRUNCATED),
    ("cut in the body", http(200, deployment())[:-10], Fault.TRUNCATED),
    ("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Fault.MALFORMED),
    ("not JSON", http(200, b"OK"), Fault.MALFORMED),
    ("empty", http(200, b""), Fault.MALFORMED),
    ("not an object", http(200, b"[]"), Fault.MALFORMED),
    ("nested without end", http(200, b'{"a":' * 16_000), Fault.MALFORMED),
    ("another kind", http(200, deployment() | {"kind": "Pod"}), Fault.MALFORMED),
    ("another object", http(200, deployment("other")), Fault.MALFORMED),
    ("no metadata", http(200, {"kind": "Deployment"}), Fault.MALFORMED),
    ("a success Status", http(200, {"kind": "Status", "status": "Success"}), Fault.MALFORMED),
    ("too large", http(200, deployment() | {"x": "x" * 200_000}), Fault.TOO_LARGE),
    ("too large an error", http(500, b"x" * 200_000), Fault.TOO_LARGE),
    ("redirect", http(302, b"", "Location: http://169.254.169.254/"), Fault.REDIRECTED),
]


@pytest.mark.parametrize(("answer", "fault"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_an_unusable_answer_is_unavailable_with_its_fault(answer: bytes, fault: Fault) -> None:
    async with serving(answer) as (cluster, _):
        error = await failing_get(cluster)
    assert isinstance(error, NoAnswer)
    assert error.fault is fault
    assert str(error).startswith("Cannot get Deployment shop/web: ")


async def test_a_compressed_bomb_is_stopped_at_the_cap() -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    async with serving(http(200, bomb, "Content-Encoding: gzip")) as (cluster, _):
        error = await failing_get(cluster)
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.TOO_LARGE


async def test_a_write_that_was_answered_with_another_object_is_of_unknown_effect() -> None:
    async with serving(http(200, deployment("other"))) as (cluster, _):
        with pytest.raises(Unavailable, match="effect is not known"):
            await cluster.json_patch(Kind.DEPLOYMENT, "shop", "web", [])


async def test_a_hung_server_is_given_up_after_the_timeout() -> None:
    async with serving(None, timeout=0.2) as (cluster, _):
        error = await failing_get(cluster)
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.TIMED_OUT
    assert str(error) == "Cannot get Deployment shop/web: the Kubernetes API did not answer within 0.2 s."


async def test_a_body_that_never_ends_is_given_up_after_the_timeout() -> None:
    never = http(200, deployment()).replace(b"Content-Length: ", b"Content-Length: 9")

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(never)
        await reader.read()

    async with listening(drip) as port:
        cluster = KubernetesCluster(Configuration(host=f"http://127.0.0.1:{port}"), timeout=0.2)
        error = await failing_get(cluster)
        await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.TIMED_OUT


async def test_a_refused_connection_is_told_as_such() -> None:
    async with serving(b"") as (_, server):
        url = server.url
    cluster = KubernetesCluster(Configuration(host=url), timeout=5.0)
    error = await failing_get(cluster)
    await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.REFUSED


async def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    cluster = KubernetesCluster(Configuration(host="http://nowhere.invalid"), timeout=20.0)
    error = await failing_get(cluster)
    await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.NAME_NOT_FOUND


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "both.pem"
    path.write_text(CERTIFICATE + KEY)
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure(certificate: Path) -> None:
    async with serving(http(200, deployment()), tls=server_side(certificate)) as (cluster, _):
        error = await failing_get(cluster)
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.TLS


async def test_tls_to_a_server_that_speaks_none_is_a_tls_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(http(400, b"this is a plain HTTP port"))
        await writer.drain()

    async with listening(plain) as port:
        cluster = KubernetesCluster(Configuration(host=f"https://127.0.0.1:{port}"), timeout=5.0)
        error = await failing_get(cluster)
        await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.TLS


async def test_a_trusted_certificate_is_taken_and_closing_leaves_nothing_open(certificate: Path) -> None:
    configuration = Configuration()
    configuration.ssl_ca_cert = str(certificate)
    kept = http(200, deployment(), "Connection: keep-alive")
    async with serving(kept, tls=server_side(certificate), configuration=configuration) as (cluster, _):
        assert await cluster.get(Kind.DEPLOYMENT, "shop", "web") == deployment()


def page(*names: str, more: str = "", kind: str = "PodList") -> bytes:
    items = [{"metadata": {"namespace": "shop", "name": n}} for n in names]
    return http(200, {"kind": kind, "metadata": {"continue": more} if more else {}, "items": items})


async def test_a_list_goes_on_over_all_pages() -> None:
    async with serving(page("a", "b", more="more&x"), page("c")) as (cluster, server):
        found = await cluster.list(Kind.POD, "shop", "app=web,tier in (a)")
    assert [pod["metadata"]["name"] for pod in found] == ["a", "b", "c"]
    first, second = (parse_qs(request.split()[1].partition("?")[2]) for request in server.requests)
    assert server.requests[0].startswith("GET /api/v1/namespaces/shop/pods?")
    assert first == {"labelSelector": ["app=web,tier in (a)"], "limit": ["500"]}
    assert second == first | {"continue": ["more&x"]}


async def test_a_list_whose_pages_expired_is_read_once_more_and_whole() -> None:
    gone = http(410, refusal(410))
    async with serving(page("a", more="x"), gone, page("b", "c")) as (cluster, server):
        found = await cluster.list(Kind.POD, "shop")
    assert [pod["metadata"]["name"] for pod in found] == ["b", "c"]
    assert "limit" not in server.requests[2].splitlines()[0]

    async with serving(page("a", more="x"), gone, gone) as (cluster, server):
        with pytest.raises(Unavailable):
            await cluster.list(Kind.POD, "shop")
        assert len(server.requests) == 3


async def test_a_list_that_never_ends_is_given_up() -> None:
    async with serving(page("a", more="again")) as (cluster, server):
        with pytest.raises(NoAnswer, match="more than") as caught:
            await cluster.list(Kind.POD, "shop")
    assert caught.value.fault is Fault.TOO_LARGE
    assert len(server.requests) == 200


async def test_the_byte_cap_holds_for_all_pages_together() -> None:
    async with serving(page("a", more="again"), max_bytes=1_000) as (cluster, server):
        with pytest.raises(NoAnswer) as caught:
            await cluster.list(Kind.POD, "shop")
    assert caught.value.fault is Fault.TOO_LARGE
    assert len(server.requests) < 20


@pytest.mark.parametrize(
    "answer",
    [
        page(kind="ServiceList"),
        http(200, {"kind": "PodList", "items": {}}),
        http(200, {"kind": "PodList", "items": [1]}),
    ],
)
async def test_what_is_not_a_list_of_the_kind_is_unavailable(answer: bytes) -> None:
    async with serving(answer) as (cluster, _):
        with pytest.raises(Unavailable):
            await cluster.list(Kind.POD, "shop")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a?b", "{namespace}", "a\nb", "서비스"])
async def test_a_name_that_would_change_the_path_is_refused_without_a_request(name: str) -> None:
    async with serving(http(200, deployment())) as (cluster, server):
        with pytest.raises(Rejected):
            await cluster.delete(Kind.POD, "shop", name, uid="u", resource_version=None)
        with pytest.raises(Rejected):
            await cluster.list(Kind.POD, name)
    assert server.requests == []


async def test_writes_carry_their_manager_content_type_and_preconditions() -> None:
    async with serving(http(200, deployment())) as (cluster, server):
        await cluster.json_patch(Kind.DEPLOYMENT, "shop", "web", [{"op": "test", "path": "/x", "value": '"'}])
        await cluster.apply(Kind.DEPLOYMENT, "shop", "web", {"kind": "D"}, manager="helm ci", force=False)
        await cluster.create(Kind.DEPLOYMENT, "shop", deployment())
        await cluster.delete(Kind.DEPLOYMENT, "shop", "web", uid="u1", resource_version="7")
    lines = [request.splitlines()[0] for request in server.requests]
    path = "/apis/apps/v1/namespaces/shop/deployments"
    assert lines == [
        f"PATCH {path}/web?fieldManager=logcaster-guard HTTP/1.1",
        f"PATCH {path}/web?fieldManager=helm+ci&force=false HTTP/1.1",
        f"POST {path}?fieldManager=logcaster-guard HTTP/1.1",
        f"DELETE {path}/web HTTP/1.1",
    ]
    types = [next(x for x in r.splitlines() if x.startswith("Content-Type")) for r in server.requests]
    assert types[:2] == ["Content-Type: application/json-patch+json", "Content-Type: application/apply-patch+yaml"]
    assert json.loads(server.bodies[0]) == [{"op": "test", "path": "/x", "value": '"'}]
    assert json.loads(server.bodies[3]) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u1", "resourceVersion": "7"},
        "propagationPolicy": "Foreground",
    }


async def test_credentials_are_fetched_again_after_a_401_and_the_request_repeated_once() -> None:
    configuration = Configuration()
    configuration.api_key["BearerToken"] = "Bearer old"

    async def renew() -> None:
        configuration.api_key["BearerToken"] = "Bearer new"

    answers = (http(401, refusal(401)), http(200, deployment()))
    async with serving(*answers, reload=renew, configuration=configuration) as (cluster, server):
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
    assert ["Bearer old" in server.requests[0], "Bearer new" in server.requests[1]] == [True, True]


async def test_a_401_that_new_credentials_do_not_cure_is_told_and_not_repeated() -> None:
    async def renew() -> None:
        pass

    async with serving(http(401, refusal(401)), reload=renew) as (cluster, server):
        assert (await failing_get(cluster)).status == 401
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(201, {"status": {"allowed": True}}), True),
        (http(201, {"status": {"allowed": False}}), False),
        (http(201, {"status": {}}), None),
        (http(201, {}), None),
        (http(403, refusal(403)), None),
        (http(404, b"404 page not found"), None),
        (http(405, refusal(405)), None),
    ],
)
async def test_an_access_review_says_yes_no_or_nothing(answer: bytes, expected: bool | None) -> None:
    async with serving(answer) as (cluster, _):
        assert await cluster.may("patch", "apps", "deployments", "shop", "web") is expected


TARGET = Target(name="web", namespace="shop", deployment="web")
STALLED = Signal("rollout_stalled", Unit.COUNT, SourceName.KUBERNETES)


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
        reading = (await KubernetesSource(cluster, clock).read(TARGET, [STALLED]))["rollout_stalled"]
    assert isinstance(reading, SourceError)
    assert (reading.fault, reading.retry_after, reading.at) == (fault, wait, clock.monotonic())
    assert reading.detail


async def test_a_missing_deployment_is_no_data() -> None:
    async with serving(http(404, refusal(404))) as (cluster, _):
        reading = (await KubernetesSource(cluster, FakeClock()).read(TARGET, [STALLED]))["rollout_stalled"]
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
        assert "create Event shop/logcaster-guard." in delivery.detail


async def test_a_throttled_notice_carries_the_wait() -> None:
    async with serving(http(429, refusal(429), "Retry-After: 9")) as (cluster, _):
        delivery = await EventChannel(cluster).deliver(notice())
    assert isinstance(delivery, TryLater)
    assert delivery.after == 9.0


@pytest.mark.parametrize("changes", [{"run": ""}, {"namespace": ""}, {"deployment": ""}])
async def test_a_notice_of_no_run_sends_no_request(changes: dict[str, str]) -> None:
    async with serving(http(500, b"")) as (cluster, server):
        assert isinstance(await EventChannel(cluster).deliver(notice(**changes)), Delivered)
    assert server.requests == []


def kubeconfig(folder: Path, user: Json, server: str = "http://127.0.0.1:1") -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "not: [closed",
        "clusters: 5",
        "current-context: here",
        "\x00",
        "contexts: [{name: a}]\ncurrent-context: a",
    ],
)
async def test_a_kubeconfig_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        await connect(kubeconfig=path, context=None, timeout=5.0)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


async def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="There is no kubeconfig at"):
        await connect(kubeconfig=tmp_path / "nowhere", context=None, timeout=5.0)
    with pytest.raises(ConfigurationError, match="elsewhere"):
        await connect(kubeconfig=kubeconfig(tmp_path, {"token": "t"}), context="elsewhere", timeout=5.0)
    path = kubeconfig(tmp_path, {"token": "t"}, server="file:///etc/passwd")
    with pytest.raises(ConfigurationError, match="not an http"):
        await connect(kubeconfig=path, context=None, timeout=5.0)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(ConfigurationError, match="token file does not exist"):
        await connect(kubeconfig=None, context=None, timeout=5.0, service_account=tmp_path)


async def test_a_credential_program_that_fails_is_told(tmp_path: Path) -> None:
    def run(*command: str) -> Json:
        return {
            "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command[0], "args": [*command[1:]]}
        }

    with pytest.raises(ConfigurationError, match="returned 3"):
        await connect(kubeconfig=kubeconfig(tmp_path, run("sh", "-c", "exit 3")), context=None, timeout=5.0)
    with pytest.raises(ConfigurationError, match="no-such-program"):
        await connect(kubeconfig=kubeconfig(tmp_path, run("no-such-program", "x")), context=None, timeout=5.0)


async def test_a_kubeconfigs_new_token_is_taken_after_a_401(tmp_path: Path) -> None:
    async with serving(http(401, refusal(401)), http(200, deployment())) as (_, server):
        path = kubeconfig(tmp_path, {"token": "one"}, server.url)
        cluster = await connect(kubeconfig=path, context="here", timeout=5.0)
        kubeconfig(tmp_path, {"token": "two"}, server.url)
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        await cluster.aclose()
    assert ["Bearer one" in server.requests[0], "Bearer two" in server.requests[1]] == [True, True]


async def test_in_a_pod_the_service_account_is_used_and_its_token_read_anew(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "ca.crt").write_text(CERTIFICATE)
    async with serving(http(200, deployment()), tls=server_side(certificate)) as (_, server):
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rsplit(":", 1)[1])
        cluster = await connect(kubeconfig=None, context=None, timeout=5.0, service_account=tmp_path)
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        (tmp_path / "token").write_text("two")
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        (tmp_path / "token").unlink()
        assert "token" in str(await failing_get(cluster))
        await cluster.aclose()
    assert ["Bearer one" in server.requests[0], "Bearer two" in server.requests[1]] == [True, True]
    assert len(server.requests) == 2
