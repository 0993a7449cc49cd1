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

from logcaster_guard.adapters.logs import scrubbed
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable
from logcaster_guard.domain.inbox.commands import ASKABLE, wished
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.rules import Action
from logcaster_guard.engine.read_model import ReadModel
from logcaster_guard.messages.texts import Texts, english, phrase
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
    texts: Texts | None = None,
) -> AsyncIterator[str | None]:
    """Serve the guard on `host:port` (IP address; port 0 for a free one); yields the URL.

    `listen=None` serves nothing; without a `gate` nothing can be changed. `probes` is a further address, for
    `/healthz` and `/readyz` alone. `hosts` are the names under which `listen` may be asked. What people read is told
    by `texts`, English by default. A port that cannot be had is told and does not keep the guard from guarding.
    """
    async with contextlib.AsyncExitStack() as stack:
        texts = texts or english()
        if probes is not None:
            await stack.enter_async_context(_served(probe_application(guard, texts), probes, _PROBES, "web.probes"))
        if listen is None:
            yield None
        else:
            served = _served(application(guard, texts, gate, hosts=hosts), listen, _API, "web.listen")
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


def probe_application(guard: ServedGuard, texts: Texts) -> web.Application:
    """The application that answers probes alone, whatever name it is asked under."""
    pages = _Pages(guard, texts)
    app = web.Application(middlewares=[_guarded(texts)])
    app.router.add_get("/healthz", pages.healthz, allow_head=False)
    app.router.add_get("/readyz", pages.readyz, allow_head=False)
    return app


def application(
    guard: ServedGuard, texts: Texts, gate: Gate | None = None, *, hosts: Collection[str] = ()
) -> web.Application:  # fmt: skip
    """The application over this guard."""
    pages = _Pages(guard, texts)
    changes = Changes(guard, gate)
    app = web.Application(middlewares=[_guarded(texts), _asked_as(hosts)], client_max_size=MAX_BODY)
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
        return _json(*await changes.take(word, request))

    return handler


class _Pages:
    def __init__(self, guard: ServedGuard, texts: Texts) -> None:
        self._guard = guard
        self._texts = texts
        self._metrics = registry(lambda: guard.read_model.status())  # noqa: PLW0108 - each term has its own read model
        self._planning = asyncio.Lock()

    @property
    def _model(self) -> ReadModel:
        return self._guard.read_model

    async def healthz(self, _request: web.Request) -> web.Response:
        return self._verdict(self._model.stuck())

    async def readyz(self, _request: web.Request) -> web.Response:
        return self._verdict(self._model.missing(), rendering.degraded(self._model.problems(), self._texts))

    def _verdict(self, faults: Sequence[Message], degraded: Sequence[str] = ()) -> web.Response:
        """503 with the faults; else 200, and what is degraded: without its API nobody could look at that."""
        lines = list(map(self._texts.text, faults)) or ["ok", *(f"degraded: {sentence}" for sentence in degraded)]
        return web.Response(text="\n".join(lines) + "\n", status=503 if faults else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        text = generate_latest(self._metrics)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def status(self, request: web.Request) -> web.Response:
        _check_keys(request)
        return _json(rendering.status(self._model.status(), self._texts))

    async def history(self, request: web.Request) -> web.Response:
        self._check_acts()
        limit = request.query.get("limit", str(_SHOWN))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= LONGEST_HISTORY):
            raise NotTaken(400, phrase("web.limit", most=LONGEST_HISTORY))
        target = request.query.get("target")
        if target is not None:
            self._check_target(target)
        _check_keys(request, "target", "limit")
        model = self._model
        found = rendering.history(model.runs(target, limit=int(limit)), model.releases(target), self._texts)
        return _json(found)

    async def explain(self, request: web.Request) -> web.Response:
        self._check_acts()
        rule = request.query.get("rule")
        if not rule:
            raise NotTaken(400, phrase("web.name_a_rule"))
        found = self._model.explain(rule, request.query.get("target"))
        if not found:
            raise NotTaken(404, phrase("web.no_such_trigger", triggers=self._model.triggers))
        _check_keys(request, "target", "rule")
        return _json(rendering.explanations(found, self._texts))

    async def plan(self, request: web.Request) -> web.Response:
        self._check_acts()
        target, action, to, only = (request.query.get(k, "") for k in ("target", "action", "to", "only"))
        self._check_target(target)
        if action not in ASKABLE:
            raise NotTaken(400, phrase("web.name_an_action", actions=ASKABLE))
        wish = wished(Action(action), to, only or None)
        if isinstance(wish, Message):
            raise NotTaken(400, phrase("web.of_key", key="only", fault=wish))
        _check_keys(request, "target", "action", "to", "only")
        try:
            # One at a time: each asks the API server for what the plan rests on.
            async with self._planning:
                found = await self._guard.manual(target).preview(wish)
        except (ClusterError, JournalUnavailable) as error:
            raise NotTaken(503, error.reason) from None
        return _json(rendering.plan(target, found, self._texts))

    def _check_acts(self) -> None:
        if (elsewhere := self._model.standing_by) is not None:
            raise NotTaken(503, elsewhere)

    def _check_target(self, target: str) -> None:
        if target not in self._model.targets:
            raise NotTaken(404, phrase("web.no_such_target", targets=self._model.targets))


def _check_keys(request: web.Request, *names: str) -> None:
    if set(request.query) - set(names):
        raise NotTaken(400, phrase("web.only_these_keys", names=names))


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=lambda v: json.dumps(v, ensure_ascii=False, allow_nan=False))


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
                raise NotTaken(421, phrase("web.another_name"))
        return await handler(request)

    return checked


_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(:[0-9]*)?", re.ASCII)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _guarded(texts: Texts) -> Middleware:
    """Each path by its own method, nothing that a browser may keep or frame, and no defect told to the outside."""

    def refused(status: int, why: Reason) -> web.Response:
        return _json({"error": scrubbed(texts.text(why))}, status)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_began(request)
        response: web.StreamResponse
        if (allowed := _other_methods(request)) is not None:
            response = refused(405, phrase("web.only_methods", methods=allowed))
            response.headers["Allow"] = ", ".join(allowed)
        else:
            try:
                response = await handler(request)
            except NotTaken as refusal:
                response = refused(refusal.status, refusal.why)
                response.headers.update(refusal.headers)
            except web.HTTPNotFound:
                response = refused(404, phrase("web.nothing_here"))
            except Exception as error:  # noqa: BLE001 - the edge of a request: a defect must not pass in silence
                structlog.get_logger().error("web.crashed", path=request.path, exc_info=error)
                response = refused(500, phrase("web.defect"))
        response.headers.update(_HEADERS)
        # A connection is for one request: what may be received on it is bounded.
        response.force_close()
        return response

    return guarded


def _other_methods(request: web.Request) -> Sequence[str] | None:
    """By which methods the path may be asked, where this one is not among them."""
    unmatched = request.match_info.http_exception
    if isinstance(unmatched, web.HTTPMethodNotAllowed) or (unmatched is not None and request.method != "GET"):
        return sorted(getattr(unmatched, "allowed_methods", {"GET"}))
    return None
