"""A server of canned Kubernetes lists, for what a well-behaved API server never does."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]
Answerer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class StubApi:
    """Answers each path from `objects` (a list becomes a List); `seen` holds (method, path, body)."""

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[str, Json | list[Json]] = {}
        self.seen: list[tuple[str, str, Any]] = []
        self.answer_instead: Answerer | None = None
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.path, json.loads(body) if body else None))
        if self.answer_instead is not None:
            return await self.answer_instead(request)
        found = self.objects.get(request.path)
        if found is None:
            return web.json_response({"kind": "Status", "code": 404, "message": "not found"}, status=404)
        return web.json_response({"items": found} if isinstance(found, list) else found)
