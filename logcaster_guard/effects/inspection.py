"""How the pods of one Deployment fare, read apart from the rest of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from logcaster_guard.domain.signals import Gap, NoData, Reading


@dataclass(frozen=True, slots=True)
class Inspection:
    """`error_rate` (of 1) and `requests` (a count) of one Deployment's pods over the window that was asked for."""

    error_rate: Reading
    requests: Reading

    @property
    def inseparable(self) -> str | None:
        """Why nothing can be read of one Deployment's pods apart from another's; None if it can, or nobody knows."""
        for reading in (self.error_rate, self.requests):
            if isinstance(reading, NoData) and reading.gap is Gap.NOT_BY_POD:
                return reading.detail
        return None


class Inspector(Protocol):
    """Reads how the pods of one Deployment fared over the last `window` seconds; `target` is the target's key."""

    async def __call__(self, target: str, deployment: str, window: float) -> Inspection:
        """Never raises for what a source does: that is a reading too."""


class Checker(Protocol):
    """Asks one address for its health."""

    async def __call__(self, target: str, url: str) -> Reading:
        """0 if it answers well, more if not; never raises for the outside. `target` is the target's key."""
