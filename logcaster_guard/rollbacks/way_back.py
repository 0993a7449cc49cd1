"""What a way back is: a look at what it rests on, and a plan from what was seen.

`gather` sees ports and answers with frozen facts; `plan` is a plain function of them. `gather` answers that it does not
apply where that needs no look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.releases import Release, ReleaseId
from logcaster_guard.domain.rules import Action, Policy, Rule
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Blobs, Cluster, Json, Kind, SavedSecrets
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.steps.step_services import Inspector


@dataclass(frozen=True, slots=True)
class Request:
    """The rollback that is asked for; `destinations` are the good releases, the best first. There is at least one.

    `bad` are the releases that are known to be bad.
    """

    target: Target
    workload: Workload
    destinations: Sequence[Record]
    rule: Rule
    policy: Policy
    bad: frozenset[ReleaseId] = frozenset()

    @property
    def destination(self) -> Record:
        """The best of them."""
        return self.destinations[0]


@dataclass(frozen=True, slots=True)
class PlanningPorts:
    """What `gather` looks through. Its methods raise the `ClusterError` and `BlobMissing` that they met."""

    cluster: Cluster
    blobs: Blobs
    inspect: Inspector
    secrets: SavedSecrets | None = None

    @property
    def manifests(self) -> KeptManifests:
        """What ConfigMaps and Secrets have held."""
        return KeptManifests(self.blobs, self.secrets)

    async def found(self, kind: Kind, namespace: str, name: str | None) -> Json | None:
        """The object as it is now; None if it is not there, or has no name."""
        try:
            return None if name is None else await self.cluster.get(kind, namespace, name)
        except NotFound:
            return None

    async def service(self, target: Target) -> Json | None:
        """The target's Service; None if it has none."""
        return await self.found(Kind.SERVICE, target.namespace, target.service)

    async def release(self, record: Record) -> Release:
        """The release that was saved."""
        return Release.from_bytes(await self.blobs.get(record.blob))


@dataclass(frozen=True, slots=True)
class WayBack:
    """One row of the list of ways back; `plan` takes the facts that `gather` gave.

    `take_over` makes the immediate plan from where a run of this kind stands, None where it is planned anew.
    `otherwise` is what is done where it does not apply.
    """

    action: Action
    gather: Callable[[Request, PlanningPorts], Awaitable[Any]]
    plan: Callable[[Any], Plan | NotApplicable]
    take_over: Callable[[Run, Request], Plan] | None
    otherwise: Callable[[Policy], Action]

    @property
    def strategy(self) -> str:
        """What its plans and the journal call it."""
        return self.action.removesuffix("_rollback")


def only_told(policy: Policy) -> Action:  # noqa: ARG001 - the shape of `WayBack.otherwise`
    """Nothing is done instead: people are told."""
    return Action.ALERT_ONLY
