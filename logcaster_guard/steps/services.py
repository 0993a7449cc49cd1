"""What the handlers of steps are given, and what they do for the executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.observations import Observation
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Gap, NoData, Reading, SourceError, Value
from logcaster_guard.domain.steps import Hold, ObjectReference, Plan, Step, kind_of
from logcaster_guard.ports import Blobs, Clock, Cluster


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


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the rules say of a target, on readings that reach back no further than asked for.

    `MET`: some rule is breached. `NOT_MET`: the rule that fired is quiet on values and no other is breached.
    """

    verdict: Verdict
    detail: str


class Assessor(Protocol):
    """Judges a target on readings from after an instant (seconds on the guard's monotonic clock)."""

    def __call__(self, target: str, rule: str, since: float) -> Assessment:
        """`target` is its key, `rule` the one that fired."""


def said(seen: Inspection) -> str:
    """Error rate and number of requests as people read them."""
    rate, requests = seen.error_rate, seen.requests
    errors = f"{rate.number:.2%} errors" if isinstance(rate, Value) else _unread(rate)
    count = f"{requests.number:.0f} requests" if isinstance(requests, Value) else _unread(requests)
    return f"{errors} of {count}"


def _unread(reading: Reading) -> str:
    if isinstance(reading, SourceError):
        return f"unread ({reading.fault})"
    return "no data" if isinstance(reading, Value) else f"no data ({reading.gap})"


class Handler(Protocol):
    """What the executor needs for one kind of step."""

    async def observe(self, step: Any, run: Run) -> Observation:  # noqa: ANN401 - each handler takes its own step type
        """Look whether the step's effect is there; never raises a `ClusterError`."""

    async def apply(self, step: Any, run: Run) -> None:  # noqa: ANN401 - as above
        """Perform the effect once; raises the `ClusterError` it met. Waits and judgements have no effect.

        `run` includes the intent. Nothing is written where the look that the write is bound to shows another state.
        """


@runtime_checkable
class Lender(Protocol):
    """What the executor needs for one kind of hold."""

    async def observe_release(self, hold: Hold, run: Run) -> Observation:
        """`Done`: it is back; `ExternalChange`: somebody else changed it since; `Before`: it is still out."""

    async def release(self, hold: Hold, run: Run) -> None:
        """Give it back, once; raises the `ClusterError` it met."""


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """What handlers are made of. `goes_on` says whether the breach of a rule (target, rule) goes on.

    `staleness` is in seconds: a reading that is older tells nothing of the time since.
    """

    cluster: Cluster
    blobs: Blobs
    clock: Clock
    inspect: Inspector
    check: Checker
    assess: Assessor
    goes_on: Callable[[str, str], Assessment]
    staleness: float


@dataclass(frozen=True, slots=True)
class Compensation:
    """What a handler gives back: holds of this kind, and the objects that it changes for that."""

    kind: str
    touches: Callable[[Plan, Hold], Sequence[ObjectReference]]


@dataclass(frozen=True, slots=True)
class StepKind:
    """One row of the list of steps: the value, how its handler is made, and what this gives back, if anything."""

    step: type[Step]
    handler: Callable[[HandlerContext], Handler]
    gives_back: Compensation | None

    @property
    def name(self) -> str:
        """The step's `kind`."""
        return kind_of(self.step)


def handlers_of(made: Mapping[StepKind, Handler]) -> Mapping[str, Handler]:
    """The handlers by the kind of their step."""
    return {kind.name: handler for kind, handler in made.items()}


def lenders_of(made: Mapping[StepKind, Handler]) -> Mapping[str, Lender]:
    """Those that give something back, by the kind of hold; raises `TypeError` for one that says so and cannot."""
    found: dict[str, Lender] = {}
    for kind, handler in made.items():
        if kind.gives_back is None:
            continue
        if not isinstance(handler, Lender):
            raise TypeError(f"the handler of {kind.name} cannot give back {kind.gives_back.kind}")
        found[kind.gives_back.kind] = handler
    return found
