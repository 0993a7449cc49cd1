"""One bounded HTTP GET: a total deadline, a byte cap before and after decompression, no redirects, no retries.

Every request has a connection of its own. A kept one may be closed by the server at the moment it is used again,
which looks like a failing server, and it would ask the same pod behind a Service for ever.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import httpx

from logcaster_guard import __version__
from logcaster_guard.adapters.failures import Failure, failure_of
from logcaster_guard.adapters.outgoing import transport
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.exchange_faults import AnswerTooLarge, CutShort, NotHttp, ThroughProxy, UrlUnusable

_DECODERS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. `elapsed` is seconds from the start of the request to the last byte, on the caller's clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float


class Fetcher:
    """Fetches URLs over one `httpx.AsyncClient`.

    `timeout` (seconds) bounds a whole exchange, name resolution and a drip-fed body included; `max_bytes` the body. The
    environment's proxies are ignored; `proxy` is the only one. `ca_file` replaces the public certificate authorities.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        timeout: float,
        max_bytes: int,
        proxy: str | None = None,
        ca_file: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        for name in ("httpx", "httpcore"):  # both log whole URLs, credentials included
            logging.getLogger(name).setLevel(logging.WARNING)
        self._monotonic = monotonic
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._proxied = proxy is not None
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            transport=transport(
                proxy=proxy,
                verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            ),
            # Earlier than the whole: that tells a proxy that does not answer from a server that hangs.
            timeout=httpx.Timeout(None, connect=timeout * 0.9),
            headers={
                "User-Agent": f"logcaster-guard/{__version__}",
                "Accept-Encoding": "identity",
                **(headers or {}),
            },
        )
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def get(self, url: str, *, decode: bool = True, until: float | None = None) -> Answer | Failure:
        """GET `url`. A Failure is only for what kept the answer from being complete; any status is an answer.

        `decode` undoes the Content-Encoding. `until` is a deadline on the event loop's clock, if earlier than the
        timeout.
        """
        started = self._monotonic()
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline if until is None else min(until, deadline)):
                async with self._client.stream("GET", url) as response:
                    body = await self._body(response, decode=decode)
                return Answer(response.status_code, response.headers, body, self._monotonic() - started)
        except _TooLargeError:
            return Failure(Fault.TOO_LARGE, AnswerTooLarge(self._max_bytes))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return Failure(Fault.UNREACHABLE, UrlUnusable(), local=True)
        except httpx.RemoteProtocolError as error:
            return _protocol_failure(error)
        except (httpx.HTTPError, OSError, zlib.error) as error:
            return self._connection_failure(error)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    def _connection_failure(self, error: Exception) -> Failure:
        failure = failure_of(error)
        if self._proxied and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return Failure(failure.fault, ThroughProxy(failure.detail), local=True)
        return failure

    async def _body(self, response: httpx.Response, *, decode: bool) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        inflate = None
        if decode and encoding != "identity":
            if encoding not in _DECODERS:
                raise zlib.error("a Content-Encoding that was not asked for")
            inflate = zlib.decompressobj(_DECODERS[encoding])
        received, body = 0, bytearray()
        async for chunk in response.aiter_raw():
            received += len(chunk)
            if received > self._max_bytes:
                raise _TooLargeError
            body += chunk if inflate is None else inflate.decompress(chunk, self._max_bytes + 1 - len(body))
            if len(body) > self._max_bytes:
                raise _TooLargeError
        if inflate is not None and not inflate.eof:
            raise zlib.error("the compressed body is incomplete")
        return bytes(body)


class _TooLargeError(Exception):
    """The body passed the cap."""


def _protocol_failure(error: httpx.RemoteProtocolError) -> Failure:
    text = str(error)
    if "disconnected" in text or "closed connection" in text:
        return Failure(Fault.TRUNCATED, CutShort())
    return Failure(Fault.MALFORMED, NotHttp(""))
