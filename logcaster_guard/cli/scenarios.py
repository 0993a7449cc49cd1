"""The demo's scenarios: what happens, which rules watch, and who judges the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from logcaster_guard.cli import judges
from logcaster_guard.cli.judges import Finding, Judge
from logcaster_guard.cli.stage import NEW, Stage
from logcaster_guard.domain.rules import Action
from logcaster_guard.sandbox.objects import image
from logcaster_guard.sandbox.release import MIB, Behaviour

RULE = '  - {{name: {}, condition: "{}", duration: "5s", action: {}}}\n'
PLAN = {
    "high_error_rate": "error_rate > 5%",
    "health_check_failure": "health_check_fails > 3",
    "response_time_degradation": "p95_latency > 2s",
    "memory_leak": "memory_usage > 90%",
    "crash_loop": "restart_count > 5",
}
STALLED = {"rollout_stalled": "rollout_stalled > 0", "unready_pods": "unready_pods > 0"}


class Name(StrEnum):
    """What happens in the demo."""

    ERRORS = "errors"
    BAD_CONFIGURATION = "bad-configuration"
    SLOW = "slow"
    UNHEALTHY = "unhealthy"
    CRASH_LOOP = "crash-loop"
    MEMORY_LEAK = "memory-leak"
    STALLED = "stalled"
    INNOCENT = "innocent"
    GRADUAL = "gradual"
    ALERT_FIRST = "alert-first"
    BLUE_GREEN = "blue-green"


class Scenario(Protocol):
    """A story with an end. `new` is how the release behaves that is rolled out, `rules` are conditions by name.

    `action` is what each of them asks for, `configuration` what the ConfigMap of the good release holds (None: none).
    """

    @property
    def new(self) -> Behaviour: ...  # noqa: D102 - told above

    @property
    def rules(self) -> Mapping[str, str]: ...  # noqa: D102 - told above

    @property
    def action(self) -> Action: ...  # noqa: D102 - told above

    @property
    def configuration(self) -> Mapping[str, str] | None: ...  # noqa: D102 - told above

    async def play(self, stage: Stage) -> bool:
        """Play it on a stage where the good release serves; returns whether it ended well."""


@dataclass(frozen=True, slots=True)
class BadRelease:
    """A release with a fault is rolled out; it ends well if `judge` finds the service in order again.

    `told` is what people are told of the fault. `shows_after` is how many seconds the fault is left to show itself
    where nobody watches; `complete_within` how long to wait for a rollout that may never be complete. With `edit` the
    ConfigMap is changed instead, and the release stays.
    """

    new: Behaviour
    told: str
    judge: Judge
    rules: Mapping[str, str]
    action: Action = Action.IMMEDIATE
    shows_after: float = 15.0
    complete_within: float = 20.0
    configuration: Mapping[str, str] | None = None
    edit: Mapping[str, str] | None = None

    async def play(self, stage: Stage) -> bool:
        """See the class."""
        await self._look(stage)
        if self.edit is None:
            await stage.roll_out(f"; {self.told}", within=self.complete_within)
        else:
            await stage.edit(self.edit, f"; {self.told}")
        await asyncio.sleep(3)
        await self._look(stage)
        if not stage.guarded:
            await asyncio.sleep(self.shows_after)
            return await self._verdict(stage, "Nobody rolled it back.")
        await stage.until(lambda: stage.told("run.closed"), 90)
        changes = stage.changes()
        changed = "Service or its Deployments" if stage.switching else "Deployment"
        changed = changed if self.edit is None else "ConfigMap and the Deployment"
        return await self._verdict(stage, f"The guard changed the {changed} {changes} time{'s' * (changes != 1)}.")

    async def _look(self, stage: Stage) -> Finding:
        finding = await self.judge.look(stage)
        stage.timeline.say(self.judge.who, finding.text)
        return finding

    async def _verdict(self, stage: Stage, remark: str) -> bool:
        finding = await self._look(stage)
        colour, word = ("green", "Recovered") if finding.well else ("red", "Not recovered")
        stage.timeline.verdict(
            f"\n[bold {colour}]{word}[/] {stage.since_changed:.0f} s after {stage.change}, as "
            f"{self.judge.witness} saw it: {finding.text}. {remark}"
        )
        return finding.well


@dataclass(frozen=True, slots=True)
class InnocentRelease:
    """A dependency fails for old and new alike, and a good release is rolled out by chance; nothing must be undone."""

    new: Behaviour
    rules: Mapping[str, str]
    action: Action = Action.IMMEDIATE
    configuration: Mapping[str, str] | None = None

    async def play(self, stage: Stage) -> bool:
        """See the class."""
        stage.timeline.say("people", "nobody does anything, but a database that every release needs fails", "bold")
        stage.world.releases.dependency_failure = 0.3
        await asyncio.sleep(3)
        await self._look(stage)
        await stage.roll_out(", a good release, by chance just now")
        if stage.guarded:
            await stage.until(lambda: stage.told("trigger.refused"), 30)
        await asyncio.sleep(8)
        await self._look(stage)
        attempts, serving = stage.attempts(), await stage.image()
        stage.timeline.say("people", "the database is mended")
        stage.world.releases.dependency_failure = 0.0
        await stage.world.traffic.until(lambda t: (t.window(3).error_share or 0) < 0.01, 15)
        await self._look(stage)
        return self._verdict(stage, attempts, untouched=serving == image(NEW))

    async def _look(self, stage: Stage) -> None:
        stage.timeline.say("users", (await judges.USERS_ERRORS.look(stage)).text)

    def _verdict(self, stage: Stage, attempts: int, *, untouched: bool) -> bool:
        well, told = untouched and attempts == 0, stage.told("trigger.refused")
        colour, word = ("green", "Nothing was rolled back") if well else ("red", "An innocent release was touched")
        people = "Nobody watched." if not stage.guarded else f"People were told {'why' if told else 'nothing'}."
        stage.timeline.verdict(
            f"\n[bold {colour}]{word}[/]: {attempts} mutating requests of the guard in the API server's audit; "
            f"{NEW} {'still serves' if untouched else 'was replaced'}. {people}"
        )
        return well and (told or not stage.guarded)


SCENARIOS: Mapping[Name, Scenario] = {
    Name.ERRORS: BadRelease(Behaviour(error_rate=0.3), "30 % of its answers are errors", judges.USERS_ERRORS, PLAN),
    Name.BAD_CONFIGURATION: BadRelease(
        Behaviour(),
        "30 % of the answers are errors with it",
        judges.USERS_ERRORS,
        {"high_error_rate": PLAN["high_error_rate"]},
        configuration={"ERROR_RATE": "0", "LOG_LEVEL": "info"},
        edit={"ERROR_RATE": "0.3"},
    ),
    Name.SLOW: BadRelease(Behaviour(latency=3.0), "it answers after 3 s", judges.USERS_WAITS, PLAN),
    Name.UNHEALTHY: BadRelease(
        Behaviour(healthy=False), "it serves, and its /health says 503", judges.HEALTH_CHECK, PLAN
    ),
    Name.CRASH_LOOP: BadRelease(
        Behaviour(crash_every=1.2), "its process ends every 1.2 s", judges.RESTARTS, PLAN, complete_within=8.0
    ),
    Name.MEMORY_LEAK: BadRelease(
        Behaviour(memory=222 * MIB, memory_growth=2 * MIB),
        "it takes 2 MiB of memory more each second, and the limit is 256 MiB",
        judges.MEMORY,
        PLAN,
    ),
    Name.STALLED: BadRelease(
        Behaviour(pullable=False),
        "its image cannot be pulled, and the old pods serve on",
        judges.ARRIVED,
        PLAN | STALLED,
        complete_within=3.0,
    ),
    Name.INNOCENT: InnocentRelease(Behaviour(), PLAN),
    Name.GRADUAL: BadRelease(
        Behaviour(error_rate=0.3),
        "30 % of its answers are errors; it is replaced step by step",
        judges.USERS_ERRORS,
        {"high_error_rate": PLAN["high_error_rate"]},
        Action.GRADUAL,
    ),
    Name.ALERT_FIRST: BadRelease(
        Behaviour(error_rate=0.3),
        "30 % of its answers are errors; people are asked first, and say nothing",
        judges.USERS_ERRORS,
        {"high_error_rate": PLAN["high_error_rate"]},
        Action.ALERT_THEN,
    ),
    Name.BLUE_GREEN: BadRelease(
        Behaviour(error_rate=0.3),
        "30 % of its answers are errors; the environment before it stands by with one pod",
        judges.USERS_ERRORS,
        {"high_error_rate": PLAN["high_error_rate"]},
        Action.BLUE_GREEN,
    ),
}


def rules_text(scenario: Scenario) -> str:
    """The scenario's rules as a rules file."""
    return "rollback_triggers:\n" + "".join(RULE.format(*rule, scenario.action) for rule in scenario.rules.items())
