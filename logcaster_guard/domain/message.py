"""What people are told, as values: a kind and its typed parameters. Their words are in `messages/catalogue`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TypeAlias


class Message(ABC):
    """The base of every kind of message: a frozen dataclass whose fields are its parameters.

    `kind` is its name in the catalogues and in the journal, and the last field, a `Literal` with a default. A parameter
    is a str, int, float, bool, datetime or enum, a tuple of str, or again a message (a `Reason`, or a tuple of them).
    """

    __slots__ = ()

    @property
    @abstractmethod
    def kind(self) -> str:
        """Its name in the catalogues and in the journal."""


class Headline(Message):
    """A message that people get by itself, as a notice: it has a title and a state beside its text."""

    __slots__ = ()


Reason: TypeAlias = str | Message
"""Why something is so. A str is what the outside said, which no catalogue holds; it is quoted as it is."""


def kind_of(message: type[Message]) -> str:
    """The `kind` of every value of this class."""
    return str({field.name: field.default for field in fields(message)}["kind"])  # type: ignore[arg-type] # every message is a dataclass
