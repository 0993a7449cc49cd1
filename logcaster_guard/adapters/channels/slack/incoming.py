"""Slack's incoming webhooks: each notice is one POST to an address that is the secret.

They take no idempotency key, so what is sent twice is shown twice. A notice is sent again only where no answer came, or
one that says to: a time-out after the request had left whole is ambiguous, and the repeat then says on its face that it
may be one. The other way to a second copy is a guard that ends between Slack's answer and the settlement in its
journal. Each message ends with the notice's id, by which people tell two copies from two events. `web_api` can look
first, and shows each notice once.
"""

from __future__ import annotations

import json

from logcaster_guard.adapters.channels.slack.messages import message
from logcaster_guard.adapters.channels.slack.section import SlackSection
from logcaster_guard.adapters.plugin_types import ChannelServices
from logcaster_guard.adapters.posting import Answer, Poster, Reader, Unanswered, judged
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater, Undeliverable
from logcaster_guard.messages.channel_faults import MayBeShown, SlackNotOk, SlackRefuses, SlackWithoutOk

_REFUSALS = frozenset(
    {
        b"no_service",
        b"no_service_id",
        b"no_team",
        b"team_disabled",
        b"invalid_token",
        b"no_active_hooks",
        b"action_prohibited",
        b"posting_to_general_channel_denied",
        b"channel_not_found",
        b"channel_is_archived",
        b"user_not_found",
        b"invalid_payload",
        b"invalid_blocks",
        b"no_text",
    }
)
"""What Slack says in the body of a refusal; its other texts are not repeated."""


class Slack:
    """The `Channel` port on one of Slack's incoming webhooks.

    `url` is read for every delivery and never appears in a delivery's detail. `texts` are those of the labels; the
    notice's own words come as they are. Beyond `posting.judged`: a 200 counts only with Slack's `ok`, as a portal on
    the way answers 200 too.
    """

    def __init__(self, section: SlackSection, url: Reader, services: ChannelServices) -> None:
        self._name = section.name
        self._texts = services.texts
        self._poster = Poster(url, None, section.timeout, services)
        self._unsure = ""

    @property
    def name(self) -> str:
        """The channel's name in the settings."""
        return self._name

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once; every outcome is a value."""
        repeated = self._unsure == notice.id
        answer = await self._poster.post(message(notice, self._texts, repeated=repeated), {})
        if isinstance(answer, Unanswered) and answer.sent:
            self._unsure = notice.id
            return TryLater(MayBeShown(answer.detail))
        delivery = _judged(answer)
        if not isinstance(delivery, TryLater):
            self._unsure = ""
        return delivery

    async def aclose(self) -> None:
        """Close the connections."""
        await self._poster.aclose()


def _judged(answer: Answer | Unanswered) -> Delivery:
    delivery = judged(answer)
    if isinstance(answer, Unanswered):
        return delivery
    said = answer.body.strip()
    if isinstance(delivery, Undeliverable) and said in _REFUSALS:
        return Undeliverable(SlackRefuses(answer.status, said.decode()))
    # Slack answers when the message is posted: a body that breaks off does not undo that.
    if not isinstance(delivery, Delivered) or said == b"ok" or not answer.whole:
        return delivery
    ok = _ok(said)
    if ok is None:
        return TryLater(SlackWithoutOk(answer.status))
    return delivery if ok else Undeliverable(SlackNotOk(answer.status))


def _ok(body: bytes) -> bool | None:
    """What the Web API's way of answering says; None for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    ok = answer.get("ok") if isinstance(answer, dict) else None
    return ok if isinstance(ok, bool) else None
