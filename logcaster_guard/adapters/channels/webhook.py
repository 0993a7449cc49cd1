"""A generic channel: each notice as one JSON document, POSTed to a URL.

The document: `id`, `at` (ISO 8601 UTC), `event`, `severity` (`info`, `warning`, `critical`), `title`, `text`, `target`,
`namespace`, `deployment`, `run` (strings, empty where they do not apply) and `facts` (an object of strings). The header
`Idempotency-Key` carries the notice's id: a receiver that sees it twice shows it once.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any
from urllib.parse import quote

from pydantic import Field

from logcaster_guard.adapters.plugin_types import ChannelPlugin, ChannelSection, ChannelServices
from logcaster_guard.adapters.posting import Poster, judged
from logcaster_guard.domain.notices import Delivery, Notice
from logcaster_guard.fields.section import Duration, SecretSource, SecretUrl


class WebhookSection(ChannelSection):
    """A channel that takes notices as JSON."""

    url: SecretUrl = Field(
        description=(
            "in clear only if nothing in it is secret: no query, no token in the path, none of "
            "the chat services whose address is the secret"
        )
    )
    token: SecretSource | None = Field(default=None, description="bearer token")
    timeout: Duration = Field(default=10.0, description="for a whole answer")


class Webhook:
    """The `Channel` port on an HTTP endpoint.

    Address and token are read for every delivery; neither ever appears in a delivery's detail. What an answer means:
    `posting.judged`.
    """

    def __init__(self, section: WebhookSection, services: ChannelServices) -> None:
        self._name = section.name
        token = None if section.token is None else section.token.read
        self._poster = Poster(section.url.read, token, section.timeout, services)

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


PLUGIN = ChannelPlugin(
    key="webhooks",
    section=WebhookSection,
    noun="webhooks",
    meaning="channels that take messages as JSON, at most 20",
    make=Webhook,
)
