"""Slack: each notice as one message with blocks, POSTed to an incoming webhook.

Slack's incoming webhooks take no idempotency key, so what is sent twice is shown twice. A notice is sent again only
where no answer came, or one that says to: a time-out after the request had left whole is ambiguous, and the repeat then
says on its face that it may be one. The other way to a second copy is a guard that ends between Slack's answer and the
settlement in its journal. Each message ends with the notice's id, by which people tell two copies from two events.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from logcaster_guard.adapters.posting import Answer, Poster, Reader, Unanswered, judged
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.domain.translation import LABELS, Language, state

HEADER_LENGTH = 150
TEXT_LENGTH = 3_000
FIELD_LENGTH = 2_000
FIELDS = 10
BLOCKS = 50
"""Slack's limits: characters of a header, a section's text and a field; fields of a section; blocks of a message."""

MEASURED = 20
"""Readings that are shown; there may be a hundred signals."""

_MARKS: Mapping[Severity, str] = {
    Severity.INFO: "\N{LARGE GREEN CIRCLE}",
    Severity.WARNING: "\N{LARGE ORANGE CIRCLE}",
    Severity.CRITICAL: "\N{LARGE RED CIRCLE}",
}
_SHOWN = (
    "rule",
    "condition",
    "measured",
    "from",
    "to",
    "version",
    "state",
    "since",
    "target",
    "strategy",
    "guardrails",
)
_TOLD_ELSEWHERE = frozenset({*_SHOWN, "outcome", "frozen", "plan", "detail", "hold", "object", "written", "original"})
_WAYS_TO_ANSWER = frozenset(
    {"until", "veto", "veto_command", "approve", "approve_command", "resume", "resume_command", "annotation"}
)
_NOT_MEASURED = _TOLD_ELSEWHERE | _WAYS_TO_ANSWER | {"channel", "notice", "source", "fault"}
_MENTION = re.compile(r"@(?=(?:channel|here|everyone|group)\b)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_NO_ENTITIES = str.maketrans({"<": "\u2039", ">": "\u203a"})

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

    `url` is read for every delivery and never appears in a delivery's detail. `timeout` is in seconds, for the whole
    exchange. `language` is that of the labels; the notice's own words come as they are. Beyond `posting.judged`: a 200
    counts only with Slack's `ok`, as a portal on the way answers 200 too.
    """

    def __init__(
        self,
        name: str,
        url: Reader,
        *,
        language: Language = Language.ENGLISH,
        timeout: float = 10.0,
        proxy: str | None = None,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._name = name
        self._language = language
        self._poster = Poster(url, None, timeout=timeout, proxy=proxy, tls=tls, now=now)
        self._unsure = ""

    @property
    def name(self) -> str:
        """The channel's name in the settings."""
        return self._name

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once; every outcome is a value."""
        repeated = self._unsure == notice.id
        answer = await self._poster.post(message(notice, self._language, repeated=repeated), {})
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


def message(notice: Notice, language: Language = Language.ENGLISH, *, repeated: bool = False) -> dict[str, object]:
    """The notice as Slack takes it, within its limits. `text` is what notifications on a screen show."""
    labels = LABELS[language]
    title = f"{_MARKS[notice.severity]} {_line(notice.title) or notice.event}"
    blocks: list[object] = [{"type": "header", "text": {"type": "plain_text", "text": header(title), "emoji": False}}]
    if notice.text.strip():
        blocks.append({"type": "section", "text": _mrkdwn(mrkdwn(notice.text.strip(), TEXT_LENGTH))})
    fields = [
        _mrkdwn(f"*{labels[key]}*\n{value}") for key, value in _fields(notice, language) if value and key in labels
    ]
    blocks += [{"type": "section", "fields": fields[i : i + FIELDS]} for i in range(0, len(fields), FIELDS)]
    detail = notice.facts.get("detail", "").strip()
    if detail and detail not in notice.text:
        blocks.append({"type": "section", "text": _mrkdwn(f"*{labels['detail']}*\n{mrkdwn(detail, FIELD_LENGTH)}")})
    notes = [*([labels["repeated"]] if repeated else []), f"{_instant(notice.at)} · {mrkdwn(_line(notice.id), 500)}"]
    blocks.append({"type": "context", "elements": [_mrkdwn(note) for note in notes]})
    fallback = mrkdwn(f"{title}: {_line(notice.text)}", TEXT_LENGTH)
    return {"text": fallback, "blocks": blocks[:BLOCKS], "unfurl_links": False, "unfurl_media": False}


def _fields(notice: Notice, language: Language) -> Iterator[tuple[str, str]]:
    facts = notice.facts
    values = {**facts, "target": notice.target, "state": state(notice, language)}
    for key in _SHOWN:
        if key == "measured":
            yield key, _measured(facts, LABELS[language]["more"])
        elif key == "since" and key in facts:
            yield key, _since(facts[key])
        else:
            yield key, mrkdwn(_line(values.get(key, "")), FIELD_LENGTH - 100)


def _measured(facts: Mapping[str, str], more: str) -> str:
    readings = [(k, v) for k, v in facts.items() if k not in _NOT_MEASURED]
    shown = [mrkdwn(_line(f"{k} {v}"), 85) for k, v in readings[:MEASURED]]
    left = len(readings) - len(shown)
    return "\n".join([*shown, *([more.format(count=left)] if left else [])])


def header(text: str) -> str:
    """Text for a header, which knows no markup: on one line, without mentions, at most `HEADER_LENGTH` long."""
    plain = _MENTION.sub("@\N{WORD JOINER}", _line(text)).translate(_NO_ENTITIES)
    return "".join(_fitting(list(plain), HEADER_LENGTH))


def mrkdwn(text: str, longest: int) -> str:
    """Text that Slack's markup shows as it is: escaped, no mentions or control characters, at most `longest` long."""
    plain = _MENTION.sub("@\N{WORD JOINER}", "".join(c if c == "\n" or c.isprintable() else " " for c in text))
    return "".join(_fitting([_ENTITIES.get(c, c) for c in plain], longest))


def _fitting(pieces: Sequence[str], longest: int) -> Sequence[str]:
    """The pieces, cut with an ellipsis where they pass `longest` UTF-16 units, the strictest way to count them."""
    total, kept = 0, 0
    for piece in pieces:
        total += len(piece.encode("utf-16-le")) // 2
        if total <= longest - 1:
            kept += 1
    return pieces if total <= longest else [*pieces[:kept], "…"]


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _mrkdwn(text: str) -> dict[str, object]:
    # verbatim: Slack makes no links, channels or mentions of what stands there.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _instant(at: datetime) -> str:
    """The instant in the reader's own time zone, and in UTC where that is not known."""
    utc = at.astimezone(UTC)
    return f"<!date^{int(utc.timestamp())}^{{date_num}} {{time_secs}}|{utc:%Y-%m-%d %H:%M:%S} UTC>"


def _since(text: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return mrkdwn(_line(text), 100)
    return _instant(at if at.tzinfo else at.replace(tzinfo=UTC))
