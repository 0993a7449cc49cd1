"""A run that follows from another: the next good release, and a quicker way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from logcaster_guard.domain.errors import Unavailable
from logcaster_guard.domain.events import RunClosed, RunEnding, RunOpened
from logcaster_guard.domain.rules import Action, FallbackPolicy, GradualPolicy, Limits, Policy
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import ANOTHER, FIRES, HEALTH, KEY, PROD, Bench, bench, hpa, minimum, rule
from tests.fakes.pods import PopulatedCluster

FRESH = Limits(cooldown=0.0, per_target_per_day=5, per_cluster_per_hour=5)


async def two_good_ones_then_v2_bad(made: Bench) -> None:
    """v1 and v5 were good; v2 is bad, and v5 no longer helps."""
    made.errors |= {"v5": 0.0}
    await made.good_v1()
    made.cluster.roll(PROD, "v5")
    await made.pass_(700.0)
    made.errors["v5"] = 0.3
    made.cluster.roll(PROD, "v2")


@pytest.mark.parametrize(("rungs", "images"), [(0, [("v5",)]), (1, [("v5",), ("v1",)])])
async def test_the_next_good_release_is_tried_only_where_the_policy_allows_it(
    rungs: int, images: list[tuple[str, ...]]
) -> None:
    async with bench(policy=Policy(limits=FRESH, fallback=FallbackPolicy(not_recovered=rungs))) as made:
        await two_good_ones_then_v2_bad(made)
        await made.pass_(4_000.0)
        opened, closed = made.told(RunOpened), made.told(RunClosed)
        assert [o.plan.to_images for o in opened] == images
        assert [o.parent for o in opened] == [None, opened[0].run][: len(opened)]
        assert len(closed) == len(opened)
        assert made.cluster.image(PROD) == images[-1][0]
        assert [c.outcome for c in closed] == (["not recovered"] if rungs == 0 else ["not recovered", "recovered"])
        assert (made.guard.state.ledger(KEY).freeze is not None) is (rungs == 0)
        assert len(set(made.streams(RunOpened))) == 1


async def test_closing_and_opening_is_one_append() -> None:
    async with bench(policy=Policy(limits=FRESH, fallback=FallbackPolicy(not_recovered=1))) as made:
        await two_good_ones_then_v2_bad(made)
        await made.pass_(4_000.0)
        assert made.journal is not None
        events = [e.event for e in made.journal.entries if e.stream.startswith("run/")]
        at = next(i for i, e in enumerate(events) if isinstance(e, RunClosed))
        assert isinstance(events[at + 1], RunOpened)


async def test_a_fallback_that_the_budget_forbids_freezes_the_target() -> None:
    limits = Limits(cooldown=0.0, per_target_per_day=1)
    async with bench(policy=Policy(limits=limits, fallback=FallbackPolicy(not_recovered=1))) as made:
        await two_good_ones_then_v2_bad(made)
        await made.pass_(4_000.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["not recovered"]
        assert made.guard.state.ledger(KEY).freeze is not None


async def test_a_fallback_and_another_targets_run_are_counted_one_after_the_other() -> None:
    policy = Policy(limits=replace(FRESH, per_cluster_per_hour=2), fallback=FallbackPolicy(not_recovered=1))
    async with bench(policy=policy, deployments=(PROD, ANOTHER)) as made:
        await two_good_ones_then_v2_bad(made)
        await made.pass_(1_500.0)
        assert made.told(RunClosed) == []
        gate, put, held = asyncio.Event(), made.blobs.put, list[bytes]()

        async def slow(content: bytes) -> str:
            if made.told(RunEnding) and not held:
                held.append(content)
                await gate.wait()
            return await put(content)

        made.blobs.put = slow  # type: ignore[method-assign]
        await made.pass_(100.0)
        assert held
        made.prometheus.set(ANOTHER, "error_rate", 0.3)
        made.cluster.roll(ANOTHER, "v2")
        await made.pass_(400.0)
        gate.set()
        await made.pass_(100.0)
        assert [o.target for o in made.told(RunOpened)] == [KEY, KEY]
        assert [n.facts["guardrails"] for n in made.notices("trigger.refused")] == ["cluster_budget"]


async def test_what_takes_over_looks_again_after_a_write_that_was_under_way() -> None:
    rules = [rule(action=Action.GRADUAL), HEALTH]
    policy = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))
    async with bench(rules=rules, policy=policy, cluster=PopulatedCluster) as made:
        gate, patch = asyncio.Event(), made.cluster.json_patch

        async def slow(kind: Kind, namespace: str, name: str, operations: Sequence[Json], **named: str) -> Json:
            if any(o["path"] == "/spec/replicas" for o in operations):
                await gate.wait()
            return await patch(kind, namespace, name, operations, **named)

        made.cluster.json_patch = slow  # type: ignore[method-assign]
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(150.0)
        made.http.set(PROD, "health_check_fails", 0)
        gate.set()
        await made.pass_(1_000.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated", "recovered"]
        assert made.cluster.image(PROD) == "v1"
        assert made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 3


async def test_a_helper_that_was_handed_over_goes_on_serving_until_it_is_not_needed() -> None:
    rules = [rule(action=Action.GRADUAL), HEALTH]
    policy = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))
    async with bench(rules=rules, policy=policy, cluster=PopulatedCluster) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        assert len(made.cluster.names(Kind.DEPLOYMENT)) == 2
        made.cluster.stuck = True
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(160.0)
        made.http.set(PROD, "health_check_fails", 0)
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated"]
        await made.pass_(200.0)
        assert len(made.cluster.names(Kind.DEPLOYMENT)) == 2, "swept away while a run rests on it"
        made.cluster.stuck = False
        made.cluster.finish()
        await made.pass_(600.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated", "recovered"]
        assert made.cluster.names(Kind.DEPLOYMENT) == [PROD]


async def test_a_minimum_that_is_raised_once_more_by_who_takes_over_comes_back_as_it_was_at_first() -> None:
    async with bench(rules=[rule(action=Action.ALERT_THEN), HEALTH]) as made:
        made.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(2))
        await made.bad_v2()
        await made.pass_(FIRES + 250.0)
        away = Unavailable("503", status=503)
        made.cluster.fault = lambda verb, kind, _: away if (verb, kind) == ("patch", Kind.DEPLOYMENT) else None
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(80.0)
        assert minimum(made) == 3
        made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=5))
        await made.pass_(100.0)
        made.cluster.fault = lambda *_: None
        made.http.set(PROD, "health_check_fails", 0)
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated"]
        assert minimum(made) == 5
        await made.pass_(900.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["escalated", "recovered"]
        assert minimum(made) == 2


async def test_a_dry_run_writes_nothing_and_tells_the_plan() -> None:
    async with bench(policy=Policy(dry_run=True)) as made:
        await made.bad_v2()
        await made.pass_(1_000.0)
        assert made.told(RunOpened) == []
        assert made.writes(Kind.DEPLOYMENT) == 0
        [notice] = made.notices("trigger.refused")
        assert "dry_run" in notice.facts["guardrails"]
        assert "would have been" in notice.text
