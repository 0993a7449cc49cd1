"""Requests to an API server: credentials and certificates as they are now, and answers that are bounded."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes.answers import (
    NoAnswer,
    error_of,
    no_answer,
    parsed,
)
from logcaster_guard.adapters.kubernetes.transport import client_of, contents_of
from logcaster_guard.adapters.skew import ClockSkew
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.cluster_faults import (
    AnswerNoObject,
    ApiAnswerTooLarge,
    CannotAsk,
    EventTooLarge,
)
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Json, Kind

MAX_BYTES = 64 * 1024 * 1024
"""Of one answer, or of all pages of one list, after decompression."""

MAX_LINE = 8 * 1024 * 1024
"""Bytes of one event of a watch: an object of 1 MiB, its JSON, and what kubectl last applied of it."""

RENEW_EVERY = 5.0
"""Seconds between two reloads of credentials that are refused: a kubeconfig may run a program for them."""


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


class Requests:
    """Sends requests. To be made inside the running event loop that uses it, and closed.

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
        self.max_bytes = max_bytes
        self._wall = wall
        self._skew = ClockSkew()
        self._api, self._files = client_of(configuration), contents_of(configuration)
        self._retired: list[ApiClient] = []
        self._renewing = asyncio.Lock()
        self._reloaded = -math.inf

    @property
    def ahead(self) -> float:
        """By how many seconds the API server's clock is ahead of this machine's, at most."""
        return self._skew.ahead

    async def aclose(self) -> None:
        """Release connections."""
        for api in (self._api, *self._retired):
            await api.close()

    async def lines(self, request: Request, silence: float) -> AsyncGenerator[bytes, None]:
        """The lines of an answer as they come; raises a `ClusterError`, also where none comes for `silence` seconds."""
        what = request.what
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

    async def call(self, request: Request) -> tuple[Json, int]:
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
        limit = self.max_bytes if request.max_bytes is None else request.max_bytes
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
