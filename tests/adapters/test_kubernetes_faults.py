from __future__ import annotations

import asyncio
import gzip
import json
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes.answers import NoAnswer
from logcaster_guard.adapters.kubernetes.api_requests import Requests
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.domain.errors import (
    ClusterError,
    Conflict,
    NotFound,
    Rejected,
    Unavailable,
)
from logcaster_guard.domain.signals import Fault
from logcaster_guard.ports import Kind
from tests.adapters.misbehaving import (
    certificate_in,
    deployment,
    failing_get,
    http,
    listening,
    refusal,
    server_side,
    serving,
)


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


ASKED_OF_SECRETS: dict[str, Callable[[KubernetesCluster], Awaitable[object]]] = {
    "get": lambda c: c.get(Kind.SECRET, "shop", "db"),
    "list": lambda c: c.list(Kind.SECRET, "shop"),
    "listing": lambda c: c.listing(Kind.SECRET, "shop", "db"),
    "patch": lambda c: c.json_patch(Kind.SECRET, "shop", "db", []),
    "apply": lambda c: c.apply(Kind.SECRET, "shop", "db", {}, manager="ci", force=True),
    "create": lambda c: c.create(Kind.SECRET, "shop", {"metadata": {"name": "db"}}),
    "delete": lambda c: c.delete(Kind.SECRET, "shop", "db", uid="u", resource_version=None),
    "watch": lambda c: anext(c.events(Kind.SECRET, "shop", "db", "1", lasting=1, silence=1.0)),
}


def _not_http(words: str) -> bytes:
    return f"HTTP/1.1 two hundred {words}\r\n\r\n".encode()


@pytest.mark.parametrize("verb", ASKED_OF_SECRETS)
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (http(422, refusal(422, 'Invalid value: "hunter2"', reason="Invalid")), "answered 422: Invalid"),
        (http(403, refusal(403, "hunter2", reason="hunter2")), "answered 403: no explanation"),
        (http(400, b"hunter2"), "answered 400: no explanation"),
        (http(404, b"hunter2"), "404"),
        (http(503, refusal(503, "hunter2", reason="ServiceUnavailable")), "answered 503: ServiceUnavailable"),
        (_not_http("hunter2"), "not HTTP as it should be (ClientResponseError)"),
    ],
)
async def test_of_an_answer_about_a_secret_code_and_reason_alone_are_kept(verb: str, answer: bytes, told: str) -> None:
    async with serving(answer) as (cluster, _):
        with pytest.raises(ClusterError) as caught:
            await ASKED_OF_SECRETS[verb](cluster)
    assert told in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.reason)
    assert "hunter2" not in shown.replace(repr(answer), "")


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
        cluster = KubernetesCluster(Requests(Configuration(host=f"http://127.0.0.1:{port}"), timeout=0.2))
        error = await failing_get(cluster)
        await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.TIMED_OUT


async def test_a_refused_connection_is_told_as_such() -> None:
    async with serving(b"") as (_, server):
        url = server.url
    cluster = KubernetesCluster(Requests(Configuration(host=url), timeout=5.0))
    error = await failing_get(cluster)
    await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.REFUSED


async def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    cluster = KubernetesCluster(Requests(Configuration(host="http://nowhere.invalid"), timeout=20.0))
    error = await failing_get(cluster)
    await cluster.aclose()
    assert isinstance(error, NoAnswer)
    assert error.fault is Fault.NAME_NOT_FOUND


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificate_in(tmp_path)


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
        cluster = KubernetesCluster(Requests(Configuration(host=f"https://127.0.0.1:{port}"), timeout=5.0))
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


def granting(*rules: tuple[str, str, str, list[str]]) -> bytes:
    """A review that tells of these rules: verb, group, resource, names."""
    told = [
        {"verbs": [verb], "apiGroups": [group], "resources": [resource], "resourceNames": names}
        for verb, group, resource, names in rules
    ]
    # Some authorizers cannot tell of their rules, and add none.
    status = {"resourceRules": [*told, {"verbs": ["patch"]}], "nonResourceRules": [], "incomplete": True}
    return http(201, {"kind": "SelfSubjectRulesReview", "status": status})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (granting(("patch", "apps", "deployments", ["web", "api"])), {"web", "api"}),
        (granting(("patch", "apps", "deployments", ["web"]), ("*", "*", "*", ["api"])), {"web", "api"}),
        (granting(("patch", "apps", "deployments", [])), set()),
        (granting(("get", "apps", "deployments", ["web"])), set()),
        (granting(("patch", "", "deployments", ["web"])), set()),
        (granting(("patch", "apps", "statefulsets", ["web"])), set()),
        (http(201, {"kind": "SelfSubjectRulesReview", "status": {"resourceRules": None}}), set()),
        (http(403, refusal(403)), set()),
        (http(404, b"404 page not found"), set()),
        (http(405, refusal(405)), set()),
    ],
)
async def test_a_rules_review_names_single_objects_or_none(answer: bytes, expected: set[str]) -> None:
    async with serving(answer) as (cluster, _):
        assert await cluster.named("patch", "apps", "deployments", "shop") == expected


async def test_a_rules_review_that_is_not_answered_is_told() -> None:
    async with serving(http(503, refusal(503))) as (cluster, _):
        with pytest.raises(Unavailable):
            await cluster.named("patch", "apps", "deployments", "shop")
