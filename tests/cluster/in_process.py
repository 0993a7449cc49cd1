"""Clients for tests that have the embedded API server in their own process, without HTTP between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes.answers import error_of
from logcaster_guard.adapters.kubernetes.api_requests import Request, Requests
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.handlers import Query
from logcaster_guard.sandbox.apiserver.jsontypes import cloned
from logcaster_guard.sandbox.apiserver.objects import Caller
from logcaster_guard.sandbox.client import ApiRefused, Client, Json


class InProcessClient(Client):
    """Asks `server` as `user`; what it answers is not to be changed."""

    def __init__(self, server: ApiServer, user: str) -> None:
        super().__init__(server.url, "")
        self._server = server
        self._user = user

    async def list(self, path: str, selector: str = "") -> list[Json]:
        answer = await self._asked("GET", path, {"labelSelector": selector} if selector else {}, None, "")
        items: list[Json] = answer["items"]
        return items

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        return await self._asked(method, path, query or {}, cloned(body), content_type)

    async def _asked(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str
    ) -> Json:
        # Others come in between, as they do while a request is on its way.
        await asyncio.sleep(0)
        try:
            return self._server.ask(method, path, self._user, Query(query, content_type, body, Caller(self._user)))
        except ApiError as refusal:
            raise ApiRefused(refusal.code, refusal.message) from refusal


class InProcessCluster(KubernetesCluster):
    """The guard's adapter, whose requests `server` answers as those of `user` without HTTP.

    What it answers is not to be changed. It asks for no reviews.
    """

    def __init__(self, server: ApiServer, user: str) -> None:
        super().__init__(_InProcessRequests(server, user))


class _InProcessRequests(Requests):
    def __init__(self, server: ApiServer, user: str) -> None:
        super().__init__(Configuration(), timeout=10.0)
        self._server = server
        self._user = user

    async def call(self, request: Request) -> tuple[Json, int]:
        # Others come in between while the request is on its way, and while its answer is.
        await asyncio.sleep(0)
        query = {k: v for k, v in request.query.items() if k != "limit"}
        asked = Query(query, request.content_type, cloned(request.body), Caller(query.get("fieldManager", MANAGER)))
        try:
            answer = self._server.ask(request.method, request.path, self._user, asked)
        except ApiError as refusal:
            body = json.dumps(refusal.status()).encode()
            raise error_of(request.what, refusal.code, {}, body, concealed=request.concealed) from refusal
        await asyncio.sleep(0)
        return answer, 0
