"""The sections of `guard.yaml` about who is told, and how."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Strict, model_validator

from logcaster_guard.config.faults import Refused, described
from logcaster_guard.config.schema import BaseUrl, Duration, Name, SecretSource, SecretUrl, Section, Sized, pattern_of
from logcaster_guard.domain.translation import Language

EVENTS_CHANNEL = "kubernetes-events"
"""The name of the channel that `notify.events` switches on."""

_SLACK_CHANNEL = re.compile(r"[CGD][A-Z0-9]{5,30}", re.ASCII)


def _check_slack_channel(text: str) -> str:
    if not _SLACK_CHANNEL.fullmatch(text):
        raise Refused(described(text), "the id of a Slack channel, such as C0123456789")
    return text


class WebhookSection(Section):
    """A channel that takes notices as JSON."""

    name: Name
    url: SecretUrl
    token: SecretSource | None = None
    timeout: Duration = 10.0


class SlackSection(Section):
    """A channel of Slack's: an incoming webhook, whose address is the secret, or an app with its token."""

    name: Name
    url: SecretUrl | None = None
    token: SecretSource | None = None
    channel: Annotated[str, AfterValidator(_check_slack_channel), pattern_of(_SLACK_CHANNEL)] | None = None
    api: BaseUrl = "https://slack.com/api"
    timeout: Duration = 10.0

    @model_validator(mode="after")
    def _one_way_in(self) -> SlackSection:
        app = self.token is not None, self.channel is not None
        if self.url is not None and any(app):
            raise Refused("a url beside a token or channel", "a webhook's url, or an app's token and channel")
        if self.url is None and not all(app):
            found = "a token without a channel" if app[0] else "a channel without a token" if app[1] else "no url"
            raise Refused(found, "a webhook's url, or both an app's token and the channel's id")
        return self


class NotifySection(Section):
    """Who is told, and in which language; `events` also writes Kubernetes Events on the Deployment."""

    language: Annotated[Language, Strict(False)] = Language.ENGLISH
    slack: Annotated[tuple[SlackSection, ...], Sized(0, 20, "Slack channels")] = ()
    webhooks: Annotated[tuple[WebhookSection, ...], Sized(0, 20, "webhooks")] = ()
    events: bool = True
