"""What people are shown of two pod templates."""

from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.template_diff import HIDDEN, differences, shown_value
from tests.domain.build import template

PLACE = "spec.containers[logcaster]"
SECRET = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}


def with_env(*variables: Any, **container: Any) -> dict[str, Any]:
    return template(
        "web:9", env=[v if isinstance(v, dict) else {"name": v[0], "value": v[1]} for v in variables], **container
    )


def test_images_and_variables_are_shown_and_of_everything_else_the_place() -> None:
    before = template(
        "web:2", env=[{"name": "LOG_LEVEL", "value": "debug"}, {"name": "GONE", "value": "x"}], args=["a"]
    )
    after = with_env(("LOG_LEVEL", "info"), SECRET, args=["b"])
    assert differences(before, after) == [
        f"~ {PLACE}.args[0]",
        f'- {PLACE}.env[GONE]: "x"',
        f'~ {PLACE}.env[LOG_LEVEL]: "debug" → "info"',
        f"+ {PLACE}.env[PASSWORD]: from secretKeyRef key=password name=db",
        f"~ {PLACE}.image: web:2 → web:9",
    ]
    assert differences(before, before) == []


def test_a_secret_is_told_to_differ_and_not_shown() -> None:
    before, after = with_env(("API_TOKEN", "hunter22")), with_env(("API_TOKEN", "hunter33"))
    assert differences(before, after) == [f"~ {PLACE}.env[API_TOKEN]: {HIDDEN}"]
    assert differences(before, with_env({**SECRET, "name": "API_TOKEN"})) == [
        f"~ {PLACE}.env[API_TOKEN]: {HIDDEN} → from secretKeyRef key=password name=db"
    ]


def test_another_order_is_a_difference() -> None:
    before, after = with_env(("A", "1"), ("B", "$(A)")), with_env(("B", "$(A)"), ("A", "1"))
    assert differences(before, after) == [f"~ {PLACE}.env: in another order"]
    assert differences(before, with_env(("A", "1"), ("X", "1"), ("B", "$(A)"))) == [f'+ {PLACE}.env[X]: "1"']


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "x"),
        ("db_passwd", "x"),
        ("GITHUB_TOKEN", "x"),
        ("CLIENT_SECRET", "x"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("CREDENTIALS", "x"),
        ("DATABASE_URL", "postgres://app:hunter2@db/logcaster"),
        ("WEBHOOK", "https://hooks.slack.com/services/T0/B0/abcdefghij0123456789abcd"),
        ("ID", "0123456789abcdef0123456789abcdef"),
        ("PEM", "-----BEGIN RSA"),
    ],
)
def test_what_looks_secret_is_hidden(name: str, value: str) -> None:
    assert shown_value(name, value) == HIDDEN


@pytest.mark.parametrize("value", ["", "info", "1000", "5m", "http://logcaster:9998/health", "logcaster-db-1.shop.svc"])
def test_what_does_not_is_shown(value: str) -> None:
    assert shown_value("LOG_LEVEL", value) == f'"{value}"'


def test_what_is_long_is_cut() -> None:
    assert shown_value("LIST", "a " * 500) == f'"{"a " * 100}…" (1000 characters)'
