"""Any channel, told in another language."""

from __future__ import annotations

from logcaster_guard.domain.notices import Delivery, Notice
from logcaster_guard.messages.texts import Texts
from logcaster_guard.ports import Channel


class Translated:
    """The `Channel` port over `channel`; closes it when it is closed."""

    def __init__(self, channel: Channel, texts: Texts) -> None:
        self._channel = channel
        self._texts = texts

    @property
    def name(self) -> str:
        """The channel's own name."""
        return self._channel.name

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once, in the language of the texts."""
        return await self._channel.deliver(self._texts.notice(notice))

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.aclose()
