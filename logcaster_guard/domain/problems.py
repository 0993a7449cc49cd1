"""What keeps the guard from seeing or from keeping up, for as long as it lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.signals import Target

_NAMED = 5
"""Places that a sentence names."""


class ProblemKind(StrEnum):
    """What is wrong."""

    SOURCE = "source"
    WORKLOAD = "workload"
    RULE = "rule"
    POLLS = "polls"
    LAG = "lag"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Place(Message):
    """The names of what a problem keeps from working at one target."""

    names: tuple[str, ...]
    target: str
    kind: Literal["place"] = "place"


@dataclass(frozen=True, slots=True)
class Places(Message):
    """Those of some targets; there are `more` targets."""

    places: tuple[Place, ...]
    more: int
    kind: Literal["places"] = "places"


@dataclass(frozen=True, slots=True)
class ProblemSummary(Message):
    """A problem in one sentence; `where` is None for one that concerns all that it stands for."""

    problem: ProblemKind
    what: Reason
    cause: Reason
    where: Places | None
    kind: Literal["problem"] = "problem"


@dataclass(frozen=True, slots=True)
class OfSource(Message):
    """A source; `target` is whose, empty for a source that all targets share."""

    source: str
    target: str = ""
    kind: Literal["source"] = "source"


@dataclass(frozen=True, slots=True)
class SourceFault(Message):
    """What a source answered instead of values; `detail` is its own words, or empty."""

    fault: str
    detail: Reason
    kind: Literal["source_fault"] = "source_fault"


@dataclass(frozen=True, slots=True)
class Overload(Message):
    """The guard does not keep up with its polls."""

    kind: Literal["overload"] = "overload"


@dataclass(frozen=True, slots=True)
class SlowPolls(Message):
    """Polls take longer than the `interval`, which is in seconds."""

    interval: float
    kind: Literal["slow_polls"] = "slow_polls"


@dataclass(frozen=True, slots=True)
class OfClock(Message):
    """The clock of somebody else than the guard."""

    whose: str
    kind: Literal["clock"] = "clock"


@dataclass(frozen=True, slots=True)
class ClockDifference(Message):
    """By how many seconds another clock differs from the guard's."""

    seconds: float
    ahead: bool
    kind: Literal["clock_difference"] = "clock_difference"


@dataclass(slots=True)
class Problem:
    """One cause, wherever it shows.

    `what` is failing, for `cause`, since monotonic second `since`, which was the instant `at`. `places` are the names
    of what it keeps from working (signals, rules, sources) by target, each with the monotonic second from which on
    people are to know. `told`: they do.
    """

    kind: ProblemKind
    what: Reason
    cause: Reason
    since: float
    at: datetime
    places: dict[tuple[str, str], float] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    told: bool = False

    @property
    def due(self) -> float:
        """The monotonic second from which on people are to know."""
        return min(self.places.values())

    @property
    def target(self) -> Target | None:
        """The one target that it is about; None if there are several."""
        keys = {key for key, _ in self.places}
        return self.targets[next(iter(keys))] if len(keys) == 1 else None

    def concerns(self, target: Target) -> bool:
        """Whether it shows at the target."""
        return any(key == target.key for key, _ in self.places)

    @property
    def where(self) -> Places:
        """What it keeps from working."""
        by_target: dict[str, list[str]] = {}
        for target, name in self.places:
            by_target.setdefault(target, []).append(name)
        found = [Place(tuple(sorted(names)), target) for target, names in by_target.items()]
        return Places(tuple(found[:_NAMED]), max(0, len(found) - _NAMED))

    @property
    def summary(self) -> ProblemSummary:
        """All of it, in one sentence."""
        shown = self.kind not in {ProblemKind.WORKLOAD, ProblemKind.CLOCK}
        return ProblemSummary(self.kind, self.what, self.cause, self.where if shown else None)
