"""`logcaster-guard demo` as people start it, judged by its exit code and its last line."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from logcaster_guard.cli.scenarios import SCENARIOS, Name, rules_text
from logcaster_guard.cli.story import STEPS, GuardLog, Timeline
from logcaster_guard.config.loading import load
from logcaster_guard.steps.step_kinds import KINDS
from tests.real import presence

DEMO = [str(Path(sys.executable).with_name("logcaster-guard")), "demo"]
DONE = r"(2\.0\.0 was rolled out|ConfigMap logcaster-config was changed)"
RECOVERED = r"Recovered \d+ s after " + DONE + r", as {} saw it: {} The guard changed {}\."
BROKEN = r"Not recovered \d+ s after " + DONE + r", as {} saw it: {} Nobody rolled it back\."
IN_ORDER = {
    Name.ERRORS: ("the users' own client", r"0\.\d% of the last 3 s' requests failed\."),
    Name.BAD_CONFIGURATION: ("the users' own client", r"0\.\d% of the last 3 s' requests failed\."),
    Name.SLOW: ("the users' own client", r"95 % of the last 3 s' requests took no longer than 0\.\d\d s\."),
    Name.UNHEALTHY: ("a health check of the users' own", r"0 of the last 3 s' \d+ health checks failed\."),
    Name.CRASH_LOOP: ("the Kubernetes API", r"3 of 3 pods are Ready, they were restarted 0 times\."),
    Name.MEMORY_LEAK: ("the node", r"the fullest pod uses 25% of its memory limit\."),
    Name.STALLED: ("the Kubernetes API", r"3 of 3 pods are Ready and of .* release; waiting: none\."),
    Name.GRADUAL: ("the users' own client", r"0\.\d% of the last 3 s' requests failed\."),
    Name.ALERT_FIRST: ("the users' own client", r"0\.\d% of the last 3 s' requests failed\."),
    Name.BLUE_GREEN: ("the users' own client", r"0\.\d% of the last 3 s' requests failed\."),
}
OUT_OF_ORDER = {
    Name.ERRORS: ("the users' own client", r"(2[5-9]|3[0-5])\.\d% of the last 3 s' requests failed\."),
    Name.CRASH_LOOP: ("the Kubernetes API", r"\d of 3 pods are Ready, they were restarted [1-9]\d* times\."),
    Name.STALLED: ("the Kubernetes API", r"0 of 4 pods are Ready and of .* release; waiting: ImagePullBackOff\."),
}
CHANGED = {
    Name.GRADUAL: "the Deployment 10 times",
    Name.BLUE_GREEN: "the Service or its Deployments 4 times",
    Name.BAD_CONFIGURATION: "the ConfigMap and the Deployment 2 times",
}
ONCE = "the Deployment 1 time"
QUICK = {Name.ERRORS, Name.BAD_CONFIGURATION, Name.STALLED, Name.GRADUAL, Name.ALERT_FIRST, Name.BLUE_GREEN}
"""Each way back once, and a release that never arrives."""

AT_ONCE = 3
"""Demos that are played beside each other: each waits most of the time."""

pytestmark = pytest.mark.timeout(400)


def groups(names: set[Name]) -> list[object]:
    """Those that are played in one test, in the order of the table: the quick ones, and the others as a slow test."""
    quick = [n for n in Name if n in names & QUICK]
    others = [n for n in Name if n in names - QUICK]
    return [pytest.param(quick, id="quick"), pytest.param(others, id="others", marks=pytest.mark.slow)]


async def demo(*arguments: str, path: Path | None = None) -> tuple[int, str]:
    """Its exit code and the last line that it wrote."""
    process = await asyncio.create_subprocess_exec(
        *DEMO,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=None if path is None else {"PATH": str(path)},
    )
    try:
        async with asyncio.timeout(120):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, (out.decode().splitlines() or [""])[-1]


async def demos(names: Sequence[Name], *arguments: str) -> dict[Name, tuple[int, str]]:
    """As `demo`, of each of these scenarios."""
    free = asyncio.Semaphore(AT_ONCE)

    async def played(name: Name) -> tuple[int, str]:
        async with free:
            return await demo(*arguments, "--scenario", name)

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(played(name)) for name in names}
    return {name: task.result() for name, task in tasks.items()}


def unlike(ended: dict[Name, tuple[int, str]], code: int, verdicts: dict[Name, str]) -> dict[Name, tuple[int, str]]:
    """Those that ended with another exit code or verdict than this one."""
    return {n: end for n, end in ended.items() if end[0] != code or not re.fullmatch(verdicts[n], end[1])}


@pytest.mark.parametrize("names", groups(set(IN_ORDER)))
async def test_bad_releases_are_undone_and_others_than_the_guard_say_so(names: Sequence[Name]) -> None:
    verdicts = {n: RECOVERED.format(*IN_ORDER[n], CHANGED.get(n, ONCE)) for n in names}
    assert unlike(await demos(names), 0, verdicts) == {}


@pytest.mark.parametrize("names", groups(set(OUT_OF_ORDER)))
async def test_without_a_guard_they_stay_bad(names: Sequence[Name]) -> None:
    verdicts = {n: BROKEN.format(*OUT_OF_ORDER[n]) for n in names}
    assert unlike(await demos(names, "--no-guard"), 1, verdicts) == {}


@pytest.mark.slow
async def test_an_innocent_release_stays() -> None:
    code, verdict = await demo("--scenario", "innocent")
    assert verdict.startswith("Nothing was rolled back: 0 mutating requests of the guard")
    assert verdict.endswith("2.0.0 still serves. People were told why.")
    assert code == 0


@pytest.mark.slow
async def test_a_real_prometheus_may_be_in_between() -> None:
    presence.required("prometheus")
    code, verdict = await demo("--prometheus", "--scenario", "memory-leak")
    assert re.fullmatch(RECOVERED.format(*IN_ORDER[Name.MEMORY_LEAK], ONCE), verdict), verdict
    assert code == 0


async def test_without_the_program_prometheus_is_one_sentence(tmp_path: Path) -> None:
    code, said = await demo("--prometheus", path=tmp_path)
    assert said.startswith("error: there is no `prometheus` on the PATH")
    assert code == 3


def test_every_step_is_told_in_words() -> None:
    assert set(STEPS) == {kind.name for kind in KINDS}


def test_a_question_is_shown_with_what_silence_means() -> None:
    out = io.StringIO()
    log = GuardLog(Timeline(Console(file=out, highlight=False)))
    opened = {"event": "run.opened", "from_images": ["web:2"], "to_images": ["web:1"], "strategy": "alert_then"}
    asked = {"run": "r", "until": "2026-01-01T09:05:00+09:00", "veto": "logcaster-guard veto --approval-token t"}
    log.write(json.dumps({**opened, **asked, "silence": "consent"}) + "\n")
    assert out.getvalue().partition("guard    ")[2] == (
        "PEOPLE ARE ASKED to roll back: web:2 → web:1 (alert_then, run r); "
        "`logcaster-guard veto --approval-token t` stops it, without an answer it begins at 00:05:00 UTC\n"
    )


def test_on_a_terminal_lines_break_between_words() -> None:
    out = io.StringIO()
    Timeline(Console(file=out, force_terminal=True, width=40, color_system=None)).say(
        "guard", "one two three four " * 5
    )
    lines = out.getvalue().rstrip().splitlines()
    assert len(lines) > 2
    assert {word for line in lines[1:] for word in line.split()} == {"one", "two", "three", "four"}
    assert {line[:18].strip() for line in lines[1:]} == {""}


def test_every_bad_release_is_judged_here() -> None:
    assert set(IN_ORDER) == set(SCENARIOS) - {Name.INNOCENT} == set(Name) - {Name.INNOCENT}


@pytest.mark.parametrize("name", Name)
def test_the_rules_of_a_scenario_are_valid(name: Name, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(rules_text(SCENARIOS[name]))
    loaded = load(file)
    assert not isinstance(loaded, list), loaded
    assert {r.name for r in loaded.rules} == set(SCENARIOS[name].rules)
