"""The process of `logcaster-guard run`: what signals it obeys, what it does when its files change, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from logcaster_guard import __version__
from logcaster_guard.adapters import logs
from logcaster_guard.adapters.threads import DaemonThreads
from logcaster_guard.app import built, check_taken_up, gate_of, texts_of
from logcaster_guard.config.differences import changed_keys
from logcaster_guard.config.loading import Faults, Loaded, load
from logcaster_guard.config.mounted import fingerprint
from logcaster_guard.domain.errors import ClusterError, ConfigurationError, JournalUnavailable
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.rules import difference
from logcaster_guard.engine.guard import Guard
from logcaster_guard.messages.texts import phrase
from logcaster_guard.web.server import serving

_LOOK_AT_FILES = 0.5
"""Seconds between two looks at the configuration files."""

_BEGIN_AGAIN = 5.0
"""Seconds before settings that could not be taken up at once are tried again."""

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
IGNORED = (signal.SIGUSR1, signal.SIGUSR2)

_T = TypeVar("_T")


class Daemon:
    """A guard over the configuration in `paths`, which it follows; `below` is as `load` takes it."""

    def __init__(self, paths: Sequence[Path], below: Sequence[Path] = ()) -> None:
        self._paths = paths
        self._load = partial(load, *paths, below=below)
        self._seen = fingerprint(paths)
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._in_force: Loaded | None = None

    async def serve(self, loaded: Loaded) -> None:
        """Run until a signal of `STOPPING`; raises what `app.built` raises for the first configuration.

        Rules that change are applied while it runs. Other settings that change begin it anew over its journal.
        """
        logs.configure(loaded.settings.log.format, loaded.settings.log.level)
        asyncio.get_running_loop().set_default_executor(DaemonThreads())
        with self._obeying_signals():
            await _first_of(self._serve_each(loaded), self._stop.wait())
        structlog.get_logger().info("guard.stopped")

    @contextlib.contextmanager
    def _obeying_signals(self) -> Iterator[None]:
        loop, numbers = asyncio.get_running_loop(), (*STOPPING, signal.SIGHUP, *IGNORED)
        for number in numbers:
            loop.add_signal_handler(number, self._told, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _told(self, number: signal.Signals) -> None:
        effect = "none: it has no meaning here"
        if number in STOPPING:
            effect = "the guard stops"
            self._stop.set()
        elif number == signal.SIGHUP:
            effect = "the configuration is read again"
            self._reload.set()
        structlog.get_logger().info("signal.received", signal=number.name, effect=effect)

    async def _serve_each(self, loaded: Loaded) -> None:
        """Serve one configuration after the other; one that cannot be taken up gives way to the one before."""
        while True:
            try:
                loaded = await self._serve_one(loaded)
            except (ConfigurationError, ClusterError) as error:
                if self._in_force is None:
                    raise
                effect = "the settings before are tried again"
                structlog.get_logger().error("config.refused", faults=[str(error)], effect=effect)
                loaded = self._in_force
                await asyncio.sleep(_BEGIN_AGAIN)

    async def _serve_one(self, loaded: Loaded) -> Loaded:
        """Serve one configuration; returns the one to go on with."""
        log, settings, web = structlog.get_logger(), loaded.settings, loaded.settings.web
        logs.configure(settings.log.format, settings.log.level)
        async with (
            built(loaded) as guard,
            gate_of(settings) as gate,
            serving(guard, web.listen, gate, probes=web.probes, hosts=web.hosts, texts=texts_of(settings)),
        ):
            self._in_force = loaded
            log.info(
                "guard.started",
                version=__version__,
                targets=[t.key for t in settings.targets],
                rules=[r.name for r in loaded.rules],
                files=[str(f) for f in loaded.files],
            )
            for warning in loaded.warnings:
                log.warning("config.warning", detail=warning)
            calendar = _calendar(guard)
            calendar.start()
            try:
                following = await _first_of(guard.run(), self._new_settings(guard, loaded))
            finally:
                calendar.shutdown(wait=False)
            return following or loaded

    async def _new_settings(self, guard: Guard, loaded: Loaded) -> Loaded:
        """Apply each change of the rules; returns once the settings are others: those need a new start."""
        asked = False
        while True:
            asked |= await _set_within(self._reload, _LOOK_AT_FILES)
            now = fingerprint(self._paths)
            if now == self._seen and not asked:
                continue
            found = await asyncio.to_thread(self._load)
            if fingerprint(self._paths) != now:
                # Swapped while it was read: what was read may be half old, half new.
                continue
            self._seen = now
            faults = await _faults_of(found, loaded)
            if faults or isinstance(found, list):
                await guard.refuse_reload(faults, texts_of(loaded.settings))
            elif found.settings != loaded.settings:
                await guard.settings_changed(changed_keys(loaded.settings, found.settings), found.rules)
                return found
            elif difference(loaded.rules, found.rules):
                await guard.reload(found.rules)
                loaded = self._in_force = found
            elif asked:
                structlog.get_logger().info("config.unchanged")
            asked = False


async def _faults_of(found: Loaded | Faults, before: Loaded) -> Sequence[Reason]:
    """Why this configuration cannot be taken up, in sentences."""
    if isinstance(found, list):
        return [fault.told for fault in found]
    if not found.rules:
        return [phrase("check.no_rules")]
    if found.settings != before.settings:
        try:
            await check_taken_up(found.settings, before.settings)
        except (ConfigurationError, ClusterError, JournalUnavailable) as error:
            return [error.reason]
    return []


async def _first_of(work: Coroutine[Any, Any, object], other: Coroutine[Any, Any, _T]) -> _T | None:
    """Run both until one ends; returns what `other` did, None if `work` came first. Both are always ended."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(other)
    try:
        done, _ = await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return waiting.result() if waiting in done else None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set by then; it is cleared."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    told = event.is_set()
    event.clear()
    return told


def _calendar(guard: Guard) -> AsyncIOScheduler:
    """Jobs that belong to a time of day: what no decision can need any more goes from the journal and the blobs."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    scheduler.add_job(guard.compact_journal, CronTrigger(hour=3, minute=7), id="compaction", coalesce=True)
    scheduler.add_job(guard.forget_old_releases, CronTrigger(hour=3, minute=17), id="retention", coalesce=True)
    return scheduler
