"""A generic channel: each notice as one JSON document, POSTed to a URL.

The document: `id`, `at` (ISO 8601 UTC), `event`, `severity` (`info`, `warning`, `critical`), `title`, `text`, `target`,
`namespace`, `deployment`, `run` (strings, empty where they do not apply) and `facts` (an object of strings). The header
`Idempotency-Key` carries the notice's id: a receiver that sees it twice shows it once.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from logcaster_guard.adapters.posting import Poster, Reader, judged
from logcaster_guard.domain.notices import Delivery, Notice


class Webhook:
    """The `Channel` port on an HTTP endpoint.

    `url` and `token` are read for every delivery; neither ever appears in a delivery's detail. `timeout` is in seconds,
    for the whole exchange. `proxy` is a URL; the environment's is ignored. What an answer means: `posting.judged`.
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
        self._poster = Poster(url, token, timeout=timeout, proxy=proxy, tls=tls, now=now)

    @property
    def name(self) -> str:
        """The channel's name in the settings."""
        return self._name

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once; every outcome is a value."""
        return judged(await self._poster.post(document(notice), {"Idempotency-Key": _header(notice.id)}))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._poster.aclose()


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


def _header(text: str) -> str:
    """The text with every character that a header cannot carry percent-encoded."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]~", errors="replace")
