"""What an attribution rests on, as messages: what decisions, notices and people are told of a breach's cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.attribution import Attribution, Before, Cause, Comparison, EditsRead, Level, Past, Space
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.signals import Unit


@dataclass(frozen=True, slots=True)
class PastSeen(Message):
    """What the rule said before the rollout, on `seconds` of values (`breached` of 1 were met), or by the ledger."""

    before: Before
    seconds: str
    breached: float
    by_ledger: bool
    kind: Literal["evidence.past"] = "evidence.past"


@dataclass(frozen=True, slots=True)
class LevelSeen(Message):
    """A signal's number during the breach, and before the rollout: empty where that is not known."""

    after: str
    before: str
    kind: Literal["evidence.level"] = "evidence.level"


@dataclass(frozen=True, slots=True)
class Compared(Message):
    """The new release against something else, with the difference-in-differences and its margin."""

    signal: str
    against: str
    new: LevelSeen
    other: LevelSeen
    verdict: Space
    did: str
    margin: str
    kind: Literal["evidence.compared"] = "evidence.compared"


@dataclass(frozen=True, slots=True)
class Ranked(Message):
    """A target that breaches at the same moment."""

    target: str
    score: float
    rolled: bool
    kind: Literal["evidence.suspect"] = "evidence.suspect"


@dataclass(frozen=True, slots=True)
class Ranking(Message):
    """The targets that breach together, the first suspect first."""

    suspects: tuple[Ranked, ...]
    kind: Literal["evidence.ranking"] = "evidence.ranking"


@dataclass(frozen=True, slots=True)
class EditsSeen(Message):
    """How many pods have read edits of these objects, have not, and of how many that is unclear."""

    objects: tuple[str, ...]
    new: int
    old: int
    unclear: int
    kind: Literal["evidence.edits"] = "evidence.edits"


@dataclass(frozen=True, slots=True)
class PendingEdits(Message):
    """No pod has read these objects as they are now, so that a breach is nothing of theirs."""

    objects: tuple[str, ...]
    kind: Literal["evidence.pending"] = "evidence.pending"


@dataclass(frozen=True, slots=True)
class Evidence(Message):
    """All that an attribution rests on; see `Attribution`. `began` tells whether `lag` is known."""

    cause: Cause
    began: bool
    lag: str
    began_with: str
    past: PastSeen
    beside: Compared | None
    rival: Compared | None
    together: Ranking | None
    watched: int
    edits: EditsSeen | None = None
    kind: Literal["evidence"] = "evidence"


def shown(number: float, unit: Unit | None) -> str:
    """A number as people read it."""
    if unit is Unit.RATIO:
        return f"{number * 100:.3g}%"
    return f"{number:.4g}" + {Unit.SECONDS: "s", Unit.BYTES: "B", Unit.PER_SECOND: "/s"}.get(unit or Unit.COUNT, "")


def facts(found: Attribution, units: Mapping[str, Unit]) -> Mapping[str, Reason]:
    """The attribution as facts of a decision: `cause`, the `attribution` itself, and who else breaches."""
    others = {"suspects": ranking(found)} if len(found.suspects) > 1 else {}
    return {"cause": str(found.cause), "attribution": evidence(found, units), **others}


def ranking(found: Attribution) -> Ranking:
    """The targets that breach together, the first suspect first."""
    return Ranking(tuple(Ranked(s.target, s.score, s.rolled) for s in found.suspects))


def evidence(found: Attribution, units: Mapping[str, Unit]) -> Evidence:
    """What the attribution rests on."""
    return Evidence(
        found.cause,
        found.lag is not None,
        f"{found.lag or 0.0:.4g}",
        found.began_with,
        _past(found.past),
        None if found.beside is None else _compared(found.beside, units),
        None if found.rival is None else _compared(found.rival, units),
        ranking(found) if len(found.suspects) > 1 else None,
        found.watched,
        None if found.edits is None else _edits(found.edits),
    )


def _edits(found: EditsRead) -> EditsSeen:
    return EditsSeen(found.objects, len(found.new), len(found.old), len(found.unclear))


def _past(past: Past) -> PastSeen:
    return PastSeen(past.before, f"{past.seconds:.4g}", past.breached, past.by_ledger)


def _compared(found: Comparison, units: Mapping[str, Unit]) -> Compared:
    unit = units.get(found.signal)

    def level(seen: Level) -> LevelSeen:
        return LevelSeen(shown(seen.after, unit), "" if seen.before is None else shown(seen.before, unit))

    new, other, did, margin = level(found.new), level(found.other), shown(found.did, unit), shown(found.margin, unit)
    return Compared(found.signal, found.against, new, other, found.verdict, did, margin)
