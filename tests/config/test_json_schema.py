from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.config import Loaded, load
from logcaster_guard.config.grammar import SHOWN_CONDITION, parse_condition
from logcaster_guard.config.json_schema import KINDS, json_schema
from logcaster_guard.config.yaml import load_yaml, plain
from logcaster_guard.domain.signals import BUILT_IN_UNITS
from logcaster_guard.fields.amounts import parse_share, parse_size, show_share, show_size
from logcaster_guard.fields.durations import parse_duration, show_duration
from logcaster_guard.fields.faults import AllRefused, Refused
from logcaster_guard.fields.section import SHOWN_DURATION, SHOWN_SHARE, SHOWN_SIZE
from tests.config.json_schema_validator import violations
from tests.config.test_documentation import EXPECTED

CONFIG = Path(__file__).parents[2] / "config"
RULE = "rollback_triggers: [{name: a, condition: 'error_rate > 5%%', duration: 5m, action: alert_only%s}]"
SCHEMAS = {kind: json_schema(kind) for kind in KINDS}


def read(text: str | bytes) -> Any:
    document = load_yaml(text.encode() if isinstance(text, str) else text, "f")
    assert document.root is not None
    return plain(document.root)


def kind_of(value: Any) -> str:
    return "rules" if "rollback_triggers" in value else "settings"


def marked(text: str | bytes) -> list[str]:
    value = read(text)
    return list(violations(SCHEMAS[kind_of(value)], value))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_shipped_schema_is_the_printed_one(kind: str) -> None:
    program = "from logcaster_guard.cli.main import main; main()"
    outcome = subprocess.run(
        [sys.executable, "-c", program, "schema", kind], capture_output=True, text=True, timeout=60, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == (CONFIG / "schema" / f"{kind}.schema.json").read_text("utf-8")
    assert json.loads(outcome.stdout) == SCHEMAS[kind]


@pytest.mark.parametrize("name", ["rollback-rules.yaml", "guard.yaml"])
def test_the_shipped_files_are_valid(name: str) -> None:
    assert marked((CONFIG / name).read_bytes()) == []


@pytest.mark.parametrize(
    "text",
    [
        "rollback_triggers: []",
        "rollback_triggers: null",
        "rollback_triggers: [{name: a}]",
        RULE % ", treshold: 5",
        RULE.replace("duration: 5m", "duration: 5") % "",
        RULE.replace("duration: 5m", "duration: -5m") % "",
        RULE.replace("duration: 5m", "duration: 0s") % "",
        RULE.replace("duration: 5m", "duration: 5 minutes ago") % "",
        RULE.replace("duration: 5m", "duration: 5:00") % "",
        RULE.replace("duration: 5m", "duration: .inf") % "",
        RULE.replace("duration: 5m", "duration: 30m1h") % "",
        RULE.replace("alert_only", "alert_onli") % "",
        RULE.replace("alert_only", "true") % "",
        RULE.replace("name: a", "name: 5") % "",
        RULE.replace("name: a", "name: 'a b'") % "",
        RULE.replace("'error_rate > 5%%'", "''") % "",
        RULE.replace("'error_rate > 5%%'", "error_rate") % "",
        RULE.replace("'error_rate > 5%%'", "'error_rate >'") % "",
        RULE.replace("'error_rate > 5%%'", "\"__import__('os').system('id') > 1\"") % "",
        RULE.replace("'error_rate > 5%%'", "[a]") % "",
        RULE % ", targets: []",
        RULE % ", targets: logcaster",
        RULE % ", no_data: no",
        "polling: {intervall: 5s}",
        "polling: 30s",
        "targets: []",
        "targets: [{namespace: A_b}]",
        "targets: [{health_url: 'http://u:p@x/'}]",
        "targets: [{health_url: 'file:///etc/passwd'}]",
        "targets: [{labels: {'a-b': c}}]",
        "targets: [{labels: {v: 1.10}}]",
        "sources: {prometheus: {token: hunter2}}",
        "sources: {prometheus: {token: {file: a, env: B}}}",
        "sources: {prometheus: {max_series: 0}}",
        "sources: {prometheus: {max_series: 1.5}}",
        "sources: {scrape: {port: 70000}}",
        "sources: {scrape: {path: metrics}}",
        "sources: {http: {max_bytes: 5MB}}",
        "metrics: {client_errors_count: yes}",
        "metrics: {requests: 'a b'}",
        "signals: {Big: {unit: count, query: x}}",
        "signals: {own: {unit: counts, query: x}}",
        "ledger: {good_share: 0.9}",
        "ledger: {good_share: 0%}",
        "journal: {path: ''}",
        "journal: {backend: etcd}",
        "journal: {backend: kubernetes, namespace: A_b}",
        "notify: {webhooks: [{name: a}]}",
        "log: {level: INFO}",
        "web: {listen: localhost}",
    ],
)
def test_what_check_refuses_for_its_structure_is_marked(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    assert not isinstance(load(tmp_path), Loaded)
    assert marked(text)


@pytest.mark.parametrize(
    "text",
    [
        RULE % "",
        RULE % ", targets: [logcaster], rollout_window: null, no_data: breach",
        RULE.replace("'error_rate > 5%%'", '"\\n -restart_count*2\\n>= (1.5)\\n"') % "",
        RULE.replace("duration: 5m", "duration: 1.5h30m") % "",
        "{}",
        "targets: [{deployment: a.b-c, service: null, health_url: 'HTTP://[::1]:80?x=@', labels: {version: '1'}}]",
        "sources: {prometheus: {url: null, token: {env: T}}, kubernetes: {kubeconfig: null, context: x}}",
        "signals: {own: {unit: bytes, query: 'x[5m]', lookback: 5m}, error_rate: {source: scrape}}",
        "notify: {events: false, webhooks: [{name: a, url: {file: /x}, timeout: 250ms}, {name: b, url: 'http://x/'}]}",
        "web: {listen: '[::]:9997'}",
        "web: {listen: null}",
        "config: {secrets: restore}",
        "config: {secrets: {mode: restore, namespace: vault}}",
    ],
)
def test_what_check_accepts_is_not_marked(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    found = load(tmp_path)
    assert isinstance(found, Loaded), found
    assert marked(text) == []


# Near the notations, so that many are valid.
amounts = st.lists(
    st.sampled_from([*"0159.-% ", "ms", "s", "m", "h", "d", "B", "KiB", "MiB", "GiB"]), min_size=1, max_size=7
).map("".join)


@given(amounts)
def test_notations_are_at_least_as_wide_as_the_validators(text: str) -> None:
    for parse, shown in ((parse_duration, SHOWN_DURATION), (parse_share, SHOWN_SHARE), (parse_size, SHOWN_SIZE)):
        try:
            parse(text)
        except Refused:
            continue
        assert not list(violations(shown, text))


@given(
    st.lists(st.sampled_from(["error_rate", "5%", ">", "<=", "==", "not", "and", "(", ")", "-", "\n"])).map(" ".join)
)
def test_the_shape_of_conditions_is_at_least_as_wide_as_the_grammar(text: str) -> None:
    try:
        parse_condition(text, BUILT_IN_UNITS)
    except AllRefused:
        return
    assert not list(violations(SHOWN_CONDITION, text))


@given(st.integers(1, 366 * 86_400_000), st.integers(1, 100), st.integers(1, 1 << 30))
def test_what_is_shown_can_be_read(milliseconds: int, percent: int, count: int) -> None:
    assert parse_duration(show_duration(milliseconds / 1_000)) == pytest.approx(milliseconds / 1_000)
    assert parse_share(show_share(percent / 100)) == pytest.approx(percent / 100)
    if count % 1024 == 0 or count < 10**9:
        assert parse_size(show_size(count)) == count


def keys(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, inner in schema.get("properties", {}).items():
        yield f"{path}.{key}".removeprefix("."), inner
        yield from keys(inner, f"{path}.{key}")
    for option in schema.get("anyOf", ()):
        yield from keys(option, path)
    if isinstance(schema.get("items"), Mapping):
        yield from keys(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from keys(schema["additionalProperties"], f"{path}.<name>")


KEYS = {key: inner for schema in SCHEMAS.values() for key, inner in keys(schema)}


def test_every_key_and_no_other_is_in_a_schema() -> None:
    assert set(KEYS) == set(EXPECTED)


def test_every_mapping_of_fixed_keys_is_closed() -> None:
    def closed(schema: Any) -> bool:
        if isinstance(schema, Mapping):
            inner = all(closed(value) for value in schema.values())
            return inner and (not isinstance(schema.get("properties"), Mapping) or not schema["additionalProperties"])
        return all(closed(value) for value in schema) if isinstance(schema, list) else True

    assert all(closed(schema) for schema in SCHEMAS.values())


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_a_keys_description_and_default_are_those_of_the_documentation(key: str) -> None:
    shown, meaning = EXPECTED[key]
    assert KEYS[key]["description"] == re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", meaning)
    default = KEYS[key].get("default")
    if default is not None:
        assert shown == f"`{default if not isinstance(default, bool) else str(default).lower()}`"
