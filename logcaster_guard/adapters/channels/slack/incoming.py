"""Slack's incoming webhooks: each notice is one POST to an address that is the secret.

They take no idempotency key, so what is sent twice is shown twice. A notice is sent again only where no answer came, or
one that says to: a time-out after the request had left whole is ambiguous, and the repeat then says on its face that it
may be one. The other way to a second copy is a guard that ends between Slack's answer and the settlement in its
journal. Each message ends with the notice's id, by which people tell two copies from two events. `web_api` can look
first, and shows each notice once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from logcaster_guard.adapters.channels.slack.messages import message
from logcaster_guard.adapters.channels.slack.section import SlackSection
from logcaster_guard.adapters.plugin_types import ChannelServices
from logcaster_guard.adapters.posting import Answer, Poster, Reader, Unanswered, judged
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater, Undeliverable

_REFUSALS: Mapping[bytes, str] = {
    b"no_service": "the webhook was removed or switched off: make a new one and set its URL",
    b"no_service_id": "the webhook's URL is not whole: set it anew",
    b"no_team": "the webhook's workspace does not exist: set its URL anew",
    b"team_disabled": "the workspace is switched off",
    b"invalid_token": "the webhook's URL is not valid: set it anew",
    b"no_active_hooks": "the webhook is switched off: switch it on, or make a new one",
    b"action_prohibited": "an administrator forbids this webhook to post here",
    b"posting_to_general_channel_denied": "this webhook may not post to the general channel: choose another one",
    b"channel_not_found": "the webhook's channel does not exist: make a new webhook",
    b"channel_is_archived": "the webhook's channel is archived: choose another one",
    b"user_not_found": "the webhook's user does not exist: make a new webhook",
    b"invalid_payload": "Slack cannot read the message",
    b"invalid_blocks": "Slack cannot read the message",
    b"no_text": "Slack cannot read the message",
}
"""What Slack says in the body of a refusal, in words; its other texts are not repeated."""


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
            return TryLater(f"{answer.detail}; Slack may show the message all the same")
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
        return Undeliverable(f"HTTP {answer.status} {said.decode()}: {_REFUSALS[said]}")
    # Slack answers when the message is posted: a body that breaks off does not undo that.
    if not isinstance(delivery, Delivered) or said == b"ok" or not answer.whole:
        return delivery
    ok = _ok(said)
    if ok is None:
        return TryLater(f'HTTP {answer.status} without Slack\'s "ok": is the URL that of an incoming webhook?')
    return delivery if ok else Undeliverable(f"HTTP {answer.status} and not ok: set the URL of an incoming webhook")


def _ok(body: bytes) -> bool | None:
    """What the Web API's way of answering says; None for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    ok = answer.get("ok") if isinstance(answer, dict) else None
    return ok if isinstance(ok, bool) else None
