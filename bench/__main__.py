"""Prints how the guard's own hot paths compare with the plainest way to do the same."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
import yaml

from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.config.grammar import parse_condition
from logcaster_guard.config.yaml import load_yaml
from logcaster_guard.domain.conditions import judge
from logcaster_guard.domain.events import SignalSeen
from logcaster_guard.domain.signals import BUILT_IN_UNITS, Value
from logcaster_guard.engine.journal_state import run_stream
from logcaster_guard.messages.texts import english
from logcaster_guard.stores import CODEC
from logcaster_guard.web import rendering
from tests.engine.bench import ERRORS, HEALTH, Bench, rule
from tests.fakes.guarded import past_run
from tests.fakes.journal import MemoryJournal

ROUNDS = 9
CONDITION = "error_rate > 5% and (request_rate > 10 or not p95_latency < 2s)"
PLAIN = compile("e > 0.05 and (r > 10 or not p < 2)", "plain", "eval")
TARGETS, PAST_RUNS = 100, 2_000
RULES = Path(__file__).parents[1] / "config" / "rollback-rules.yaml"


def side_by_side(name: str, ours: Callable[[], object], plain: Callable[[], object], times: int) -> None:
    """Run both in turn and print the median of the ratios, with the extremes."""
    ratios = []
    for _ in range(ROUNDS):
        spent = []
        for work in (ours, plain):
            began = time.perf_counter()
            for _ in range(times):
                work()
            spent.append(time.perf_counter() - began)
        ratios.append(spent[0] / spent[1])
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"{name:<58} {middle:8.1f} x   ({low:.1f} to {high:.1f}, {ROUNDS} rounds of {times})")


def conditions() -> None:
    """A rule's condition against the same expression compiled by Python."""
    tree = parse_condition(CONDITION, BUILT_IN_UNITS)
    readings = {"error_rate": Value(0, 0.1), "request_rate": Value(0, 20.0), "p95_latency": Value(0, 1.0)}
    names = {"e": 0.1, "r": 20.0, "p": 1.0}
    side_by_side(
        "condition over readings / compiled Python expression",
        lambda: judge(tree, readings),
        lambda: eval(PLAIN, {}, names),  # noqa: S307 - a constant, for comparison
        2_000,
    )


def rules_file() -> None:
    """The strict loader with positions against PyYAML's safe_load."""
    content = RULES.read_bytes()
    side_by_side(
        "rule file, strict with positions / yaml.safe_load",
        lambda: load_yaml(content, "rules"),
        lambda: yaml.safe_load(content),
        10,
    )


def journal() -> None:
    """A durable, checked append against a bare INSERT that waits for no disk."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        ours = runner.run(SqliteJournal.open(CODEC, Path(folder, "journal.db")))
        bare = sqlite3.connect(Path(folder, "bare.db"), isolation_level=None)
        bare.executescript("PRAGMA synchronous=OFF; CREATE TABLE event (body TEXT)")
        seq = 0

        def append() -> None:
            nonlocal seq
            seq = runner.run(ours.append("bench", [SignalSeen(at, "error_rate")], seq))

        side_by_side(
            "journal append, on disk when it returns / bare INSERT",
            append,
            lambda: bare.execute("INSERT INTO event VALUES ('x')"),
            50,
        )
        bare.close()
        runner.run(ours.aclose())


async def watched(past_runs: int) -> Bench:
    """A guard over fakes that has watched `TARGETS` targets for a minute, after as many rollbacks as are asked for."""
    names = [f"service-{n}" for n in range(TARGETS)]
    made = Bench(rules=[ERRORS, HEALTH, rule("no_traffic", "request_rate", 1e9, 60.0)], deployments=names)
    journal = made.journal = MemoryJournal()
    for n in range(past_runs):
        opened, closed = past_run()
        run, at = f"r{n}", opened.at - timedelta(minutes=n)
        opened = replace(opened, run=run, target=f"default/{names[n % TARGETS]}", at=at)
        closed = replace(closed, run=run, at=at + timedelta(seconds=90))
        await journal.append(run_stream(run), (opened, closed), 0)
    await made.start()
    await made.pass_(60.0)
    return made


def status() -> None:
    """What `/api/v1/status` answers after many rollbacks, against the same after none, and against `json.dumps`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with asyncio.Runner() as runner:
        old, new = runner.run(watched(PAST_RUNS)), runner.run(watched(0))

        def answer(made: Bench) -> dict[str, Any]:
            return rendering.status(made.guard.read_model.status(), english())

        told = answer(old)
        began = time.process_time()
        answer(old)
        spent = 1_000 * (time.process_time() - began)
        print(f"status of {TARGETS} targets, {PAST_RUNS:,} past runs: {spent:.0f} ms of CPU")
        side_by_side("status after 2,000 runs / after none", lambda: answer(old), lambda: answer(new), 3)
        side_by_side("status after 2,000 runs / json.dumps of it", lambda: answer(old), lambda: json.dumps(told), 3)
        for made in (old, new):
            runner.run(made.stop())


if __name__ == "__main__":
    conditions()
    rules_file()
    journal()
    status()
