"""How often a source that fails is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.signals import Fault
from logcaster_guard.engine.reader import LONGEST_BACKOFF, backoff
from tests.engine.bench import bench


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
        before = watch.tally.reads[made.prometheus.name].count
        await made.pass_(300.0)
        assert watch.tally.reads[made.prometheus.name].count - before == 10


async def test_a_back_off_is_no_missed_poll() -> None:
    async with bench() as made:
        await made.good_v1()
        made.prometheus.fault = Fault.TIMED_OUT
        await made.pass_(900.0)
        [watch] = made.guard.watches.values()
        assert not watch.missed
        assert not watch.pulse.stuck()
