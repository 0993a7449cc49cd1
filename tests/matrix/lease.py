"""The leader goes on and reaches all but its lease: at every point of a rollback its renewals hang, or are refused."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain.leadership import Role
from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Journal
from tests.cluster.api_faults import Fault
from tests.cluster.case import Case
from tests.cluster.crashes import Cell, cells
from tests.cluster.ending import Facts, ending
from tests.cluster.partitions import LEASES, WITHIN, Contender, Gate, Severed, effects_of, guarded, over
from tests.cluster.proxy import MisbehavingProxy
from tests.cluster.scene import Scene
from tests.matrix.board import Board, Ground, Play, Result, Setting, named
from tests.real.control_plane import write_kubeconfig
from tests.real.waiting import until

ANSWERS_WITHIN = 2.0
WAYS = (Fault.LOST, Fault.AWAY, Fault.CUT)
"""What becomes of every request for the lease."""
CASES = (Case(Action.IMMEDIATE), Case(Action.GRADUAL))


@dataclass(frozen=True, slots=True)
class _Lease:
    """`api` reaches the lease through the proxy. `alone`: nobody else is there to take over."""

    proxy: MisbehavingProxy
    api: ClusterPort
    alone: bool


def board(case: Case, alone: bool) -> Board:
    """Every point of one case, before its effect and before its answer, each with another way of being cut off."""

    @contextlib.asynccontextmanager
    async def set_up(ground: Ground) -> AsyncIterator[Mapping[str, Play]]:
        leased = replace(ground, rights=[*ground.rights, LEASES])
        async with MisbehavingProxy.before(ground.cluster, ANSWERS_WITHIN) as proxy:
            file = ground.cluster.folder / f"leases-{case.action}-{alone}"
            kubeconfig = write_kubeconfig(file, proxy.url, None, ground.cluster.token("guard"))
            api = await connect(kubeconfig=kubeconfig, context=None, timeout=ANSWERS_WITHIN)
            try:
                points, known = await ground.record(case, None)
                play = partial(_played, Setting(leased, case, None, known), _Lease(proxy, api, alone))
                ways = [(cell, WAYS[n % len(WAYS)]) for n, cell in enumerate(cells(points))]
                yield {f"{way} from {cell} on": partial(play, cell, way) for cell, way in ways}
            finally:
                await api.aclose()

    return Board(f"{named('lease', case)}, {'alone' if alone else 'another takes over'}", set_up)


BOARDS = tuple(board(case, alone) for case in CASES for alone in (False, True))


async def _played(setting: Setting, lease: _Lease, cell: Cell, way: Fault) -> Result:
    """The first guard's renewals fail as the cell says; another one, or else itself later, ends the run."""
    ground = setting.ground
    async with guarded(ground.cluster, ground.api, ground.rights, setting.case, None) as (scene, first, second):
        namespace = scene.cluster.namespace
        place = f"/namespaces/{namespace}/leases"
        gate = Severed(cell, sever=lambda: lease.proxy.sever(place, way))
        holds = await _contended(gate, lease, place, scene, (first, second))
        facts = await scene.facts_of(second)
    end, faults = await _judged(setting, facts, namespace)
    faults += [f"sent without authority: {what}" for what in gate.unentitled]
    return Result(end, faults if holds else [*faults, "it holds the lease no longer"])


async def _contended(gate: Severed, lease: _Lease, place: str, scene: Scene, journals: tuple[Journal, Journal]) -> bool:
    """Whether the guard that has ended the run still holds the lease."""
    first = Contender(scene, journals[0], "first", gate, leases=lease.api)
    gate.acts = lambda: first.elector.role is Role.HOLDING
    guards = [first]
    try:
        await until(first.acts, WITHIN)
        if not lease.alone:
            guards.append(Contender(scene, journals[1], "second", Gate()))
        await until(partial(_stopped, gate), WITHIN)
        await until(partial(_stands_by, first), WITHIN)
        if lease.alone:
            lease.proxy.mend(place)
        await until(guards[-1].acts, WITHIN)
        await over(scene, journals[1])
        lease.proxy.mend(place)
        gate.let_go()
        if not lease.alone:
            await first.looks_on()
        await guards[-1].guard.sweep()
        await scene.alone()
        await over(scene, journals[1])
        return await guards[-1].acts()
    finally:
        for guard in reversed(guards):
            await guard.stop()


async def _stopped(gate: Severed) -> bool:
    return gate.stopped.is_set()


async def _stands_by(guard: Contender) -> bool:
    return guard.elector.role is Role.STANDBY


async def _judged(setting: Setting, facts: Facts, namespace: str) -> tuple[str, list[str]]:
    """How it ended, and everything that is wrong with that: whoever ended the run, each effect was had once."""
    writes, marks = effects_of(await setting.ground.cluster.last_audit(namespace), namespace)
    # An annotation that changes is a generation of the Deployment, and no change of its spec.
    marked = sum(marks["deployments", name] for name in facts.sizes)
    facts = replace(facts, changes=facts.changes - marked)
    end, faults = ending(facts, writes, None, setting.known, case=setting.case)
    return end, faults if end == "rolled back once" else [*faults, f"{end} where rolled back once was due"]
