"""What a look at the cluster shows of a step, or of something borrowed that is to be given back."""

from __future__ import annotations

from dataclasses import dataclass

from logcaster_guard.domain.events import Event
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.steps import Compensation


@dataclass(frozen=True, slots=True)
class Before:
    """The step's effect is not there yet, and nothing speaks against it.

    `borrows` is what applying it would borrow; `overdue` the outcome and reason if the time is up like this.
    """

    detail: Reason = ""
    borrows: Compensation | None = None
    overdue: tuple[str, Reason] | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """The effect was asked for and is taking hold: nothing to do but to look again."""

    detail: Reason = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The step's effect is there, or what was borrowed is as it is to stay.

    `also` is told to the journal in the same append: who gives it back later, where it stays out beyond the run.
    """

    detail: Reason = ""
    also: Event | None = None


@dataclass(frozen=True, slots=True)
class ExternalChange:
    """Somebody else changed what the plan rests on."""

    detail: Reason


@dataclass(frozen=True, slots=True)
class Unclear:
    """It cannot be told now. `retry_after` is in seconds, where the outside asked for a wait."""

    detail: Reason
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The step can never be done; the run ends with `outcome`."""

    outcome: str
    detail: Reason


Observation = Before | Pending | Done | ExternalChange | Unclear | Failed
