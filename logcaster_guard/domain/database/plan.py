"""What a migration down will do, said before it is done: the plan that people see, approve, and that is carried out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from logcaster_guard.domain.database.migrating import Invariant, MigrationOrder, Script, TableLock
from logcaster_guard.domain.database.migrations import MigrationFile, WayDown
from logcaster_guard.domain.database.questions import is_table, is_there
from logcaster_guard.domain.database.server import DatabaseState, TableName
from logcaster_guard.domain.database.statement_findings import (
    Counted,
    CountQuery,
    Findings,
    Loss,
    StatementLoses,
    StatementUnjudged,
)
from logcaster_guard.domain.message import Message

FORMAT = 1
"""Of what the digest is made of."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to run; `sha256` is that of its bytes, in hex. `leaves` is the version afterwards, None for none."""

    name: str
    version: int
    sha256: str
    leaves: int | None


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """A way down that nothing is wrong with. `present` and `destination` are versions, None for none.

    `locks` are in the order in which they are taken; the tables of `indexes` are locked by the files themselves.
    `losses` and `unjudged` have to be approved. `size` is the database's, in bytes.
    """

    database: str
    versions: TableName
    present: int | None
    destination: int | None
    search_path: tuple[str, ...]
    files: tuple[PlannedFile, ...]
    locks: tuple[TableLock, ...]
    indexes: tuple[TableName, ...]
    losses: tuple[StatementLoses, ...]
    unjudged: tuple[StatementUnjudged, ...]
    invariants: tuple[Invariant, ...]
    size: int

    @property
    def needs_approval(self) -> bool:
        """Whether somebody has to agree: something is lost, or may be."""
        return bool(self.losses or self.unjudged)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that was decided, in hex; an approval is bound to it.

        How many rows are lost now is no part of it, nor how large the database is: both change with every write.
        """
        counted = [{**asdict(loss), "count": None} for loss in self.losses]
        decided = {**asdict(self), "format": FORMAT, "losses": counted, "size": None}
        canonical = json.dumps(decided, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of a plan before the database is asked about it."""

    state: DatabaseState
    versions: TableName
    way: WayDown
    files: tuple[MigrationFile, ...]
    findings: Findings
    invariants: tuple[Invariant, ...] = ()

    @property
    def questions(self) -> Sequence[str]:
        """Everything to ask, each once."""
        found = self.findings
        counts = [loss.count for loss in found.losses if isinstance(loss.count, CountQuery)]
        asked = [
            *(is_table(lock.table) for lock in found.locks),
            *(is_there(count.table) for count in counts if count.table is not None),
            *(count.query for count in counts),
            *(check.query for check in found.checks),
        ]
        return list(dict.fromkeys(asked))

    def planned(self, answers: Mapping[str, int]) -> MigrationPlan:
        """The plan; a question that could not be answered is missing."""
        found = self.findings
        asked = (check.doubt for check in found.checks if answers.get(check.query) != 0)
        undone = zip(self.files, self.way.undone, strict=True)
        return MigrationPlan(
            database=self.state.database,
            versions=self.versions,
            present=self.way.present,
            destination=self.way.destination,
            search_path=self.state.search_path,
            files=tuple(PlannedFile(f.name, f.version, f.sha256, undo.leaves) for f, undo in undone),
            locks=tuple(lock for lock in found.locks if answers.get(is_table(lock.table))),
            indexes=found.indexes,
            losses=tuple(_counted(loss, answers) for loss in found.losses),
            unjudged=tuple(dict.fromkeys((*found.unjudged, *asked))),
            invariants=self.invariants,
            size=self.state.size,
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """What came of planning: a plan, or everything that is in the way of one.

    `others` are SQL files that the migration tool passes over. `files` are the plan's, with their texts.
    """

    state: DatabaseState
    plan: MigrationPlan | None
    faults: tuple[Message, ...]
    others: tuple[str, ...] = ()
    files: tuple[MigrationFile, ...] = ()


def _counted(loss: Loss, answers: Mapping[str, int]) -> StatementLoses:
    count, counted, exact = None, Counted.ROWS, True
    match loss.count:
        case CountQuery() as asked:
            counted, exact = asked.counted, asked.exact
            absent = asked.table is not None and answers.get(is_there(asked.table)) == 0
            count = 0 if absent else answers.get(asked.query)
        case None:
            pass
        case _:
            count = 0
    place = loss.place
    return StatementLoses(
        place.file, place.line, place.statement, loss.kind, loss.object, loss.cascade, count, counted, exact
    )


def order_of(plan: MigrationPlan, files: Sequence[MigrationFile], *, operation: str, epoch: int) -> MigrationOrder:
    """What the database is told to do; raises `ValueError` where these are not the plan's files."""
    texts = {file.sha256: file.text for file in files}
    if plan.present is None or not texts.keys() >= {file.sha256 for file in plan.files}:
        raise ValueError("these are not the files of the plan")
    return MigrationOrder(
        operation=operation,
        epoch=epoch,
        plan=plan.digest,
        present=plan.present,
        scripts=tuple(Script(file.name, texts[file.sha256], file.leaves) for file in plan.files),
        locks=plan.locks,
        invariants=plan.invariants,
        search_path=plan.search_path,
    )


def to_json(plan: MigrationPlan) -> dict[str, Any]:
    """Everything in it, for machines."""
    return {**asdict(plan), "digest": plan.digest, "needs_approval": plan.needs_approval}
