"""GitOps owners that stay suspended after a rollback: resumed once they want another revision than the bad one."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import timedelta

import structlog

from logcaster_guard import messages
from logcaster_guard.domain import claims, gitops
from logcaster_guard.domain.claims import Claim
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable, NotFound, Rejected
from logcaster_guard.domain.events import NoticeQueued, OwnerResumed, OwnerResuming, OwnerSuspended
from logcaster_guard.domain.gitops import Desired, Owner
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.observations import Before, ExternalChange
from logcaster_guard.domain.provenance_reasons import TokenUnproven
from logcaster_guard.domain.steps import Compensation
from logcaster_guard.domain.theirs import WorkloadGone
from logcaster_guard.domain.value_observations import NotSuspendedAnyMore, WantsRevision
from logcaster_guard.engine import gitops_owners
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Clock, Cluster, Json, Kind
from logcaster_guard.steps.suspend_owner import OWNER, is_marked, place_of, released, remedy, resume

_LATEST = timedelta(days=1)
"""A request of a closed run may still arrive: runs that were closed within this time are looked after."""
GUARD, SOMEBODY_ELSE = "guard", "somebody else"


class Suspensions:
    """Keeps what the journal tells of suspended owners in step with the cluster. The journal is the only memory."""

    def __init__(self, *, state: JournalState, cluster: Cluster, clock: Clock, interval: float) -> None:
        self._state = state
        self._cluster = cluster
        self._clock = clock
        self._interval = interval
        self._told: dict[str, str] = {}
        self._log = structlog.get_logger()
        self._lines = RecurringLog(clock)

    async def run(self) -> None:
        """Look at every suspended owner, over and over."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.monotonic() + self._interval)

    async def look(self) -> None:
        """Resume the owners that want another revision, and notice those that others have resumed."""
        for target, event in self._state.suspended():
            try:
                await self._look_at(target, event)
            except ClusterError as error:
                await self._failed(target, event, error)
            except JournalUnavailable as error:
                self._lines.error("journal.unavailable", about=target, target=target, detail=str(error))

    async def _look_at(self, target: str, event: OwnerSuspended) -> None:
        owed = event.hold
        owner = place_of(owed.object)
        try:
            seen = await gitops_owners.seen(self._cluster, owner)
        except NotFound:
            await self._resumed(target, event, SOMEBODY_ELSE, WorkloadGone(owed.object))
            return
        self._tell_once(target, owed.object, seen.unread)
        before, now = Desired(owed.revision, owed.content), gitops.desired(seen.raw, seen.source)
        match released(seen.raw, owed):
            case Before():
                # A run under way is let end first: what the owner rolls out would abandon it half way.
                if gitops.differs(before, now) and self._state.open_run_on(target) is None:
                    await self._resume(target, event, seen.raw, _wanted(now))
            case ExternalChange(detail):
                await self._resumed(target, event, SOMEBODY_ELSE, detail)
            case _:
                # Without its mark, and meant to be resumed: the guard did it, and could not write it down.
                meant = self._state.resuming(target, owed.object)
                by = SOMEBODY_ELSE if meant is None else GUARD
                await self._resumed(target, event, by, meant or NotSuspendedAnyMore())

    async def _resume(self, target: str, event: OwnerSuspended, raw: Json, reason: Reason) -> None:
        owner = event.hold.object
        if self._state.resuming(target, owner) is None:
            await self._state.tell(target_stream(target), OwnerResuming(self._clock.now(), owner, reason))
        await resume(self._cluster, raw, json.loads(event.hold.saved))
        await self._resumed(target, event, GUARD, reason)

    async def _resumed(self, target: str, event: OwnerSuspended, by: str, reason: Reason) -> None:
        at = self._clock.now()
        resumed = OwnerResumed(at, event.hold.object, by, reason)
        notice = messages.owner_resumed(self._state.run(event.run), event, resumed)
        await self._state.tell(target_stream(target), resumed, NoticeQueued(at, notice))

    async def _failed(self, target: str, event: OwnerSuspended, error: ClusterError) -> None:
        self._tell_once(target, event.hold.object, error.reason)
        if not isinstance(error, Rejected):
            return
        run, at = self._state.run(event.run), self._clock.now()
        notice = messages.owner_not_resumed(run, event, at, error.reason, remedy(event.hold))
        if not self._state.knows_notice(notice.id):
            await self._state.tell(target_stream(target), NoticeQueued(notice.at, notice))

    def _tell_once(self, target: str, owner: str, reason: Reason) -> None:
        detail = english().text(reason)
        if detail and self._told.get(owner) != detail:
            self._lines.warning("owner.unread", about=f"{target} {owner}", target=target, owner=owner, detail=detail)
        self._told[owner] = detail

    async def sweep(self) -> Sequence[tuple[str, Claim]]:
        """Resume what a request of a guard that is gone suspended after its run had closed.

        Only what the journal tells of is resumed, and to what the journal tells; the owners whose mark it does not bear
        out are returned, each with its target.
        """
        since = self._clock.now() - _LATEST
        closed = [r for r in self._state.runs() if r.closed is not None and r.closed.at >= since]
        kept = {event.hold.run for _, event in self._state.suspended()}
        kept |= {h.run for r in self._state.open_runs().values() for h in r.compensations.values()}
        compensations: dict[str, list[Compensation]] = {}
        targets: dict[str, str] = {}
        for run in closed:
            for owed in (h for h in run.taken.values() if h.kind == OWNER):
                compensations.setdefault(owed.object, []).append(owed)
                targets[owed.object] = run.opened.target
        found = [(targets[name], await self._swept(name, compensations[name], kept)) for name in sorted(compensations)]
        return [(target, claim) for target, claim in found if claim is not None]

    async def _swept(self, name: str, compensations: Sequence[Compensation], kept: Collection[str]) -> Claim | None:
        owner = place_of(name)
        try:
            raw = await self._cluster.get(Kind(owner.kind), owner.namespace, owner.name)
            mark = gitops.mark_of(raw)
            if mark is None or mark.run in kept:
                return None
            owed = next((h for h in compensations if h.token and is_marked(raw, h)), None)
            if owed is None or raw["metadata"]["uid"] != owed.uid:
                return _claim(owner, raw)
            await resume(self._cluster, raw, json.loads(owed.saved))
            resumed = gitops.is_suspended(raw) and not gitops.is_suspended_by_another(raw)
            self._log.warning("owner.mark_removed", owner=owner.object, resumed=resumed)
        except NotFound:
            pass
        except ClusterError as error:
            self._lines.warning("owner.unread", about=owner.object, owner=owner.object, detail=str(error))
        return None


def _claim(owner: Owner, raw: Json) -> Claim:
    metadata = raw["metadata"]
    reason = TokenUnproven()
    kubectl = f"kubectl -n {metadata['namespace']}"
    remedy = f"{kubectl} annotate {owner.kind.lower()} {metadata['name']} {gitops.MARK}-"
    return claims.claim(owner.object, metadata["uid"], metadata["annotations"][gitops.MARK], reason, remedy)


def _wanted(now: Desired) -> Message:
    return WantsRevision(now.revision)
