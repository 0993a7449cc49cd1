"""What of a manifest is hidden from people, and what they still see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.masking import Masker, looks_secret

HUNTER = "hunter22"


def deployment(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "web", "image": "web@sha256:0123456789abcdef0123456789abcdef", **container}]}
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}}


def config_map(**data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def annotated(**annotations: str) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "web", "annotations": annotations}}


APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
PLACES = [
    deployment(env=[{"name": "DB_PASSWORD", "value": HUNTER}]),
    deployment(env=[{"name": "DATABASE_URL", "value": f"postgres://app:{HUNTER}@db/logs"}]),
    deployment(args=["--token", HUNTER, "--verbose"]),
    deployment(args=[f"--db-password={HUNTER}"]),
    deployment(command=["sh", "-c", f"export API_KEY={HUNTER}\nexec web"]),
    deployment(
        livenessProbe={"httpGet": {"httpHeaders": [{"name": "Authorization", "value": f"Bearer {HUNTER}"}]}}
    ),
    deployment(resources={"note": f"https://app:{HUNTER}@host"}),
    config_map(password=HUNTER),
    config_map(**{"app.properties": f"level=debug\ndb.password = {HUNTER}\nport=1"}),
    config_map(**{"app.yaml": f"level: debug\ncredentials:\n  user: app\n\n  word: {HUNTER}\nport: 1"}),
    config_map(**{"app.yaml": f"secret: |\n  {HUNTER}\n  more\nport: 1"}),
    config_map(**{"app.properties": f"token=abc\\\n{HUNTER}\nport=1"}),
    config_map(**{"app.json": f'{{"password": "{HUNTER}"}}'}),
    config_map(**{"app.xml": f"<password>{HUNTER}</password>"}),
    config_map(tls=f"-----BEGIN RSA PRIVATE KEY-----\n{HUNTER}\n-----END RSA PRIVATE KEY-----"),
    {"kind": "ConfigMap", "metadata": {"name": "settings"}, "binaryData": {"store": HUNTER}},
    annotated(**{"shop/api-token": HUNTER}),
    annotated(**{APPLIED: json.dumps(deployment(env=[{"name": "DB_PASSWORD", "value": HUNTER}]))}),
    annotated(**{APPLIED: f"cut off {HUNTER} token={HUNTER}"}),
]  # fmt: skip


@pytest.mark.parametrize("manifest", PLACES)
def test_what_looks_secret_is_hidden_wherever_it_stands(manifest: dict[str, Any]) -> None:
    masker = Masker()
    shown = json.dumps(masker.masked(manifest))
    assert HUNTER not in shown
    assert "(hidden 1)" in shown
    assert masker.hidden


@pytest.mark.parametrize(
    "manifest",
    [
        deployment(env=[{"name": "LOG_LEVEL", "value": "debug"}, {"name": "MAX_CONNECTIONS", "value": "100"}]),
        deployment(env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]),
        deployment(args=["--level", "debug", "--port=9999"]),
        config_map(**{"app.properties": "level=debug\nbuffer.size=1048576\nhost=db.shop.svc"}),
        annotated(**{"kubernetes.io/change-cause": "kubectl set image deployment/web web=web:2"}),
        {"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 1}]}},
    ],
)
def test_what_does_not_is_shown_as_it_is(manifest: dict[str, Any]) -> None:
    masker = Masker()
    assert masker.masked(manifest) == manifest
    assert masker.hidden == 0


def test_a_difference_is_seen_without_what_differs() -> None:
    masker = Masker()
    same, again, other = (masker.masked(config_map(token=value)) for value in (HUNTER, HUNTER, "hunter33"))
    assert same == again
    assert [m["data"]["token"] for m in (same, other)] == ["(hidden 1)", "(hidden 2)"]


def test_of_what_was_applied_last_everything_else_is_shown() -> None:
    applied = deployment(image="web:2", env=[{"name": "DB_PASSWORD", "value": HUNTER}])
    shown = Masker().masked(annotated(**{APPLIED: json.dumps(applied)}))["metadata"]["annotations"][APPLIED]
    assert json.loads(shown) == deployment(image="web:2", env=[{"name": "DB_PASSWORD", "value": "(hidden 1)"}])


def test_of_a_file_the_other_lines_are_shown() -> None:
    shown = Masker().masked(config_map(**{"app.yaml": f"level: debug\ntoken:\n  value: {HUNTER}\nport: 1"}))
    assert shown["data"]["app.yaml"] == "level: debug\n(hidden 1)\n(hidden 2)\nport: 1"


_NAMES = st.sampled_from(["PASSWORD", "api_token", "db.secret", "AWS_ACCESS_KEY_ID", "Authorization"])
_VALUES = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=5, max_size=30)


@given(_NAMES, _VALUES)
def test_whatever_the_value_of_a_secret_name_is(name: str, value: str) -> None:
    value = f"«{value}»"
    assert looks_secret(name, value)
    for manifest in (
        deployment(env=[{"name": name, "value": value}]),
        config_map(a=f"x=1\n{name}={value}\ny=2"),
    ):
        assert value not in json.dumps(Masker().masked(manifest), ensure_ascii=False)
