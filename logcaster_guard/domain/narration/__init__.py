"""What people are told, as notices; the words are the same on every channel."""

from logcaster_guard.domain.narration.guard import (
    FAILING,
    GIVEN_UP,
    OF_A_CHANNEL,
    channel_failing,
    guard_notice,
    notice_lost,
    rules_refused,
    rules_reloaded,
)
from logcaster_guard.domain.narration.runs import (
    Question,
    asked,
    ended,
    held_up,
    not_given_back,
    opened,
    owner_not_resumed,
    owner_resumed,
    owner_suspended,
    reminded,
    restored,
)
from logcaster_guard.domain.narration.targets import AFTER, answer_denied, marked, refused, request_refused

__all__ = [
    "AFTER",
    "FAILING",
    "GIVEN_UP",
    "OF_A_CHANNEL",
    "Question",
    "answer_denied",
    "asked",
    "channel_failing",
    "ended",
    "guard_notice",
    "held_up",
    "marked",
    "not_given_back",
    "notice_lost",
    "opened",
    "owner_not_resumed",
    "owner_resumed",
    "owner_suspended",
    "refused",
    "reminded",
    "request_refused",
    "restored",
    "rules_refused",
    "rules_reloaded",
]
