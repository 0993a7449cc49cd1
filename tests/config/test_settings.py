from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
import yaml

from logcaster_guard.adapters.sources.prometheus.section import PrometheusSection
from logcaster_guard.config.settings import Settings, default_settings, read_settings
from logcaster_guard.config.yaml import load_yaml
from logcaster_guard.domain import ownership
from logcaster_guard.domain.promql import render
from logcaster_guard.domain.rules import ConfigPolicy, Policy, SecretsMode, SecretsPolicy
from logcaster_guard.domain.signals import BUILT_IN_UNITS, Aggregate, Gauge, Signal, SourceName, Target, Unit
from logcaster_guard.fields.faults import ConfigFault
from tests.real import presence

CONFIG = Path(__file__).parents[2] / "config"


def read(text: str) -> Settings | list[ConfigFault]:
    document = load_yaml(text.encode(), "guard.yaml")
    assert document.root is not None
    assert not document.faults
    return read_settings(document.root, "guard.yaml")


def settings(text: str) -> Settings:
    found = read(text)
    assert isinstance(found, Settings), found
    return found


def faults(text: str) -> list[ConfigFault]:
    found = read(text)
    assert isinstance(found, list)
    return sorted(found)


def test_the_defaults_fit_the_plan() -> None:
    found = default_settings()
    assert found.targets == (
        Target(
            name="logcaster",
            namespace="logcaster",
            deployment="logcaster-prod",
            service="logcaster",
            health_url="http://logcaster:9998/health",
            traffic_url="http://logcaster:9999/",
        ),
    )
    assert found.policy == Policy()
    assert found.rollout_window == 86_400
    assert found.sources.of(PrometheusSection).url == "http://prometheus:9090"
    assert dict(found.units) == dict(BUILT_IN_UNITS)


def test_the_shipped_settings_are_the_defaults() -> None:
    assert settings((CONFIG / "guard.yaml").read_text("utf-8")) == default_settings()


def test_comments_alone_are_the_defaults() -> None:
    assert settings("# nothing\n") == default_settings()


def test_signals_come_from_their_sources() -> None:
    by_source = {name: s.source for name, s in default_settings().signals.items()}
    assert {n for n, s in by_source.items() if s is SourceName.PROMETHEUS} == {
        "error_rate",
        "request_rate",
        "p95_latency",
        "memory_usage",
    }
    assert {n for n, s in by_source.items() if s is SourceName.HTTP} == {
        "health_check_fails",
        "response_time",
        "slow_responses",
    }
    assert {n for n, s in by_source.items() if s is SourceName.KUBERNETES} == {
        "restart_count",
        "unready_pods",
        "rollout_stalled",
    }


def test_without_prometheus_the_pods_are_scraped() -> None:
    found = settings("sources: {prometheus: {url: null}}")
    scraped = {n: s.lookback for n, s in found.signals.items() if s.source is SourceName.SCRAPE}
    assert scraped == {"error_rate": 300, "request_rate": 300, "p95_latency": 300, "memory_usage": 0}
    assert found.sources_of(found.signals) == {SourceName.SCRAPE, SourceName.HTTP, SourceName.KUBERNETES}
    assert all(s.query is None for s in found.signals.values())


def test_client_errors_count_unless_told_otherwise() -> None:
    counted = default_settings().signals["error_rate"].by_pod
    assert counted is not None
    assert (counted.failed, counted.status_label, counted.metric) == (frozenset("45"), "status", "http_requests_total")
    spared = settings("metrics: {client_errors_count: false, status_label: code, requests: hits}").signals["error_rate"]
    assert spared.by_pod is not None
    assert (spared.by_pod.failed, spared.by_pod.status_label, spared.by_pod.metric) == (frozenset("5"), "code", "hits")
    assert "rate(hits{" in str(spared.query)


def test_a_signal_is_read_as_the_settings_say() -> None:
    found = settings(
        """
        signals:
          queue: {unit: bytes, query: 'sum(queue{ns="$namespace"})'}
          drops: {unit: per_second, query: "rate(drops[$lookback])"}
          spikes: {unit: count, query: "max_over_time(spikes[1h])", lookback: 1h}
          error_rate: {lookback: 2m}
          p95_latency: {source: scrape, lookback: 1m}
          response_time: {query: "max(t)"}
        """
    ).signals
    assert (found["queue"].unit, found["queue"].lookback) == (Unit.BYTES, 0)
    assert found["drops"].lookback == 300
    assert found["spikes"].lookback == 3_600
    assert found["error_rate"].lookback == 120
    assert found["error_rate"].query == default_settings().signals["error_rate"].query
    assert (found["p95_latency"].source, found["p95_latency"].lookback) == (SourceName.SCRAPE, 60)
    assert (found["response_time"].source, found["response_time"].query) == (SourceName.PROMETHEUS, "max(t)")


def test_addresses_of_another_deployment_are_not_guessed() -> None:
    found = settings("targets: [{name: a, deployment: other}, {name: b, deployment: logcaster-prod, service: null}]")
    first, second = found.targets
    assert (first.service, first.health_url, first.traffic_url) == (None, None, None)
    assert second.service is None
    assert second.health_url == "http://logcaster:9998/health"


def test_staleness_is_two_polls_unless_told_otherwise() -> None:
    assert settings("polling: {interval: 10s}").policy.polling.staleness == 20
    assert settings("polling: {interval: 10s, staleness: 1m}").policy.polling.staleness == 60


def test_settings_do_not_change() -> None:
    found = settings("targets: [{labels: {a: b}}]")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.rollout_window = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.signals["x"] = found.signals["error_rate"]  # type: ignore[index]
    with pytest.raises(TypeError):
        found.targets[0].labels["a"] = "c"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "column", "found", "allowed"),
    [
        ("polling: {intervall: 5s}", 11, 'the unknown key "intervall"', "interval, staleness"),
        ("polling: {interval: 5}", 21, "the bare number 5", "a duration"),
        ("polling: {interval: 50ms}", 21, "an interval of 50ms", "at least 100ms"),
        ("polling: {interval: 30s, staleness: 10s}", 37, "a staleness of 10s", "at least one interval"),
        ("polling: 30s", 10, 'the text "30s"', "a mapping with the keys interval, staleness"),
        ("targets: []", 1, "an empty list", "at least one item"),
        ("targets: {name: a}", 10, "a mapping", "a list"),
        ("targets: [{name: 5}]", 18, "the number 5", "text"),
        ("targets: [{namespace: A_b}]", 23, 'the text "A_b"', "lower-case letters"),
        ("targets: [{health_url: 'http://u:p@x/'}]", 24, "a user name or password", "is not supported"),
        ("targets: [{labels: {'a-b': c}}]", 21, 'the label "a-b"', "lower-case letters, digits and _"),
        ("targets: [{name: a}, {name: a, deployment: b}]", 29, 'the target "a" again', "each one once"),
        ("targets: [{name: a}, {name: b}]", 22, 'the Deployment "logcaster/logcaster-prod" again', "each one once"),
        ("sources: {prometheus: {token: hunter2}}", 31, "a secret in clear", "{file: PATH} or {env: NAME}"),
        ("sources: {prometheus: {max_series: 0}}", 36, "the number 0", "at least 1"),
        ("sources: {prometheus: {max_series: 1.5}}", 36, "the number 1.5", "a whole number"),
        ("sources: {http: {slow_after: 5s}}", 30, "slow_after of 5s with a timeout of 5s", "shorter than the timeout"),
        ("sources: {http: {max_bytes: 5MB}}", 29, 'the text "5MB"', "a size such as"),
        ("sources: {scrape: {port: 70000}}", 26, "the number 70000", "at most 65535"),
        ("sources: {scrape: {path: metrics}}", 26, 'the text "metrics"', "starts with /"),
        ("metrics: {client_errors_count: yes}", 32, 'the text "yes"', "true or false"),
        ("metrics: {requests: 'a b'}", 21, 'the text "a b"', "a metric name"),
        ("metrics: {selector: 'a=\"$nmespace\"'}", 25, 'the placeholder "$nmespace"', "$namespace"),
        ("signals: {Big: {unit: count, query: x}}", 11, 'the signal name "Big"', "lower-case letters"),
        ("signals: {and: {unit: count, query: x}}", 11, 'the signal name "and"', "none of and, or, not"),
        ("signals: {own: {query: x}}", 11, 'no unit for the signal "own"', "unit:"),
        ("signals: {own: {unit: count}}", 11, 'no query for "own"', "PromQL"),
        (
            "signals: {own: {unit: counts, query: x}}",
            23,
            'the text "counts"',
            "ratio, seconds, bytes, per_second, count",
        ),
        ("signals: {own: {unit: count, query: x, source: http}}", 48, "the source http", "prometheus"),
        ("signals: {own: {unit: count, query: 'x{a=\"$label_v\"}'}}", 43, '"$label_v"', "$namespace"),
        ("signals: {own: {unit: count, query: 'rate(x[5m])'}}", 37, "a fixed range", "[$lookback]"),
        ("signals: {own: {unit: count, query: 'x{$deployment}'}}", 37, "cannot be filled in", "between quotes"),
        ("signals: {own: {unit: count, query: ' '}}", 37, "an empty query", "PromQL"),
        ("signals: {error_rate: {unit: count}}", 30, "the unit count for the built-in", "ratio"),
        ("signals: {error_rate: {source: http}}", 32, "the source http", "prometheus, scrape"),
        ("signals: {error_rate: {source: scrape, query: x}}", 47, "a query for the source scrape", "prometheus only"),
        ("signals: {restart_count: {lookback: 5m}}", 37, "a lookback for", "no lookback"),
        ("signals: {restart_count: {source: prometheus}}", 11, 'no query for "restart_count"', "PromQL"),
        ("limits: {per_target_per_day: 0}", 30, "the number 0", "at least 1"),
        ("ledger: {good_share: 0.9}", 22, "the number 0.9", "a percentage"),
        ("verify: {stable_for: 5m, timeout: 5m}", 35, "a timeout of 5m", "longer than stable_for"),
        ("rollout_window: 0s", 17, 'the duration "0s"', "longer than zero"),
        ("journal: {path: ''}", 17, 'the text ""', "a path"),
        ("journal: {retention: 1d}", 22, "a retention of 24h", "at least 2d"),
        ("journal: {backend: etcd}", 20, 'the text "etcd"', "sqlite, kubernetes"),
        ("journal: {backend: kubernetes, namespace: A_b}", 43, 'the text "A_b"', "lower-case letters"),
        (
            "journal: {backend: kubernetes, path: /j.db}",
            38,
            "journal.path with the backend kubernetes",
            "journal.namespace and journal.name",
        ),
        ("journal: {namespace: guards}", 22, "journal.namespace with the backend sqlite", "or the other backend"),
        ("{mode: embedded}", 8, 'the text "embedded"', "standalone, sidecar"),
        ("{mode: sidecar, journal: {backend: kubernetes}}", 8, "mode sidecar without a lease", "authority.lease"),
        ("{mode: sidecar, authority: {lease: a}}", 8, "the journal's backend sqlite", "goes on from the journal"),
        ("authority: {lease: Guard}", 20, 'the text "Guard"', "lower-case letters"),
        ("authority: {lease: ''}", 20, 'the text ""', "lower-case letters"),
        ("authority: {namespace: a.b}", 24, 'the text "a.b"', "at most 63"),
        ("authority: {duration: 1500ms}", 23, "a duration of 1s500ms", "whole seconds"),
        ("authority: {duration: 12s}", 23, "a renew_every of 5s with a duration of 12s", "a third"),
        ("authority: {renew_every: 11s}", 26, "a renew_every of 11s", "a third"),
        ("authority: {lease: a, duration: 16s}", 33, "a sources.kubernetes.timeout of 10s", "more than 17s"),
        ("{authority: {lease: a}, sources: {kubernetes: {timeout: 25s}}}", 2, "a duration of 30s", "more than 34s"),
        ("notify: {webhooks: [{name: a}]}", 21, 'no "url" here', "required keys name, url"),
        ("notify: {webhooks: [{name: a, url: 'https://hooks.slack.com/x'}]}", 36, "hooks.slack.com", "{file: PATH}"),
        ("config: {secrets: keep}", 19, 'the text "keep"', "names, restore"),
        ("config: {secrets: {mode: keep}}", 26, 'the text "keep"', "names, restore"),
        ("config: {secrets: 5}", 19, "the number 5", "mapping"),
        ("config: {secrets: {namespace: vault}}", 31, "config.secrets.namespace where no Secret is kept", "restore"),
        ("config: {secrets: {mode: restore, namespace: A_b}}", 46, 'the text "A_b"', "lower-case letters"),
        ("log: {level: INFO}", 14, 'the text "INFO"', "debug, info, warning, error"),
        ("log: {format: jsn}", 15, 'the text "jsn"', "auto, json, console"),
    ],
)
def test_a_fault_has_its_place_and_its_remedy(text: str, column: int, found: str, allowed: str) -> None:
    (fault,) = faults(text)
    assert (fault.line, fault.column) == (1, column), fault
    assert found in fault.found
    assert allowed in fault.allowed
    assert "hunter2" not in str(fault)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("{}", SecretsPolicy()),
        ("config: {secrets: names}", SecretsPolicy()),
        ("config: {secrets: restore}", SecretsPolicy(SecretsMode.RESTORE)),
        ("config: {secrets: {mode: restore}}", SecretsPolicy(SecretsMode.RESTORE)),
        (
            "config: {secrets: {mode: restore, namespace: vault, name: web}}",
            SecretsPolicy(SecretsMode.RESTORE, "vault", "web"),
        ),
    ],
)
def test_secrets_are_named_unless_they_are_to_be_restored(text: str, policy: SecretsPolicy) -> None:
    assert settings(text).policy.config.secrets == policy


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("pollin: {}", '"polling"'),
        ("sources: {promtheus: {}}", '"prometheus"'),
        ("signals: {error_rate: {querry: x}}", '"query"'),
        ("signals: {source: {unit: count, qery: x}}", '"query"'),
        ("targets: [{deploymnt: x}]", '"deployment"'),
        ("targets: [{labels: {v: 1.10}}]", '"1.10" in quotes'),
        ("log: {level: warn}", '"warning"'),
        ("signals: {eror_rate: {query: x}}", '"error_rate"'),
        ("targets: [{namespace: no, service: on, name: 007, labels: {a: 5}}]", '"5" in quotes'),
    ],
)
def test_what_was_probably_meant_is_suggested(text: str, suggestion: str) -> None:
    (fault,) = faults(text)
    assert fault.suggestion == suggestion


def test_one_fault_does_not_hide_another() -> None:
    found = faults(
        """
        targets: [{name: a}, {name: a, deployment: x}]
        polling: {interval: 5}
        signals: {own: {unit: count, query: '$x'}, bad: {unit: nothing}, p95_latency: {lookback: 0s}}
        sources: {prometheus: {url: null}}
        """
    )
    assert [(f.line, f.found.split(" beside")[0]) for f in found] == [
        (2, 'the target "a" again'),
        (3, "the bare number 5"),
        (4, 'the source prometheus for "own" and no Prometheus'),
        (4, 'the placeholder "$x", which not every target can fill in'),
        (4, 'the text "nothing"'),
        (4, 'the duration "0s"'),
    ]


def test_a_label_that_one_target_lacks_cannot_be_filled_in() -> None:
    signal = "signals: {q: {unit: count, query: '{v=\"$label_v\"}'}}"
    first = "{labels: {v: a}}"
    assert settings(f"targets: [{first}, {{name: b, deployment: c, labels: {{v: b}}}}]\n{signal}")
    (fault,) = faults(f"targets: [{first}, {{name: b, deployment: c}}]\n{signal}")
    assert (fault.line, "$label_v" in fault.found) == (2, True)


def promtool(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = presence.required("promtool")
    return subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)


POD = 'namespace="logcaster", pod="logcaster-prod-6d5f7c9b8-abcde"'
SERIES = "{" + POD
LIMIT = 'kube_pod_container_resource_limits%s, resource="memory", container="app"}'
APP, SIDECAR = (f'container_memory_working_set_bytes%s, container="{name}"}}' for name in ("app", "istio-proxy"))


@pytest.mark.parametrize(
    ("series", "signal", "expected"),
    [
        (
            {'http_requests_total%s, status="200"}': "0+90x20", 'http_requests_total%s, status="503"}': "0+30x20"},
            "error_rate",
            {'status="200"': 1.5, 'status="503"': 0.5},
        ),
        (
            {
                'http_requests_total%s, status="200", path="/a"}': "0+60x20",
                'http_requests_total%s, path="/b"}': "0+6x20",
            },
            "error_rate",
            {'status="200"': 1, "": 0.1},
        ),
        (
            {'http_requests_total{namespace="logcaster", pod="other-6d5f7c9b8-abcde", status="500"}': "0+9x20"},
            "error_rate",
            {},
        ),
        (
            {f'http_requests_total%s, status="200", replica="{r}", instance="i"}}': "0+60x20" for r in "ab"},
            "request_rate",
            {'status="200"': 1},
        ),
        (
            {f'http_requests_total%s, status="200", instance="{i}", job="{i}"}}': "0+60x20" for i in "ab"},
            "request_rate",
            {'status="200"': 2},
        ),
        (
            {
                f'http_request_duration_seconds_bucket%s, le="{le}", job="{j}"}}': "0+60x20"
                for le in (1, "+Inf")
                for j in "ab"
            },
            "p95_latency",
            {'le="1"': 1, 'le="+Inf"': 1},
        ),
        ({APP: "97x20", SIDECAR: "10x20", LIMIT: "100x20"}, "memory_usage", {'container="app"': 0.97}),
        (
            {
                APP: "50x20",
                SIDECAR: "97x20",
                APP.replace("app", "POD"): "99x20",
                APP.replace("app", ""): "99x20",
                LIMIT: "100x20",
                LIMIT.replace("app", "istio-proxy"): "100x20",
                LIMIT.replace("memory", "cpu"): "1x20",
            },
            "memory_usage",
            {'container="app"': 0.5, 'container="istio-proxy"': 0.97},
        ),
        (
            {APP: "90x20", SIDECAR: "5x20", APP.replace("working_set", "x"): "1x20"}
            | {'container_spec_memory_limit_bytes%s, container="app"}': "100x20"}
            | {'container_spec_memory_limit_bytes%s, container="istio-proxy"}': "0x20"},
            "memory_usage",
            {'container="app"': 0.9},
        ),
        (
            {f'{name[:-1]}, id="{n}"}}': f"{number}x20" for n in "12" for name, number in ((APP, 97), (LIMIT, 100))},
            "memory_usage",
            {'container="app"': 0.97},
        ),
        (
            {f'process_resident_memory_bytes%s, replica="{r}"}}': "97x20" for r in "ab"}
            | {f'{LIMIT[:-1]}, replica="{r}"}}': "100x20" for r in "ab"},
            "memory_usage",
            {"": 0.97},
        ),
        (
            {APP: "40x20", LIMIT: "100x20", "process_resident_memory_bytes%s}": "99x20"},
            "memory_usage",
            {'container="app"': 0.4},
        ),
        ({APP: "90x20"}, "memory_usage", {}),
    ],
)
def test_the_built_in_promql_answers_with_series_of_pods(
    tmp_path: Path, series: dict[str, str], signal: str, expected: dict[str, float]
) -> None:
    found = default_settings()
    chosen = found.signals[signal]
    assert chosen.query is not None
    pods = ownership.of_deployment("logcaster-prod", {}, {}).pattern
    samples = [{"labels": f"{{{POD}{', ' if labels else ''}{labels}}}", "value": n} for labels, n in expected.items()]
    case = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": k.replace("%s", SERIES), "values": v} for k, v in series.items()],
                "promql_expr_test": [
                    {
                        "expr": render(chosen.query, found.targets[0], chosen.lookback, pods),
                        "eval_time": "15m",
                        "exp_samples": samples,
                    }
                ],
            }
        ],
    }
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(case))
    outcome = promtool(tmp_path, "test", "rules", "case.yaml")
    assert outcome.returncode == 0, outcome.stderr


def test_a_query_of_the_operators_own_is_one_number() -> None:
    found = settings("signals: {error_rate: {query: 'sum(x)'}, own: {unit: count, query: 'sum(y)'}}").signals
    assert [(s.by_pod, s.min_requests) for s in (found["error_rate"], found["own"])] == [(None, 0)] * 2
    assert found["p95_latency"].by_pod is not None


def test_the_least_number_of_requests_is_the_source_s() -> None:
    found = settings("sources: {prometheus: {min_requests: 7}}").signals
    assert (found["error_rate"].min_requests, default_settings().signals["error_rate"].min_requests) == (7, 100)


def test_maintenance_windows_go_by_the_clocks_of_a_zone() -> None:
    found = settings(
        """
        maintenance:
          - {name: upkeep, days: [sat, sun], start: 22:30, end: 04:00, timezone: Asia/Seoul, targets: [logcaster]}
          - {name: daily, start: "02:00", end: "03:00"}
        """
    ).policy.maintenance
    assert [(w.days, str(w.start), str(w.end), str(w.zone), w.targets) for w in found] == [
        (frozenset({5, 6}), "22:30:00", "04:00:00", "Asia/Seoul", frozenset({"logcaster"})),
        (frozenset(range(7)), "02:00:00", "03:00:00", "UTC", None),
    ]


@pytest.mark.parametrize(
    ("text", "column", "found", "allowed"),
    [
        ("attribution: {margin: 0.5}", 23, "the number 0.5", "a percentage"),
        ("attribution: {before: 5m, least_history: 6m}", 42, "least_history of 6m", "at most before"),
        ("attribution: {margn: 50%}", 15, 'the unknown key "margn"', "margin"),
        ("limits: {min_request_rate: 0}", 28, "the number 0", "at least 0.001"),
        ("limits: {min_request_rate: 5/s}", 28, 'the text "5/s"', "a number"),
        ("maintenance: [{name: a, start: '02:00'}]", 15, 'no "end" here', "required keys name, start, end"),
        ("maintenance: [{name: a, start: '24:00', end: '02:00'}]", 32, 'the text "24:00"', "a time of day"),
        ("maintenance: [{name: a, start: 2:00, end: '02:00'}]", 32, 'the text "2:00"', "a time of day"),
        ("maintenance: [{name: a, days: [], start: '01:00', end: '02:00'}]", 25, "an empty list", "at least one"),
        ("maintenance: [{name: a, days: [sunday], start: '01:00', end: '02:00'}]", 32, '"sunday"', "mon, tue"),
        ("maintenance: [{name: a, start: '01:00', end: '02:00', timezone: ../x}]", 65, '"../x"', "a time zone"),
        ("maintenance: [{name: a, start: '01:00', end: '02:00', timezone: Asia/Soul}]", 65, "Asia/Soul", "a time zone"),
        ("maintenance: [{name: a, start: '01:00', end: '02:00', targets: [x]}]", 65, 'the unknown target "x"', "logc"),
        (
            "maintenance: [{name: a, start: '01:00', end: '02:00'}, {name: a, start: '01:00', end: '02:00'}]",
            63,
            'the maintenance window "a" again',
            "each one once",
        ),
    ],
)
def test_a_fault_of_attribution_or_maintenance_has_its_place(text: str, column: int, found: str, allowed: str) -> None:
    (fault,) = faults(text)
    assert (fault.line, fault.column) == (1, column), fault
    assert found in fault.found
    assert allowed in fault.allowed


def test_the_configuration_of_a_release_is_named_by_target() -> None:
    found = settings("config: {objects: {logcaster: [flags, limits]}, propagation: 5m, volatile: 10}").policy.config
    assert (dict(found.objects), found.propagation, found.volatile) == ({"logcaster": ("flags", "limits")}, 300.0, 10)
    assert default_settings().policy.config == ConfigPolicy()
    with pytest.raises(TypeError):
        found.objects["other"] = ()  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "column", "found", "allowed"),
    [
        ("config: {objects: {webb: [flags]}}", 20, 'the unknown target "webb"', "the targets logcaster"),
        ("config: {objects: {logcaster: []}}", 20, "an empty list", "at least one"),
        ("config: {objects: {logcaster: [Flags]}}", 32, 'the text "Flags"', "lower-case"),
        ("config: {volatile: 0}", 20, "the number 0", "1"),
        ("config: {volatil: 4}", 10, 'the unknown key "volatil"', "volatile"),
    ],
)
def test_a_fault_of_the_configuration_has_its_place(text: str, column: int, found: str, allowed: str) -> None:
    (fault,) = faults(text)
    assert (fault.line, fault.column) == (1, column), fault
    assert found in fault.found
    assert allowed in fault.allowed


def test_a_signal_of_ones_own_may_be_a_gauge_of_the_pods() -> None:
    found = settings("signals: {queue: {unit: count, source: scrape, metric: queue_length, aggregate: sum}}")
    assert isinstance(found, Settings)
    expected = Signal("queue", Unit.COUNT, SourceName.SCRAPE, gauge=Gauge("queue_length", Aggregate.SUM))
    assert found.signals["queue"] == expected


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        ("queue: {unit: count, source: scrape}", 'no metric for "queue"'),
        ("queue: {unit: count, source: scrape, query: up}", "a query for the source scrape"),
        ("queue: {unit: count, source: scrape, metric: q, lookback: 5m}", "which reads the present"),
        ("queue: {unit: count, source: http, metric: q}", "the source http for"),
        ("queue: {unit: count, query: up, metric: q}", 'the metric of "queue" from prometheus'),
        ("error_rate: {source: scrape, aggregate: sum}", 'the aggregate of "error_rate" from scrape'),
    ],
)
def test_a_metric_stands_only_where_a_source_reads_it(signal: str, says: str) -> None:
    found = read(f"signals: {{{signal}}}")
    assert isinstance(found, list)
    assert says in "\n".join(map(str, found))
