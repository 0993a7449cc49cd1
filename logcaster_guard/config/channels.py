"""The section of `guard.yaml` about who is told, and in which language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Strict, create_model

from logcaster_guard.adapters.plugin import ChannelPlugin, ChannelSection
from logcaster_guard.fields.section import Section, Sized
from logcaster_guard.messages.texts import Language
from logcaster_guard.plugins import CHANNELS


class Notify(Section):
    """Who is told, and in which language: a key for each kind of channel that there is."""

    language: Annotated[Language, Strict(False)] = Field(
        default=Language.ENGLISH, description="language of the messages, `en` or `ko` (Korean); the log stays English"
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
