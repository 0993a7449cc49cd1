"""A Slack workspace on loopback: what is posted stands in its channel, and can be asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]


@dataclass
class Workspace:
    """`messages` stand in the channel, the newest last; `calls` are the methods that were called.

    `refuse` answers a method with Slack's error; `silent` methods do what they are asked and never answer; `away` ones
    are answered with HTTP 503 and do nothing.
    """

    token: str
    messages: list[Json] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    page: int = 100
    url: str = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/chat.postMessage", self._method("chat.postMessage", self._post))
        app.router.add_post("/api/conversations.history", self._method("conversations.history", self._history))
        return app

    def _method(self, name: str, work: Callable[[Json], Json]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self.calls.append(name)
            if name in self.away:
                return web.Response(status=503, headers={"Retry-After": "7"})
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                return web.json_response({"ok": False, "error": "invalid_auth"})
            if name in self.refuse:
                return web.json_response({"ok": False, "error": self.refuse[name]})
            is_json = request.content_type == "application/json"
            answer = work(json.loads(await request.text()) if is_json else dict(await request.post()))
            if name in self.silent:
                await asyncio.Event().wait()
            return web.json_response(answer)

        return handle

    def _post(self, body: Json) -> Json:
        self.messages.append(body)
        return {"ok": True, "ts": f"{len(self.messages)}.0"}

    def _history(self, form: Json) -> Json:
        assert form["include_all_metadata"] == "true"
        begin = int(form.get("cursor") or 0)
        newest_first = self.messages[::-1]
        following = begin + self.page
        cursor = str(following) if following < len(newest_first) else ""
        return {
            "ok": True,
            "messages": newest_first[begin:following],
            "response_metadata": {"next_cursor": cursor},
        }


@asynccontextmanager
async def workspace(token: str) -> AsyncIterator[Workspace]:
    made = Workspace(token)
    runner = web.AppRunner(made.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api"
    try:
        yield made
    finally:
        await runner.cleanup()
