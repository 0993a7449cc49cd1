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


def texts(text: str) -> str:
    return f"notify:\n  texts:\n    ko:\n      {text}\n"


def test_operators_words_stand_in_the_place_of_the_catalogues(tmp_path: Path) -> None:
    found = read(tmp_path, texts("run.opened: {title: 'A {{ target }}'}\n      quiet: {text: 'B'}"))
    assert isinstance(found, Loaded)
    assert found.settings.notify.texts == {"ko": {"run.opened": {"title": "A {{ target }}"}, "quiet": {"text": "B"}}}


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("run.opend: {title: x}", "4:7", 'the unknown message "run.opend"'),
        ("run.opened: {titel: x}", "4:20", 'the unknown part "titel" of run.opened; title, text, state'),
        ("quiet: {title: x}", "4:15", 'the unknown part "title" of quiet; text'),
        (
            "run.opened: {title: '{{ targt }}'}",
            "4:27",
            "the unknown parameter 'targt'; text, conditions and filters over",
        ),
        ("run.opened: {title: '{{ target'}", "4:27", "no template (line 1:"),
        ("run.opened: {title: '{{ bad|unknown }}'}", "4:27", "no template (line 1: No filter named 'unknown'.)"),
        ("run.opened: {title: '{{ reason|percent }}'}", "4:27", "a template that cannot be filled in"),
        ("run.closed: {title: '{{ vetoed_until|stamp }}'}", "4:27", "a template that cannot be filled in"),
        ("run.opened: {title: '{% for b in bad %}{{ b }}{% endfor %}'}", "4:27", "for in line 1 of the template"),
        ("run.opened: {title: ''}", "4:27", "an empty text"),
        ("run.opened: {title: 5}", "4:27", "the number 5; text"),
        ("run.opened: x", "4:19", "a mapping"),
    ],
)
def test_words_that_cannot_be_told_are_faults_with_their_place(
    tmp_path: Path, text: str, place: str, says: str
) -> None:  # fmt: skip
    file = tmp_path / "guard.yaml"
    file.write_text(texts(text))
    found = load(file)
    assert not isinstance(found, Loaded)
    [fault] = found
    assert f"{fault.line}:{fault.column}" == place
    assert says in f"{fault.found}; {fault.allowed}"


def test_every_fault_of_the_words_is_told_in_one_go(tmp_path: Path) -> None:
    faults = read(tmp_path, texts("a: {text: x}\n      b: {text: x}") + "    fr: {quiet: {text: x}}\n")
    assert isinstance(faults, list)
    assert [f.split(";")[0] for f in faults] == [
        'the unknown message "a"',
        'the unknown message "b"',
        'the unknown language "fr"',
    ]
