"""The settings of a channel of Slack's."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from logcaster_guard.adapters.plugin_types import ChannelSection
from logcaster_guard.fields.faults import Refused, described
from logcaster_guard.fields.section import BaseUrl, Duration, SecretSource, SecretUrl, pattern_of
from logcaster_guard.messages.texts import phrase

_SLACK_CHANNEL = re.compile(r"[CGD][A-Z0-9]{5,30}", re.ASCII)


def _check_slack_channel(text: str) -> str:
    if not _SLACK_CHANNEL.fullmatch(text):
        raise Refused(described(text), phrase("allowed.slack_channel"))
    return text


class SlackSection(ChannelSection):
    """A channel of Slack's: an incoming webhook, whose address is the secret, or an app with its token."""

    url: SecretUrl | None = Field(
        default=None, description="an incoming webhook's; Slack's own addresses are secret: never in clear"
    )
    token: SecretSource | None = Field(
        default=None, description="instead of a url: the token of an app, with which each notice is shown once"
    )
    channel: Annotated[str, AfterValidator(_check_slack_channel), pattern_of(_SLACK_CHANNEL)] | None = Field(
        default=None, description="the id of the channel that the app posts to, such as C0123456789"
    )
    api: BaseUrl = Field(default="https://slack.com/api", description="where Slack's Web API is")
    timeout: Duration = Field(default=10.0, description="for a whole answer")

    @model_validator(mode="after")
    def _one_way_in(self) -> SlackSection:
        app = self.token is not None, self.channel is not None
        if self.url is not None and any(app):
            raise Refused(phrase("found.slack_both"), phrase("allowed.slack_one"))
        if self.url is None and not all(app):
            found = phrase("found.slack_channel_alone" if app[1] else "found.slack_nothing")
            found = phrase("found.slack_token_alone") if app[0] else found
            raise Refused(found, phrase("allowed.slack_whole"))
        return self
