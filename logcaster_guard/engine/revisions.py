"""Watches a workload: which release it carries, and since when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Protocol

import structlog

from logcaster_guard.domain import releases
from logcaster_guard.domain.configuration.pod_starts import CHECKSUMS
from logcaster_guard.domain.errors import BlobMissing, ClusterError, JournalUnavailable, NotFound
from logcaster_guard.domain.events import (
    Event,
    PodsReplaced,
    RevisionConfigured,
    RevisionGood,
    RevisionKept,
    RevisionLive,
    RevisionNumbered,
    RevisionSeeded,
)
from logcaster_guard.domain.guard_reasons import ServiceAbsent, WorkloadAbsent
from logcaster_guard.domain.ledger import Record, Rollout
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.probation import Probation
from logcaster_guard.domain.proofs import proofs
from logcaster_guard.domain.releases import Release, ReleaseId
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Revision, Workload, annotations_of, images_of, revisions_of
from logcaster_guard.engine.configuration_changes import ConfigurationChanges, put_there_by
from logcaster_guard.engine.hub import ReleaseChanged
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.services import Services, TargetContext
from logcaster_guard.engine.snapshotting import Snapshotter
from logcaster_guard.engine.watched_workload import WatchedWorkload
from logcaster_guard.ports import Json, Kind

_NAMED = 10
"""Annotations that are named where all pods were replaced."""


class QuietRules(Protocol):
    """The rules of the target, as far as they tell how a release does."""

    def quiet(self, since: float) -> Mapping[str, bool | None]:
        """Whether each rule is quiet now, by name; None where it has seen nothing since monotonic second `since`."""


class RevisionWatch:
    """Keeps the ledger of one target in step with the cluster.

    It publishes each rollout that is not the guard's own. `rules` are the target's, `watched` shows whether anything
    has changed since the last look. `absence` is what the last look that was answered found missing, empty if it found
    the workload.
    """

    def __init__(
        self,
        context: TargetContext,
        services: Services,
        rules: QuietRules,
        watched: WatchedWorkload,
        snapshots: Snapshotter,
    ) -> None:
        target = context.target
        self._target = target
        self._live_workload = context.live_workload
        self._cluster = services.cluster
        self._blobs = services.blobs
        self._state = services.state
        self._clock = services.clock
        self._policy = services.policy
        self._inbox = services.inbox
        self._hub = services.hub
        self._rules = rules
        self._watched = watched
        self._snapshots = snapshots
        self._configuration = ConfigurationChanges(context.configuration)
        self._seen: tuple[Target, Workload] | None = None
        self._stream = target_stream(target.key)
        self._looked: float | None = None
        self._annotations: Mapping[str, str] | None = None
        self.absence: Reason = ""
        self._probation = Probation()
        self._live_since = float("-inf")
        self._was_whole = False
        self._seen_partial = False
        self._whole_since: float | None = None
        self._rolled: Mapping[datetime, float] = {}
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger().bind(target=target.key)

    @property
    def whole_since(self) -> float | None:
        """Monotonic second at which the present release was first seen whole, if its rollout was seen; else None."""
        return self._whole_since

    @property
    def served_alone_since(self) -> float:
        """Monotonic second since which only the present release serves, as far as is known; infinity: not yet."""
        rolled = self.rolled(self._state.ledger(self._target.key).rollout)
        known = self._whole_since if self._whole_since is not None else rolled
        return float("-inf" if known is None else known) if self._was_whole else float("inf")

    def rolled(self, rollout: Rollout | None) -> float | None:
        """Monotonic second from which on what was rolled out may have been live; None if nobody knows.

        Taken from the wall clock once: a later jump of that clock must not move it.
        """
        return None if rollout is None or rollout.earliest is None else self._rolled.get(rollout.earliest)

    async def look(self) -> Workload | None:
        """The Deployment as it is now, every change told to the journal; None if it does not exist.

        Raises `ClusterError` and `JournalUnavailable`.
        """
        async with self._lock:
            return await self._look()

    async def watch(self) -> Workload | None:
        """As `look`, but a workload that the shared view shows unchanged is the one that was looked at last."""
        async with self._lock:
            if self._seen is not None and self._looked is not None:
                live, workload = self._seen
                at = await self._watched.unchanged_at(live, workload)
                if at is not None:
                    return await self._note(workload, max(at, self._looked), switched=False)
            return await self._look()

    async def _look(self) -> Workload | None:
        self._seen, began = None, self._clock.monotonic()
        before, live = self._live_workload.known, await self._live_workload.look()
        if live is None:
            self.absence = ServiceAbsent(f"{self._target.namespace}/{self._target.service}")
            return None
        try:
            raw = await self._cluster.get(Kind(live.kind), live.namespace, live.deployment)
        except NotFound:
            self.absence = WorkloadAbsent(f"{live.kind} {live.key}")
            return None
        self.absence = ""
        workload = Workload(raw)
        found = await self._note(workload, began, switched=before is not None and before != live)
        self._seen = (live, workload)
        return found

    async def _note(self, workload: Workload, began: float, *, switched: bool) -> Workload:
        if self._state.available:
            await self._note_release(workload, switched=switched)
            self._note_change()
            self._note_wholeness(workload)
            await self._inbox.take_freeze(self._target, workload)
            await self._note_probation(workload)
        self._looked = began
        return workload

    async def _note_release(self, workload: Workload, *, switched: bool) -> None:
        known = self._state.ledger(self._target.key)
        # A workload that was made anew is still of the same release, as far as anybody knows.
        same = known.live if known.live is not None and known.live.template == workload.hash else None
        if same is not None and known.uid == workload.uid:
            await self._save_late(workload, same)
            await self._note_renewal(workload, same)
            await self._note_configuration(workload)
            return
        revisions = await self._revisions_of(workload)
        seeds = await self._seeds(workload, revisions)
        # What the Service leads to since the last look became live then, however old it is.
        earliest = self._last_look() if switched else self._earliest(workload, revisions)
        told = {"configuration": same.configuration, "readable": same.readable} if same is not None else {}
        number, by_guard = _number(workload, revisions), self._guards_own(workload)
        await self._roll_out(workload, number, earliest, by_guard, told, *seeds)
        self._annotations = annotations_of(workload.template)
        self._configuration.rolled_out()

    async def _note_configuration(self, workload: Workload) -> None:
        """The template is what it was; what its pods have read may be known now, or be something else."""
        live = self._state.ledger(self._target.key).live
        if live is None:
            return
        noticed = self._configuration.notice(live)
        change, now = noticed.change, self._clock.now()
        if change is not None and change.rollout:
            by_guard = put_there_by(self._state.open_run_on(self._target.key), change, workload.hash)
            ago = None if change.first is None else timedelta(seconds=self._clock.monotonic() - change.first)
            told = self._configuration.told(change.known)
            await self._roll_out(workload, live.revision, None if ago is None else now - ago, by_guard, told)
        elif change is not None:
            blob, told = await self._saved(workload), self._configuration.told(change.known)
            await self._state.tell(self._stream, RevisionConfigured(now, workload.hash, blob, **told))
            # What was quiet until now may have had another configuration.
            self._probation = Probation()
        self._configuration.taken(noticed)

    async def _roll_out(
        self,
        workload: Workload,
        number: str,
        earliest: datetime | None,
        by_guard: str | None,
        told: Mapping[str, Any],
        *seeds: RevisionSeeded,
    ) -> None:
        """Another release is the live one now; `told` is what is told of its configuration."""
        known = self._state.ledger(self._target.key)
        event = RevisionLive(
            at=self._clock.now(),
            template=workload.hash,
            revision=number,
            uid=workload.uid,
            blob=await self._saved(workload),
            images=workload.images,
            earliest=earliest,
            by_guard=by_guard,
            **told,
        )
        undone = by_guard is None and event.release.key != known.present and known.is_undo(event.release)
        await self._state.tell(self._stream, *seeds, replace(event, undo_of=known.present if undone else None))
        self._probation, self._was_whole = Probation(), False
        # A reading that was taken before tells of the release before.
        self._live_since = self._clock.monotonic()
        # Whoever saw the release before has seen this one come.
        self._seen_partial, self._whole_since = known.present is not None and self._looked is not None, None
        if by_guard is None and known.present is not None:
            self._hub.publish(ReleaseChanged(self._target.key, earliest))

    async def _saved(self, workload: Workload) -> str:
        """The digest of the release; empty if it cannot be saved now, which keeps nobody from leaving it."""
        try:
            return await self._blobs.put(releases.of_workload(workload).to_bytes())
        except JournalUnavailable as error:
            self._log.warning("release.not_saved", detail=str(error))
            return ""

    async def _save_late(self, workload: Workload, live: Record) -> None:
        if not live.blob:
            blob = await self._saved(workload)
            if blob:
                kept = RevisionKept(self._clock.now(), live.template, blob, configuration=live.configuration)
                await self._state.tell(self._stream, kept)

    async def _revisions_of(self, workload: Workload) -> Sequence[Revision]:
        kept_in = Kind.REPLICA_SET if workload.kind == Kind.DEPLOYMENT else Kind.CONTROLLER_REVISION
        return revisions_of(workload, await self._cluster.list(kept_in, self._target.namespace))

    async def _note_renewal(self, workload: Workload, record: Record) -> None:
        """The release is what it was: its number may be new, and all its pods may have been replaced."""
        before, now = await self._annotations_before(record, workload.template), annotations_of(workload.template)
        changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        renumbered = workload.observed and workload.revision not in {"", record.revision}
        if not changed and not renumbered and record.revision:
            return
        revisions, events = await self._revisions_of(workload), list[Event]()
        number, at, of = _number(workload, revisions), self._clock.now(), {"configuration": record.configuration}
        if number not in {"", record.revision}:
            events.append(RevisionNumbered(at, workload.hash, number, **of))
        if changed:
            # A checksum belongs to the configuration that its pods will read.
            another = record.configuration and any(name.startswith(CHECKSUMS) for name in changed)
            blob = "" if another else await self._saved(workload)
            made = next((r for r in reversed(revisions) if annotations_of(r.template) == now), None)
            since = self._began(workload, made)
            events.append(PodsReplaced(at, workload.hash, tuple(changed[:_NAMED]), blob, since, **of))
        if events:
            await self._state.tell(self._stream, *events)
        self._annotations = now

    async def _annotations_before(self, record: Record, now: Json) -> Mapping[str, str]:
        """The pod template's annotations as they were when it was looked at last; those of `now` if nobody knows."""
        if self._annotations is None:
            try:
                kept = Release.from_bytes(await self._blobs.get(record.blob)).template
            except BlobMissing:
                kept = now
            self._annotations = annotations_of(kept)
        return self._annotations

    def _note_change(self) -> None:
        instants = [r.earliest for r in self._state.ledger(self._target.key).rollouts if r.earliest is not None]
        self._rolled = {at: self._rolled.get(at, self._monotonic(at)) for at in instants}

    def _monotonic(self, at: datetime) -> float:
        return self._clock.monotonic() - max(0.0, (self._clock.now() - at).total_seconds())

    def _note_wholeness(self, workload: Workload) -> None:
        if not self._is_whole(workload):
            self._seen_partial, self._whole_since = True, None
        elif self._seen_partial and self._whole_since is None:
            self._whole_since = self._clock.monotonic()

    def _is_whole(self, workload: Workload) -> bool:
        live = self._state.ledger(self._target.key).live
        return workload.rolled_out and (live is None or self._configuration.is_whole(live))

    async def _seeds(self, workload: Workload, revisions: Sequence[Revision]) -> Sequence[RevisionSeeded]:
        known = {record.template for record in self._state.ledger(self._target.key).records.values()}
        found: dict[str, RevisionSeeded] = {}
        for proof in proofs(revisions):
            revision = proof.revision
            if revision.hash in known or revision.hash == workload.hash:
                continue
            # Several ReplicaSets may carry one release: it was live last with the newest of them.
            other = found.pop(revision.hash, None)
            found[revision.hash] = RevisionSeeded(
                at=self._clock.now(),
                template=revision.hash,
                revision=str(revision.number),
                order=revision.number,
                uid=revision.uid,
                blob=await self._blobs.put(releases.of_revision(revision).to_bytes()),
                images=images_of(revision.template),
                stood=proof.stood if other is None else max(proof.stood, other.stood),
                superseded_by_undo=proof.superseded_by_undo or (other is not None and other.superseded_by_undo),
            )
        return list(found.values())

    def _guards_own(self, workload: Workload) -> str | None:
        run = self._state.open_run_on(self._target.key)
        if run is None or run.opened.plan.to_template != workload.hash:
            return None
        return run.id if run.opened.plan.uid in {"", workload.uid} else None

    def _last_look(self) -> datetime | None:
        """When it was looked at last, by the wall clock as it is now: it may have been set since."""
        if self._looked is None:
            return None
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - self._looked)

    def _earliest(self, workload: Workload, revisions: Sequence[Revision]) -> datetime | None:
        """The earliest instant at which the present template may have become the Deployment's.

        A ReplicaSet that was made for it tells to the second. One that is re-used keeps its old creation time: then the
        field managers' time tells, where it lies between the last look and now, and else the last look.
        """
        known = self._state.ledger(self._target.key).record_of(ReleaseId(workload.hash)) is not None
        # A restart makes a new ReplicaSet of the same release, which has been live since the first of them.
        same = list(takewhile(lambda r: r.hash == workload.hash, reversed(revisions)))
        return self._began(workload, same[-1] if same and not known else None)

    def _began(self, workload: Workload, made: Revision | None) -> datetime | None:
        """The earliest instant at which the pod template may have become what it is; `made` may be its own revision."""
        now, last = self._clock.now(), self._last_look()
        if made is not None and made.hash == workload.hash and not made.earlier and workload.observed:
            return self._by_own_clock(made.created, now, last)
        written = workload.template_written_at
        written = None if written is None else written - timedelta(seconds=self._cluster.ahead())
        # The API server's times have whole seconds.
        if written is not None and (last is None or written >= last - timedelta(seconds=1)) and written <= now:
            return written
        return last

    def _by_own_clock(self, created: datetime, now: datetime, last: datetime | None) -> datetime:
        """When something was created that was not there at the `last` look, by the guard's own clock."""
        at = created - timedelta(seconds=self._cluster.ahead())
        if at > now:
            # Its clock is ahead, and nobody knows by how much.
            return last or now
        return at if last is None else max(at, last)

    async def _note_probation(self, workload: Workload) -> None:
        busy = self._state.open_run_on(self._target.key) is not None
        self._was_whole = self._was_whole or self._is_whole(workload)
        record = self._state.ledger(self._target.key).live
        if record is None:
            return
        # Without a pod nothing fails, which proves nothing; what pods have read in part proves nothing of the rest.
        if busy or not self._was_whole or not workload.replicas or not self._configuration.earns(record):
            self._probation = Probation()
            return
        policy, now = self._policy, self._clock.monotonic()
        staleness = max(policy.polling.staleness, policy.polling.interval * 2)
        self._probation = self._probation.observed(
            now, quiet=self._rules.quiet(self._live_since), staleness=staleness, good_after=policy.ledger.good_after
        )
        earned, share = self._probation.verdict(now, policy.ledger)
        if earned and record.blob and _news(record, self._probation.blind):
            snapshot, blind = await self._snapshot(workload), tuple(sorted(self._probation.blind))
            after = policy.ledger.good_after
            good = RevisionGood(self._clock.now(), workload.hash, round(share, 4), after, snapshot, blind)
            await self._state.tell(self._stream, replace(good, configuration=record.configuration))

    async def _snapshot(self, workload: Workload) -> str:
        """The digest of the manifests as they are; empty if they cannot be read, which takes no good away."""
        try:
            return await self._snapshots.take(workload)
        except (ClusterError, JournalUnavailable) as error:
            self._log.warning("snapshot.failed", detail=str(error))
            return ""


def _news(record: Record, blind: frozenset[str]) -> bool:
    """Whether it is news that the release has earned good, or that fewer rules are blind for it than before."""
    if record.bad_since is not None:
        return record.last_live > record.bad_since
    return record.good_at is None or blind < frozenset(record.unmeasured)


def _number(workload: Workload, revisions: Sequence[Revision]) -> str:
    """The present revision's number; empty while its controller has given it none and shows the last one's."""
    if not workload.observed:
        return ""
    return workload.revision or next((str(r.number) for r in reversed(revisions) if r.hash == workload.hash), "")
