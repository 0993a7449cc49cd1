"""Notifications between the parts of the engine: nobody who publishes waits for an answer, or knows who listens.

A question, to which there is an answer, is a direct call instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class JournalAppended:
    """Something was appended to this stream of the journal."""

    stream: str


@dataclass(frozen=True, slots=True)
class RunFound:
    """The journal told of an open run that was not known of."""

    stream: str
    run: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run on the target has closed, and none follows from it."""

    target: str


@dataclass(frozen=True, slots=True)
class ReleaseChanged:
    """Another release of the target is live, which the guard did not put there, since `earliest` or later."""

    target: str
    earliest: datetime | None


@dataclass(frozen=True, slots=True)
class RuleRefused:
    """People are told that a firing rule was refused by these guardrails."""

    target: str
    rule: str
    guardrails: tuple[str, ...]


OfTarget = RunEnded | ReleaseChanged | RuleRefused
Message = JournalAppended | RunFound | OfTarget
M = TypeVar("M", bound=Message)


class Hub:
    """Hands each message at once to all who have subscribed to it, in the order in which they did."""

    def __init__(self) -> None:
        self._receivers: defaultdict[tuple[type, str | None], list[Callable[[Any], None]]] = defaultdict(list)

    def subscribe(self, kind: type[M], receiver: Callable[[M], None], *, target: str | None = None) -> None:
        """`receiver` gets every message of this kind; of a kind that is about a target, those about `target`."""
        self._receivers[kind, target].append(receiver)

    def publish(self, message: Message) -> None:
        """Tell everybody who listens. What a receiver raises ends it."""
        about = message.target if isinstance(message, OfTarget) else None
        for receiver in self._receivers.get((type(message), about), ()):
            receiver(message)
