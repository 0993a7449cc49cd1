"""Messages in words: the catalogue of a language, and what operators put in the place of some of its texts.

`catalogue/<language>/*.yaml` holds `messages` (a text for each kind, or title, text and state for a headline),
`phrases` (by their names), `words` (for the values of enums) and `labels` (what facts are called before people). Every
language goes the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum, StrEnum
from functools import cache
from importlib import resources
from typing import Any, TypeAlias, TypeVar, get_type_hints

import yaml
from jinja2 import Template

from logcaster_guard.domain.errors import GuardError
from logcaster_guard.domain.guardrails import span
from logcaster_guard.domain.message import Headline, Message, Reason
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.runs import INCONCLUSIVE, NOT_RECOVERED, RECOVERED
from logcaster_guard.messages.filters import FILTERS
from logcaster_guard.messages.templates import BadTemplate, Templates, rendered

TITLE, TEXT, STATE = "title", "text", "state"
_RESTORED = frozenset({RECOVERED, NOT_RECOVERED, INCONCLUSIVE})
"""Ends of a run with which the good release is in place."""

_FACTS: Mapping[str, Sequence[str]] = {
    "attribution": ("attribution",),
    "detail": ("detail", "cause", "fault", "reason"),
    "reason": ("reason",),
    "source": ("what",),
    "where": ("where",),
    "who": ("who",),
    "words": ("words",),
}
"""Facts that channels show beside the text, and the parameters that may hold the same as a message."""

QUOTE = "quoted"
"""The text of the catalogue that holds what the outside said."""

Overrides: TypeAlias = Mapping[str, Mapping[str, str]]
"""Templates by kind and part, in the place of the catalogue's."""


Failure = TypeVar("Failure", bound=GuardError)


class Language(StrEnum):
    """What people can be told in."""

    ENGLISH = "en"
    KOREAN = "ko"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language, as its files hold them: `messages` by kind and part, `phrases` by name."""

    messages: Mapping[str, Mapping[str, str]]
    phrases: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]
    labels: Mapping[str, str]


class Phrase(str):
    """What whoever asks is told at once, and the journal never keeps: by `check`, the command line, an HTTP answer.

    It is its own English text, and holds the name and the values by which each language tells it. `phrase` makes one.
    """

    __slots__ = ("name", "values")
    name: str
    values: Mapping[str, object]


@cache
def catalogue(language: Language) -> Catalogue:
    """The catalogue of this language."""
    found: dict[str, dict[str, Any]] = {"messages": {}, "phrases": {}, "words": {}, "labels": {}}
    folder = resources.files("logcaster_guard.messages") / "catalogue" / language
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        for part, texts in yaml.load(file.read_text("utf-8"), yaml.CSafeLoader).items():
            found[part] |= texts
    messages = {kind: {TEXT: given} if isinstance(given, str) else given for kind, given in found["messages"].items()}
    return Catalogue(messages, found["phrases"], found["words"], found["labels"])


def parts_of(kind: type[Message]) -> Collection[str]:
    """The parts that the texts of this kind have."""
    return (TITLE, TEXT, STATE) if issubclass(kind, Headline) else (TEXT,)


def parameters_of(kind: type[Message]) -> Collection[str]:
    """The parameters that its templates may show."""
    return [field.name for field in fields(kind) if field.name != "kind"]  # type: ignore[arg-type] # every message is a dataclass


class Texts:
    """Tells messages in one language."""

    def __init__(self, language: Language, overrides: Overrides | None = None) -> None:
        self.language = language
        self._catalogue = catalogue(language)
        self._overrides = overrides or {}
        self._templates = Templates({**FILTERS, **self._filters})
        self._compiled: dict[tuple[str, str], Template] = {}

    def text(self, said: Reason) -> str:
        """What it says; of a str that is no phrase, that somebody else said it."""
        if isinstance(said, Phrase):
            return self.filled(said.name, said.values)
        return self.part(said, TEXT) if isinstance(said, Message) else self._fill(QUOTE, TEXT, {TEXT: said})

    def part(self, message: Message, part: str) -> str:
        """One part of what it says."""
        return self._fill(message.kind, part, self._values(message))

    def filled(self, name: str, values: Mapping[str, object]) -> str:
        """The phrase of this name, filled with these values, some of which may be phrases or messages."""
        told = {key: self._value(value, isinstance(value, Phrase)) for key, value in values.items()}
        template = self._compiled.get((name, ""))
        if template is None:
            template = self._compiled[name, ""] = self._templates.compiled(self._catalogue.phrases[name], told)
        return rendered(template, told)

    def notice(self, notice: Notice) -> Notice:
        """The notice in this language; one of an earlier version, which has no message, as that has written it."""
        if notice.message is None:
            return notice
        title, text = (self.part(notice.message, part) for part in (TITLE, TEXT))
        own = {fact.name: self.text(fact.value) for fact in getattr(notice.message, "facts", ())}
        facts = {name: own.get(name) or self._fact(notice.message, name, fact) for name, fact in notice.facts.items()}
        return replace(notice, title=_line(title), text=text.strip(), facts=facts)

    def _fact(self, message: Message, name: str, fact: str) -> str:
        values = (getattr(message, parameter, None) for parameter in _FACTS.get(name, ()))
        told = next((value for value in values if value is not None), None)
        return self.text(told) if isinstance(told, Message) else fact

    def state(self, notice: Notice) -> str:
        """What the target is going through, in a word or two; empty where the notice does not tell."""
        return "" if notice.message is None else _line(self.part(notice.message, STATE))

    @property
    def labels(self) -> Mapping[str, str]:
        """What facts are called before people, and what channels say beside a notice."""
        return self._catalogue.labels

    def label(self, name: str, notice: Notice) -> str | None:
        """What a fact of this notice is called before people; None for one that has no name."""
        done = notice.event == "run.restored" or notice.facts.get("outcome") in _RESTORED
        return self._catalogue.labels.get("restored" if name == "to" and done else name)

    def check(self, kind: type[Message], template: str, example: Message) -> None:
        """Raise `BadTemplate` where the template cannot tell messages of this kind, such as `example`."""
        if not template.strip():
            raise BadTemplate("found.template_empty")
        rendered(self._templates.compiled(template, parameters_of(kind)), self._values(example))

    def word(self, value: str, group: str) -> str:
        """The word for a value of an enum; the value itself where there is none."""
        return self._catalogue.words.get(group, {}).get(value, value)

    def _words(self, values: str | Sequence[str], group: str) -> str | Sequence[str]:
        return self.word(values, group) if isinstance(values, str) else [self.word(value, group) for value in values]

    def listed(self, names: Collection[str], most: int = 5) -> str:
        """The first `most` names in one line, and how many more there are."""
        found = list(names)
        more = self._catalogue.words["listed"]["more"].format(count=len(found) - most) if len(found) > most else ""
        return f"{', '.join(found[:most])}{more}"

    def _values(self, message: Message) -> Mapping[str, Any]:
        kind = type(message)
        reasons = _reasons(kind)
        return {name: self._value(getattr(message, name), name in reasons) for name in parameters_of(kind)}

    def _value(self, value: Any, is_reason: bool) -> Any:  # noqa: ANN401 - any parameter; whether a str of it is quoted
        if isinstance(value, Headline):
            return self.part(value, TITLE)
        if isinstance(value, Message) or (is_reason and isinstance(value, str) and value):
            return self.text(value)
        if isinstance(value, tuple | list):
            return [self._value(item, is_reason or isinstance(item, Phrase)) for item in value]
        return value.value if isinstance(value, Enum) else value

    def _fill(self, kind: str, part: str, values: Mapping[str, Any]) -> str:
        template = self._compiled.get((kind, part))
        if template is None:
            text = self._overrides.get(kind, {}).get(part) or self._catalogue.messages[kind][part]
            template = self._compiled[kind, part] = self._templates.compiled(text, values)
        return rendered(template, values)

    @property
    def _filters(self) -> Mapping[str, Callable[..., str | Sequence[str]]]:
        """Those that need the words of the language."""
        return {
            "images": self._images,
            "word": self._words,
            "listed": self.listed,
            "seconds": self._seconds,
            "span": self._span,
        }

    def _images(self, images: Collection[str]) -> str:
        return ", ".join(images) or self._catalogue.words["images"]["none"]

    def _seconds(self, number: float) -> str:
        return f"{number:.0f}{self._catalogue.words['units']['seconds']}"

    def _span(self, seconds: float) -> str:
        """A length of time as operators write it: `1h30m`."""
        units = self._catalogue.words["units"]
        return re.sub("[dhms]", lambda found: units.get(found[0], found[0]), span(seconds))


def failure(kind: type[Failure], message: Message, **more: Any) -> Failure:  # noqa: ANN401 - what the kind takes
    """An expected failure that people are told of in their own language; its own text is English."""
    return kind(english().text(message), reason=message, **more)


def phrase(name: str, /, **values: object) -> Phrase:
    """The phrase of this name in the catalogues; its values are shown as they are, phrases and messages in words."""
    said = Phrase(english().filled(name, values))
    said.name, said.values = name, values
    return said


@cache
def english() -> Texts:
    """The language of logs and of the journal."""
    return Texts(Language.ENGLISH)


@cache
def _reasons(kind: type[Message]) -> frozenset[str]:
    """The parameters that hold a `Reason`, or several."""
    hints = get_type_hints(kind)
    return frozenset(name for name, hint in hints.items() if hint == Reason or Reason in getattr(hint, "__args__", ()))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
