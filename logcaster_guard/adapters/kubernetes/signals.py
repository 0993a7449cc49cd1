"""The `kubernetes` source: what the Deployment and its pods themselves say of a release."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.adapters.kubernetes.answers import NoAnswer
from logcaster_guard.adapters.kubernetes.pods import Pod, pods_of
from logcaster_guard.adapters.kubernetes.section import KubernetesSection
from logcaster_guard.adapters.per_target import each_target
from logcaster_guard.adapters.plugin_types import SourcePlugin
from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.errors import ClusterError, NotFound, Rejected
from logcaster_guard.domain.guard_reasons import PortionUnread
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.signals import (
    Fault,
    Gap,
    History,
    NoData,
    NoHistory,
    Reading,
    Signal,
    SourceError,
    SourceName,
    Target,
    Value,
)
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.reading_faults import DescribedOddly, NoPresentPod, NoSuchSignal
from logcaster_guard.ports import Answer, Clock, Cluster, Request

FORGIVEN_AFTER = timedelta(minutes=10)
"""A pod that was Ready this long has got over its restarts: the count is for a pod's whole life."""

RESTARTS = "restart_count"

STALLED = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
        "RegistryUnavailable",
        "RunContainerError",
        "SignatureValidationFailed",
    }
)
"""The kubelet's reasons for a container that waits and will not start by itself."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A Deployment with its pods, seen at the UTC instant `now`."""

    workload: Workload
    pods: Sequence[Pod]
    now: datetime

    def restart_count(self) -> float | None:
        """Restarts of the worst container of the present release; in a pod Ready for 10 minutes they count 0.

        None without a pod.
        """
        return self.restarts_among(PodGroup(frozenset({self.workload.hash})))

    def restarts_among(self, group: PodGroup) -> float | None:
        """The same of these pods."""
        there = [p for p in self.pods if p.counts and group.has(p.name, p.template)]
        return max((0.0 if self._settled(p) else float(p.restarts) for p in there), default=None)

    def unready_pods(self) -> float:
        """Pods that are wanted and not there, plus pods of any release that are there and not Ready.

        Terminating and ended pods are not there. It is above 0 for a while in every healthy rollout.
        """
        there = [p for p in self.pods if p.counts]
        missing = max(0, self.workload.replicas - len(there))
        return float(missing + sum(not p.ready for p in there))

    def rollout_stalled(self) -> float:
        """1 if the present rollout does not get on by itself, else 0.

        That is: its progress deadline passed, or, while it is under way, a pod of its release cannot start.
        """
        if self.workload.progress_deadline_exceeded:
            return 1.0
        stuck = any(p.counts and p.template == self.workload.hash and p.waiting_reasons & STALLED for p in self.pods)
        return float(stuck and self._under_way())

    def _settled(self, pod: Pod) -> bool:
        since = pod.ready_since
        return since is not None and self.now - since >= FORGIVEN_AFTER

    def _under_way(self) -> bool:
        # A pod that crashes later makes a finished rollout look unfinished by its numbers; the controller's own reason
        # stays. It writes none when the Deployment has no progress deadline.
        conditions = (self.workload.raw.get("status") or {}).get("conditions") or []
        reasons = [c.get("reason") for c in conditions if c.get("type") == "Progressing"]
        if not self.workload.observed:
            return True
        return reasons != ["NewReplicaSetAvailable"] if reasons else not self.workload.rolled_out


_NUMBERS: Mapping[str, Callable[[Observation], float | None]] = {
    RESTARTS: Observation.restart_count,
    "unready_pods": Observation.unready_pods,
    "rollout_stalled": Observation.rollout_stalled,
}


_FAILURES = (ClusterError, AttributeError, KeyError, TypeError, ValueError)
"""What a question can meet: no answer, or one of another shape."""


class KubernetesSource:
    """`ports.Source` for `restart_count`, `unready_pods` and `rollout_stalled`, and `ports.Divisible` for the first.

    What is only watched is read from the shared view; everything else costs a GET and two LISTs for each target,
    however many signals are asked for. The cluster is not closed with it.
    """

    def __init__(self, cluster: Cluster, view: ClusterView, clock: Clock) -> None:
        self._cluster = cluster
        self._view = view
        self._clock = clock

    @property
    def name(self) -> SourceName:
        """The word that settings use for it."""
        return SourceName.KUBERNETES

    def read(self, requests: Sequence[Request]) -> AsyncIterator[Answer]:
        """Readings are as of the moment before the first question was asked, or of what the shared view has shown."""
        return each_target(requests, self._read)

    async def _read(self, target: Target, signals: Sequence[Signal], shared: bool) -> Mapping[str, Reading]:
        at = self._clock.monotonic()
        look = self._view.look() if shared else None
        try:
            workload, pods = await pods_of(look or self._cluster, target)
            at = at if look is None else look.proven
            seen = Observation(workload=workload, pods=pods, now=self._clock.now())
            return {signal.name: _reading(signal.name, seen, at) for signal in signals}
        except _FAILURES as error:
            return dict.fromkeys((s.name for s in signals), _failed(target, at, error))

    async def portion(
        self,
        target: Target,
        signal: Signal,
        group: PodGroup,
        start: float,  # noqa: ARG002 # the port's
        end: float,
    ) -> Reading:
        """Restarts of these pods as of now, for each is counted over its life; the rest is of the whole workload."""
        if signal.name != RESTARTS:
            return NoData(end, Gap.NOT_BY_POD, PortionUnread(self.name))
        try:
            workload, pods = await pods_of(self._cluster, target)
            number = Observation(workload, pods, self._clock.now()).restarts_among(group)
        except _FAILURES as error:
            return _failed(target, end, error)
        return NoData(end, Gap.EMPTY, NoPresentPod(target.key)) if number is None else Value(end, number)

    async def history(
        self,
        target: Target,  # noqa: ARG002 # the port's
        signal: Signal,  # noqa: ARG002
        start: float,  # noqa: ARG002
        end: float,  # noqa: ARG002
        step: float,  # noqa: ARG002
    ) -> History:
        """Kubernetes keeps no past."""
        return NoHistory()

    async def aclose(self) -> None:
        """Nothing of its own to release."""


def _failed(target: Target, at: float, error: Exception) -> NoData | SourceError:
    if isinstance(error, NotFound):
        return NoData(at, Gap.EMPTY, error.reason)
    if isinstance(error, ClusterError):
        return SourceError(at, fault_of(error), error.reason, error.retry_after)
    return SourceError(at, Fault.MALFORMED, DescribedOddly(target.key, f"{error!a}"))


def _reading(name: str, seen: Observation, at: float) -> Reading:
    if name not in _NUMBERS:
        return NoData(at, Gap.EMPTY, NoSuchSignal("kubernetes", name, tuple(_NUMBERS)))
    number = _NUMBERS[name](seen)
    if number is None:
        return NoData(at, Gap.EMPTY, NoPresentPod(seen.workload.key))
    return Value(at, number)


def fault_of(error: ClusterError) -> Fault:
    """What a failure of the API is as a source's fault."""
    if isinstance(error, NoAnswer):
        return error.fault
    if error.status == 429:
        return Fault.THROTTLED
    if isinstance(error, Rejected) or 400 <= error.status < 500:
        return Fault.CLIENT_ERROR
    return Fault.SERVER_ERROR if error.status >= 500 else Fault.UNREACHABLE


PLUGIN = SourcePlugin(
    name=SourceName.KUBERNETES,
    section=KubernetesSection,
    meaning="the API server",
    make=lambda _, services: KubernetesSource(services.cluster, services.view, services.clock),
    answers=frozenset(_NUMBERS),
)
