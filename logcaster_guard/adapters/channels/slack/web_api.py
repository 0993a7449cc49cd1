"""Slack's Web API with an app's token: each notice is shown once, whatever happens on the way.

`chat.postMessage` takes no idempotency key either, but the app can read what stands in the channel. Each message
carries the notice's id as its metadata (docs.slack.dev, "Using message metadata"). Where a notice may have been posted
before (no answer came after the request had left, or it is older than this process), `conversations.history` is asked
for that id first. The app needs the scopes `chat:write` and `channels:history` (`groups:history` in a private channel).
"""

from __future__ import annotations

import json
from typing import Any

from logcaster_guard.adapters.channels.slack.messages import message
from logcaster_guard.adapters.channels.slack.section import SlackSection
from logcaster_guard.adapters.plugin_types import ChannelServices
from logcaster_guard.adapters.posting import ANSWER_CAP, Answer, Poster, Reader, Unanswered, judged
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, TryLater, Undeliverable
from logcaster_guard.messages.channel_faults import LookedUpFirst, NotOfSlack, ShownUnknown, SlackRefusesNow, SlackSays

EVENT_TYPE = "logcaster_guard_notice"
"""`event_type` of the messages' metadata; `event_payload.id` is the notice's id."""

PAGE = 100
PAGES = 10
"""Messages asked for at once, and pages that are looked through at most: no channel of alerts is busier than that."""

_CLOCKS = 300.0
"""Seconds by which Slack's clock may be behind: messages from so long before the notice are looked through as well."""

_HISTORY_CAP = 8 << 20
_FINAL = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "restricted_action",
        "invalid_blocks",
        "msg_too_long",
    }
)
"""What `chat.postMessage` says in `error`, and means for good; its other words are tried later, as they may pass."""


class SlackApp:
    """The `Channel` port on one of Slack's channels, by an app's token.

    `token` is read for every request and never appears in a delivery's detail. `channel` is the channel's id. The
    section's `timeout` is for one exchange. The services' `now` also tells when this process began.
    """

    def __init__(self, section: SlackSection, token: Reader, channel: str, services: ChannelServices) -> None:
        self._name = section.name
        self._channel = channel
        self._texts = services.texts
        self._began = services.now()
        self._unsure = ""

        def poster(method: str, cap: int = ANSWER_CAP) -> Poster:
            url = f"{section.api.rstrip('/')}/{method}"
            return Poster(lambda: url, token, section.timeout, services, answer_cap=cap)

        self._post = poster("chat.postMessage")
        self._history = poster("conversations.history", _HISTORY_CAP)

    @property
    def name(self) -> str:
        """The channel's name in the settings."""
        return self._name

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once; every outcome is a value. One that stands in the channel already is delivered."""
        repeated = False
        if self._unsure == notice.id or notice.at < self._began:
            stands = await self._stands(notice)
            if stands is True:
                self._unsure = ""
                return Delivered()
            if isinstance(stands, TryLater):
                return stands
            repeated = stands is None
        body = message(notice, self._texts, repeated=repeated)
        mark = {"event_type": EVENT_TYPE, "event_payload": {"id": notice.id}}
        answer = await self._post.post({"channel": self._channel, **body, "metadata": mark}, {})
        if isinstance(answer, Unanswered) and answer.sent:
            self._unsure = notice.id
            return TryLater(LookedUpFirst(answer.detail))
        return _posted(answer)

    async def _stands(self, notice: Notice) -> bool | TryLater | None:
        """Whether the notice stands in the channel; None where the app may not look, and people have to."""
        oldest, cursor = notice.at.timestamp() - _CLOCKS, ""
        for _ in range(PAGES):
            wanted = {
                "channel": self._channel,
                "oldest": f"{oldest:.6f}",
                "limit": str(PAGE),
                "include_all_metadata": "true",
                **({"cursor": cursor} if cursor else {}),
            }
            answer = await self._history.post_form(wanted)
            page = _parsed(answer)
            if page is None:
                said = judged(answer)
                if isinstance(said, Delivered):
                    return TryLater(ShownUnknown(""))
                return TryLater(ShownUnknown(said.detail), said.after if isinstance(said, TryLater) else None)
            if page.get("ok") is not True:
                return None
            if any(_id_of(m) == notice.id for m in page.get("messages") or []):
                return True
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return False
        return None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._post.aclose()
        await self._history.aclose()


def _posted(answer: Answer | Unanswered) -> Delivery:
    delivery = judged(answer)
    if not isinstance(delivery, Delivered):
        return delivery
    page = _parsed(answer)
    if page is None:
        return TryLater(NotOfSlack())
    if page.get("ok") is True:
        return delivery
    error = str(page.get("error"))
    if error in _FINAL:
        return Undeliverable(SlackSays(error))
    return TryLater(SlackRefusesNow())


def _parsed(answer: Answer | Unanswered) -> dict[str, Any] | None:
    """What a method of the Web API answered; None for anything else."""
    if isinstance(answer, Unanswered) or answer.status != 200 or not answer.whole:
        return None
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("ok"), bool) else None


def _id_of(shown: Any) -> str | None:  # noqa: ANN401 - raw JSON
    mark = shown.get("metadata") if isinstance(shown, dict) else None
    if not isinstance(mark, dict) or mark.get("event_type") != EVENT_TYPE:
        return None
    payload = mark.get("event_payload")
    return str(payload.get("id")) if isinstance(payload, dict) else None
