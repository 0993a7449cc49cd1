"""A guard process that is told to end in the middle of a rollback, as every rollout of the guard itself does it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import aiohttp.web
import pytest
import yaml

from logcaster_guard.domain.rules import Action
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.release import Behaviour
from tests.cluster.case import BAD, GOOD, REPLICAS, WITHIN, Case
from tests.cluster.ending import Undisturbed, ending
from tests.cluster.environments import BLUE, GREEN
from tests.cluster.harness import Cluster
from tests.cluster.matrix import ONCE, record, shared
from tests.cluster.partitions import NAME, effects_of
from tests.cluster.proxy import MisbehavingProxy
from tests.cluster.underway import Underway, underway
from tests.real.control_plane import write_kubeconfig
from tests.real.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
IMMEDIATE, GRADUAL, BLUE_GREEN = Case(Action.IMMEDIATE), Case(Action.GRADUAL), Case(Action.BLUE_GREEN)
MISSING = replace(BLUE_GREEN, missing=True)
HANGS = 60.0
"""Seconds for which the guard waits for an answer: longer than it takes to end."""
QUIET = 2.5
"""Seconds without a request after which a guard that polls each second polls no more."""


async def all_well(cluster: Cluster, made: Underway, minimum: int | None, known: Undisturbed) -> list[str]:
    """What is wrong with how it ended, against a rollback that nothing disturbed."""
    case, facts = made.scene.case, await made.scene.facts()
    writes, marks = effects_of(await cluster.read_audit(), made.scene.cluster.namespace)
    # An annotation that changes is a generation of the Deployment, and no change of its spec.
    marked = sum(marks["deployments", name] for name in facts.sizes)
    facts = replace(facts, changes=facts.changes - marked)
    end, faults = ending(facts, writes, minimum, known, case=case, shared=shared(case, minimum))
    assert end == "rolled back once"
    return faults


@pytest.mark.usefixtures("brief")
async def test_half_shifted_it_leaves_everything_as_it_is_and_the_next_one_ends_the_same_run(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    minimum = 2
    _, known = await record(cluster, api, rights, GRADUAL, minimum)
    async with underway(cluster, api, rights, GRADUAL, minimum, lease=True) as made:
        await made.daemon.start()
        opened = await made.reached("judge_helper")
        shifted = await made.stands()
        assert await made.daemon.stop() == 0
        assert made.daemon.told("authority.released")
        assert not made.daemon.told("run.ending")
        assert await made.stands() == shifted
        (helper,) = set(shifted["deployments"]) - {objects.DEPLOYMENT}
        assert shifted["deployments"][helper] == (2, objects.image(GOOD))
        assert shifted["deployments"][objects.DEPLOYMENT] == (2, objects.image(BAD))
        assert shifted["bounds"] == [(2, 2)]
        run = await made.kept()
        assert (run.id, run.closed, run.step) == (opened["run"], None, opened["steps"].index("judge_helper"))
        assert len(run.compensations) == 3
        assert "holderIdentity" not in (await made.scene.cluster.admin.get(lease_of(made)))["spec"]
        await made.resumed(opened["run"])
        assert await all_well(cluster, made, minimum, known) == []
    assert (made.samples > 0, made.lowest) == (True, REPLICAS)


def lease_of(made: Underway) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{made.scene.cluster.namespace}/leases/{NAME}"


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("case", [BLUE_GREEN, MISSING], ids=["scaled up", "made anew"])
async def test_before_the_switch_the_other_environment_stays_and_the_next_one_switches(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], case: Case
) -> None:
    minimum = None if case.missing else 2
    _, known = await record(cluster, api, rights, case, minimum)
    async with underway(cluster, api, rights, case, minimum) as made:
        # The guard has to wait for pods that do not become Ready.
        made.scene.world.releases.register(objects.image(GOOD), Behaviour(ready=False))
        await made.daemon.start()
        opened = await made.reached("await_environment")
        ready = await made.stands()
        assert await made.daemon.stop() == 0
        assert await made.stands() == ready
        assert ready["deployments"] == {
            BLUE: (REPLICAS, objects.image(GOOD)),
            GREEN: (REPLICAS, objects.image(BAD)),
        }
        assert ready["selector"][objects.ENVIRONMENT] == objects.GREEN
        assert (await made.kept()).present is not None
        made.scene.world.releases.register(objects.image(GOOD), Behaviour())
        await made.resumed(opened["run"])
        assert await all_well(cluster, made, minimum, known) == []
    assert (made.samples > 0, made.lowest) == (True, REPLICAS)


@pytest.mark.usefixtures("brief")
async def test_after_the_switch_the_service_stays_and_the_next_one_verifies(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    minimum = 2
    _, known = await record(cluster, api, rights, BLUE_GREEN, minimum)
    async with underway(cluster, api, rights, BLUE_GREEN, minimum) as made:
        await made.daemon.start()
        opened = await made.reached("verify_recovery")
        switched = await made.stands()
        assert await made.daemon.stop() == 0
        assert await made.stands() == switched
        assert switched["selector"][objects.ENVIRONMENT] == objects.BLUE
        assert switched["bounds"] == [(REPLICAS, REPLICAS * 2)]
        await made.resumed(opened["run"])
        assert await all_well(cluster, made, minimum, known) == []
        assert (await made.stands())["selector"] == switched["selector"]
    assert (made.samples > 0, made.lowest) == (True, REPLICAS)


@dataclass
class Holding(MisbehavingProxy):
    """Keeps back the first change of a Deployment until `let_go`; with `taken`, only its answer."""

    taken: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    passed: asyncio.Event = field(default_factory=asyncio.Event)
    last: float = -math.inf

    async def quiet(self) -> bool:
        """Whether the guard asks for nothing any more."""
        return asyncio.get_running_loop().time() - self.last > QUIET

    async def _handle(self, request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        self.last = asyncio.get_running_loop().time()
        held = request.method == "PATCH" and "deployments" in request.path and not self.arrived.is_set()
        if not held:
            return await super()._handle(request)
        answer = await super()._handle(request) if self.taken else None
        await request.read()
        self.arrived.set()
        await self.let_go.wait()
        answer = answer or await super()._handle(request)
        self.passed.set()
        return answer


@contextlib.asynccontextmanager
async def held(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], *, taken: bool
) -> AsyncIterator[tuple[Underway, Holding, Json]]:
    """A process that has just sent the good template, and the opening of its run; the next one asks past the proxy."""
    async with Holding.before(cluster, HANGS) as proxy, underway(cluster, api, rights, IMMEDIATE) as made:
        assert isinstance(proxy, Holding)
        proxy.taken = taken
        through = write_kubeconfig(
            made.scene.folder.with_name(f"{made.scene.folder.name}-held"), proxy.url, None, cluster.token("guard")
        )
        sources = yaml.safe_load(made.daemon.settings.read_text())["sources"]
        made.edit(sources={**sources, "kubernetes": {"kubeconfig": str(through), "timeout": f"{HANGS:.0f}s"}})
        await made.daemon.start()
        opened = await made.daemon.until("run.opened")
        await asyncio.wait_for(proxy.arrived.wait(), WITHIN)
        made.edit(sources=sources)
        yield made, proxy, opened


async def test_a_write_that_ends_within_the_grace_is_waited_for_and_not_repeated(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json]
) -> None:
    async with held(cluster, api, rights, taken=False) as (made, proxy, opened):
        stopping = asyncio.create_task(made.daemon.stop())
        await until(proxy.quiet, WITHIN)
        assert not stopping.done()
        proxy.let_go.set()
        assert await stopping == 0
        assert (await made.stands())["deployments"] == {objects.DEPLOYMENT: (REPLICAS, objects.image(GOOD))}
        await made.resumed(opened["run"])
        assert await made.intents() == {f"{opened['steps'].index('restore_template')} restore_template": 1}
        assert await all_well(cluster, made, None, ONCE[False]) == []


@pytest.mark.parametrize("taken", [True, False], ids=["it was taken", "it was not"])
async def test_a_write_that_hangs_does_not_hold_the_end_and_the_next_one_finds_out_what_became_of_it(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], taken: bool
) -> None:
    async with held(cluster, api, rights, taken=taken) as (made, proxy, opened):
        assert await made.daemon.stop() == 0
        assert not proxy.passed.is_set()
        image = objects.image(GOOD if taken else BAD)
        assert (await made.stands())["deployments"] == {objects.DEPLOYMENT: (REPLICAS, image)}
        await made.resumed(opened["run"])
        step = f"{opened['steps'].index('restore_template')} restore_template"
        assert await made.intents() == {step: 1 if taken else 2}
        # What comes through only now finds the Deployment changed.
        proxy.let_go.set()
        await asyncio.wait_for(proxy.passed.wait(), WITHIN)
        assert await all_well(cluster, made, None, ONCE[False]) == []
