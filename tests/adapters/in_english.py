"""What a source or a channel answered, with its detail in English."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from logcaster_guard.domain.notices import Delivery, TryLater, Undeliverable
from logcaster_guard.domain.signals import NoData, Reading, SourceError
from logcaster_guard.messages.texts import english

Answer = TypeVar("Answer", bound=Reading | Delivery)


def in_english(answer: Answer) -> Answer:
    """The same, to be compared with words."""
    if isinstance(answer, NoData | SourceError | TryLater | Undeliverable):
        return replace(answer, detail=english().text(answer.detail))
    return answer
