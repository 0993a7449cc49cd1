"""Prints the way of one fired trigger, from the sample that fills its duration to the PATCH: `python -m bench.walk`.

The trigger passes through the tasks of its rule, of its target's decisions, of its run and of its write. In each, the
modules on the stack when it is handed on are its stops; what they ask on the way, and get an answer from, is listed
beside them. Not counted: the journal, the clock, the cluster's port, and the pure domain.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

import logcaster_guard
from logcaster_guard.domain.events import Event, TriggerFired
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import bench
from tests.fakes.journal import MemoryJournal

ROOT = Path(logcaster_guard.__file__).parent
ROOMS = ("engine", "rollbacks", "steps")
NOT_COUNTED = frozenset(
    {"journal_state", "event_lines", "outbox", "fencing", "guard_counters", "hub", "recurring_log", "watchdog", "tasks"}
)
LEGS = {
    "follow ": "the sample fills the duration",
    "decide": "the run is opened",
    "run ": "the step is begun",
    "effect ": "the PATCH is sent",
}
"""The tasks that the trigger passes through, by the beginnings of their names, and how each hands it on."""
HANDS_ON = frozenset({"Executor.start", "Executor._effect"})
"""The calls that begin the next task."""


def module_of(frame: FrameType) -> str | None:
    """The module that a frame runs in, without what is not counted."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT):
        return None
    room, *rest = path.relative_to(ROOT).parts
    name = "/".join(rest).removesuffix(".py")
    return f"{room}/{name}" if room in ROOMS and name not in NOT_COUNTED else None


def modules_above(frame: FrameType | None) -> Iterator[str]:
    """The modules on the stack, the innermost first."""
    while frame is not None:
        if (module := module_of(frame)) is not None:
            yield module
        frame = frame.f_back


def leg() -> str | None:
    """The leg that the present task is; None for what goes on beside the trigger."""
    task = asyncio.current_task()
    return None if task is None else next((leg for leg in LEGS if task.get_name().startswith(leg)), None)


@dataclass
class Walk:
    """`stops` and `asked` by leg, in the order in which they were come to."""

    stops: dict[str, Sequence[str]] = field(default_factory=dict)
    asked: dict[str, dict[str, None]] = field(default_factory=lambda: {leg: {} for leg in LEGS})

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """A profile function (`sys.setprofile`)."""
        if event == "call" and (now := leg()) is not None and now not in self.stops:
            module = module_of(frame)
            if module is not None:
                self.asked[now].setdefault(module)
            if frame.f_code.co_qualname in HANDS_ON:
                self.hand_on(frame)

    def hand_on(self, frame: FrameType | None) -> None:
        """The present leg is over: what is on the stack was its way."""
        if (now := leg()) is not None:
            self.stops.setdefault(now, list(dict.fromkeys(reversed(list(modules_above(frame))))))


async def walked() -> Walk:
    """The way of an immediate rollback."""
    walk = Walk()
    async with bench() as made:
        await made.bad_v2()
        await made.pass_(290.0)
        journal = made.journal or MemoryJournal()
        append, patch = journal.append, made.cluster.json_patch

        async def appended(stream: str, events: Sequence[Event], expected_seq: int) -> int:
            if any(isinstance(event, TriggerFired) for event in events):
                walk.hand_on(inspect.currentframe())
            return await append(stream, events, expected_seq)

        async def patched(kind: Kind, namespace: str, name: str, operations: Sequence[Json], **named: str) -> Json:
            walk.hand_on(inspect.currentframe())
            return await patch(kind, namespace, name, operations, **named)

        journal.append = appended  # type: ignore[method-assign] # where a leg ends
        made.cluster.json_patch = patched  # type: ignore[method-assign] # where the last one ends
        sys.setprofile(walk.note)
        await made.pass_(30.0)
        sys.setprofile(None)
    return walk


def main() -> None:
    """Print it."""
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    walk = asyncio.run(walked())
    # A module that hands the trigger to a task of its own goes on with it: it is one stop.
    way = [stop for stop, _ in itertools.groupby(stop for leg in LEGS for stop in walk.stops[leg])]
    for leg, end in LEGS.items():
        asked = [module for module in walk.asked[leg] if module not in walk.stops[leg]]
        print(f"{' -> '.join(walk.stops[leg])}: {end}\n    asked on the way: {', '.join(asked) or 'nobody'}")
    again = sorted({stop for stop in way if way.count(stop) > 1})
    print(f"{len(way)} stops, entered more than once: {', '.join(again) or 'none'}")


if __name__ == "__main__":
    main()
