"""A run that follows from another: the next good release, and a quicker way."""

from __future__ import annotations

import pytest

from logcaster_guard.domain.events import RunClosed, RunOpened
from logcaster_guard.domain.rules import FallbackPolicy, Limits, Policy
from logcaster_guard.ports import Kind
from tests.engine.bench import KEY, PROD, Bench, bench

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
        assert (made.guard.chronicle.ledger(KEY).freeze is not None) is (rungs == 0)
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
        assert made.guard.chronicle.ledger(KEY).freeze is not None


async def test_a_dry_run_writes_nothing_and_tells_the_plan() -> None:
    async with bench(policy=Policy(dry_run=True)) as made:
        await made.bad_v2()
        await made.pass_(1_000.0)
        assert made.told(RunOpened) == []
        assert made.writes(Kind.DEPLOYMENT) == 0
        [notice] = made.notices("trigger.refused")
        assert "dry_run" in notice.facts["guardrails"]
        assert "would have been" in notice.text
