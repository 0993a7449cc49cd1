"""What the handlers of steps are given, and what they do for the executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from logcaster_guard.domain.compensations import CompensationKind
from logcaster_guard.domain.conditions import Verdict
from logcaster_guard.domain.measurements import ErrorShare, FaultRead, GapRead, Measured, RequestCount
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Observation
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Gap, NoData, Reading, SourceError, Value
from logcaster_guard.domain.steps import Compensation, Step, borrowed_by, kind_of
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Blobs, Clock, Cluster, SavedSecrets


@dataclass(frozen=True, slots=True)
class Inspection:
    """`error_rate` (of 1) and `requests` (a count) of one Deployment's pods over the window that was asked for."""

    error_rate: Reading
    requests: Reading

    @property
    def inseparable(self) -> Reason | None:
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
    detail: Reason


class Assessor(Protocol):
    """Judges a target on readings from after an instant (seconds on the guard's monotonic clock)."""

    def __call__(self, target: str, rule: str, since: float) -> Assessment:
        """`target` is its key, `rule` the one that fired."""


def measured(seen: Inspection, share: float = 0.0) -> Measured:
    """Error rate and number of requests, as people are told; `share`: of a helper's pods, 0 for an environment."""
    rate, requests = seen.error_rate, seen.requests
    errors = ErrorShare(f"{rate.number:.2%}") if isinstance(rate, Value) else _unread(rate)
    count = RequestCount(round(requests.number)) if isinstance(requests, Value) else _unread(requests)
    return Measured(share, errors, count)


def _unread(reading: NoData | SourceError) -> Message:
    return FaultRead(reading.fault) if isinstance(reading, SourceError) else GapRead(reading.gap)


class Handler(Protocol):
    """What the executor needs for one kind of step."""

    async def observe(self, step: Any, run: Run) -> Observation:  # noqa: ANN401 - each handler takes its own step type
        """Look whether the step's effect is there; never raises a `ClusterError`."""

    async def apply(self, step: Any, run: Run) -> None:  # noqa: ANN401 - as above
        """Perform the effect once; raises the `ClusterError` it met. Waits and judgements have no effect.

        `run` includes the intent. Nothing is written where the look that the write is bound to shows another state.
        """


@runtime_checkable
class Compensator(Protocol):
    """What the executor needs for one kind of compensation."""

    async def observe_compensation(self, owed: Compensation, run: Run) -> Observation:
        """`Done`: it is back; `ExternalChange`: somebody else changed it since; `Before`: it is still out."""

    async def compensate(self, owed: Compensation, run: Run) -> None:
        """Give it back, once; raises the `ClusterError` it met."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The targets of a namespace: the names of their workloads, and what their Services select, which is asked for."""

    workloads: Collection[str]
    selectors: Callable[[], Awaitable[Sequence[Mapping[str, str]]]]


@runtime_checkable
class Creator(Compensator, Protocol):
    """A compensator of what a run creates: a request of a guard that is gone may create it after the run has closed."""

    async def sweep(self, owed: Compensation, run: Run, around: Neighbours) -> bool:
        """Delete what was made too late, unless others need it; True if it was. Raises the `ClusterError` it met."""


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
    secrets: SavedSecrets | None = None

    @property
    def manifests(self) -> KeptManifests:
        """What ConfigMaps and Secrets have held."""
        return KeptManifests(self.blobs, self.secrets)


@dataclass(frozen=True, slots=True)
class StepKind:
    """One row of the list of steps: the value, how its handler is made, and what this gives back, if anything."""

    step: type[Step]
    handler: Callable[[HandlerContext], Handler]
    compensates: CompensationKind | None

    @property
    def name(self) -> str:
        """The step's `kind`."""
        return kind_of(self.step)


def compensations_of(kinds: Iterable[StepKind]) -> Mapping[str, CompensationKind]:
    """What these steps give back, by name; raises `TypeError` where one borrows what none gives back, or two do."""
    kinds = list(kinds)
    given = [kind.compensates for kind in kinds if kind.compensates is not None]
    found = {kind.name: kind for kind in given}
    for kind in kinds:
        borrows = borrowed_by(kind.step)
        if borrows is not None and borrows not in found:
            raise TypeError(f"{kind.name} borrows {borrows}, which no step gives back")
    if len(found) < len(given):
        raise TypeError(f"two steps give back the same: {sorted(kind.name for kind in given)}")
    return found


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who does the steps, by the name of their kind, and who gives back what they borrow, by the name of that."""

    steps: Mapping[str, Handler]
    compensators: Mapping[str, Compensator]
    compensations: Mapping[str, CompensationKind]


def handlers_of(kinds: Iterable[StepKind], context: HandlerContext) -> Handlers:
    """The handlers of these steps; raises `TypeError` for one that cannot do what its row says."""
    made = [(kind, kind.handler(context)) for kind in kinds]
    compensators = {}
    for kind, handler in made:
        if kind.compensates is not None:
            compensators[kind.compensates.name] = _compensator(kind.compensates, handler)
    return Handlers(
        {kind.name: handler for kind, handler in made}, compensators, compensations_of(kind for kind, _ in made)
    )


def _compensator(kind: CompensationKind, handler: Handler) -> Compensator:
    wanted = Compensator if kind.owner is None else Creator
    if not isinstance(handler, wanted):
        name = type(handler).__name__
        raise TypeError(f"{name} cannot give back {kind.name}, as its row says: it is no {wanted.__name__}")
    return handler
