"""Whose something is, as messages: why the guard did not make it, and who wrote a field."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class RunMade(Message):
    """The run made something of another name."""

    object: str
    kind: Literal["made.another_name"] = "made.another_name"


@dataclass(frozen=True, slots=True)
class WithoutToken(Message):
    """An earlier version of the guard made it."""

    kind: Literal["made.without_token"] = "made.without_token"


@dataclass(frozen=True, slots=True)
class NoToken(Message):
    """It does not carry the run's token."""

    run: str
    kind: Literal["made.no_token"] = "made.no_token"


@dataclass(frozen=True, slots=True)
class NotOfWorkload(Message):
    """It does not belong to the run's workload."""

    kind: Literal["made.not_of_workload"] = "made.not_of_workload"


@dataclass(frozen=True, slots=True)
class ThereBefore(Message):
    """It was there before the run."""

    run: str
    kind: Literal["made.there_before"] = "made.there_before"


@dataclass(frozen=True, slots=True)
class NotMadeByRun(Message):
    """The run made none; `named`: the object itself names the run."""

    run: str
    named: bool
    kind: Literal["made.not_by_run"] = "made.not_by_run"


@dataclass(frozen=True, slots=True)
class AnotherOne(Message):
    """It is another object than the run made."""

    kind: Literal["made.another_one"] = "made.another_one"


@dataclass(frozen=True, slots=True)
class NamesUnknownRun(Message):
    """It names a run that the journal does not know."""

    run: str
    kind: Literal["made.names_unknown_run"] = "made.names_unknown_run"


@dataclass(frozen=True, slots=True)
class NamesNoRun(Message):
    """It names no run."""

    kind: Literal["made.names_no_run"] = "made.names_no_run"


@dataclass(frozen=True, slots=True)
class TokenUnproven(Message):
    """Its annotation does not carry the token of the journal."""

    kind: Literal["made.token_unproven"] = "made.token_unproven"


@dataclass(frozen=True, slots=True)
class ClaimUnproven(Message):
    """An object carries the guard's marks, and is not proven to be the guard's."""

    object: str
    reason: Reason
    kind: Literal["made.unproven"] = "made.unproven"


@dataclass(frozen=True, slots=True)
class FieldManager(Message):
    """Who wrote a field, and when, where that is known."""

    manager: str
    at: datetime | None
    kind: Literal["field_manager"] = "field_manager"


@dataclass(frozen=True, slots=True)
class MakerUntold(Message):
    """Nobody can tell whether the run made it."""

    object: str
    reason: Reason
    kind: Literal["seen.maker_untold"] = "seen.maker_untold"


@dataclass(frozen=True, slots=True)
class SomebodyElses(Message):
    """What the run has made is somebody else's now."""

    kind: Literal["seen.somebody_elses"] = "seen.somebody_elses"


@dataclass(frozen=True, slots=True)
class NameTaken(Message):
    """Another Deployment has the helper's name, for `reason`."""

    deployment: str
    reason: Reason
    kind: Literal["seen.name_taken"] = "seen.name_taken"


@dataclass(frozen=True, slots=True)
class CopyLeft(Message):
    """A copy of configuration that is there, and the run that made it."""

    copy: str
    run: str
    kind: Literal["seen.copy_left"] = "seen.copy_left"


@dataclass(frozen=True, slots=True)
class KeptByAnother(Message):
    """So many Secrets hold what Secrets held, and were kept before the journal begins that does not name them."""

    count: int
    kind: Literal["made.kept_by_another"] = "made.kept_by_another"


@dataclass(frozen=True, slots=True)
class HelperLeft(Message):
    """A helper that is there, and the run that made it."""

    deployment: str
    pods: int
    run: str
    kind: Literal["seen.helper_left"] = "seen.helper_left"
