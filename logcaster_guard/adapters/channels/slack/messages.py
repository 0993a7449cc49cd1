"""A notice as one of Slack's messages: blocks within Slack's limits, in which foreign text is only text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.messages.texts import Texts, english

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
    "attribution",
)
_TOLD_ELSEWHERE = frozenset({*_SHOWN, "outcome", "frozen", "plan", "detail", "hold", "object", "written", "original"})
_WAYS_TO_ANSWER = frozenset(
    {"until", "silence", "veto", "veto_command", "approve", "approve_command", "resume", "resume_command", "annotation"}
)
_NOT_MEASURED = _TOLD_ELSEWHERE | _WAYS_TO_ANSWER | {"channel", "notice", "source", "fault", "cause", "suspects"}
_MENTION = re.compile(r"@(?=(?:channel|here|everyone|group)\b)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_NO_ENTITIES = str.maketrans({"<": "\u2039", ">": "\u203a"})


def message(notice: Notice, texts: Texts | None = None, *, repeated: bool = False) -> dict[str, object]:
    """The notice as Slack takes it, within its limits. `text` is what notifications on a screen show."""
    texts = texts or english()
    title = f"{_MARKS[notice.severity]} {_line(notice.title) or notice.event}"
    blocks: list[object] = [{"type": "header", "text": {"type": "plain_text", "text": header(title), "emoji": False}}]
    if notice.text.strip():
        blocks.append({"type": "section", "text": _mrkdwn(mrkdwn(notice.text.strip(), TEXT_LENGTH))})
    fields = [
        _mrkdwn(f"*{name}*\n{value}")
        for key, value in _fields(notice, texts)
        if value and (name := texts.label(key, notice))
    ]
    blocks += [{"type": "section", "fields": fields[i : i + FIELDS]} for i in range(0, len(fields), FIELDS)]
    detail = notice.facts.get("detail", "").strip()
    if detail and detail not in notice.text:
        blocks.append(
            {"type": "section", "text": _mrkdwn(f"*{texts.labels['detail']}*\n{mrkdwn(detail, FIELD_LENGTH)}")}
        )
    notes = [
        *([texts.labels["repeated"]] if repeated else []),
        f"{_instant(notice.at)} · {mrkdwn(_line(notice.id), 500)}",
    ]
    blocks.append({"type": "context", "elements": [_mrkdwn(note) for note in notes]})
    fallback = mrkdwn(f"{title}: {_line(notice.text)}", TEXT_LENGTH)
    return {"text": fallback, "blocks": blocks[:BLOCKS], "unfurl_links": False, "unfurl_media": False}


def _fields(notice: Notice, texts: Texts) -> Iterator[tuple[str, str]]:
    facts = notice.facts
    values = {**facts, "target": notice.target, "state": texts.state(notice)}
    for key in _SHOWN:
        if key == "measured":
            yield key, _measured(facts, texts.labels["more"])
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
