from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from logcaster_guard.domain.maintenance import MaintenanceWindow

MON, SAT, SUN = 0, 5, 6
COMMON, SEOUL, NEW_YORK = ZoneInfo("UTC"), ZoneInfo("Asia/Seoul"), ZoneInfo("America/New_York")


def window(days: set[int], start: str, end: str, zone: ZoneInfo = COMMON) -> MaintenanceWindow:
    return MaintenanceWindow("w", frozenset(days), time.fromisoformat(start), time.fromisoformat(end), zone)


DAY = window({MON}, "09:00", "17:00")
NIGHT = window({SAT}, "22:00", "04:00")
WHOLE_DAY = window({SUN}, "00:00", "00:00")
KOREAN = window({MON}, "02:00", "04:00", SEOUL)
SPRING = window({SUN}, "01:00", "04:00", NEW_YORK)  # 2026-03-08: 02:00 becomes 03:00
GAP = window({SUN}, "02:30", "05:00", NEW_YORK)
AUTUMN = window({SUN}, "00:30", "01:30", NEW_YORK)  # 2026-11-01: 02:00 becomes 01:00 again


@pytest.mark.parametrize(
    ("found", "now", "until"),
    [
        (DAY, "2026-01-05T08:59:59", None),
        (DAY, "2026-01-05T09:00:00", "2026-01-05T17:00:00"),
        (DAY, "2026-01-05T16:59:59", "2026-01-05T17:00:00"),
        (DAY, "2026-01-05T17:00:00", None),
        (DAY, "2026-01-06T12:00:00", None),
        (NIGHT, "2026-01-03T21:59:00", None),
        (NIGHT, "2026-01-03T22:00:00", "2026-01-04T04:00:00"),
        (NIGHT, "2026-01-04T03:59:00", "2026-01-04T04:00:00"),
        (NIGHT, "2026-01-04T04:00:00", None),
        (NIGHT, "2026-01-03T03:00:00", None),
        (WHOLE_DAY, "2026-01-04T00:00:00", "2026-01-05T00:00:00"),
        (WHOLE_DAY, "2026-01-05T00:00:00", None),
        (KOREAN, "2026-01-04T17:30:00", "2026-01-04T19:00:00"),
        (KOREAN, "2026-01-05T02:30:00", None),
        (SPRING, "2026-03-08T06:00:00", "2026-03-08T08:00:00"),
        (SPRING, "2026-03-08T07:59:00", "2026-03-08T08:00:00"),
        (SPRING, "2026-03-08T08:00:00", None),
        (GAP, "2026-03-08T07:29:00", None),
        (GAP, "2026-03-08T07:30:00", "2026-03-08T09:00:00"),
        (AUTUMN, "2026-11-01T04:30:00", "2026-11-01T06:30:00"),
        (AUTUMN, "2026-11-01T06:29:00", "2026-11-01T06:30:00"),
        (AUTUMN, "2026-11-01T06:30:00", None),
    ],
)
def test_a_window_is_open_by_the_clocks_of_its_zone(found: MaintenanceWindow, now: str, until: str | None) -> None:
    expected = None if until is None else datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert found.open_until(datetime.fromisoformat(now).replace(tzinfo=UTC)) == expected


def test_a_window_may_be_for_some_targets() -> None:
    some = MaintenanceWindow("w", frozenset({0}), time(1), time(2), ZoneInfo("UTC"), frozenset({"a"}))
    assert (some.applies_to("a"), some.applies_to("b")) == (True, False)
    assert DAY.applies_to("b")
