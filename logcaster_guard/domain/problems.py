"""What keeps the guard from seeing or from keeping up, for as long as it lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

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


@dataclass(slots=True)
class Problem:
    """One cause, wherever it shows.

    `what` is failing, for `cause`, since monotonic second `since`, which was the instant `at`. `places` are the names
    of what it keeps from working (signals, rules, sources) by target, each with the monotonic second from which on
    people are to know. `told`: they do.
    """

    kind: ProblemKind
    what: str
    cause: str
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
    def where(self) -> str:
        """What it keeps from working, in words."""
        by_target: dict[str, list[str]] = {}
        for target, name in self.places:
            by_target.setdefault(target, []).append(name)
        named = [f"{', '.join(sorted(names))} of {target}" for target, names in by_target.items()]
        more = f"; and {len(named) - _NAMED} more targets" if len(named) > _NAMED else ""
        return "; ".join(named[:_NAMED]) + more

    @property
    def sentence(self) -> str:
        """All of it, in one sentence."""
        match self.kind:
            case ProblemKind.SOURCE | ProblemKind.LAG | ProblemKind.POLLS:
                return f"{self.what}: {self.cause}. It concerns {self.where}."
            case ProblemKind.WORKLOAD | ProblemKind.CLOCK:
                return f"{self.what}: {self.cause}."
            case ProblemKind.RULE:
                return f"{self.where}: no value from {self.what} ({self.cause})."

    @property
    def facts(self) -> Mapping[str, str]:
        """The evidence, as notices carry it."""
        return {"source": self.what, "detail": self.cause, "where": self.where, "since": self.at.isoformat()}
