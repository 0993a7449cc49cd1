"""What people are told, independent of the channel that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from logcaster_guard.domain.message import Headline, Reason
from logcaster_guard.domain.releases import LEFT_OUT


class Severity(StrEnum):
    """How loudly a notice speaks."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Silence(StrEnum):
    """What it means if nobody answers a question."""

    CONSENT = "consent"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Notice:
    """What a channel carries. `id` is unique for ever: a channel that sees it twice shows it once.

    `title` and `text` are the words of `message`, English until a channel's language is known; notices of earlier
    versions have no message.

    `event` is the log event's name (`run.opened`, `trigger.refused`, …), `facts` the evidence as short strings.
    `namespace` and `deployment` name the workload, both empty for a notice about the guard itself.
    """

    id: str
    at: datetime
    event: str
    severity: Severity
    title: str
    text: str
    target: str = ""
    namespace: str = ""
    deployment: str = ""
    run: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    message: Headline | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The channel took the notice."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """The channel could not take it now; `after` is in seconds where the channel asked for a wait."""

    detail: Reason
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The channel will never take this notice."""

    detail: Reason


Delivery = Delivered | TryLater | Undeliverable
