"""The Kubernetes API over kubernetes-asyncio's configuration, authentication and transport, with raw JSON in and out.

The generated models are not used: they drop fields that they do not know, and a template that went through one would be
written back mutilated.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence

from logcaster_guard.adapters.kubernetes.answers import (
    NoAnswer,
    items_of,
    object_of,
    printable,
)
from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.adapters.kubernetes.api_requests import Request, Requests
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.cluster_faults import (
    ApiListing,
    ApiRequest,
    ApiReview,
    ApiRightAsked,
    ApiWatch,
    CannotAsk,
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

_OF_STATE = ("resourceVersion", "resourceVersionMatch")

JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES_REVIEWS = ("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")


class KubernetesCluster:
    """`ports.Cluster` on an API server, by these requests, which it closes with itself."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

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
        async with contextlib.aclosing(self._requests.lines(request, silence)) as lines:
            async for line in lines:
                yield line

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        """The object after an RFC 6902 patch; raises `Conflict` on a stale `replace /metadata/resourceVersion`."""
        query = {"fieldManager": manager}
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
        request = Request(what, "POST", path, body, query={"fieldManager": MANAGER}, kind=kind)
        answer, _ = await self._requests.call(request)
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
        await self._requests.call(Request(what, "DELETE", path, body, kind=kind))

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
            answer, _ = await self._requests.call(Request(what, "POST", ACCESS_REVIEWS, body))
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
        answer, _ = await self._requests.call(Request(what, "POST", f"/apis/{api_version}/{plural}", body))
        status = answer.get("status")
        if answer.get("kind") != kind or not isinstance(status, dict):
            raise failure(NoAnswer, CannotAsk(what, ReviewUnanswered()), fault=Fault.MALFORMED, status=200)
        return status

    def ahead(self) -> float:
        """By how many seconds the API server's clock is ahead of this machine's, at most."""
        return self._requests.ahead

    async def aclose(self) -> None:
        """Release connections."""
        await self._requests.aclose()

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
        answer, _ = await self._requests.call(Request(what, method, path, body, content_type, query or {}, kind=kind))
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
        room = self._requests.max_bytes
        for _ in range(MAX_PAGES):
            request = Request(what, "GET", path, query=dict(query), max_bytes=room, kind=kind)
            answer, size = await self._requests.call(request)
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
