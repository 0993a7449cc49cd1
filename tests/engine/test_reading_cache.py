from __future__ import annotations

import pytest

from logcaster_guard.domain.signals import Gap, NoData, Signal, SourceName, Unit, Value
from logcaster_guard.engine.reading_cache import ReadingCache

MEMORY = Signal("memory_usage", Unit.RATIO, SourceName.PROMETHEUS)
ERRORS = Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS, 60.0)


@pytest.mark.parametrize(
    ("signal", "read", "sampled", "counts"),
    [
        (MEMORY, 105.0, None, True),
        (MEMORY, 105.0, 99.0, False),  # a backend that lags shows what was before the rollout ended
        (MEMORY, 105.0, 100.0, True),
        (ERRORS, 161.0, 159.0, False),
        (ERRORS, 161.0, 160.0, True),
        (ERRORS, 159.0, 170.0, False),
    ],
)
def test_only_what_was_sampled_after_the_rollout_counts(
    signal: Signal, read: float, sampled: float | None, counts: bool
) -> None:
    cache = ReadingCache(60.0)
    cache.put({signal.name: Value(read, 0.5, sampled=sampled)})
    [reading] = cache.since([signal], read, 100.0).values()
    assert isinstance(reading, Value) == counts
    assert counts or (isinstance(reading, NoData) and reading.gap is Gap.STALE)
