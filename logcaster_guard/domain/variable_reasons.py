"""Why no environment variable is restored, as messages. `workload` is its kind and key (`Deployment shop/web`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message


@dataclass(frozen=True, slots=True)
class UnknownVariables(Message):
    """Variables are asked for that neither release has; `known` are those that there are."""

    workload: str
    names: tuple[str, ...]
    known: tuple[str, ...]
    kind: Literal["unfit.unknown_variables"] = "unfit.unknown_variables"


@dataclass(frozen=True, slots=True)
class NothingToRestore(Message):
    """The variables are what they were in the good release; `names` is empty for all of them."""

    workload: str
    names: tuple[str, ...]
    revision: str
    images: tuple[str, ...]
    kind: Literal["unfit.nothing_to_restore"] = "unfit.nothing_to_restore"


@dataclass(frozen=True, slots=True)
class WouldBeBad(Message):
    """With the good release's variables the workload would carry a release that is known to be bad."""

    workload: str
    revision: str
    template: str
    kind: Literal["unfit.would_be_bad"] = "unfit.would_be_bad"
