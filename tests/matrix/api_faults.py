"""Calls of the Kubernetes API fail in mid-rollback: once, for good, on the wire, or all of them for a while."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import runs, steps
from logcaster_guard.engine import executor
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Kind
from tests.cluster import refusals
from tests.cluster.api_faults import (
    ACCIDENTS,
    LASTING,
    WRITES,
    Call,
    Failing,
    Failures,
    Fault,
    FaultyCluster,
    Wire,
    applies,
)
from tests.cluster.case import PACE, POLICY, Case
from tests.cluster.ending import Facts, ending, writes_of
from tests.cluster.environments import BLUE, IDLE
from tests.cluster.matrix import MATRIX, ROWS, shared
from tests.cluster.proxy import MisbehavingProxy
from tests.cluster.refusals import Hurried, Refusals, RefusedScene
from tests.cluster.scene import Scene
from tests.cluster.serving import least, sampled
from tests.matrix.board import NEVER, QUICK, Board, Ground, Play, Result, Setting, named
from tests.real.control_plane import write_kubeconfig

DEADLINE = 5.0
PATIENT = replace(POLICY, polling=replace(POLICY.polling, staleness=3600.0))
"""No reading is stale only because the clock was put forward."""
UNHURRIED = replace(PACE, start_delay=0.4)
"""Pods that take long enough to become Ready for whoever does not wait for them to be found out."""
SHORT, LONG = 1.5, 8.0
"""Seconds for which the API server is away."""
ANSWERS_WITHIN = 2.0
AWAY = (QUICK, (steps, "WRITE_TIMEOUT", DEADLINE), (executor, "_JOURNAL_RETRY", SHORT / 3))

Cells = Callable[[Sequence[Call]], Sequence[Failing]]


@dataclass(frozen=True, slots=True)
class _Wired:
    """`wire` is what fails in place of the guard's own calls, `through` the API as it is reached over it."""

    wire: MisbehavingProxy
    through: ClusterPort


def _once(calls: Sequence[Call]) -> Sequence[Failing]:
    return [Failing(call, fault) for call in calls for fault in ACCIDENTS if applies(call, fault)]


def _for_good(calls: Sequence[Call]) -> Sequence[Failing]:
    return [Failing(call, fault) for call in calls for fault in sorted(LASTING) if applies(call, fault)]


def _away(calls: Sequence[Call]) -> Sequence[Failing]:
    writes = [c for c in calls if c.phase and c.verb in WRITES and c.kind is not Kind.EVENT]
    return [Failing(call, Fault.AWAY, outage=seconds) for call in writes for seconds in (SHORT, LONG)]


def board(matrix: str, case: Case, minimum: int | None, cells: Cells) -> Board:
    """Every failing call of one case."""

    @contextlib.asynccontextmanager
    async def set_up(ground: Ground) -> AsyncIterator[Mapping[str, Play]]:
        yield await _plays(ground, case, minimum, cells)

    return Board(named(matrix, case, minimum), set_up, AWAY if cells is _away else (QUICK,))


def wire_board(case: Case) -> Board:
    """Every accident of one case, between the guard's adapter and the API server."""

    @contextlib.asynccontextmanager
    async def set_up(ground: Ground) -> AsyncIterator[Mapping[str, Play]]:
        async with MisbehavingProxy.before(ground.cluster, ANSWERS_WITHIN) as proxy:
            file = ground.cluster.folder / f"proxied-{abs(hash(str(case)))}"
            kubeconfig = write_kubeconfig(file, proxy.url, None, ground.cluster.token("guard"))
            through = await connect(kubeconfig=kubeconfig, context=None, timeout=ANSWERS_WITHIN)
            try:
                yield await _plays(ground, case, None, _once, _Wired(proxy, through))
            finally:
                await through.aclose()

    # Requests of several guards cannot be told apart on the wire.
    return Board(named("api faults on the wire", case), set_up, at_once=1)


_NONE_BESIDE = [case for case in MATRIX if not case.beside and not case.changes_variables]
BOARDS = (
    *(board("api faults", case, minimum, _once) for case, minimum in ROWS),
    *(board("api refusals", case, minimum, _for_good) for case, minimum in ROWS),
    *(board("api away", case, minimum, _away) for case in _NONE_BESIDE for minimum in (None, 2)),
    *(wire_board(case) for case in _NONE_BESIDE),
)


async def _plays(
    ground: Ground, case: Case, minimum: int | None, cells: Cells, wired: _Wired | None = None
) -> Mapping[str, Play]:
    _, known = await ground.record(case, minimum)
    setting = Setting(ground, case, minimum, known)
    failures = Failures()
    async with Scene.set_up(ground.cluster, ground.api, ground.rights, minimum, case=case) as scene:
        scene.failing = FaultyCluster(wired.through if wired else ground.api, failures)
        await scene.life(None, tape=failures)
    return {str(cell): partial(_played, setting, cell, wired) for cell in cells(failures.calls)}


async def _played(setting: Setting, cell: Failing, wired: _Wired | None) -> Result:
    """A guard one of whose calls fails."""
    ground, case, minimum = setting.ground, setting.case, setting.minimum
    lasts = cell.fault in LASTING
    wire: Wire | None = wired.wire if wired else None
    struck = wired.wire.struck if wired else 0
    tape = Refusals(cell=cell, wire=wire, in_cluster=case.in_cluster) if lasts else Failures(cell=cell, wire=wire)
    kind = RefusedScene if lasts else Scene
    pace = UNHURRIED if cell.outage else PACE
    async with kind.set_up(ground.cluster, ground.api, ground.rights, minimum, case=case, pace=pace) as scene:
        scene.failing = FaultyCluster(wired.through if wired else ground.api, tape)
        if lasts:
            scene.clock, scene.policy = Hurried(), PATIENT
        namespace = scene.cluster.namespace
        facts, fault = await _lived(scene, tape)
    if not tape.struck:
        if cell.call.verb not in WRITES or shared(case, minimum):
            # Whether something is read again between two steps is a matter of timing.
            return Result(NEVER)
        fault = "the call was not made"
    if wired and tape.struck and wired.wire.struck != struck + 1:
        fault = f"{wired.wire.struck - struck} requests failed on the wire"
    end, faults = await _judged(setting, cell, tape, facts, namespace)
    return Result(end, [*faults, fault] if fault else faults)


async def _lived(scene: Scene, tape: Failures) -> tuple[Facts, str]:
    """What a guard's life comes to, and whether too few served at any time of it, which counts where a fault lasts."""
    if tape.cell is None or not (tape.cell.outage or tape.cell.fault in LASTING):
        await scene.life(None, tape=tape)
        return await scene.facts(), ""
    floor = await least(scene)
    async with sampled(scene) as sample:
        await scene.life(None, tape=tape)
    short = f"{sample.lowest} pods served where {floor} were due: {', '.join(sample.then)}"
    return await scene.facts(), short if sample.lowest < floor or not sample.taken else ""


async def _judged(
    setting: Setting, cell: Failing, tape: Failures, facts: Facts, namespace: str
) -> tuple[str, list[str]]:
    """How it ended, and everything that is wrong with that."""
    case, minimum, known = setting.case, setting.minimum, setting.known
    writes = writes_of(await setting.ground.cluster.last_audit(namespace), namespace)
    if isinstance(tape, Refusals):
        return refusals.judged(facts, tape, writes, known, case, minimum)
    ending_already = any(word in cell.call.phase for word in ("RunEnding", "HoldReleased"))
    gives_up = tape.struck and cell.outage > DEADLINE and not ending_already
    if case.in_cluster:
        # Without its journal a run stands still, and so does its time, but for a change that it meant to make.
        gives_up = gives_up and "StepIntended" in cell.call.phase
    left = replace(case, beside=1.0) if gives_up and case.missing else case
    end, faults = ending(facts, writes, minimum, known, case=left, shared=shared(case, minimum))
    if gives_up:
        outcomes = {r.closed.outcome for r in facts.runs if r.closed is not None}
        faults += [] if outcomes == {runs.FAILED} else [f"the run ended {outcomes}"]
        faults += [] if tape.attempts > 2 else [f"{tape.attempts} attempts"]
        idle = facts.sizes.get(BLUE, minimum or IDLE)
        faults += [] if idle == (minimum or IDLE) else [f"{idle} pods idle"]
        return "given up, given back, frozen, told" if not faults else end, faults
    due = "given back, frozen, told" if case.beside else "rolled back once"
    return end, faults if end == due else [*faults, f"{end} where {due} was due"]
