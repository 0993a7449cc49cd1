"""A refusal is no verdict: what still fires when its reason is gone is acted upon, and what has ended is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from logcaster_guard.domain.events import RunClosed, RunOpened, TriggerFired
from logcaster_guard.domain.maintenance import MaintenanceWindow
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.signals import Fault
from tests.engine.bench import ERRORS, PROD, Bench, bench, rule
from tests.fakes.clock import START

POLL = 30.0
ENDS = datetime(2026, 1, 1, 1, tzinfo=UTC)
"""An hour after the clock's start: the breach has fired by then, and long since."""
UPKEEP = MaintenanceWindow("upkeep", frozenset(range(7)), time(0), time(1), ZoneInfo("UTC"))


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    """A bad release has been refused because of the maintenance window that is open."""
    async with bench(rules=[ERRORS], policy=Policy(maintenance=(UPKEEP,))) as found:
        await found.bad_v2()
        await found.pass_(400.0)
        [notice] = found.notices("trigger.refused")
        assert notice.facts["guardrails"] == "maintenance"
        assert "is open until 2026-01-01 01:00:00Z" in notice.text
        assert found.told(RunOpened) == []
        yield found


async def until_it_ends(made: Bench, *, before: float = 0.0) -> None:
    await made.pass_((ENDS - START).total_seconds() - before - (made.clock.monotonic() - 1_000.0))


async def test_what_still_fires_when_the_maintenance_window_ends_is_rolled_back(made: Bench) -> None:
    await until_it_ends(made, before=1.0)
    assert made.told(RunOpened) == []
    await made.pass_(1.0 + POLL)
    [opened] = made.told(RunOpened)
    assert opened.at >= ENDS
    assert opened.onset is not None
    assert opened.onset < ENDS
    await made.pass_(900.0)
    assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]
    assert len(made.notices("trigger.refused")) == 1


async def test_what_has_ended_within_the_maintenance_window_is_not(made: Bench) -> None:
    await until_it_ends(made, before=60.0)
    made.prometheus.set(PROD, "error_rate", 0.0)
    await made.pass_(60.0 + 10 * POLL)
    assert made.told(RunOpened) == []
    assert made.writes() == 0


async def test_what_ended_and_began_again_gets_its_whole_duration(made: Bench) -> None:
    await until_it_ends(made, before=200.0)
    made.prometheus.set(PROD, "error_rate", 0.0)
    await made.pass_(100.0)
    made.prometheus.set(PROD, "error_rate", 0.3)
    await made.pass_(100.0 + ERRORS.duration - 120.0)
    assert made.told(RunOpened) == []
    await made.pass_(120.0)
    [opened], again = made.told(RunOpened), made.told(TriggerFired)[-1]
    assert opened.at == again.at
    assert (again.at - again.onset).total_seconds() == ERRORS.duration


async def test_nothing_is_decided_blind_when_the_window_ends_and_it_is_once_the_source_answers(made: Bench) -> None:
    await until_it_ends(made, before=60.0)
    made.prometheus.fault = Fault.TIMED_OUT
    await made.pass_(60.0 + 300.0)
    assert made.told(RunOpened) == []
    made.prometheus.fault = None
    # A source that fails is polled every two minutes at the latest.
    await made.pass_(120.0 + POLL)
    assert len(made.told(RunOpened)) == 1


async def test_a_guard_that_is_restarted_within_the_window_decides_when_it_ends(made: Bench) -> None:
    await until_it_ends(made, before=60.0)
    await made.restart()
    await made.pass_(59.0)
    assert made.told(RunOpened) == []
    await made.pass_(1.0 + POLL)
    assert len(made.told(RunOpened)) == 1
    assert len(made.notices("trigger.refused")) == 1


@pytest.mark.parametrize("asked", [True, False], ids=["cause asked for", "cause not asked for"])
async def test_a_breach_that_somebodys_rollout_did_not_mend_is_decided_anew_when_that_ends(asked: bool) -> None:
    async with bench(rules=[rule(rollout_window=86_400.0 if asked else None)]) as made:
        await made.bad_v2()
        await made.pass_(60.0)
        made.cluster.stuck = True
        made.cluster.roll(PROD, "v3")
        await made.pass_(400.0)
        [notice] = made.notices("trigger.refused")
        assert "rollout_in_progress" in notice.facts["guardrails"]
        assert "Somebody has been rolling out another release" in notice.text
        made.cluster.stuck = False
        made.cluster.finish()
        await made.pass_(2 * POLL)
        assert [r.plan.to_images for r in made.told(RunOpened)] == [("v1",)]
        assert len(made.notices("trigger.refused")) == 1
