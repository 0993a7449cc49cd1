"""Slack, by an incoming webhook or by its Web API."""

from logcaster_guard.adapters.channels.slack.incoming import Slack
from logcaster_guard.adapters.channels.slack.section import SlackSection
from logcaster_guard.adapters.channels.slack.web_api import SlackApp
from logcaster_guard.adapters.plugin_types import ChannelPlugin, ChannelServices
from logcaster_guard.domain.errors import ConfigurationError
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Channel

__all__ = ["PLUGIN", "Slack", "SlackApp", "SlackSection"]


def _made(section: SlackSection, services: ChannelServices) -> Channel:
    if section.url is not None:
        return Slack(section, section.url.read, services)
    if section.token is None or section.channel is None:
        raise ConfigurationError(phrase("fault.slack_channel", name=section.name))
    return SlackApp(section, section.token.read, section.channel, services)


PLUGIN = ChannelPlugin(
    key="slack",
    section=SlackSection,
    noun="Slack channels",
    meaning="channels of Slack, at most 20; see [Slack](#slack)",
    make=_made,
)
