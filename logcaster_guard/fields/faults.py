"""What is wrong with a configuration file, told so that it can be mended: where, what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from logcaster_guard.messages.texts import Phrase, phrase

MAX_FAULTS = 100
"""Faults told of one file: with more it is not a configuration file."""

SHOWN = 60
"""Characters of an operator's text that a fault quotes at most."""


@dataclass(frozen=True, slots=True, order=True)
class ConfigFault:
    """One thing to mend.

    `line` and `column` count from 1; both are 0 for a fault of the path itself. `found` and `allowed` are phrases
    without a full stop, `suggestion` is what was probably meant.
    """

    file: str
    line: int
    column: int
    found: Phrase
    allowed: Phrase
    suggestion: Phrase | None = field(default=None, compare=False)

    @property
    def told(self) -> Phrase:
        """`file:line:column: found …; allowed …; did you mean …?`."""
        place = f"{escaped(self.file)}:{self.line}:{self.column}" if self.line else escaped(self.file)
        return phrase("check.fault", place=place, found=self.found, allowed=self.allowed, meant=self.suggestion)

    def __str__(self) -> str:
        """The same in English."""
        return self.told


class Refused(ValueError):
    """A value that may not stand where it stands.

    `key` leads from the value to the culprit inside it, `at_key` says that not the value there is wrong but its key.
    `offset` is the culprit's index in the value's text.
    """

    def __init__(
        self,
        found: Phrase,
        allowed: Phrase,
        suggestion: Phrase | None = None,
        *,
        key: tuple[str | int, ...] = (),
        at_key: bool = False,
        offset: int | None = None,
    ) -> None:
        super().__init__(f"found {found}; allowed {allowed}")
        self.found = found
        self.allowed = allowed
        self.suggestion = suggestion
        self.key = key
        self.at_key = at_key
        self.offset = offset


class AllRefused(ValueError):
    """Several refusals of one value, in the order of their places."""

    def __init__(self, parts: Iterable[Refused]) -> None:
        self.parts = tuple(parts)
        super().__init__("; ".join(str(p) for p in self.parts))


def escaped(text: str) -> str:
    """The text on one line, with what cannot be seen written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(text: str) -> str:
    """The text in quotes, escaped and cut to `SHOWN` characters."""
    shown = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    return f'"{escaped(shown)}"'


def described(value: object) -> Phrase:
    """A value of a configuration file in the words of a fault."""
    match value:
        case None:
            return phrase("found.null")
        case bool():
            return phrase("found.as_is", text=str(value).lower())
        case int() | float():
            return phrase("found.number", number=value)
        case str():
            return phrase("found.text", text=quoted(value))
        case dict():
            return phrase("found.mapping")
        case tuple() | list():
            return phrase("found.list")
        case _:
            return phrase("found.other_type", name=type(value).__name__)


def closest(word: str, known: Iterable[str]) -> Phrase | None:
    """The known word that `word` was probably meant to be, in quotes."""
    by_folded = {k.casefold().replace("-", "_"): k for k in sorted(known)}
    wanted = word[:SHOWN].casefold().replace("-", "_")
    near = difflib.get_close_matches(wanted, by_folded, n=1, cutoff=0.6)
    return meant_word(f'"{by_folded[near[0]]}"' if near else None)


def meant_word(word: str | None) -> Phrase | None:
    """A word that was probably meant, as a phrase."""
    return None if word is None else phrase("meant.word", word=word)


def unknown_target(
    name: str, known: Collection[str], key: tuple[str | int, ...], *, at_key: bool = False
) -> Refused:  # fmt: skip
    """A target that is named and not there; `key` and `at_key` are as `Refused` takes them."""
    found, names = phrase("found.unknown_target", name=quoted(name)), sorted(known)[:40]
    return Refused(found, phrase("allowed.targets", names=names), closest(name, known), key=key, at_key=at_key)


def listed(words: Iterable[str]) -> str:
    """The words in the order given, separated by commas."""
    return ", ".join(words)
