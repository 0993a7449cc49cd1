"""One bounded HTTP POST of a JSON document to somebody's channel, and what its outcome means for the notice.

A total deadline, a byte cap on the answer, no redirects, no retries: trying again is the outbox's. Nothing of the URL,
the token or the answer's text stands in an outcome's detail.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from logcaster_guard.adapters.failures import retry_after
from logcaster_guard.adapters.outgoing import AddressRefused, transport
from logcaster_guard.adapters.plugin_types import ChannelServices
from logcaster_guard.domain.addresses import refusal
from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.notices import Delivered, Delivery, TryLater, Undeliverable
from logcaster_guard.messages.channel_faults import (
    Advice,
    ChannelTokenUnusable,
    ChannelUrlForbidden,
    ChannelUrlUnusable,
    ExchangeBroken,
    ExchangeFailed,
    ExchangeFault,
    NoAnswerWithin,
    ReceiverAnswered,
    ReceiverRefuses,
    UrlFault,
)

ANSWER_CAP = 65_536
"""Bytes of an answer's body that are read, so that the connection can be used again; past them it is closed."""

LONGEST_WAIT = 999_999_999.0
"""Seconds of a Retry-After; the outbox bounds its own waits."""

_HOST = re.compile(rb"[A-Za-z0-9._-]{1,253}")

Reader = Callable[[], str]
"""Gives a secret's present text; may block shortly, may raise `SecretUnreadable`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said.

    `body` holds at most as many bytes as the `Poster` reads; `whole` is False where more was coming. `retry_after` is
    in seconds.
    """

    status: int
    body: bytes
    whole: bool
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer. `sent`: the request had left whole, so the receiver may have taken the notice all the same."""

    detail: Reason
    sent: bool = False


class Poster:
    """POSTs JSON documents to one URL.

    `url` and `token` are read for every request, so that a rotated secret is taken up. `timeout` is in seconds, for the
    whole exchange. Of an answer's body `answer_cap` bytes are read.
    """

    def __init__(
        self,
        url: Reader,
        token: Reader | None,
        timeout: float,
        services: ChannelServices,
        *,
        answer_cap: int = ANSWER_CAP,
    ) -> None:
        self._url = url
        self._answer_cap = answer_cap
        self._token = token
        self._timeout = timeout
        self._now = services.now
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            transport=transport(proxy=services.proxy, verify=services.tls or ssl.create_default_context()),
            timeout=timeout,
            headers={"User-Agent": "logcaster-guard", "Accept-Encoding": "identity"},
        )

    async def post(self, document: Mapping[str, object], headers: Mapping[str, str]) -> Answer | Unanswered:
        """Try once; every outcome is a value. An answer counts from its status on, whatever becomes of its body."""
        return await self._send(json.dumps(document).encode(), {"Content-Type": "application/json", **headers})

    async def post_form(self, fields: Mapping[str, str]) -> Answer | Unanswered:
        """As `post`, with the fields of an HTML form."""
        return await self._send(urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"})

    async def _send(self, content: bytes, headers: Mapping[str, str]) -> Answer | Unanswered:
        exchange = _Exchange(self._answer_cap)
        try:
            async with asyncio.timeout(self._timeout):
                url, own = await asyncio.to_thread(self._secrets)
                async with self._client.stream(
                    "POST",
                    url,
                    content=content,
                    headers={**own, **headers},
                    extensions={"trace": exchange.trace},
                ) as response:
                    exchange.response = response
                    await exchange.read()
        except _Unusable as error:
            return Unanswered(error.reason)
        except TimeoutError:
            return self._answer(exchange) or Unanswered(NoAnswerWithin(self._timeout), exchange.sent)
        except httpx.HTTPError as error:
            return self._answer(exchange) or Unanswered(_cause(error), exchange.sent)
        return self._answer(exchange) or Unanswered(ExchangeBroken(ExchangeFault.BROKE_OFF, ""), exchange.sent)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _answer(self, exchange: _Exchange) -> Answer | None:
        if exchange.response is None:
            return None
        wait = retry_after(exchange.response.headers.get("Retry-After"), self._now(), LONGEST_WAIT)
        return Answer(exchange.response.status_code, bytes(exchange.body), exchange.whole, wait)

    def _secrets(self) -> tuple[httpx.URL, dict[str, str]]:
        try:
            text = self._url().strip()
            token = None if self._token is None else self._token().strip()
        except SecretUnreadable as error:
            raise _Unusable(error.reason) from error
        if token is not None and (not token or not token.isascii() or not token.isprintable()):
            raise _Unusable(ChannelTokenUnusable())
        return _checked(text), {} if token is None else {"Authorization": f"Bearer {token}"}


class _Exchange:
    """One request on its way: what is known of it when it ends, however it ends."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self.sent = False
        self.response: httpx.Response | None = None
        self.body = bytearray()
        self.whole = False

    async def trace(self, event: str, info: object) -> None:
        """Called by the transport at each stage of the request."""
        del info
        self.sent = self.sent or event.endswith(".send_request_body.complete")

    async def read(self) -> None:
        if self.response is None:
            return
        async for chunk in self.response.aiter_raw():
            self.body += chunk[: self._cap - len(self.body)]
            if len(self.body) >= self._cap:
                return
        self.whole = True


def judged(answer: Answer | Unanswered) -> Delivery:
    """What the outcome means, by its status alone.

    2xx is delivered; 408, 429, 5xx and whatever fails on the way is tried later, after Retry-After where given; any
    other answer, redirects included, is final.
    """
    if isinstance(answer, Unanswered):
        return TryLater(answer.detail)
    status = answer.status
    if 200 <= status < 300:
        return Delivered()
    if status in {408, 429} or status >= 500:
        return TryLater(ReceiverAnswered(status), answer.retry_after)
    if 300 <= status < 400:
        return Undeliverable(ReceiverRefuses(status, Advice.SET_FINAL_URL))
    if status in {401, 403}:
        return Undeliverable(ReceiverRefuses(status, Advice.RENEW_SECRETS))
    return Undeliverable(ReceiverRefuses(status, Advice.NONE))


class _Unusable(Exception):
    """The settings' secrets cannot be used as they are; they may be mended while the guard runs."""

    def __init__(self, reason: Reason) -> None:
        super().__init__()
        self.reason = reason


def _checked(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise _Unusable(ChannelUrlUnusable(UrlFault.MALFORMED)) from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise _Unusable(ChannelUrlUnusable(UrlFault.NO_HOST))
    if url.port is not None and not 0 < url.port < 65_536:
        raise _Unusable(ChannelUrlUnusable(UrlFault.NO_SUCH_PORT))
    if (why := refusal(url.host)) is not None:
        raise _Unusable(ChannelUrlForbidden(why))
    if not _is_address(url.host) and not _HOST.fullmatch(url.raw_host):
        raise _Unusable(ChannelUrlUnusable(UrlFault.BAD_HOST))
    return url


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _cause(error: BaseException) -> Message:
    """The failure, as a message of our own: the words of the client may quote the URL."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            break
        if isinstance(link, AddressRefused):
            return link.reason
        if isinstance(link, ssl.SSLCertVerificationError):
            return ExchangeBroken(ExchangeFault.TLS, str(link.verify_message))
        if isinstance(link, ssl.SSLError):
            return ExchangeBroken(ExchangeFault.TLS, "")
        link = link.__cause__ or link.__context__
    match error:
        case httpx.TimeoutException():
            return ExchangeBroken(ExchangeFault.TIMED_OUT, "")
        case httpx.ConnectError():
            return ExchangeBroken(ExchangeFault.UNREACHABLE, "")
        case httpx.ProxyError():
            return ExchangeBroken(ExchangeFault.PROXY_REFUSES, "")
        case httpx.RemoteProtocolError():
            return ExchangeBroken(ExchangeFault.NOT_HTTP, "")
        case httpx.NetworkError():
            return ExchangeBroken(ExchangeFault.LOST, "")
        case _:
            return ExchangeFailed(type(error).__name__)
