"""`notify`: Slack channels, their secrets and names, and the language of the messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.adapters.channels.slack import PLUGIN, SlackSection
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.messages.texts import Language

URL = "https://hooks.slack.com/services/T0/B0/x"


def read(folder: Path, text: str) -> Loaded | list[str]:
    file = folder / "guard.yaml"
    file.write_text(text)
    found = load(file)
    return found if isinstance(found, Loaded) else [f"{f.found}; {f.allowed}" for f in found]


def test_a_slack_channel_reads_its_address_at_each_use(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    found = read(tmp_path, f"notify:\n  language: ko\n  slack:\n    - {{name: ops, url: {{file: {secret}}}}}\n")
    assert isinstance(found, Loaded)
    notify = found.settings.notify
    assert notify.language is Language.KOREAN
    (slack,) = notify.of(PLUGIN)
    assert isinstance(slack, SlackSection)
    assert (slack.name, slack.timeout) == ("ops", 10.0)
    assert slack.url is not None
    for url in (URL, URL + "2"):
        secret.write_text(url + "\n")
        assert slack.url.read() == url
    assert URL not in repr(notify)


def test_english_is_the_default(tmp_path: Path) -> None:
    found = read(tmp_path, "notify: {events: true}\n")
    assert isinstance(found, Loaded)
    assert found.settings.notify.language is Language.ENGLISH
    assert found.settings.notify.of(PLUGIN) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("language: fr", "en"),
        ("language: KO", "ko"),
        ("slack: [{name: a}]", "url"),
        (f"slack: [{{name: a, url: '{URL}'}}]", "hooks.slack.com"),
        ("slack: [{name: a, url: {env: U}, token: {env: T}}]", "a url beside a token"),
        ("slack: [{name: a, token: {env: T}}]", "a token without a channel"),
        ("slack: [{name: a, channel: C0123456789}]", "a channel without a token"),
        ("slack: [{name: a, token: {env: T}, channel: '#ops'}]", "the id of a Slack channel"),
        ("slack: [{name: a, token: xoxb-1, channel: C0123456789}]", "a secret in clear"),
        ("slack: [{name: a, token: {env: T}, channel: C0123456789, api: 'ftp://x'}]", "http"),
        ("slack: [{name: a, url: {env: U}}, {name: a, url: {env: V}}]", 'the channel "a" again'),
        ("slack: [{name: a, url: {env: U}}]\n  webhooks: [{name: a, url: {env: V}}]", 'the channel "a" again'),
        ("slack: [{name: kubernetes-events, url: {env: U}}]", "another name"),
        ("webhooks: [{name: kubernetes-events, url: {env: U}}]", "another name"),
    ],
)
def test_faults_are_told_and_no_address_is_shown(tmp_path: Path, text: str, says: str) -> None:
    found = read(tmp_path, f"notify:\n  {text}\n")
    assert isinstance(found, list)
    assert len(found) == 1
    assert says in found[0]
    assert "services/T0" not in found[0]
