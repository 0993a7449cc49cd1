"""The sections of `guard.yaml` about what a breach is put down to, and about the times at which nothing is done."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from logcaster_guard.domain.maintenance import MaintenanceWindow
from logcaster_guard.fields.durations import two_values, value_of
from logcaster_guard.fields.faults import Refused, closest, described
from logcaster_guard.fields.section import Duration, Name, Section, Share, Sized, WholeNumber, pattern_of
from logcaster_guard.messages.texts import phrase

MAX_WINDOWS = 100

_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,31}){0,2}", re.ASCII)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _check_clock_time(text: str) -> str:
    if not _CLOCK_TIME.fullmatch(text):
        raise Refused(described(text), phrase("allowed.clock_time"))
    return text


def _check_zone(text: str) -> str:
    try:
        if _ZONE.fullmatch(text):
            ZoneInfo(text)
            return text
    except (OSError, ValueError, KeyError):
        pass
    raise Refused(described(text), phrase("allowed.zone"), closest(text, available_timezones()))


class AttributionSection(Section):
    """When a rollout counts as the cause of a breach."""

    margin: Share = Field(
        default=0.5,
        description=(
            "by how much the new release must stand out: this share of what it takes to breach, "
            "and of what the old pods or the other targets show"
        ),
    )
    together: Duration = Field(default=600.0, description="breaches that began at most so far apart may have one cause")
    recent: Duration = Field(
        default=3_600.0,
        description=(
            "a target rolled out so long before its breach is suspected itself; others point to a shared cause"
        ),
    )
    before: Duration = Field(default=600.0, description="how far back before the rollout the release is compared with")
    least_history: Duration | None = Field(
        default=60.0,
        description=(
            "for how much of that the rule must have been quiet on values, unless the release "
            "before had earned good on its signals; at most `before`. `null`: it may be unknown"
        ),
    )
    min_requests: WholeNumber = Field(
        default=100, description="with fewer requests the error rate or latency of old or new pods proves nothing"
    )

    @model_validator(mode="after")
    def _enough_is_looked_at(self) -> AttributionSection:
        if self.least_history is not None and self.least_history > self.before:
            found = two_values(value_of("least_history", self.least_history), value_of("before", self.before))
            raise Refused(found, phrase("allowed.at_most_before"), key=("least_history",))
        return self


class MaintenanceSection(Section):
    """A time of the week in which nothing is rolled back."""

    name: Name = Field(description="unique, told in the refusal")
    days: (
        Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Sized(1, 7, "days")] | None
    ) = Field(default=None, description="`mon` to `sun`; `null`: every day")
    start: Annotated[str, AfterValidator(_check_clock_time), pattern_of(_CLOCK_TIME)] = Field(
        description="when it begins on such a day, such as `22:30`"
    )
    end: Annotated[str, AfterValidator(_check_clock_time), pattern_of(_CLOCK_TIME)] = Field(
        description="when it ends; not after `start`: on the following day"
    )
    timezone: Annotated[str, AfterValidator(_check_zone), pattern_of(_ZONE)] = Field(
        default="UTC", description="whose clocks it goes by, such as `Asia/Seoul`"
    )
    targets: Annotated[tuple[str, ...], Sized(1, MAX_WINDOWS, "targets")] | None = Field(
        default=None, description="the targets under maintenance; `null`: all"
    )


def maintenance_of(section: MaintenanceSection) -> MaintenanceWindow:
    """The domain's window; days that are left out are every day."""
    return MaintenanceWindow(
        name=section.name,
        days=frozenset(_DAYS.index(day) for day in section.days or _DAYS),
        start=time.fromisoformat(section.start),
        end=time.fromisoformat(section.end),
        zone=ZoneInfo(section.timezone),
        targets=None if section.targets is None else frozenset(section.targets),
    )
