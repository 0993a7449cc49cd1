"""The line that the log has for each fact of the journal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from dataclasses import fields as fields_of
from typing import Any

import structlog

from logcaster_guard.domain.events import (
    AnswerDenied,
    Event,
    NoticeQueued,
    RevisionConfigured,
    RevisionLive,
    RevisionSeeded,
    RunOpened,
)
from logcaster_guard.domain.message import Message
from logcaster_guard.messages.runs import asked, left_in_place
from logcaster_guard.messages.texts import english

_UNKNOWN = frozenset({"configuration", "readable"})
"""What is left out where it is empty."""
_UNTOLD = frozenset({"at", "plan", "blob", "uid", "holds", "target", "contents", "manifests"})


def write(log: structlog.typing.FilteringBoundLogger, event: Event, *, target: str | None) -> None:
    """Log the fact under its name; `target` is the key of the one that it is about, if it is about one."""
    say = log.warning if isinstance(event, AnswerDenied) else log.info
    say(event_name(event), **({"target": target} if target else {}), **_fields(event))


def _fields(event: Event) -> dict[str, Any]:
    if isinstance(event, NoticeQueued):
        return {"notice": event.notice.id, "about": event.notice.event, "title": event.notice.title}
    told = {f.name: shown(getattr(event, f.name)) for f in fields_of(event)}
    fields = {k: v for k, v in told.items() if v is not None and v != () and k not in _UNTOLD}
    if isinstance(event, RunOpened):
        plan = event.plan
        fields |= {
            "strategy": plan.strategy,
            "plan": plan.digest,
            "from_images": plan.from_images,
            "to_images": plan.to_images,
            "steps": [s.kind for s in plan.steps],
            **_question(event),
        }
        fields |= {"unrestored": shown(plan.unrestored)} if plan.unrestored else {}
        fields |= {} if plan.leftover is None else {"leftover": english().text(left_in_place(plan.leftover))}
    if isinstance(event, RevisionLive | RevisionConfigured | RevisionSeeded):
        fields["template"] = event.template[:12]
    return {name: value for name, value in fields.items() if value or name not in _UNKNOWN}


def shown(value: Any) -> Any:  # noqa: ANN401 - any field of an event
    """The value as the log tells it: messages in English, dataclasses as mappings."""
    if isinstance(value, Message):
        return english().text(value)
    if isinstance(value, Mapping):
        return {name: shown(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(shown, value))
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _question(event: RunOpened) -> dict[str, str]:
    """Until when people are asked, what it means if they do not answer, and how they answer."""
    question = asked(event)
    names = {"until": "until", "silence": "silence", "veto_command": "veto", "approve_command": "approve"}
    return {} if question is None else {name: question.facts[fact] for fact, name in names.items()}


def event_name(event: Event) -> str:
    """The log's name of a fact: `TriggerFired` is `trigger.fired`."""
    words = re.findall(r"[A-Z][a-z]*", type(event).__name__)
    return f"{words[0]}.{'_'.join(words[1:])}".lower()
