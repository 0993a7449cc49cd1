"""A workload without pods: whatever fires, its release is neither rolled back nor called bad."""

from __future__ import annotations

from logcaster_guard.domain.events import RevisionBad, RunOpened, TargetFrozen
from logcaster_guard.ports import Kind
from tests.engine.bench import HEALTH, KEY, PROD, bench


async def test_a_good_release_that_is_scaled_to_zero_stays_good() -> None:
    async with bench(rules=[HEALTH]) as made:
        await made.good_v1()
        made.errors["v1.1"] = 0.0
        made.cluster.roll(PROD, "v1.1")
        await made.pass_(30.0)
        made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=0))
        made.http.set(PROD, "health_check_fails", 10)
        await made.pass_(600.0)
        [notice] = made.notices("trigger.refused")
        assert notice.facts["guardrails"] == "scaled_to_zero"
        assert f"Deployment {KEY} is scaled to zero" in notice.text
        assert (made.told(RunOpened), made.told(RevisionBad), made.told(TargetFrozen)) == ([], [], [])
        assert made.writes() == 0


async def test_it_is_decided_again_once_there_are_pods() -> None:
    async with bench(rules=[HEALTH]) as made:
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        await made.pass_(30.0)
        made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=0))
        made.http.set(PROD, "health_check_fails", 10)
        await made.pass_(300.0)
        assert made.told(RunOpened) == []
        made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=3))
        await made.pass_(60.0)
        assert len(made.told(RunOpened)) == 1
