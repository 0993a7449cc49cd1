from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logcaster_guard.config import ConfigFault, Loaded, load
from logcaster_guard.config.settings import default_settings
from logcaster_guard.domain.conditions import Comparator, Compare, NoDataPolicy, Number, SignalRef
from logcaster_guard.domain.rules import Action, Rule

CONFIG = Path(__file__).parents[2] / "config"
RULE = "{name: %s, condition: 'error_rate > 5%%', duration: 5m, action: immediate_rollback%s}"


def rules_text(*rules: str) -> str:
    return "rollback_triggers:\n" + "".join(f"  - {rule}\n" for rule in rules)


def loaded(*paths: Path | str) -> Loaded:
    found = load(*paths)
    assert isinstance(found, Loaded), found
    return found


def faults(*paths: Path | str) -> list[ConfigFault]:
    found = load(*paths)
    assert isinstance(found, list)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(rules_text(RULE % ("a", "")))
    return tmp_path


def test_the_plans_file_is_accepted_as_it_stands() -> None:
    path = CONFIG / "rollback-rules.yaml"

    expected = [
        ("high_error_rate", "error_rate > 5%", "error_rate", 0.05, 5, Action.IMMEDIATE),
        ("health_check_failure", "health_check_fails > 3", "health_check_fails", 3, 2, Action.IMMEDIATE),
        ("response_time_degradation", "p95_latency > 2s", "p95_latency", 2, 10, Action.ALERT_THEN),
        ("memory_leak", "memory_usage > 90%", "memory_usage", 0.9, 15, Action.GRADUAL),
        ("crash_loop", "restart_count > 5", "restart_count", 5, 5, Action.IMMEDIATE),
    ]
    assert list(loaded(path).rules) == [
        Rule(
            name=name,
            text=text,
            condition=Compare(Comparator.GT, SignalRef(signal), Number(limit)),
            duration=minutes * 60,
            action=action,
            where=f"{path}:{2 + 5 * index}",
        )
        for index, (name, text, signal, limit, minutes, action) in enumerate(expected)
    ]


def test_the_commented_rules_are_valid_too(tmp_path: Path) -> None:
    text = (CONFIG / "rollback-rules.yaml").read_text("utf-8")
    extra = [line.removeprefix("#") for line in text.splitlines() if line.startswith(("#  - ", "#    "))]
    (tmp_path / "rules.yaml").write_text("rollback_triggers:\n" + "\n".join(extra))
    found = loaded(tmp_path, CONFIG / "guard.yaml")
    assert [r.name for r in found.rules] == ["unready_pods", "rollout_stalled", "slow_response"]


def test_the_shipped_folder_is_valid() -> None:
    found = loaded(CONFIG)
    assert len(found.rules) == 5
    assert found.settings_file == CONFIG / "guard.yaml"
    assert found.settings == default_settings()


def test_nothing_given_means_defaults_and_no_rules() -> None:
    found = loaded()
    assert found.settings == default_settings()
    assert found.rules == ()
    assert found.settings_file is None
    assert "no rules" in found.warnings[0]


def test_optional_keys_of_a_rule(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text("rollout_window: 2h\ntargets: [{name: t}, {name: u, deployment: u}]")
    (tmp_path / "rules.yaml").write_text(
        rules_text(
            RULE % ("a", ""),
            RULE % ("b", ", targets: [t], rollout_window: 1h, no_data: breach"),
            RULE % ("c", ", targets: null, rollout_window: null, no_data: ok"),
        )
    )
    a, b, c = loaded(tmp_path).rules
    assert (a.targets, a.rollout_window, a.no_data) == (None, 7_200.0, NoDataPolicy.HOLD)
    assert (b.targets, b.rollout_window, b.no_data) == (frozenset({"t"}), 3_600.0, NoDataPolicy.BREACH)
    assert (c.targets, c.rollout_window, c.no_data) == (None, None, NoDataPolicy.OK)


def test_a_signal_of_ones_own_can_be_used_in_a_rule(folder: Path) -> None:
    (folder / "guard.yaml").write_text("signals: {queue: {unit: bytes, query: x}}")
    (folder / "own.yml").write_text(rules_text("{name: q, condition: queue > 5MiB, duration: 5m, action: alert_only}"))
    assert [r.name for r in loaded(folder).rules] == ["q", "a"]


def test_every_fault_of_every_file_is_told_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        """\
rollback_triggers:
  - name: one
    condition: "eror_rate > 5% or p95_latency > 2"
    duration: 5
    action: imediate_rollback
    treshold: 5
  - name: two
    condition: 'restart_count > 5'
    duration: 10s
    targets: [logcastr]
    no_data: no
"""
    )
    (tmp_path / "b.yaml").write_text(rules_text(RULE % ("two", "")))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "guard.yaml").write_text("polling: {interval: 30s}\npollin: {}\ntargets: [{health_url: x}]\n")
    found = faults(tmp_path, tmp_path / "missing.yaml")
    assert [(Path(f.file).name, f.line, f.column, f.suggestion) for f in found] == [
        ("a.yaml", 3, 17, '"error_rate"'),
        ("a.yaml", 3, 49, '"2s" or "2ms"'),
        ("a.yaml", 4, 15, '"5s" or "5m"'),
        ("a.yaml", 5, 13, '"immediate_rollback"'),
        ("a.yaml", 6, 5, None),
        ("a.yaml", 7, 5, None),
        ("a.yaml", 9, 15, None),
        ("a.yaml", 10, 15, '"logcaster"'),
        ("a.yaml", 11, 14, None),
        ("b.yaml", 2, 12, None),
        ("broken.yaml", 1, 5, None),
        ("guard.yaml", 2, 1, '"polling"'),
        ("guard.yaml", 3, 24, None),
        ("missing.yaml", 0, 0, None),
    ]
    assert "/a.yaml:7 already" in found[9].allowed


def test_each_missing_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rollback_triggers:\n  - name: x\n")
    assert [f.found for f in faults(tmp_path)] == ['no "action" here', 'no "condition" here', 'no "duration" here']


def test_a_misspelt_top_level_key_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(rules_text(RULE % ("a", "")).replace("triggers", "trigger"))
    (fault,) = faults(tmp_path)
    assert fault.suggestion == '"rollback_triggers"'


@pytest.mark.parametrize(
    "text", ["rollback_triggers: []", "rollback_triggers: {}", "rollback_triggers: null", "[1, 2]", "5"]
)
def test_a_file_without_rules_is_a_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert len(faults(tmp_path)) == 1


def test_rules_and_settings_in_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(rules_text(RULE % ("a", "")) + "polling: {}\n")
    (fault,) = faults(tmp_path)
    assert (fault.line, fault.found) == (3, '"polling" beside "rollback_triggers"')


def test_two_settings_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("polling: {}")
    (tmp_path / "b.yaml").write_text("log: {}")
    (fault,) = faults(tmp_path)
    assert Path(fault.file).name == "b.yaml"
    assert "a second settings file" in fault.found


def test_a_duration_shorter_than_two_polls_is_a_fault_with_settings_and_a_warning_without(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(rules_text("{name: a, condition: error_rate > 5%, duration: 59s, action: alert_only}"))
    assert "shorter than two polls" in loaded(rules).warnings[0]
    guard = tmp_path / "guard.yaml"
    guard.write_text("# defaults")
    (fault,) = faults(tmp_path)
    assert (fault.found, fault.allowed) == (
        "the duration 59s, shorter than two polls",
        "at least 1m, two of polling.interval",
    )
    guard.write_text("polling: {interval: 29s}")
    assert loaded(tmp_path).warnings == ()


def test_faulty_settings_do_not_make_sound_rules_faulty(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text(
        "polling: {interval: 1s}\nsignals: {own: {unit: what, query: x}, size: {unit: bytes}}\n"
        "targets: [{name: t, deployment: 5}]\n"
    )
    (tmp_path / "rules.yaml").write_text(
        rules_text(
            "{name: a, condition: own > 5 and size > 5MiB, duration: 2s, action: alert_only, targets: [t]}",
            "{name: b, condition: size > 5s, duration: 1s, action: alert_only, targets: [u]}",
        )
    )
    found = [(Path(f.file).name, f.line, f.column) for f in faults(tmp_path)]
    assert found == [
        ("guard.yaml", 2, 23),
        ("guard.yaml", 2, 40),
        ("guard.yaml", 3, 33),
        ("rules.yaml", 3, 26),
        ("rules.yaml", 3, 47),
        ("rules.yaml", 3, 81),
    ]


def test_unreadable_settings_do_not_make_sound_rules_faulty(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text("signals: {own: {unit: count, query: x}")
    (tmp_path / "rules.yaml").write_text(
        rules_text("{name: a, condition: own > 5, duration: 2s, action: alert_only, targets: [t]}")
    )
    (fault,) = faults(tmp_path)
    assert "broken YAML" in fault.found


@pytest.mark.parametrize(("namespace", "warned"), [("logcaster", True), ("guards", False)])
def test_a_journal_beside_a_target_is_warned_of(folder: Path, namespace: str, *, warned: bool) -> None:
    (folder / "guard.yaml").write_text(f"journal: {{backend: kubernetes, namespace: {namespace}}}\n")
    assert any("may then read every Secret" in w for w in loaded(folder).warnings) is warned


@pytest.mark.parametrize(
    ("written", "warned"),
    [
        ("journal: {backend: kubernetes, namespace: guards}", True),
        ("journal: {backend: kubernetes, namespace: guards}\nauthority: {lease: guard, namespace: guards}", False),
        ("{}", False),
    ],
)
def test_a_journal_without_a_volume_and_a_lease_is_warned_of(folder: Path, written: str, *, warned: bool) -> None:
    (folder / "guard.yaml").write_text(f"{written}\n")
    assert any("both would act; name a lease" in w for w in loaded(folder).warnings) is warned


def test_warnings_name_what_may_surprise(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text("targets: [{deployment: other}]")
    (tmp_path / "rules.yaml").write_text(
        rules_text(
            "{name: slow, condition: p95_latency > 2s, duration: 5m, action: blue_green_rollback}",
            "{name: probe, condition: health_check_fails > 3, duration: 5m, action: immediate_rollback}",
            "{name: never, condition: error_rate > 100%, duration: 5m, action: alert_only}",
        )
    )
    warnings = loaded(tmp_path).warnings
    assert [w.split(": ")[0] for w in warnings] == ["rule slow", "rule probe", "rule never"]
    for warning, words in zip(
        warnings,
        ["so alert_only takes its place", "has no health_url", "exceeds 100%"],
        strict=True,
    ):
        assert words in warning


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{}", None),
        ("signals: {error_rate: {query: 'sum(rate(x{pod=~\"$deployment-.+\"}[$lookback]))'}}", None),
        (
            "signals: {error_rate: {query: 'sum(rate(x{service=\"$service\"}[$lookback]))'}}",
            "so the good release cannot be judged by its own pods and immediate_rollback takes its place",
        ),
        ("metrics: {selector: 'service=\"$service\"'}", "metrics.selector is the same for each Deployment"),
        ("sources: {prometheus: {url: null}}\nmetrics: {selector: 'service=\"$service\"'}", None),
    ],
)
def test_a_way_back_that_cannot_be_judged_is_warned_of(tmp_path: Path, written: str, words: str | None) -> None:
    (tmp_path / "guard.yaml").write_text(written)
    (tmp_path / "rules.yaml").write_text(
        rules_text("{name: a, condition: error_rate > 5%, duration: 5m, action: gradual_rollback}")
    )
    found = [w for w in loaded(tmp_path).warnings if "its own pods" in w]
    assert (len(found), words is None or words in found[0]) == (int(words is not None), True)


LONG = "logcaster-relay-of-the-second-region-with-a-longer-name"


@pytest.mark.parametrize(
    ("target", "pod"),
    [
        ("{deployment: web}", None),
        ("{kind: StatefulSet, deployment: web}", "web-0"),
        ("{kind: DaemonSet, deployment: web}", "web-x8k2p"),
        (f"{{deployment: {LONG}}}", f"{LONG}-7dx8k2p"),
    ],
)
def test_a_query_that_does_not_find_the_pods_of_a_target_is_warned_of(
    tmp_path: Path, target: str, pod: str | None
) -> None:
    by_hand = "metrics: {selector: 'pod=~\"$deployment-[a-z0-9]+-[a-z0-9]+\"'}"
    (tmp_path / "rules.yaml").write_text(
        rules_text("{name: a, condition: error_rate > 5%, duration: 5m, action: alert_only}")
    )
    for written, called in ((f"targets: [{target}]", None), (f"targets: [{target}]\n{by_hand}", pod)):
        (tmp_path / "guard.yaml").write_text(written)
        found = [w for w in loaded(tmp_path).warnings if "does not find the pods" in w]
        assert len(found) == (0 if called is None else 1)
        assert called is None or f"called like {called}; use pod=~" in found[0]


def test_of_a_directory_only_its_own_visible_yaml_is_read(folder: Path) -> None:
    # As the kubelet lays out a mounted ConfigMap.
    data = folder / "..2024_01_01"
    data.mkdir()
    (data / "more.yaml").write_text(rules_text(RULE % ("b", "")))
    (folder / "..data").symlink_to(data.name)
    (folder / "more.yaml").symlink_to("..data/more.yaml")
    (folder / "sub.yaml").mkdir()
    (folder / ".hidden.yaml").write_text("[")
    (folder / "notes.txt").write_text("[")
    assert [r.name for r in loaded(folder).rules] == ["b", "a"]


def test_a_file_named_twice_is_read_once(folder: Path) -> None:
    assert len(loaded(folder, folder / "rules.yaml", folder).rules) == 1


def test_paths_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "x.yaml").symlink_to("nowhere")
    found = faults(
        tmp_path / "fifo",
        tmp_path / "empty",
        tmp_path / "loop",
        tmp_path / "dangling",
        tmp_path / "missing",
        tmp_path / "missing" / "deeper",
        "/dev/null",
        "a\0b",
        "x" * 5_000,
        "",
    )
    assert len(found) == 10
    assert all((f.line, f.column) == (0, 0) for f in found)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_told(folder: Path) -> None:
    (folder / "rules.yaml").chmod(0)
    (fault,) = faults(folder)
    assert fault.found == "no permission to read it"


def test_no_permission_is_told_whoever_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    (fault,) = faults(folder / "rules.yaml")
    assert fault.found == "no permission to read it"


FRAGMENTS = [
    *(
        "rollback_triggers:\n",
        "  - ",
        "name: a\n",
        "    condition: ",
        "error_rate > 5%\n",
        '"x > 5',
        "duration: 5m\n",
        "5\n",
    ),
    *(
        "targets:\n",
        "  - name: b\n",
        "signals: ",
        "{a: {unit: count, query: '$x'}}\n",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "null\n",
    ),
    *(
        "sources: {prometheus: {url: null, token: x}}\n",
        "notify: {webhooks: [{url: ",
        "http://x",
        "}]}\n",
        "&a ",
        "*a",
        "é",
    ),
    *(
        "metrics: {selector: ",
        "'",
        '"',
        "\n",
        "polling: {interval: ",
        "labels: {a: b}",
        ", ",
        "|\n",
        "<<: ",
        "5%",
        "true",
    ),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_raises(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    found = load(file)
    assert isinstance(found, Loaded) or found
