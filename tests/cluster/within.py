"""The sandbox's client for tests that have the embedded API server in their own process, without HTTP between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.handlers import Query
from logcaster_guard.sandbox.apiserver.jsontypes import cloned
from logcaster_guard.sandbox.apiserver.objects import Caller
from logcaster_guard.sandbox.client import ApiRefused, Client, Json


class ClientWithin(Client):
    """Asks `server` as `user`; what it answers is not to be changed.

    A guard's calls go over HTTP all the same: this one is for the world around it.
    """

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
