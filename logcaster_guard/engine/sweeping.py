"""Deletes what a dead guard's late request created after its run had closed; tells of what only carries the marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from logcaster_guard import messages
from logcaster_guard.domain import claims
from logcaster_guard.domain.claims import Claim
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable, NotFound
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.external_changes import selector_of
from logcaster_guard.domain.provenance import MANAGED
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Compensation
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.left_copies import LeftCopies
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.ports import Clock, Cluster, Json, Kind
from logcaster_guard.steps.step_services import Creator, Handlers, Neighbours

_LATEST = timedelta(days=1)
"""A request of a closed run may still arrive: runs that were closed within this time are looked after."""


class Sweeper:
    """Deletes what closed runs have created too late: helpers, environments, copies of ConfigMaps and Secrets.

    What they are called and which token they carry is the journal's word alone; the marks on an object are no reason
    to delete it. `unproven` are, by target, the objects whose marks the journal does not bear out.
    """

    def __init__(
        self,
        state: JournalState,
        cluster: Cluster,
        clock: Clock,
        targets: Sequence[Target],
        handlers: Handlers,
        *,
        copies: LeftCopies,
    ) -> None:
        self._state = state
        self._cluster = cluster
        self._clock = clock
        self._targets = targets
        self._handlers = handlers
        self._copies = copies
        self._failing: dict[str, str] = {}
        self.unproven: Mapping[str, Sequence[Claim]] = {}
        self._log = structlog.get_logger()
        self._lines = RecurringLog(clock)

    async def sweep(self) -> None:
        """Once; what fails is logged and left to the next time."""
        since = self._clock.now() - _LATEST
        # What a run has handed over serves the one that took over from it.
        handed = {owed.run for run in self._state.open_runs().values() for owed in run.compensations.values()}
        closed = [r for r in self._state.runs() if r.closed is not None and r.closed.at >= since]
        for run in (r for r in closed if r.id not in handed):
            for owed in (h for h in run.taken.values() if h.run == run.id):
                await self._sweep_one(run, owed)

    async def _sweep_one(self, run: Run, owed: Compensation) -> None:
        compensator, namespace = self._handlers.compensators[owed.kind], run.opened.plan.namespace
        if not isinstance(compensator, Creator):
            return
        here = [t for t in self._targets if t.namespace == namespace]
        workloads = frozenset().union(*map(_workloads, here))
        around = Neighbours(workloads, lambda: self._selectors(namespace))
        try:
            swept = await compensator.sweep(owed, run, around)
        except ClusterError as error:
            self._lines.warning("helper.left", about=namespace, namespace=namespace, detail=str(error))
            return
        if swept:
            self._log.warning("helper.removed", namespace=namespace, kind=owed.kind, object=owed.object)

    async def _selectors(self, namespace: str) -> Sequence[Mapping[str, str]]:
        """What the Services of the namespace's targets select. Raises the `ClusterError` it met."""
        found = []
        for service in sorted({t.service for t in self._targets if t.namespace == namespace and t.service}):
            try:
                found.append(selector_of(await self._cluster.get(Kind.SERVICE, namespace, service)) or {})
            except NotFound:
                continue
        return found

    async def look_for_claims(self, more: Sequence[tuple[str, Claim]] = ()) -> None:
        """Find the Deployments and copies whose marks the journal does not bear out, and tell people once of each.

        `more` are such objects of other kinds, each with the target that it is told to.
        """
        # A run may be of a target that is no longer configured: there is nobody left to tell of it.
        found = [(key, claim) for key, claim in more if any(t.key == key for t in self._targets)]
        for namespace in sorted({t.namespace for t in self._targets}):
            found += await self._claims(namespace)
            first = next(t.key for t in self._targets if t.namespace == namespace)
            found += [(first, claim) for claim in await self._copies.claims(namespace, self._state.runs())]
        self.unproven = {t.key: [c for key, c in found if key == t.key] for t in self._targets}
        for key, claim in found:
            await self._tell(next(t for t in self._targets if t.key == key), claim)

    async def _claims(self, namespace: str) -> Sequence[tuple[str, Claim]]:
        selector = ",".join(f"{k}={v}" for k, v in MANAGED.items())
        try:
            listed = await self._cluster.list(Kind.DEPLOYMENT, namespace, selector)
        except ClusterError as error:
            if self._failing.get(namespace) != str(error):
                self._log.warning("helper.left", namespace=namespace, detail=str(error))
            self._failing[namespace] = str(error)
            return []
        self._failing.pop(namespace, None)
        runs = self._state.runs()
        present = [raw for raw in listed if "deletionTimestamp" not in raw["metadata"]]
        found = [(raw, claims.of_deployment(raw, runs, self._handlers.compensations)) for raw in present]
        return [(self._told_to(namespace, raw), claim) for raw, claim in found if claim is not None]

    def _told_to(self, namespace: str, raw: Json) -> str:
        """The target that it is, or that it says to belong to; else the first of its namespace."""
        metadata = raw["metadata"]
        names = {metadata["name"], *(o.get("name") for o in metadata.get("ownerReferences") or [])}
        here = [t for t in self._targets if t.namespace == namespace]
        return next((t.key for t in here if names & _workloads(t)), here[0].key)

    async def _tell(self, target: Target, claim: Claim) -> None:
        notice = messages.unproven(target, claim, self._clock.now())
        if self._state.knows_notice(notice.id):
            return
        self._log.warning("marks.unproven", target=target.key, object=claim.object, detail=claim.reason)
        try:
            await self._state.tell(target_stream(target.key), NoticeQueued(notice.at, notice))
        except JournalUnavailable as error:
            self._log.error("journal.unavailable", target=target.key, detail=str(error))


def _workloads(target: Target) -> set[str]:
    return {target.deployment, *target.environments.values()}
