"""The leader is stopped at every point of a rollback for longer than its lease, and let go when the other is done."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial

from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.runs import ABANDONED, Run
from logcaster_guard.messages.texts import english
from tests.cluster.case import Case
from tests.cluster.crashes import Cell, Moment, cells
from tests.cluster.ending import Facts, ending
from tests.cluster.partitions import LEASES, WITHIN, Contender, Gate, effects_of, guarded, over, record
from tests.matrix.board import Board, Ground, Play, Result, Setting, named
from tests.matrix.crash import CREATES
from tests.real.waiting import until

PLAYS = 3
PASSED_BY = "the first guard lost the lease on the way to the point"
CASES = (
    (Case(Action.IMMEDIATE), None),
    (Case(Action.IMMEDIATE), 2),
    (Case(Action.IMMEDIATE, in_cluster=True), None),
    (Case(Action.ALERT_THEN), None),
    (Case(Action.GRADUAL), None),
    (Case(Action.GRADUAL, beside=0.5), None),
    (Case(Action.GRADUAL, config=True, secret=True), None),
    (Case(Action.BLUE_GREEN), None),
    (Case(Action.BLUE_GREEN, missing=True), 2),
)
OPENING = "append to run: RunOpened + NoticeQueued run.opened"


def board(case: Case, minimum: int | None) -> Board:
    """Every point of one case at which the leader may be cut off."""

    @contextlib.asynccontextmanager
    async def set_up(ground: Ground) -> AsyncIterator[Mapping[str, Play]]:
        leased = replace(ground, rights=[*ground.rights, LEASES])
        points, known = await record(leased.cluster, leased.api, leased.rights, case, minimum)
        setting = Setting(leased, case, minimum, known)
        yield {str(cell): partial(_played, setting, cell) for cell in cells(points)}

    return Board(named("partition", case, minimum), set_up)


BOARDS = tuple(board(case, minimum) for case, minimum in CASES)


async def _played(setting: Setting, cell: Cell) -> Result:
    """The first guard is stopped as the cell says, the second takes over and ends the run, the first is let go.

    Played again where the machine was so busy that the first lost the lease on the way to the point.
    """
    for _ in range(PLAYS):
        found = await _played_once(setting, cell)
        if found is not None:
            return found
    return Result("never ended", [PASSED_BY])


async def _played_once(setting: Setting, cell: Cell) -> Result | None:
    ground, case = setting.ground, setting.case
    faults = []
    async with guarded(ground.cluster, ground.api, ground.rights, case, setting.minimum) as (scene, theirs, journal):
        first = Contender(scene, theirs, "first", Gate(cell))
        await until(first.acts, WITHIN)
        second = Contender(scene, journal, "second", Gate())
        try:
            if await until(partial(_met, first, second), WITHIN) == PASSED_BY:
                return None
            await until(second.acts, WITHIN)
            await over(scene, journal)
            first.gate.let_go()
            await first.looks_on()
            await second.guard.sweep()
            await scene.alone()
            await over(scene, journal)
            if not await second.acts():
                faults.append("the second holds the lease no longer")
        finally:
            await second.stop()
            await first.stop()
        facts = await scene.facts_of(journal)
        namespace = scene.cluster.namespace
    end, wrong = await _judged(setting, cell, facts, namespace)
    return Result(end, [*wrong, *faults])


async def _met(first: Contender, second: Contender) -> str:
    """What became of the first on its way to the point; empty while it is on its way."""
    if first.gate.stopped.is_set():
        return "stopped"
    return PASSED_BY if await second.acts() else ""


async def _judged(setting: Setting, cell: Cell, facts: Facts, namespace: str) -> tuple[str, list[str]]:
    writes, marks = effects_of(await setting.ground.cluster.last_audit(namespace), namespace)
    # An annotation that changes is a generation of the Deployment, and no change of its spec.
    marked = sum(marks["deployments", name] for name in facts.sizes)
    facts = replace(facts, changes=facts.changes - marked)
    late = [r for r in facts.runs if _is_void(r)]
    if late:
        # It was told, and changed nothing.
        reasons = facts.reasons - Counter({"RunOpened": len(late), "RunClosed": len(late)})
        facts = replace(facts, runs=[r for r in facts.runs if not _is_void(r)], reasons=reasons)
        writes = writes - Counter(events=2 * len(late))
    before = cell.moment is Moment.BEFORE
    # What arrives after the end of the run is deleted again: two writes more.
    cleared = before and cell.point.what in CREATES
    end, faults = ending(facts, writes, setting.minimum, setting.known, case=setting.case, shared=cleared)
    if bool(late) != (before and cell.point.what == OPENING):
        faults.append(f"{len(late)} void runs")
    void = f", {len(late)} opened late and closed" if late else ""
    return end + void, faults


def _is_void(run: Run) -> bool:
    """Whether it was opened when its guard held the lease no longer."""
    closed = run.closed
    return (
        closed is not None
        and closed.outcome == ABANDONED
        and not run.touched
        and "held the lease" in english().text(closed.reason)
    )
