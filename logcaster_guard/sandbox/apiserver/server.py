"""The HTTP face of the server: who asks, what is asked, what is answered, and a record of all of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType

from aiohttp import web

from logcaster_guard.sandbox.apiserver.autoscalers import AutoscalerController
from logcaster_guard.sandbox.apiserver.clock import Clock, SystemClock
from logcaster_guard.sandbox.apiserver.deployments import DeploymentController
from logcaster_guard.sandbox.apiserver.discovery import document
from logcaster_guard.sandbox.apiserver.disruption import DisruptionController
from logcaster_guard.sandbox.apiserver.encoding import Encoding
from logcaster_guard.sandbox.apiserver.endpoints import EndpointSliceController
from logcaster_guard.sandbox.apiserver.errors import ApiError, bad_request, unauthorized
from logcaster_guard.sandbox.apiserver.garbage import GarbageCollector, NamespaceController
from logcaster_guard.sandbox.apiserver.handlers import APPLY_PATCH, Handlers, Query, parsed
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value
from logcaster_guard.sandbox.apiserver.objects import Caller, Objects
from logcaster_guard.sandbox.apiserver.recorder import CONTROLLER_MANAGER
from logcaster_guard.sandbox.apiserver.replicasets import ReplicaSetController
from logcaster_guard.sandbox.apiserver.resources import NAMESPACES
from logcaster_guard.sandbox.apiserver.reviews import reviewed
from logcaster_guard.sandbox.apiserver.routes import Route, is_true, parse
from logcaster_guard.sandbox.apiserver.selectors import matcher
from logcaster_guard.sandbox.apiserver.store import Store
from logcaster_guard.sandbox.apiserver.watching import Watch, Watcher, seconds, start_of

_LOG = logging.getLogger(__name__)
_BODY_LIMIT = 3 * 1024 * 1024
_HISTORY = 10_000
_METHOD_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

Interceptor = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
Afterwards = Callable[[web.Request, web.StreamResponse], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request: `verb` in Kubernetes' words, `body` of a mutating request only, `code` as it was answered."""

    at: datetime
    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    body: Value
    path: str

    @property
    def mutating(self) -> bool:
        """Whether it asked for a change."""
        return self.verb in {"create", "update", "patch", "delete", "deletecollection"}


class ApiServer:
    """A Kubernetes API server with the controllers that a Deployment, its Service, autoscaler and budget need.

    They are those of Deployments, ReplicaSets, EndpointSlices, HorizontalPodAutoscalers (as without metrics),
    PodDisruptionBudgets, garbage and namespaces. Nodes and PersistentVolumeClaims are only kept.

    It listens on 127.0.0.1, on a free port unless `port` names one. `tokens` maps bearer tokens to user names;
    without it everybody is system:anonymous. `tokenless` is who a request without a token is, where there are tokens
    (kubectl sends none over plain HTTP); None refuses it. By a SubjectAccessReview all of them may do everything, and
    `readers` only read. `history` is how many changes a watch may lie behind.

    `interceptor` is asked before each request is handled and may answer in its place; `afterwards` sees each answer
    after the effect and may replace it. Both are for tests of failure; where one raises ConnectionError, the
    connection is closed without an answer.
    """

    def __init__(
        self,
        *,
        tokens: Mapping[str, str] | None = None,
        tokenless: str | None = None,
        clock: Clock | None = None,
        port: int = 0,
        history: int = _HISTORY,
    ) -> None:
        self._tokens = tokens
        self._tokenless = tokenless
        self._clock: Clock = clock or SystemClock()
        self._port = port
        self._store = Store(history)
        self._objects = Objects(self._store, self._clock)
        self._handlers = Handlers(self._store, self._objects)
        self._encoding = Encoding()
        self._watchers: set[Watcher] = set()
        self._runner: web.AppRunner | None = None
        self._controllers: list[asyncio.Task[None]] = []
        self.readers: set[str] = set()
        self.audit: list[AuditEntry] = []
        self.interceptor: Interceptor | None = None
        self.afterwards: Afterwards | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end; only once started."""
        if self._runner is None:
            raise RuntimeError("the API server is not started: await start() first")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Begin to listen and to reconcile; the namespaces default and kube-system exist."""
        parts = (ReplicaSetController, DeploymentController, EndpointSliceController)
        controllers = [p(self._store, self._objects, self._clock) for p in parts]
        watchers = [p(self._store, self._objects, self._clock) for p in (AutoscalerController, DisruptionController)]
        keepers = [p(self._store, self._objects, self._clock) for p in (GarbageCollector, NamespaceController)]
        for controller in [*controllers, *watchers, *keepers]:
            self._store.subscribe(controller.observe)
            self._controllers.append(asyncio.create_task(controller.queue.run(), name=type(controller).__name__))
        for name in ("default", "kube-system"):
            self._objects.create(NAMESPACES, "", {"metadata": {"name": name}}, CONTROLLER_MANAGER)
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        """End watches, controllers and connections."""
        for watcher in list(self._watchers):
            watcher.stop()
        for task in self._controllers:
            task.cancel()
        await asyncio.gather(*self._controllers, return_exceptions=True)
        self._controllers.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> ApiServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def ask(self, method: str, path: str, user: str, query: Query) -> Json:
        """Answer a request of `user` from inside this process, recorded like any other; raises `ApiError`.

        Neither the answer nor the body that was given may be changed afterwards. No interceptor sees it, and nothing
        can be watched.
        """
        record = self._record(method, path)
        record.entry = replace(record.entry, user=user)
        code = 500
        try:
            route = self._identify(method, path, query.parameters, record)
            if isinstance(route, ApiError):
                raise route
            if record.entry.mutating:
                record.entry = replace(record.entry, body=query.body)
            code, answer = self._carried_out(route, query, record)
        except ApiError as error:
            code = error.code
            raise
        finally:
            self.audit.append(replace(record.entry, code=code))
        return answer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; whatever happens, it is recorded."""
        record = self._record(request.method, request.path)
        try:
            response = await self._intercepted(request, record)
        except ApiError as e:
            response = _respond(e.code, e.status())
        except web.HTTPRequestEntityTooLarge:
            error = ApiError(413, "RequestEntityTooLarge", f"the body is larger than the limit of {_BODY_LIMIT} bytes")
            response = _respond(413, error.status())
        except ConnectionError:
            response = _hang_up(request)
        except Exception as e:  # noqa: BLE001 # the edge of the request: it is answered, logged and recorded
            _LOG.exception("request failed: %s %s", request.method, request.path)
            response = _respond(500, ApiError(500, "InternalError", f"Internal error occurred: {e!r}").status())
        if not record.written:
            self.audit.append(replace(record.entry, code=response.status))
        if self.afterwards is not None and not response.prepared:
            try:
                return await self.afterwards(request, response)
            except ConnectionError:
                return _hang_up(request)
        return response

    def _record(self, method: str, path: str) -> _Record:
        entry = AuditEntry(
            at=self._clock.now(),
            user="system:anonymous",
            verb=_METHOD_VERBS.get(method, method.lower()),
            resource="",
            subresource="",
            namespace="",
            name="",
            code=500,
            body=None,
            path=path,
        )
        return _Record(entry)

    async def _intercepted(self, request: web.Request, record: _Record) -> web.StreamResponse:
        route = self._identify(request.method, request.path, request.query, record)
        if self.interceptor is not None and (response := await self.interceptor(request)) is not None:
            if record.entry.mutating:
                record.entry = replace(record.entry, body=_for_audit(await request.read()))
            return response
        record.entry = replace(record.entry, user=self._user(request))
        if isinstance(route, ApiError):
            return await self._other(request, route)
        if route.verb == "watch":
            return await self._watch(request, route, record)
        return await self._answer(request, route, record)

    def _identify(self, method: str, path: str, query: Mapping[str, str], record: _Record) -> Route | ApiError:
        """The route, noted for the audit; a refusal is kept until the caller is known."""
        try:
            route = parse(method, path, query)
        except ApiError as e:
            return e
        record.entry = replace(
            record.entry,
            verb=route.verb,
            resource=route.resource.plural,
            subresource=route.subresource,
            namespace=route.namespace or (route.name if route.resource is NAMESPACES else ""),
            name=route.name,
        )
        return route

    def _user(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self._tokens is None:
            return "system:anonymous"
        if not scheme and self._tokenless is not None:
            return self._tokenless
        user = self._tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise unauthorized()
        return user

    async def _other(self, request: web.Request, refusal: ApiError) -> web.StreamResponse:
        """Discovery, health and reviews, which are no resources."""
        if request.method == "POST":
            raw = await request.read()
            review = reviewed(request.path, parsed(raw) if raw else None, self._tokens or {}, self.readers)
            if review is not None:
                return _respond(201, review)
        if request.method == "GET":
            if request.path.rstrip("/") in {"/healthz", "/livez", "/readyz"}:
                return web.Response(text="ok")
            found = document(request.path)
            if found is not None:
                return _respond(200, found)
        raise refusal

    async def _answer(self, request: web.Request, route: Route, record: _Record) -> web.StreamResponse:
        _check_accept(request)
        raw = await request.read()
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        mutating = route.verb in {"create", "update", "patch", "delete"}
        body: Value = None
        if mutating:
            record.entry = replace(record.entry, body=_for_audit(raw))
            body = parsed(raw) if raw and (media_type.endswith("json") or media_type == APPLY_PATCH) else None
        code, answer = self._carried_out(route, Query(request.query, media_type, body, _caller(request)), record)
        encode = self._encoding.list if route.verb == "list" else self._encoding.whole
        return _answered(code, encode(answer))

    def _carried_out(self, route: Route, query: Query, record: _Record) -> tuple[int, Json]:
        code, answer = self._handlers.answer(route, query)
        if route.verb == "create" and not route.name and not query.caller.dry_run:
            record.entry = replace(record.entry, name=str(answer["metadata"].get("name", "")))
        return code, answer

    async def _watch(self, request: web.Request, route: Route, record: _Record) -> web.StreamResponse:
        _check_accept(request)
        query = request.query
        if is_true(query.get("sendInitialEvents")):
            message = 'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: not supported here'
            raise ApiError(422, "Invalid", message)
        fields = ",".join(
            f for f in (query.get("fieldSelector", ""), f"metadata.name={route.name}" if route.name else "") if f
        )
        watch = Watch(
            resource=route.resource,
            namespace=route.namespace,
            matches=matcher(route.resource, query.get("labelSelector", ""), fields),
            start=start_of(query.get("resourceVersion")),
            timeout=seconds(query.get("timeoutSeconds")),
            bookmarks=is_true(query.get("allowWatchBookmarks")),
        )
        # A watch is recorded when it begins: it may never end.
        self.audit.append(replace(record.entry, code=200))
        record.written = True
        watcher = Watcher(self._store, self._encoding, watch)
        self._watchers.add(watcher)
        try:
            return await watcher.stream(request)
        finally:
            self._watchers.discard(watcher)


@dataclass(slots=True)
class _Record:
    """The audit entry of a request, as far as it is known."""

    entry: AuditEntry
    written: bool = False


def _respond(code: int, body: Json) -> web.Response:
    return _answered(code, json.dumps(body, separators=(",", ":")).encode())


def _answered(code: int, body: bytes) -> web.Response:
    return web.Response(status=code, body=body, content_type="application/json")


def _hang_up(request: web.Request) -> web.Response:
    """Close the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def _for_audit(raw: bytes) -> Value:
    """The body as JSON, or as text where it is none."""
    if not raw:
        return None
    try:
        return parsed(raw)
    except ApiError:
        return raw.decode(errors="replace")


def _caller(request: web.Request) -> Caller:
    dry_run = request.query.get("dryRun", "")
    if dry_run not in {"", "All"}:
        raise bad_request(f'dryRun: Unsupported value: "{dry_run}": supported values: "All"')
    agent = request.headers.get("User-Agent", "").partition("/")[0].strip()
    return Caller(request.query.get("fieldManager") or agent or "unknown", dry_run == "All")


def _check_accept(request: web.Request) -> None:
    """Only plain JSON is spoken: no Table, no PartialObjectMetadata, no protobuf."""
    accept = request.headers.get("Accept", "") or "*/*"
    for offer in accept.split(","):
        media, *parameters = (p.strip() for p in offer.split(";"))
        if media in {"*/*", "application/*", "application/json"} and not any(p.startswith("as=") for p in parameters):
            return
    raise ApiError(
        406, "NotAcceptable", "only the following media types are accepted: application/json (no Table or metadata)"
    )
