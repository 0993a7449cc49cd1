"""A generic channel: each notice as one JSON document, POSTed to a URL.

The document: `id`, `at` (ISO 8601 UTC), `event`, `severity` (`info`, `warning`, `critical`), `title`, `text`, `target`,
`namespace`, `deployment`, `run` (strings, empty where they do not apply) and `facts` (an object of strings). The header
`Idempotency-Key` carries the notice's id: a receiver that sees it twice shows it once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx

from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater, Undeliverable

ANSWER_CAP = 65_536
"""Bytes of an answer's body that are read, so that the connection can be used again; past them it is closed."""

_HOST = re.compile(rb"[A-Za-z0-9._-]{1,253}")

Reader = Callable[[], str]
"""Gives a secret's present text; may block shortly, may raise `OSError` or `ValueError`."""


class Webhook:
    """The `Channel` port on an HTTP endpoint.

    `url` and `token` are read for every delivery, so that a rotated secret is taken up; neither ever appears in a
    delivery's detail. `timeout` is in seconds, for the whole exchange. `proxy` is a URL; the environment's is ignored.
    2xx is delivered; 408, 429, 5xx and whatever fails on the way is tried later, after Retry-After where given; any
    other answer, redirects included, is final.
    """

    def __init__(
        self,
        name: str,
        url: Reader,
        token: Reader | None = None,
        *,
        timeout: float = 10.0,
        proxy: str | None = None,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._name = name
        self._url = url
        self._token = token
        self._timeout = timeout
        self._now = now
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            proxy=proxy,
            timeout=timeout,
            verify=tls or ssl.create_default_context(),
            headers={"User-Agent": "logcaster-guard", "Accept-Encoding": "identity"},
        )

    @property
    def name(self) -> str:
        """The channel's name in the settings."""
        return self._name

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once; every outcome is a value."""
        delivery: Delivery | None = None
        try:
            async with asyncio.timeout(self._timeout):
                url, headers = await asyncio.to_thread(self._secrets)
                headers["Idempotency-Key"] = _header(notice.id)
                headers["Content-Type"] = "application/json"
                content = json.dumps(document(notice)).encode()
                async with self._client.stream("POST", url, content=content, headers=headers) as response:
                    delivery = self._judge(response)
                    await _drain(response)
        except _Unusable as error:
            return TryLater(str(error))
        except TimeoutError:
            return delivery or TryLater(f"no answer within {self._timeout:g} s")
        except httpx.HTTPError as error:
            return delivery or TryLater(_cause(error))
        return delivery

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _secrets(self) -> tuple[httpx.URL, dict[str, str]]:
        try:
            text = self._url().strip()
            token = None if self._token is None else self._token().strip()
        except (OSError, ValueError) as error:
            # The message of a ValueError may quote what was read.
            raise _Unusable(f"the webhook's URL or token cannot be read ({type(error).__name__})") from error
        if token is not None and (not token or not token.isascii() or not token.isprintable()):
            raise _Unusable("the webhook's token is empty or holds characters that a header cannot carry")
        return _checked(text), {} if token is None else {"Authorization": f"Bearer {token}"}

    def _judge(self, response: httpx.Response) -> Delivery:
        status = response.status_code
        said = f"HTTP {status}"
        if 200 <= status < 300:
            return Delivered()
        if status in {408, 429} or status >= 500:
            return TryLater(said, self._retry_after(response.headers.get("Retry-After", "")))
        if 300 <= status < 400:
            return Undeliverable(f"{said}: redirects are not followed, set the final URL")
        if status in {401, 403}:
            return Undeliverable(f"{said}: the receiver refuses the token or the URL, renew them")
        return Undeliverable(f"{said}: the receiver refuses the notice")

    def _retry_after(self, text: str) -> float | None:
        """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3), never negative; None if unusable."""
        text = text.strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - self._now()).total_seconds()
        return max(0.0, math.ceil(seconds))


class _Unusable(Exception):
    """The settings' secrets cannot be used as they are; they may be mended while the guard runs."""


def document(notice: Notice) -> dict[str, Any]:
    """The notice as it is sent; the module's docstring tells the shape."""
    return {
        "id": notice.id,
        "at": notice.at.astimezone(UTC).isoformat(),
        "event": notice.event,
        "severity": notice.severity.value,
        "title": notice.title,
        "text": notice.text,
        "target": notice.target,
        "namespace": notice.namespace,
        "deployment": notice.deployment,
        "run": notice.run,
        "facts": dict(notice.facts),
    }


def _checked(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise _Unusable("the webhook's URL is malformed: set one that starts with https:// or http://") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise _Unusable("the webhook's URL must start with https:// or http:// and name a host")
    if url.port is not None and not 0 < url.port < 65_536:
        raise _Unusable("the webhook's URL names a port that does not exist: use 1 to 65535")
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        if not _HOST.fullmatch(url.raw_host):
            raise _Unusable("the webhook's URL names a host with characters that no name has") from None
        return url
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified:
        raise _Unusable("the webhook's URL names a link-local, multicast or unspecified address, which is refused")
    return url


def _header(text: str) -> str:
    """The text with every character that a header cannot carry percent-encoded."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]~", errors="replace")


async def _drain(response: httpx.Response) -> None:
    seen = 0
    async for chunk in response.aiter_raw():
        seen += len(chunk)
        if seen > ANSWER_CAP:
            return


def _cause(error: BaseException) -> str:
    """The failure in words of our own: those of the client may quote the URL."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            break
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"TLS failure: {link.verify_message}"
        if isinstance(link, ssl.SSLError):
            return "TLS failure"
        link = link.__cause__ or link.__context__
    match error:
        case httpx.TimeoutException():
            return "timed out"
        case httpx.ConnectError():
            return "the receiver cannot be reached"
        case httpx.ProxyError():
            return "the proxy refuses"
        case httpx.RemoteProtocolError():
            return "the receiver broke off or does not speak HTTP"
        case httpx.NetworkError():
            return "the connection was lost"
        case _:
            return f"the exchange failed ({type(error).__name__})"
