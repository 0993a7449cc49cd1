"""A strategy that does not fit a workload is an answer, not an error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unfit:
    """The strategy cannot be carried out here; each reason is a sentence that says what was found and what to do."""

    reasons: tuple[str, ...]
