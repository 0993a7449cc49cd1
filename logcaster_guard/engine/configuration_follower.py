"""Follows the configuration of one target at each look at its workload, and tells what becomes of edits."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from logcaster_guard import messages
from logcaster_guard.domain.configuration.references import ConfigObject
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.followed_objects import FollowedObjects
from logcaster_guard.engine.followed_pods import FollowedPods
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.read_configuration import ReadConfiguration
from logcaster_guard.engine.remembered_configuration import RememberedConfiguration
from logcaster_guard.engine.services import Services

PENDING_TOLD = 900.0
"""Seconds after which people are told of an edit that no pod has read."""

_LOOKS_BACK = 3
"""Moments of which one look asks for the pods that there were."""

_NAMED = 10
"""Pods that are named where they have read an edit."""

Version = tuple[ConfigObject, str]
"""An object, and the resourceVersion of what it came to hold."""


class ConfigurationFollower:
    """Brings `known` up to date; where nothing is referred to it asks for nothing."""

    def __init__(self, target: Target, services: Services, objects: FollowedObjects) -> None:
        clock, policy = services.clock, services.policy
        self._target = target
        self._objects = objects
        self._pods = FollowedPods(services.cluster, objects)
        self._memory = RememberedConfiguration(target.key, services.state, objects.manifests, clock)
        self._state = services.state
        self._clock = clock
        self._looked_back: set[Version] = set()
        self._readers: dict[Version, frozenset[str]] = {}
        self._loaded = self._begun = False
        self._log = structlog.get_logger().bind(target=target.key)
        self.known = ReadConfiguration(target.name, objects, self._pods, policy, clock)
        self._workload: Workload | None = None
        self._looking = asyncio.Lock()
        objects.on_edit(target.key, self._look_at_pods)

    async def look(self, workload: Workload) -> None:
        """Look at the pods, and at what is unclear of the objects; raises `ClusterError` and `JournalUnavailable`."""
        async with self._looking:
            await self._look(workload)

    async def _look_at_pods(self, begun: int) -> None:
        """List the pods at once, so that one which is new after that has surely read the edit; a look tells of it."""
        async with self._looking:
            if self._workload is not None:
                await self._pods.look(self._workload, after=begun)

    async def _look(self, workload: Workload) -> None:
        if not self._loaded:
            self._pods.seen.update(await self._memory.load())
            self._loaded = True
        self.known.refer(workload)
        wanted = self.known.wanted
        self._objects.want(self._target.key, wanted, self._memory.resume)
        if not self.known.needs_pods:
            self._workload = None
            return
        await self._objects.save(wanted)
        self._workload = workload
        await self._pods.look(workload)
        await self._confirm()
        await self._look_back(workload)
        self._tell_readers()
        await self._tell_pending(workload)
        followed = [f for f in map(self._objects.of, wanted) if f is not None]
        await self._memory.keep(followed, self._pods.seen, self.known.state)

    async def _confirm(self) -> None:
        """Where a container was started since, show that its objects stood still; else it stays unclear."""
        for one in self.known.started_since_last_look():
            followed = self._objects.of(one)
            if followed is not None and not followed.fault:
                with contextlib.suppress(ClusterError):
                    await self._objects.confirm(one)

    async def _look_back(self, workload: Workload) -> None:
        """Where it is unclear who has read something, ask which pods there were when it came; once for each."""
        unclear = [
            *self.known.first_seen(),
            *(
                (edit.object, edit.version.resource_version)
                for edit, readers in self.known.edits()
                if readers.unclear and not edit.version.gap
            ),
        ]
        self._looked_back &= {*unclear}
        for version in [v for v in unclear if v not in self._looked_back][:_LOOKS_BACK]:
            self._looked_back.add(version)
            # The server may have forgotten that moment; then it stays unclear.
            with contextlib.suppress(ClusterError):
                await self._pods.look_back(workload, version[1])

    def _tell_readers(self) -> None:
        """Log which further pods have read an edit; what was read before the guard began is no news."""
        edits = {(edit.object, edit.version.resource_version): readers for edit, readers in self.known.edits()}
        for version, readers in edits.items():
            more = sorted(set(readers.new) - self._readers.get(version, frozenset()))
            if more and self._begun:
                one, resource_version = version
                self._log.info(
                    "configuration.read", object=str(one), version=resource_version, pods=more[:_NAMED], count=len(more)
                )
        self._readers = {version: frozenset(readers.new) for version, readers in edits.items()}
        self._begun = True

    async def _tell_pending(self, workload: Workload) -> None:
        now = self._clock.now()
        for pending in self.known.pending_since():
            if (now - pending.since).total_seconds() < PENDING_TOLD or not self._state.available:
                continue
            notice = messages.edit_pending(self._target, workload, pending.edit, pending.keys, pending.since, at=now)
            if not self._state.knows_notice(notice.id):
                await self._state.tell(target_stream(self._target.key), NoticeQueued(now, notice))
