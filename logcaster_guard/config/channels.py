"""The section of `guard.yaml` about who is told, in which language, and with which words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, Strict, create_model

from logcaster_guard.adapters.plugin_types import ChannelPlugin, ChannelSection
from logcaster_guard.domain.message import Message, kind_of
from logcaster_guard.fields.faults import AllRefused, Refused, closest, quoted
from logcaster_guard.fields.section import Section, Sized
from logcaster_guard.messages.examples import example
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.messages.templates import BadTemplate
from logcaster_guard.messages.texts import Language, Overrides, Phrase, Texts, parameters_of, parts_of, phrase
from logcaster_guard.plugins import CHANNELS

_KINDS: Mapping[str, type[Message]] = {kind_of(kind): kind for kind in MESSAGES}


def _check_texts(texts: dict[str, Overrides]) -> dict[str, Overrides]:
    refusals = [r for language, kinds in texts.items() for r in _refusals(language, kinds)]
    if refusals:
        raise AllRefused(refusals)
    return texts


def _refusals(language: str, kinds: Overrides) -> Iterator[Refused]:
    """What is wrong with the texts of one language: each is tried on examples, with and without what may be empty."""
    if language not in set(Language):
        found, allowed = phrase("found.unknown_language", name=quoted(language)), _words(Language)
        yield Refused(found, allowed, closest(language, Language), key=(language,), at_key=True)
        return
    texts = Texts(Language(language))
    for name, parts in kinds.items():
        if name not in _KINDS:
            found, allowed = phrase("found.unknown_message", name=quoted(name)), phrase("allowed.a_message")
            yield Refused(found, allowed, closest(name, _KINDS), key=(language, name), at_key=True)
            continue
        kind = _KINDS[name]
        for part, template in parts.items():
            key = (language, name, part)
            if part not in parts_of(kind):
                found, allowed = phrase("found.unknown_part", part=quoted(part), name=name), _words(parts_of(kind))
                yield Refused(found, allowed, closest(part, parts_of(kind)), key=key, at_key=True)
                continue
            try:
                for full in (True, False):
                    texts.check(kind, template, example(kind, full=full))
            except BadTemplate as error:
                allowed = phrase("allowed.template", names=list(parameters_of(kind)))
                yield Refused(phrase(error.phrase, **error.values), allowed, key=key)


def _words(words: Iterable[str]) -> Phrase:
    return phrase("allowed.words", words=list(words))


TextsByLanguage = Annotated[dict[str, dict[str, dict[str, str]]], AfterValidator(_check_texts)]


class Notify(Section):
    """Who is told, and in which language: a key for each kind of channel that there is."""

    language: Annotated[Language, Strict(False)] = Field(
        default=Language.ENGLISH,
        description="language of messages and HTTP answers, `en` or `ko` (Korean); the log stays English",
    )

    texts: TextsByLanguage = Field(
        default_factory=dict,
        description=(
            "words of one's own, by language, message and part, such as `ko: {run.opened: {title: …}}`; see "
            "[Messages](messages.md)"
        ),
    )

    def of(self, plugin: ChannelPlugin) -> tuple[ChannelSection | None, ...]:
        """The sections of this kind of channel, a None for one that has no section."""
        value = getattr(self, plugin.key)
        return value if isinstance(value, tuple) else (None,) * value


def _key_of(plugin: ChannelPlugin) -> tuple[object, object]:
    if plugin.section is None:
        return bool, Field(default=True, description=plugin.meaning)
    sections: Any = plugin.section
    kind = Annotated[tuple[sections, ...], Sized(0, 20, plugin.noun)]
    return kind, Field(default=(), description=plugin.meaning)


if TYPE_CHECKING:
    NotifySection = Notify  # its keys are those of a tuple, which no type checker follows
else:
    NotifySection = create_model("NotifySection", __base__=Notify, **{p.key: _key_of(p) for p in CHANNELS})
