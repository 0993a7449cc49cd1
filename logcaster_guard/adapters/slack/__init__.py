"""Slack, by an incoming webhook or by its Web API."""

from logcaster_guard.adapters.slack.incoming import Slack
from logcaster_guard.adapters.slack.web_api import SlackApp

__all__ = ["Slack", "SlackApp"]
