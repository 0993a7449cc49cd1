"""No source makes a guard believe a number that its signal cannot have."""

from __future__ import annotations

import pytest

from logcaster_guard.domain.events import RevisionGood
from logcaster_guard.domain.guard_reasons import ReadAs
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import (
    Gap,
    NoData,
    Reading,
    Series,
    Signal,
    SourceName,
    Target,
    Unit,
    Value,
)
from logcaster_guard.engine.credible_source import CredibleSource
from logcaster_guard.engine.sampling import read_now
from tests.engine.bench import ERRORS, FIRES, PROD, bench
from tests.fakes.clock import FakeClock
from tests.fakes.source import FakeSource

TARGET = Target("web", "default", "web")


class Dividing(FakeSource):
    """Gives each release the number of the whole."""

    async def portion(
        self, target: Target, signal: Signal, group: PodGroup, start: float, end: float
    ) -> Reading:  # fmt: skip
        del group, start
        return self._reading((target.deployment, signal.name), end)


@pytest.mark.parametrize(
    ("name", "number", "credible"),
    [
        ("error_rate", 0.0, True),
        ("error_rate", 1.0, True),
        ("error_rate", 1.0 + 1e-12, True),
        ("error_rate", -5.0, False),
        ("error_rate", 5.0, False),
        ("error_rate", 1e308, False),
        ("memory_usage", 1.2, True),
        ("memory_usage", -0.1, False),
        ("p95_latency", -1.0, False),
        ("own_ratio", 5.0, True),
        ("own_ratio", -5.0, True),
    ],
)
async def test_what_cannot_be_is_no_data_now_and_then(name: str, number: float, *, credible: bool) -> None:
    clock = FakeClock()
    inner = Dividing(SourceName.PROMETHEUS, clock, past=True)
    inner.set("web", name, number)
    source, signal = CredibleSource(inner), Signal(name, Unit.RATIO, SourceName.PROMETHEUS)
    now = clock.monotonic()
    for reading in (
        (await read_now(source, TARGET, [signal]))[name],
        await source.portion(TARGET, signal, PodGroup(), now - 1, now),
    ):
        if credible:
            assert reading == Value(now, number)
        else:
            assert reading == NoData(now, Gap.IMPOSSIBLE, ReadAs(name, f"{number:g}"))
    past = await source.history(TARGET, signal, now, now + 1, 1.0)
    assert isinstance(past, Series)
    assert bool(past.points) is credible


async def test_an_impossible_error_rate_neither_fires_nor_earns_good() -> None:
    async with bench(rules=[ERRORS]) as made:
        made.prometheus.set(PROD, "error_rate", -5.0)
        await made.good_v1()
        assert made.told(RevisionGood) == []
        made.prometheus.set(PROD, "error_rate", 5.0)
        await made.pass_(2 * FIRES)
        assert made.writes() == 0
