from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from logcaster_guard.cli.check import check

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(check)
    return made


def test_sound_files_exit_0_with_rules_targets_and_warnings(app: typer.Typer) -> None:
    outcome = CliRunner().invoke(app, [str(CONFIG)])
    assert outcome.exit_code == 0
    first, *rest = outcome.stdout.splitlines()
    assert first == (
        "OK: 5 rules (high_error_rate, health_check_failure, response_time_degradation, memory_leak, crash_loop); "
        f"1 target logcaster (logcaster/logcaster-prod); settings: {CONFIG / 'guard.yaml'}"
    )
    assert rest == []  # a warning that nobody can act on hides the others


def test_faults_exit_2_with_place_remedy_and_count(app: typer.Typer, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rollback_triggers:\n  - {name: a, condition: error_rat > 5%, duration: 5, action: alert_only}\n"
        "  - {name: b, condition: error_rate > 5%, duration: 5m, action: alert_onl}\n"
    )
    outcome = CliRunner().invoke(app, [str(rules)])
    assert outcome.exit_code == 2
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith(f'{rules}:2:26: found the unknown signal "error_rat"; allowed the signals error_rate, ')
    assert lines[0].endswith('; did you mean "error_rate"?')
    assert lines[2].startswith(f'{rules}:3:65: found the text "alert_onl"; allowed immediate_rollback, ')
    assert lines[-1] == "3 faults in 1 file"


def test_what_a_file_holds_cannot_draw_on_the_terminal(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "evil\x1b[31m.yaml").write_text('"\\e[31m\\n": 1\nfoo\u200b: 2\n')
    outcome = CliRunner().invoke(app, [str(tmp_path)])
    assert outcome.exit_code == 2
    assert all(c.isprintable() or c == "\n" for c in outcome.stdout)


def test_a_flood_of_faults_is_cut_and_says_so(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("".join(f"k{i}: 1\n" for i in range(500)))
    outcome = CliRunner().invoke(app, [str(tmp_path)])
    assert outcome.stdout.splitlines()[-1] == "100 faults in 1 file (of a file the first 100 are shown)"


def test_a_terminal_without_unicode_is_served(tmp_path: Path) -> None:
    (tmp_path / "규칙.yaml").write_text("없음: 1\n")
    program = "import typer; from logcaster_guard.cli.check import check; typer.run(check)"
    outcome = subprocess.run(
        [sys.executable, "-c", program, "규칙.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout.endswith("1 fault in 1 file\n")


FAULTY = "rollback_triggers:\n  - {name: a, condition: error_rat > 5%, duration: 5m, action: alert_only}\n"
KOREAN = '발견: 알 수 없는 신호 "error_rat"; 허용: 신호 error_rate, '


@pytest.mark.parametrize(
    ("settings", "locale", "words"),
    [
        ("notify: {language: ko}\n", "en_US.UTF-8", KOREAN),
        ("notify: {language: ko}\npolling: 5\n", "", KOREAN),
        ("notify: {language: fr}\n", "ko_KR.UTF-8", "found the unknown signal"),
        ("dry_run: true\n", "ko_KR.UTF-8", "found the unknown signal"),
        (None, "ko_KR.UTF-8", KOREAN),
        (None, "kok_IN", "found the unknown signal"),
        (None, "", "found the unknown signal"),
    ],
)
def test_faults_are_told_in_the_language_of_the_settings_else_of_the_terminal(
    app: typer.Typer, tmp_path: Path, settings: str | None, locale: str, words: str
) -> None:
    (tmp_path / "rules.yaml").write_text(FAULTY)
    if settings is not None:
        (tmp_path / "guard.yaml").write_text(settings)
    outcome = CliRunner().invoke(app, [str(tmp_path)], env={"LC_ALL": "", "LC_MESSAGES": "", "LANG": locale})
    assert outcome.exit_code == 2
    assert words in outcome.stdout


def test_what_is_sound_and_may_surprise_is_told_in_korean(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(FAULTY.replace("error_rat ", "error_rate ").replace("5%", "500%"))
    (tmp_path / "guard.yaml").write_text("notify: {language: ko}\n")
    outcome = CliRunner().invoke(app, [str(tmp_path)])
    assert outcome.stdout.splitlines() == [
        f"정상: 규칙 1개(a); 대상 1개 logcaster (logcaster/logcaster-prod); 설정: {tmp_path / 'guard.yaml'}",
        "주의: 규칙 a: 비율은 100%를 넘지 않으므로 조건의 일부가 충족될 수 없습니다",
    ]
