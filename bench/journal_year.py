"""Measures how long a guard takes to open a year's journal: `python -m bench.journal_year [--targets 10]`.

Each target gets a release every working day, which earns good, and each week a bad one, that a gradual rollback leaves;
its rules become pending and clear three times a day. The year is compacted as the guard does it, with its default
retention. Printed are events and bytes, and what a guard does before it acts: the file is checked, all of it is read
and folded into the state, and what people are still owed is found. The fastest of some rounds, in seconds of CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from logcaster_guard import messages
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.domain.events import (
    Event,
    HoldReleased,
    NoticeQueued,
    NoticeSettled,
    RevisionGood,
    RevisionLive,
    RevisionNumbered,
    RunClosed,
    RunEnding,
    RunOpened,
    SignalSeen,
    StepDone,
    StepIntended,
    StepStarted,
    TriggerCleared,
    TriggerFired,
    TriggerPending,
)
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.runs import RECOVERED, Run
from logcaster_guard.domain.steps import Compensation, Plan, Step
from logcaster_guard.engine.compaction import compaction
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.engine.outbox import Outbox
from logcaster_guard.ports import Entry
from logcaster_guard.steps.await_helper import AwaitHelper
from logcaster_guard.steps.await_rollout import AwaitRollout
from logcaster_guard.steps.create_helper import CreateHelper
from logcaster_guard.steps.judge_helper import JudgeHelper
from logcaster_guard.steps.remove_helper import RemoveHelper
from logcaster_guard.steps.restore_template import RestoreTemplate
from logcaster_guard.steps.scale_helper import ScaleHelper
from logcaster_guard.steps.scale_production import ScaleProduction
from logcaster_guard.steps.verify_recovery import VerifyRecovery
from logcaster_guard.stores import CODEC

DAYS, RETENTION, ROUNDS = 365, timedelta(days=30), 5
START = datetime(2025, 1, 1, tzinfo=UTC)
PARTS = ("checked", "read and folded", "owed notices found")
END = START + timedelta(days=DAYS)
CHANNELS = ("slack", "events")
RULES = ("high_error_rate", "response_time_degradation", "memory_leak")
SHARES = (1, 3, 5, 8, 10)
"""The helper's pods at each share of a gradual rollback of ten."""


def digest(*parts: object) -> str:
    """Some SHA-256, the same for the same parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass
class Year:
    """The entries of a guard that has watched targets for a year."""

    chance: random.Random
    entries: list[tuple[datetime, str, Event]]

    def target(self, number: int) -> None:
        """What happens to one target."""
        name = f"service-{number}"
        stream, key = f"target/shop/{name}", f"shop/{name}"
        self._put(stream, SignalSeen(START, "error_rate"), SignalSeen(START, "p95_latency"))
        for day in range(DAYS):
            morning = START + timedelta(days=day, hours=9, seconds=self.chance.randrange(3_600))
            self._triggers(stream, morning)
            if (START + timedelta(days=day)).weekday() >= 5:
                continue
            self._release(stream, name, day, morning, good=True)
            if day % 7 == 0:
                self._run(key, name, day, morning + timedelta(hours=4))

    def _put(self, stream: str, *events: Event) -> None:
        self.entries += [(event.at, stream, event) for event in events]

    def _triggers(self, stream: str, morning: datetime) -> None:
        for hour, rule in enumerate(RULES):
            at = morning + timedelta(hours=hour)
            self._put(stream, TriggerPending(at, rule, at), TriggerCleared(at + timedelta(minutes=2), rule, "quiet"))

    def _release(self, stream: str, name: str, number: float, at: datetime, *, good: bool) -> str:
        template = digest(name, number)
        live = RevisionLive(
            at, template, "", f"uid-{name}", digest("blob", template), (f"registry.example.com/{name}:{number}",), at
        )
        self._put(stream, live, RevisionNumbered(at + timedelta(seconds=5), template, str(int(number * 2))))
        if good:
            earned = at + timedelta(minutes=10)
            self._put(stream, RevisionGood(earned, template, 1.0, 600.0, digest("snapshot", template)))
        return template

    def _run(self, key: str, name: str, day: int, at: datetime) -> None:
        stream, run, rule = f"target/{key}", f"{name}-{at:%Y%m%dt%H%M%S}-{day:04x}", RULES[day % len(RULES)]
        bad = self._release(stream, name, day + 0.5, at, good=False)
        onset, fired = at + timedelta(minutes=1), at + timedelta(minutes=6)
        evidence: dict[str, Reason] = {"error_rate": "31.4%", "request_rate": "812.5/s"}
        self._put(
            stream,
            TriggerPending(onset, rule, onset),
            TriggerFired(fired, rule, onset, {k: str(v) for k, v in evidence.items()}),
        )
        plan = plan_of(name, bad, digest(name, day))
        opened = RunOpened(
            fired, run, key, rule, "Rule high_error_rate (error_rate > 5%) has been met for 5m.", plan, onset,
            evidence=evidence, condition="error_rate > 5%", snapshot=digest("before", run), attributed=True,
        )  # fmt: skip
        self._tell(f"run/{run}", NoticeQueued(fired, messages.opened(opened)), opened)
        ended = self._steps(opened, fired)
        back = RevisionLive(ended, plan.to_template, "", plan.uid, digest("blob"), plan.to_images, ended, by_guard=run)
        self._put(stream, back, TriggerCleared(ended, rule, "quiet"))
        closed = RunClosed(ended, run, RECOVERED, "quiet after the rollback", freeze=False)
        self._put(f"run/{run}", RunEnding(ended, run, closed.outcome, closed.reason, freeze=False))
        self._put(f"run/{run}", HoldReleased(ended, run, "replicas"), HoldReleased(ended, run, "helper"))
        self._tell(f"run/{run}", NoticeQueued(ended, messages.ended(Run(opened), closed)), closed)

    def _steps(self, opened: RunOpened, began: datetime) -> datetime:
        stream, at = f"run/{opened.run}", began
        holds = {
            CreateHelper: Compensation(
                "helper", "helper", "h", "", None, 1, run=opened.run, token=digest(opened.run)[:32]
            ),
            ScaleProduction: Compensation("replicas", "replicas", opened.plan.deployment, opened.plan.uid, 10, 9),
        }
        for number, step in enumerate(opened.plan.steps):
            self._put(stream, StepStarted(at, opened.run, number))
            if not isinstance(step, AwaitHelper | JudgeHelper | AwaitRollout | VerifyRecovery):
                self._put(stream, StepIntended(at, opened.run, number, 1, holds.get(type(step))))
            at += timedelta(seconds=30)
            self._put(stream, StepDone(at, opened.run, number, "10 of 10 pods serve"))
        return at

    def _tell(self, stream: str, queued: NoticeQueued, fact: Event) -> None:
        self._put(stream, fact, queued)
        for channel in CHANNELS:
            self._put(stream, NoticeSettled(queued.at, queued.notice.id, channel, "delivered"))


def plan_of(name: str, bad: str, good: str) -> Plan:
    """A gradual rollback of ten pods in five shares."""
    steps: list[Step] = [CreateHelper("h", digest("blob", good), 1, {"app": name})]
    for share in SHARES:
        steps += [
            ScaleHelper("h", share),
            AwaitHelper("h", share, 600.0),
            ScaleProduction(10 - share),
            JudgeHelper("h", share / 10, 60.0, 60.0, 0.01, 100, 900.0),
        ]
    steps += [RestoreTemplate(digest("blob", good)), ScaleProduction(10), AwaitRollout(600.0), RemoveHelper("h")]
    steps.append(VerifyRecovery(RULES[0], 300.0, 1_200.0))
    selector = {"app": name}
    images = (f"registry.example.com/{name}:2",), (f"registry.example.com/{name}:1",)
    uid = f"uid-{name}"
    plan = Plan("gradual", "shop", name, uid, bad, good, *images, 10, False, name, selector, tuple(steps))
    return replace(plan, size=10, floor=10)


def year(targets: int) -> Sequence[Entry]:
    """A year's journal as the guard has it on its last night, compacted."""
    made = Year(random.Random(14), [])  # noqa: S311 - the same year each time
    for number in range(targets):
        made.target(number)
    made.entries.sort(key=lambda told: told[0])
    entries = list(_numbered(made.entries))
    superfluous = compaction(entries, owed=(), before=END - RETENTION).superfluous
    return [entry for entry in entries if (entry.stream, entry.seq) not in superfluous]


def _numbered(told: Sequence[tuple[datetime, str, Event]]) -> Iterator[Entry]:
    seqs: dict[str, int] = {}
    for position, (_, stream, event) in enumerate(told, start=1):
        seqs[stream] = seqs.get(stream, 0) + 1
        yield Entry(stream, seqs[stream], position, event)


async def write(entries: Sequence[Entry], path: Path) -> None:
    """The journal's file with these events, in this order."""
    journal = await SqliteJournal.open(CODEC, path)
    seqs: dict[str, int] = {}
    for entry in entries:
        seqs[entry.stream] = await journal.append(entry.stream, [entry.event], seqs.get(entry.stream, 0))
    await journal.aclose()


async def opening(path: Path) -> dict[str, float]:
    """Seconds of CPU of each part of the opening."""
    marks = [time.process_time()]
    journal = await SqliteJournal.open(CODEC, path)
    marks.append(time.process_time())
    state = JournalState(journal, SystemClock())
    known = await state.load()
    marks.append(time.process_time())
    outbox = Outbox(journal, (), SystemClock())
    serving = asyncio.create_task(outbox.run(known))
    await asyncio.sleep(0)
    marks.append(time.process_time())
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await journal.aclose()
    spent = {name: after - before for name, (before, after) in zip(PARTS, pairwise(marks), strict=True)}
    return {**spent, "whole": marks[-1] - marks[0]}


def main() -> None:
    """Make the year, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", type=int, default=10)
    targets = parser.parse_args().targets
    entries = year(targets)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.db")
        asyncio.run(write(entries, path))
        size = path.stat().st_size
        rounds = [asyncio.run(opening(path)) for _ in range(ROUNDS)]
    fastest = min(rounds, key=lambda spent: spent["whole"])
    print(f"{targets} targets, a year, compacted: {len(entries):,} events, {size / 2**20:.1f} MiB")
    print(", ".join(f"{name}: {seconds:.2f} s" for name, seconds in fastest.items()))


if __name__ == "__main__":
    main()
