"""A proxy between the guard and the API server, which does to one request what networks and busy servers do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.ports import Kind
from tests.cluster.api_faults import SLOW, Fault
from tests.cluster.harness import Cluster

METHODS = {"get": "GET", "list": "GET", "patch": "PATCH", "apply": "PATCH", "create": "POST", "delete": "DELETE"}
STATUS = {Fault.CONFLICT: 409, Fault.THROTTLED: 429, Fault.BROKEN: 500, Fault.AWAY: 503, Fault.EXPIRED: 401}
PASSED_ON = ("Authorization", "Content-Type", "Accept", "User-Agent")


@dataclass
class MisbehavingProxy:
    """`timeout` is how long the guard waits for an answer, in seconds: what is to time out lasts longer."""

    upstream: str
    timeout: float
    url: str = ""
    struck: int = 0
    _armed: list[tuple[str, str, Fault]] = field(default_factory=list)
    _severed: dict[str, Fault] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, cluster: Cluster, timeout: float) -> AsyncIterator[MisbehavingProxy]:  # noqa: ASYNC109 - handed on
        made = cls(cluster.url, timeout)
        context = ssl.create_default_context(cafile=str(cluster.ca_file)) if cluster.ca_file else None
        runner = web.ServerRunner(web.Server(made._handle, access_log=None), shutdown_timeout=1.0)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context or True)) as session:
            made._session = session
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            made.url = "http://{}:{}".format(*runner.addresses[0][:2])
            try:
                yield made
            finally:
                await runner.cleanup()

    def arm(self, verb: str, kind: Kind, fault: Fault) -> None:
        """The next request of this kind fails."""
        self._armed.append((METHODS[verb], RESOURCES[kind].plural, fault))

    def sever(self, place: str, fault: Fault) -> None:
        """Every request whose path holds `place` fails from now on."""
        self._severed[place] = fault

    def mend(self, place: str) -> None:
        """They are passed on again."""
        self._severed.pop(place, None)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        fault = self._taken(request)
        if fault in STATUS:
            return _refusal(fault)
        if fault is Fault.LOST:
            return await self._silence(request)
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW)
        status, content_type, answer = await self._forwarded(request, body)
        if fault is Fault.UNANSWERED:
            return await self._silence(request)
        if fault is Fault.CUT:
            return await _half(request, status, answer)
        return web.Response(status=status, body=answer, headers={"Content-Type": content_type})

    def _taken(self, request: web.BaseRequest) -> Fault | None:
        severed = next((fault for place, fault in self._severed.items() if place in request.path), None)
        if severed is not None:
            return severed
        for armed in self._armed:
            method, plural, fault = armed
            if request.method == method and plural in request.path.split("/"):
                self._armed.remove(armed)
                self.struck += 1
                return fault
        return None

    async def _forwarded(self, request: web.BaseRequest, body: bytes) -> tuple[int, str, bytes]:
        assert self._session is not None
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        async with self._session.request(
            request.method, self.upstream + request.raw_path, data=body or None, headers=headers, allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Content-Type", "application/json"), await response.read()

    async def _silence(self, request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(self.timeout + SLOW)
        return _cut(request)


def _refusal(fault: Fault) -> web.Response:
    status = STATUS[fault]
    if fault is Fault.BROKEN:
        return web.Response(status=status, text="<html>Internal Server Error</html>", content_type="text/html")
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(fault), "code": status}
    headers = {"Retry-After": "1"} if fault is Fault.THROTTLED else {}
    return web.Response(status=status, body=json.dumps(told).encode(), headers=headers, content_type="application/json")


async def _half(request: web.BaseRequest, status: int, answer: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={"Content-Length": str(len(answer))})
    # Whoever asked may have gone already.
    with contextlib.suppress(ConnectionResetError):
        await response.prepare(request)
        await response.write(answer[: len(answer) // 2])
    _cut(request)
    return response


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
