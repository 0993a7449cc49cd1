"""The HTTP server: GET for whoever reaches it, POST for whom the gate lets in; each answer whole or a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.inbox.commands import ASKABLE, wished
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import Action
from logcaster_guard.engine.status import ReadModel
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Gate
from logcaster_guard.web import rendering
from logcaster_guard.web.changes import MAX_BODY, PATH, Changes, NotTaken, Recent, ServedGuard
from logcaster_guard.web.listener import Bounds, listening, request_began
from logcaster_guard.web.metrics import registry

LONGEST_HISTORY = 1_000
_SHOWN = 50
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "logcaster-guard",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_API = Bounds(connections=64)
_PROBES = Bounds(connections=16)
"""Probes have connections of their own, so that nobody who floods the other ones makes the guard look dead."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(
    guard: ServedGuard,
    listen: str | None,
    gate: Gate | None = None,
    *,
    probes: str | None = None,
    hosts: Collection[str] = (),
) -> AsyncIterator[str | None]:
    """Serve the guard on `host:port` (IP address; port 0 for a free one); yields the URL.

    `listen=None` serves nothing; without a `gate` nothing can be changed. `probes` is a further address, for
    `/healthz` and `/readyz` alone. `hosts` are the names under which `listen` may be asked. A port that cannot be had
    is told and does not keep the guard from guarding.
    """
    async with contextlib.AsyncExitStack() as stack:
        if probes is not None:
            await stack.enter_async_context(_served(probe_application(guard), probes, _PROBES, "web.probes"))
        if listen is None:
            yield None
        else:
            served = _served(application(guard, gate, hosts=hosts), listen, _API, "web.listen")
            yield await stack.enter_async_context(served)


@contextlib.asynccontextmanager
async def _served(app: web.Application, address: str, bounds: Bounds, key: str) -> AsyncIterator[str | None]:
    host, _, port = address.rpartition(":")
    log = structlog.get_logger()
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        lingering_time=2.0,
        logger=_Faults(),
    )
    await runner.setup()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        url = None
        try:
            bound = await stack.enter_async_context(listening(runner, host.strip("[]"), int(port), bounds))
        except OSError as error:
            effect = "no probes" if key == "web.probes" else "no API, no metrics"
            log.warning("web.unavailable", listen=address, detail=f"{error}: choose another {key}", effect=effect)
        else:
            url = f"http://{host}:{bound}"
            log.info("web.listening", url=url)
        yield url


class _Faults:
    """What aiohttp tells of requests that it cannot read: a line each, and few a minute."""

    def __init__(self) -> None:
        self._recent = Recent(time.monotonic)

    def exception(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        if not self._recent.wait(""):
            self._recent.note("")
            structlog.get_logger().warning("web.unreadable", detail=message % args, error=repr(exc_info))

    def debug(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Nothing: what is not even HTTP."""


def probe_application(guard: ServedGuard) -> web.Application:
    """The application that answers probes alone, whatever name it is asked under."""
    pages = _Pages(guard)
    app = web.Application(middlewares=[_guarded])
    app.router.add_get("/healthz", pages.healthz, allow_head=False)
    app.router.add_get("/readyz", pages.readyz, allow_head=False)
    return app


def application(guard: ServedGuard, gate: Gate | None = None, *, hosts: Collection[str] = ()) -> web.Application:
    """The application over this guard."""
    pages = _Pages(guard)
    changes = Changes(guard, gate)
    app = web.Application(middlewares=[_guarded, _asked_as(hosts)], client_max_size=MAX_BODY)
    for path, handler in {
        "/healthz": pages.healthz,
        "/readyz": pages.readyz,
        "/metrics": pages.metrics,
        "/api/v1/status": pages.status,
        "/api/v1/history": pages.history,
        "/api/v1/explain": pages.explain,
        "/api/v1/plan": pages.plan,
    }.items():
        app.router.add_get(path, handler, allow_head=False)
    for word in sorted(changes.words):
        app.router.add_post(PATH + word, _changing(changes, word))
    return app


def _changing(changes: Changes, word: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        try:
            told, status = await changes.take(word, request)
        except NotTaken as refusal:
            response = _refused(str(refusal), refusal.status)
            response.headers.update(refusal.headers)
            return response
        return _json(told, status)

    return handler


class _Pages:
    def __init__(self, guard: ServedGuard) -> None:
        self._guard = guard
        self._metrics = registry(lambda: guard.read_model.status())  # noqa: PLW0108 - each term has its own read model
        self._planning = asyncio.Lock()

    @property
    def _model(self) -> ReadModel:
        return self._guard.read_model

    async def healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._model.stuck())

    async def readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._model.missing(), rendering.degraded(self._model.problems()))

    async def metrics(self, _request: web.Request) -> web.Response:
        text = generate_latest(self._metrics)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def status(self, request: web.Request) -> web.Response:
        return _known_keys(request) or _json(rendering.status(self._model.status()))

    async def history(self, request: web.Request) -> web.Response:
        if (elsewhere := self._model.standing_by) is not None:
            return _refused(english().text(elsewhere), 503)
        limit = request.query.get("limit", str(_SHOWN))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= LONGEST_HISTORY):
            return _refused(f"limit is a number from 1 to {LONGEST_HISTORY}.", 400)
        target = request.query.get("target")
        if target is not None and target not in self._model.targets:
            return self._no_such_target()
        found = rendering.history(self._model.runs(target, limit=int(limit)), self._model.releases(target))
        return _known_keys(request, "target", "limit") or _json(found)

    async def explain(self, request: web.Request) -> web.Response:
        if (elsewhere := self._model.standing_by) is not None:
            return _refused(english().text(elsewhere), 503)
        rule = request.query.get("rule")
        if not rule:
            return _refused("Name a rule: /api/v1/explain?target=NAMESPACE/DEPLOYMENT&rule=NAME.", 400)
        found = self._model.explain(rule, request.query.get("target"))
        if not found:
            return _refused(f"No such trigger; there are {', '.join(self._model.triggers) or 'none'}.", 404)
        return _known_keys(request, "target", "rule") or _json(rendering.explanations(found))

    async def plan(self, request: web.Request) -> web.Response:
        if (elsewhere := self._model.standing_by) is not None:
            return _refused(english().text(elsewhere), 503)
        target, action, to, only = (request.query.get(k, "") for k in ("target", "action", "to", "only"))
        if target not in self._model.targets:
            return self._no_such_target()
        if action not in ASKABLE:
            return _refused(f"Name an action, one of {', '.join(ASKABLE)}.", 400)
        wish = wished(Action(action), to, only or None)
        if isinstance(wish, Message):
            return _refused(f"only: {english().text(wish)}.", 400)
        try:
            # One at a time: each asks the API server for what the plan rests on.
            async with self._planning:
                found = await self._guard.manual(target).preview(wish)
        except (ClusterError, JournalUnavailable) as error:
            return _refused(str(error), 503)
        return _known_keys(request, "target", "action", "to", "only") or _json(rendering.plan(target, found))

    def _no_such_target(self) -> web.Response:
        return _refused(f"No such target; there are {', '.join(self._model.targets)}.", 404)


def _known_keys(request: web.Request, *names: str) -> web.Response | None:
    unknown = set(request.query) - set(names)
    return _refused(f"Only these may be asked for here: {', '.join(names) or 'nothing'}.", 400) if unknown else None


def _verdict(faults: Sequence[Message], degraded: Sequence[str] = ()) -> web.Response:
    """503 with the faults; else 200, and what is degraded: without its API nobody could look at that."""
    lines = list(map(english().text, faults)) or ["ok", *(f"degraded: {sentence}" for sentence in degraded)]
    return web.Response(text="\n".join(lines) + "\n", status=503 if faults else 200)


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=lambda v: json.dumps(v, ensure_ascii=False, allow_nan=False))


def _refused(sentence: str, status: int) -> web.Response:
    return _json({"error": sentence}, status)


def _asked_as(hosts: Collection[str]) -> Middleware:
    """Refuses requests under a foreign name.

    The page of a name that is made to resolve to this address could otherwise read everything here (DNS rebinding). An
    address cannot be made to resolve to another one.
    """
    known = {"localhost", *(host.lower().removesuffix(".") for host in hosts)}

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        for host in request.headers.getall("Host", []):
            name = _HOST.fullmatch(host.strip())
            asked = "" if name is None else name["name"].lower().removesuffix(".")
            if asked not in known and not _is_address(asked.strip("[]")):
                return _refused(
                    "The guard is not asked under this name: list it in web.hosts, or use the address.", 421
                )
        return await handler(request)

    return checked


_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(:[0-9]*)?", re.ASCII)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Each path by its own method, nothing that a browser may keep or frame, and no defect told to the outside."""
    request_began(request)
    response: web.StreamResponse
    if isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed) or (
        request.match_info.http_exception is not None and request.method != "GET"
    ):
        allowed = getattr(request.match_info.http_exception, "allowed_methods", {"GET"})
        response = _refused(f"Only {', '.join(sorted(allowed))} here.", 405)
        response.headers["Allow"] = ", ".join(sorted(allowed))
    else:
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            response = _refused("There is nothing here.", 404)
        except Exception as error:  # noqa: BLE001 - the edge of a request: a defect must not pass in silence
            structlog.get_logger().error("web.crashed", path=request.path, exc_info=error)
            response = _refused("A defect of the guard: its log tells more.", 500)
    response.headers.update(_HEADERS)
    # A connection is for one request: what may be received on it is bounded.
    response.force_close()
    return response
