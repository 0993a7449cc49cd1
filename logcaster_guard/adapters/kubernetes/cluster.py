"""The Kubernetes API over kubernetes-asyncio's configuration, authentication and transport, with raw JSON in and out.

The generated models are not used: they drop fields that they do not know, and a template that went through one would be
written back mutilated.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes.answers import (
    NoAnswer,
    error_of,
    items_of,
    no_answer,
    object_of,
    parsed,
    printable,
)
from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.adapters.kubernetes.transport import client_of, contents_of
from logcaster_guard.adapters.skew import ClockSkew
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.cluster_faults import (
    AnswerNoObject,
    ApiAnswerTooLarge,
    ApiListing,
    ApiRequest,
    ApiReview,
    ApiRightAsked,
    ApiWatch,
    CannotAsk,
    EventTooLarge,
    NameUntaken,
    ReviewUnanswered,
    TooManyPages,
    Verb,
)
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Json, Kind

PAGE = 500
"""Objects asked for at once; kubectl's own number."""

MAX_PAGES = 200
MAX_BYTES = 64 * 1024 * 1024
"""Of one answer, or of all pages of one list, after decompression."""

MAX_LINE = 8 * 1024 * 1024
"""Bytes of one event of a watch: an object of 1 MiB, its JSON, and what kubectl last applied of it."""

_OF_STATE = ("resourceVersion", "resourceVersionMatch")

RENEW_EVERY = 5.0
"""Seconds between two reloads of credentials that are refused: a kubeconfig may run a program for them."""

JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES_REVIEWS = ("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `what` is the request as people are told of its failure, `kind` that of its objects, if any."""

    what: Message
    method: str
    path: str
    body: object = None
    content_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = None
    kind: Kind | None = None

    @property
    def concealed(self) -> bool:
        """Whether the server's words about it may hold what nobody is to see."""
        return self.kind is Kind.SECRET


class KubernetesCluster:
    """`ports.Cluster` on an API server. To be made inside the running event loop that uses it, and closed.

    `timeout` is the total time, in seconds, of one request with its answer and of the credentials it may have to fetch.
    `reload` fetches the credentials of `configuration` anew; it is called after a 401, at most every `RENEW_EVERY`
    seconds, and the request, which then had no effect, is repeated once if they changed. Certificates that were
    replaced on disk are taken up likewise, also where TLS itself failed: the client is then built anew. `wall` is this
    machine's clock, in seconds since the epoch.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        timeout: float,
        reload: Callable[[], Awaitable[None]] | None = None,
        max_bytes: int = MAX_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._configuration = configuration
        self._timeout = timeout
        self._reload = reload
        self._max_bytes = max_bytes
        self._wall = wall
        self._skew = ClockSkew()
        self._api, self._files = client_of(configuration), contents_of(configuration)
        self._retired: list[ApiClient] = []
        self._renewing = asyncio.Lock()
        self._reloaded = -math.inf

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """The object; raises `NotFound`."""
        return await self._one(Verb.GET, "GET", kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        """Every object that the label selector matches, over all pages.

        When the snapshot that the pages are taken from expires on the way (410), the list is read once more, whole.
        """
        items, _ = await self._list(kind, namespace, {"labelSelector": selector} if selector else {})
        return items

    async def listing(
        self, kind: Kind, namespace: str, name: str = "", *, selector: str = "", version: str = ""
    ) -> tuple[Sequence[Json], str]:
        """See `ports.Listings`."""
        labels = {"labelSelector": selector} if selector else {}
        then = {"resourceVersion": version, "resourceVersionMatch": "Exact"} if version else {}
        return await self._list(kind, namespace, {**_named(name), **labels, **then})

    async def events(
        self, kind: Kind, namespace: str, name: str, version: str, *, lasting: int, silence: float
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch of a kind, or of the object of this name, from a resourceVersion on.

        They end when the server ends them, which it is asked to do after `lasting` seconds. Raises a `ClusterError`,
        also where nothing has come for `silence` seconds.
        """
        what = ApiWatch(kind.value, printable(namespace))
        query = {
            **_named(name),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lasting),
        }
        request = Request(what, "GET", _filled(RESOURCES[kind].path, what, namespace=namespace), query=query, kind=kind)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=silence)
        used, api = dict(self._configuration.api_key), self._api
        try:
            async with await self._opened(request, limits) as response:
                if response.status != 200:
                    said = await response.content.read(MAX_LINE)
                    raise error_of(what, response.status, response.headers, said, concealed=request.concealed)
                rest = b""
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    if len(rest) > MAX_LINE:
                        cause = CannotAsk(what, EventTooLarge())
                        raise failure(NoAnswer, cause, fault=Fault.TOO_LARGE, status=200)
                    for line in whole:
                        yield line
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                await self._renewed(used, api)
            failed = no_answer(what, error, silence, concealed=request.concealed)
            raise failed from (None if request.concealed else error)
        except Rejected as refused:
            if refused.status == 401:
                await self._renewed(used, api)
            raise

    async def json_patch(self, kind: Kind, namespace: str, name: str, operations: Sequence[Json]) -> Json:
        """The object after an RFC 6902 patch; raises `Conflict` on a stale `replace /metadata/resourceVersion`."""
        query = {"fieldManager": MANAGER}
        return await self._one(
            Verb.PATCH, "PATCH", kind, namespace, name, body=list(operations), content_type=JSON_PATCH, query=query
        )

    async def apply(self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, force: bool) -> Json:
        """The object after a server-side apply of `body` as field manager `manager`."""
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._one(
            Verb.APPLY, "PATCH", kind, namespace, name, body=body, content_type=APPLY_PATCH, query=query
        )

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        """The new object; raises `Conflict` when the name is taken."""
        name = str((body.get("metadata") or {}).get("name", ""))
        what = _about(Verb.CREATE, kind, namespace, name)
        path = _filled(RESOURCES[kind].path, what, namespace=namespace)
        answer, _ = await self._call(Request(what, "POST", path, body, query={"fieldManager": MANAGER}, kind=kind))
        return object_of(what, answer, kind, namespace, name)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, resource_version: str | None) -> None:
        """Foreground deletion with preconditions; raises `Conflict` when they no longer hold.

        A Secret or ConfigMap, which nothing depends on, is gone at once.
        The transport may send it twice when a kept connection turns out to be dead; the uid makes that harmless.
        """
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": "Background" if kind in {Kind.SECRET, Kind.CONFIG_MAP} else "Foreground",
        }
        what = _about(Verb.DELETE, kind, namespace, name)
        path = _filled(RESOURCES[kind].path + "/{name}", what, namespace=namespace, name=name)
        await self._call(Request(what, "DELETE", path, body, kind=kind))

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        """Whether this guard's own account may do `verb`; None where the API does not tell.

        Raises `Unavailable`, and `Rejected` for a 401.
        """
        what = ApiRightAsked(verb, resource, namespace)
        wanted = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted | ({"name": name} if name else {})},
        }
        try:
            answer, _ = await self._call(Request(what, "POST", ACCESS_REVIEWS, body))
        except ClusterError as error:
            if error.status in {403, 404, 405}:
                return None
            raise
        status = answer.get("status")
        allowed = status.get("allowed") if isinstance(status, dict) else None
        return allowed if isinstance(allowed, bool) else None

    async def named(self, verb: str, group: str, resource: str, namespace: str) -> frozenset[str]:
        """The single objects on which a Role is known to let this guard's account do `verb`.

        There may be more: the API server need not tell of every authorizer. Raises as `may` does.
        """
        try:
            status = await self.review(*RULES_REVIEWS, {"namespace": namespace})
        except ClusterError as error:
            if error.status in {403, 404, 405}:
                return frozenset()
            raise
        wanted = {"verbs": verb, "apiGroups": group, "resources": resource}
        fitting = (
            rule
            for rule in status.get("resourceRules") or []
            if all({word, "*"} & set(rule.get(part) or []) for part, word in wanted.items())
        )
        return frozenset(name for rule in fitting for name in rule.get("resourceNames") or [])

    async def review(self, api_version: str, kind: str, plural: str, spec: Json) -> Json:
        """The status of a review, which the API server answers and does not keep; raises a `ClusterError`.

        What is asked is in no message: it may hold a token.
        """
        what = ApiReview(kind)
        body = {"apiVersion": api_version, "kind": kind, "spec": spec}
        answer, _ = await self._call(Request(what, "POST", f"/apis/{api_version}/{plural}", body))
        status = answer.get("status")
        if answer.get("kind") != kind or not isinstance(status, dict):
            raise failure(NoAnswer, CannotAsk(what, ReviewUnanswered()), fault=Fault.MALFORMED, status=200)
        return status

    def ahead(self) -> float:
        """By how many seconds the API server's clock is ahead of this machine's, at most."""
        return self._skew.ahead

    async def aclose(self) -> None:
        """Release connections."""
        for api in (self._api, *self._retired):
            await api.close()

    async def _one(
        self,
        verb: Verb,
        method: str,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Json:
        what = _about(verb, kind, namespace, name)
        path = _filled(RESOURCES[kind].path + "/{name}", what, namespace=namespace, name=name)
        answer, _ = await self._call(Request(what, method, path, body, content_type, query or {}, kind=kind))
        return object_of(what, answer, kind, namespace, name)

    async def _list(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> tuple[Sequence[Json], str]:
        try:
            return await self._pages(kind, namespace, query, PAGE)
        except Unavailable as gone:
            if gone.status != 410:
                raise
            return await self._pages(kind, namespace, query, None)

    async def _pages(
        self, kind: Kind, namespace: str, wanted: Mapping[str, str], page: int | None
    ) -> tuple[Sequence[Json], str]:
        what = ApiListing(kind.value, printable(namespace))
        path = _filled(RESOURCES[kind].path, what, namespace=namespace)
        query = {**wanted} | ({"limit": str(page)} if page else {})
        found: list[Json] = []
        room = self._max_bytes
        for _ in range(MAX_PAGES):
            request = Request(what, "GET", path, query=dict(query), max_bytes=room, kind=kind)
            answer, size = await self._call(request)
            room -= size
            found += items_of(what, answer, kind)
            metadata = answer.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            token = metadata.get("continue")
            if not token:
                return found, str(metadata.get("resourceVersion") or "")
            # The token tells which state the pages are of; the server refuses to be told it twice.
            query = {k: v for k, v in query.items() if k not in _OF_STATE} | {"continue": str(token)}
        raise failure(NoAnswer, CannotAsk(what, TooManyPages(MAX_PAGES)), fault=Fault.TOO_LARGE, status=200)

    async def _call(self, request: Request) -> tuple[Json, int]:
        """The JSON object answered, and its size in bytes; raises a `ClusterError` for anything else."""
        what = request.what
        try:
            async with asyncio.timeout(self._timeout):
                status, headers, answer = await self._sent(request)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failed = no_answer(what, error, self._timeout, concealed=request.concealed)
            raise failed from (None if request.concealed else error)
        if not 200 <= status < 300:
            raise error_of(what, status, headers, answer, concealed=request.concealed)
        found = parsed(answer)
        if found is None:
            raise failure(NoAnswer, CannotAsk(what, AnswerNoObject()), fault=Fault.MALFORMED, status=status)
        return found, len(answer)

    async def _sent(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """What was answered, with the credentials as they are on disk if those in use are refused."""
        used, api = dict(self._configuration.api_key), self._api
        try:
            found = await self._send(request)
        except aiohttp.ClientSSLError:
            # The handshake failed, so the request was not sent.
            if await self._renewed(used, api):
                return await self._send(request)
            raise
        return await self._send(request) if found[0] == 401 and await self._renewed(used, api) else found

    async def _send(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        # The body is read here and not by the library, which reads without a limit; a failing status is then an
        # answer like any other, which _call looks at.
        limit = self._max_bytes if request.max_bytes is None else request.max_bytes
        response = await self._opened(request, aiohttp.ClientTimeout(total=self._timeout))
        async with response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > limit:
                    response.close()
                    cause = CannotAsk(request.what, ApiAnswerTooLarge(limit))
                    raise failure(NoAnswer, cause, fault=Fault.TOO_LARGE, status=response.status)
            return response.status, response.headers, bytes(content)

    async def _opened(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """The answer, its body still to be read."""
        sent = self._wall()
        response: aiohttp.ClientResponse = await self._api.call_api(
            request.path,
            request.method,
            query_params=list(request.query.items()),
            header_params={"Accept": "application/json", "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=limits,
        )
        self._skew.note(response.headers, sent, self._wall())
        return response

    async def _renewed(self, used: Mapping[str, str], api: ApiClient) -> bool:
        """Whether there are other credentials than those that were `used`, with this client."""
        async with self._renewing:
            now = asyncio.get_running_loop().time()
            if self._reload is not None and self._configuration.api_key == used and now - self._reloaded >= RENEW_EVERY:
                self._reloaded = now
                await self._reload()
            await self._build_anew()
        return self._configuration.api_key != used or self._api is not api

    async def _build_anew(self) -> None:
        """Take up the files of the configuration if they are others than those that the client was built of."""
        files = await asyncio.to_thread(contents_of, self._configuration)
        if files == self._files:
            return
        try:
            made = client_of(self._configuration)
        except (OSError, ValueError):
            # Certificate and key are replaced one after the other; the next refusal finds both.
            return
        # Requests that are on their way end over the one before; what was retired earlier has none left.
        retired, self._retired = self._retired, [self._api]
        self._api, self._files = made, files
        for api in retired:
            await api.close()


def _named(name: str) -> Mapping[str, str]:
    """The query for the object of a name alone; none is for all."""
    return {"fieldSelector": f"metadata.name={name}"} if name else {}


def _about(verb: Verb, kind: Kind, namespace: str, name: str) -> ApiRequest:
    return ApiRequest(verb, printable(f"{kind.value} {namespace}/{name}"))


def _filled(path: str, what: Message, **parts: str) -> str:
    """`path` with its names filled in; raises `Rejected` for one that would name another path than its own."""
    for part in parts.values():
        if not part or part in {".", ".."} or not all(c.isalnum() or c in "-._:" for c in part) or not part.isascii():
            raise failure(Rejected, CannotAsk(what, NameUntaken(f"{part!a}")))
    return path.format(**parts)
