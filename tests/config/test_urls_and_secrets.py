from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.fields.faults import Refused
from logcaster_guard.fields.secrets import MAX_BYTES, Secret, to_secret, to_secret_url
from logcaster_guard.fields.urls import check_base_url, check_url


@pytest.mark.parametrize(
    "url",
    [
        "http://logcaster:9998/health",
        "https://guard.example.org/a?b=c",
        "http://127.0.0.1:8080",
        "http://10.0.0.1/x",
        "http://[::1]:9090/",
        "http://[fd00::1]/",
        "http://prometheus.monitoring.svc.cluster.local.:9090/prometheus",
        "http://my_host/",
    ],
)
def test_ordinary_addresses_are_kept_as_they_are(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "logcaster:9998/health",
        "file:///etc/passwd",
        "ftp://logcaster/",
        "gopher://logcaster/",
        "http://",
        "http:///health",
        "http://user@logcaster/",
        "http://user:word@logcaster/",
        "http://logcaster@169.254.169.254/",
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.1.1/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://169.254.169.254./",
        "http://metadata.google.internal/",
        "http://METADATA.google.internal./",
        "http://224.0.0.1/",
        "http://logcaster:0/",
        "http://logcaster:99999/",
        "http://logcaster:abc/",
        "http://logcaster/#x",
        "http://log caster/",
        "http://logcaster\\@evil/",
        "http://logcaster/\n",
        "http://lögcaster/",
        "http://a..b/",
        "http://-a/",
        "http://[::1/",
        "http://" + "a" * 2_000,
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        check_url(url)


def test_a_base_address_has_no_query() -> None:
    assert check_base_url("http://prometheus:9090/x") == "http://prometheus:9090/x"
    with pytest.raises(Refused, match="query"):
        check_base_url("http://prometheus:9090/?a=b")


def test_a_misspelt_scheme_is_suggested() -> None:
    with pytest.raises(Refused) as caught:
        check_url("htpp://logcaster/")
    assert caught.value.suggestion == '"http"'


@given(st.text(max_size=60) | st.text("htps:/@[]%.0123456789abcdefx#?", max_size=60).map("http://".__add__))
def test_an_address_is_kept_or_refused(text: str) -> None:
    try:
        assert check_url(text) == text
    except Refused:
        return


@pytest.mark.parametrize("url", ["http://user:hunter2@x/", "http://hunter2@x/", "ftp://a:hunter2@x/"])
def test_a_password_in_an_address_is_not_shown(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_read_from_its_file_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "token"
    secret = to_secret({"file": str(file)})
    file.write_text("one\n")
    assert secret.read() == "one"
    file.write_text("two")
    assert secret.read() == "two"
    assert "two" not in repr(secret)
    assert str(file) in repr(secret)


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TOKEN", "one")
    secret = to_secret({"env": "GUARD_TOKEN"})
    assert secret.read() == "one"
    assert "one" not in repr(secret)


def test_a_secret_that_is_not_there_is_told_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARD_TOKEN", raising=False)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "mark").write_bytes(b"\xef\xbb\xbfhunter2")
    (tmp_path / "lines").write_text("hunter2\r\nInjected: yes")
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    for secret in [
        Secret(env="GUARD_TOKEN"),
        Secret(file=str(tmp_path)),
        *(
            Secret(file=str(tmp_path / name))
            for name in ("missing", "fifo", "empty", "binary", "mark", "lines", "large")
        ),
    ]:
        with pytest.raises(SecretUnreadable) as caught:
            secret.read()
        assert secret.place in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        5,
        None,
        (),
        {},
        {"file": "/x", "env": "X"},
        {"fiel": "/x"},
        {"file": ""},
        {"file": 5},
        {"file": "a\0b"},
        {"env": "hunter2 is no name"},
    ],
)
def test_anything_but_a_place_is_refused_and_never_shown(value: object) -> None:
    with pytest.raises(Refused) as caught:
        to_secret(value)
    assert "hunter2" not in str(caught.value)


def test_an_address_without_secrets_may_stand_in_clear() -> None:
    assert (
        to_secret_url("https://alerts.example.org/hooks/on-call").read() == "https://alerts.example.org/hooks/on-call"
    )
    assert to_secret_url({"env": "HOOK"}) == Secret(env="HOOK")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/x",
        "https://chat.example.org/bot123456789:AAF4-abcdefghijklmnopqrstuvwxyz/send",
        "https://acme.webhook.office.com/x",
        "https://example.org/?token=hunter2",
        "https://user:hunter2@example.org/",
        "https://example.org/hook/abcdefhunter21234567",
        "http://169.254.169.254/hunter2",
        "http://[hunter2",
    ],
)
def test_an_address_with_a_secret_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        to_secret_url(url)
