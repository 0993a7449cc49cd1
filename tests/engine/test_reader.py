"""How often a source that fails is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.events import TriggerFired
from logcaster_guard.domain.signals import Fault, Reading, Signal, SourceError, SourceName, Target
from logcaster_guard.engine.reader import LONGEST_BACKOFF, backoff
from logcaster_guard.ports import Clock
from tests.engine.bench import ANOTHER, ERRORS, HEALTH, KEY, PROD, Bench, bench, rule
from tests.fakes.source import FakeSource

POLL = 30.0


@given(st.floats(0.1, 600.0), st.integers(1, 100), st.floats(0.0, 1.0, exclude_max=True))
def test_a_failing_source_is_asked_less_often_but_never_forgotten(
    interval: float, failures: int, chance: float
) -> None:
    wait = backoff(interval, failures, chance)
    assert interval <= wait <= max(1.5 * interval, LONGEST_BACKOFF)


def test_the_waits_of_many_guards_spread() -> None:
    waits = {backoff(15.0, 5, chance / 10) for chance in range(10)}
    assert len(waits) == 10


async def test_a_good_answer_ends_the_back_off() -> None:
    async with bench() as made:
        await made.good_v1()
        made.prometheus.fault = Fault.TIMED_OUT
        await made.pass_(600.0)
        made.prometheus.fault = None
        await made.pass_(2 * LONGEST_BACKOFF)
        [watch] = made.guard.watches.values()
        before = watch.counters.reads[made.prometheus.name].count
        await made.pass_(300.0)
        assert watch.counters.reads[made.prometheus.name].count - before == 10


async def test_a_back_off_is_no_missed_poll() -> None:
    async with bench() as made:
        await made.good_v1()
        made.prometheus.fault = Fault.TIMED_OUT
        await made.pass_(900.0)
        [watch] = made.guard.watches.values()
        assert not watch.reader.missed
        assert not watch.watchdog.stuck()


def between(reads: Sequence[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in pairwise(reads)]


class ThrottlingSource(FakeSource):
    """Answers 429 for the signal `throttled` alone, of the Deployment `of` if that is named."""

    throttled = of = ""

    def __init__(self, name: SourceName, clock: Clock, *, past: bool) -> None:
        super().__init__(name, clock, past=past)
        self.refused: list[float] = []

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        found = await super().of_target(target, signals)
        if self.of not in {"", target.deployment}:
            return found
        self.refused += [self._clock.monotonic()] if self.throttled in found else []
        refused = SourceError(self._clock.monotonic(), Fault.THROTTLED, retry_after=self.retry_after)
        return {name: refused if name == self.throttled else reading for name, reading in found.items()}


@pytest.mark.parametrize("chance", [0.0, 0.999])
@pytest.mark.parametrize("asked", [60.0, 100.0])
async def test_a_source_that_names_a_time_is_not_asked_before_it_and_the_others_stay_on_time(
    asked: float, chance: float
) -> None:
    async with bench() as made:
        await made.bad_v2()
        made.guard.watches[KEY].reader._jitter = lambda: chance
        await made.pass_(100.0)
        made.prometheus.fault, made.prometheus.retry_after = Fault.THROTTLED, asked
        began = made.clock.monotonic()
        await made.pass_(10 * POLL)
        refused = [at for at in made.prometheus.reads if at > began]
        assert len(refused) >= 2
        assert all(asked <= wait < asked + 2 * POLL for wait in between(refused))
        assert between([at for at in made.http.reads if at > began]) == [POLL] * 9
        made.prometheus.fault = None
        await made.pass_(asked + POLL)
        answered = [at for at in made.prometheus.reads if at > refused[-1]]
        assert asked <= answered[0] - refused[-1] < asked + 2 * POLL
        # Range data has proven the time in between.
        [fired] = made.told(TriggerFired)
        assert fired.rule == ERRORS.name


async def throttled_before_its_duration_is_full(made: Bench) -> ThrottlingSource:
    """Its rule has been met for most of its duration when a signal beside it is throttled."""
    source = made.prometheus = ThrottlingSource(SourceName.PROMETHEUS, made.clock, past=True)
    for name in (PROD, ANOTHER):
        source.set(name, "error_rate", 0.0)
        source.set(name, "request_rate", 50.0)
    await made.good_v1()
    made.cluster.roll(PROD, "v2")
    await made.pass_(270.0)
    source.throttled, source.retry_after = "request_rate", 60.0
    await made.pass_(25.0)
    return source


async def test_the_end_of_a_duration_is_no_reason_to_ask_before_the_time_that_a_source_names() -> None:
    slow = rule("no_traffic", "request_rate", 1e9, 600.0)
    async with bench(rules=[ERRORS, slow]) as made:
        source = await throttled_before_its_duration_is_full(made)
        source.throttled, at = "", source.reads[-1]
        await made.pass_(at + 60.0 - made.clock.monotonic() - 0.1)
        assert (source.reads[-1], made.told(TriggerFired)) == (at, [])
        await made.pass_(POLL)
        assert source.reads[source.reads.index(at) + 1] >= at + 60.0
        assert [f.rule for f in made.told(TriggerFired)] == [ERRORS.name]


async def test_nor_is_the_firing_of_another_target() -> None:
    async with bench(rules=[HEALTH], deployments=[PROD, ANOTHER]) as made:
        source = made.http = ThrottlingSource(SourceName.HTTP, made.clock, past=False)
        for name in (PROD, ANOTHER):
            source.set(name, "health_check_fails", 0.0)
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        source.set(PROD, "health_check_fails", 9.0)
        source.throttled, source.of, source.retry_after = "health_check_fails", ANOTHER, 600.0
        await made.pass_(300.0)
        assert [f.rule for f in made.told(TriggerFired)] == [HEALTH.name]
        assert len(source.refused) == 1


async def test_a_source_that_is_left_alone_holds_up_no_rule_of_another() -> None:
    async with bench(rules=[ERRORS, HEALTH]) as made:
        await made.bad_v2()
        await made.pass_(250.0)
        made.http.fault, made.http.retry_after = Fault.THROTTLED, 600.0
        await made.pass_(60.0)
        assert [f.rule for f in made.told(TriggerFired)] == [ERRORS.name]


@pytest.mark.parametrize(("chance", "waits"), [(0.0, [30.0] * 6), (0.5, [45.0] * 4), (0.999, [59.97] * 3)])
async def test_without_one_it_is_asked_at_random_intervals_up_to_a_bound(chance: float, waits: list[float]) -> None:
    async with bench() as made:
        await made.good_v1()
        made.guard.watches[KEY].reader._jitter = lambda: chance
        made.prometheus.fault = Fault.TIMED_OUT
        began = made.clock.monotonic()
        await made.pass_(POLL + sum(waits) + 1.0)
        failed = [at for at in made.prometheus.reads if at > began]
        assert between(failed) == pytest.approx(waits)
        assert max(waits) <= LONGEST_BACKOFF
        assert set(between([at for at in made.http.reads if at > began])) == {POLL}
