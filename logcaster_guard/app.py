"""The composition root: builds the adapters from a configuration, runs the engine over them, and shuts them down."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from logcaster_guard import __version__
from logcaster_guard.adapters import logs
from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes.access import missing_permissions
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.events import EventChannel
from logcaster_guard.adapters.kubernetes.pods import endpoints_of
from logcaster_guard.adapters.kubernetes.signals import KubernetesSource, fault_of
from logcaster_guard.adapters.probe import ProbeSource
from logcaster_guard.adapters.prometheus import PrometheusSource
from logcaster_guard.adapters.scrape import Endpoint, MetricNames, ScrapeSource
from logcaster_guard.adapters.webhook import Webhook
from logcaster_guard.config.loading import Loaded
from logcaster_guard.config.secrets import SecretUnreadable
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.errors import ClusterError, JournalUnavailable, NotFound
from logcaster_guard.domain.signals import SourceError, SourceName, Target
from logcaster_guard.engine.guard import Guard, Orders
from logcaster_guard.ports import Channel, Clock, Cluster, Journal, Source


@contextlib.asynccontextmanager
async def built(loaded: Loaded, *, clock: Clock | None = None) -> AsyncIterator[Guard]:
    """A guard over the real adapters that the configuration names, closed at the end.

    Raises `Unavailable` or `Rejected` if the cluster cannot be reached at all. An unusable journal does not end it: the
    guard then only watches, and says so.
    """
    clock = clock or SystemClock()
    settings = loaded.settings
    async with contextlib.AsyncExitStack() as stack:
        kubernetes = settings.sources.kubernetes
        cluster = await connect(
            kubeconfig=None if kubernetes.kubeconfig is None else Path(kubernetes.kubeconfig),
            context=kubernetes.context,
            timeout=kubernetes.timeout,
        )
        stack.push_async_callback(cluster.aclose)
        sources = _sources(loaded, cluster, clock)
        channels = _channels(settings, cluster)
        await _tell_missing_permissions(cluster, settings.targets)
        for source in sources.values():
            stack.push_async_callback(source.aclose)
        for channel in channels:
            stack.push_async_callback(channel.aclose)
        journal = await _journal(Path(settings.journal.path))
        if journal is not None:
            stack.push_async_callback(journal.aclose)
        _redact_secrets(settings)
        yield Guard(
            Orders(settings.targets, settings.signals, loaded.rules, settings.policy),
            cluster=cluster,
            sources=sources,
            journal=journal,
            blobs=FolderBlobs(Path(settings.journal.blobs)),
            channels=channels,
            clock=clock,
        )


async def serve(loaded: Loaded) -> None:
    """Run the daemon until SIGTERM or SIGINT; raises what `built` raises."""
    log = structlog.get_logger()
    async with built(loaded) as guard:
        log.info(
            "guard.started",
            version=__version__,
            targets=[t.key for t in loaded.settings.targets],
            rules=[r.name for r in loaded.rules],
            files=[str(f) for f in loaded.files],
        )
        for warning in loaded.warnings:
            log.warning("config.warning", detail=warning)
        calendar = _calendar(guard)
        calendar.start()
        try:
            await _until_told_to_stop(guard.run())
        finally:
            calendar.shutdown(wait=False)
        log.info("guard.stopped")


async def _until_told_to_stop(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _sources(loaded: Loaded, cluster: KubernetesCluster, clock: Clock) -> Mapping[SourceName, Source]:
    """The sources that some rule reads from."""
    settings = loaded.settings
    wanted = settings.sources_of(name for rule in loaded.rules for name in rule.signals)
    makers: Mapping[SourceName, Callable[[], Source]] = {
        SourceName.PROMETHEUS: lambda: _prometheus(settings, clock),
        SourceName.HTTP: lambda: _probe(settings, clock),
        SourceName.SCRAPE: lambda: _scrape(settings, cluster, clock),
        SourceName.KUBERNETES: lambda: KubernetesSource(cluster, clock),
    }
    return {name: makers[name]() for name in sorted(wanted)}


def _prometheus(settings: Settings, clock: Clock) -> Source:
    section = settings.sources.prometheus
    return PrometheusSource(
        section.url or "",
        clock,
        timeout=section.timeout,
        staleness=settings.policy.polling.staleness,
        max_bytes=section.max_bytes,
        max_series=section.max_series,
        token=None if section.token is None else section.token.read,
        ca_file=section.ca_file,
    )


def _probe(settings: Settings, clock: Clock) -> Source:
    section = settings.sources.http
    return ProbeSource(
        clock,
        timeout=section.timeout,
        slow_after=section.slow_after,
        max_bytes=section.max_bytes,
        proxy=section.proxy,
    )


def _scrape(settings: Settings, cluster: KubernetesCluster, clock: Clock) -> Source:
    section, metrics = settings.sources.scrape, settings.metrics

    async def endpoints(target: Target) -> Sequence[Endpoint] | SourceError:
        try:
            pods = await endpoints_of(cluster, target)
        except NotFound:
            return []
        except ClusterError as error:
            return SourceError(clock.monotonic(), fault_of(error), str(error), error.retry_after)
        return [Endpoint(p.name, p.ip, p.template, p.memory_limit) for p in pods]

    return ScrapeSource(
        endpoints,
        clock,
        port=section.port,
        path=section.path,
        timeout=section.timeout,
        max_bytes=section.max_bytes,
        max_series=section.max_series,
        min_requests=section.min_requests,
        client_errors=metrics.client_errors_count,
        names=MetricNames(
            requests=metrics.requests,
            status_label=metrics.status_label,
            duration=metrics.duration,
            memory=metrics.memory,
        ),
        proxy=section.proxy,
        staleness=settings.policy.polling.staleness,
        keep=max(3_600.0, 2 * max((s.lookback for s in settings.signals.values()), default=0.0)),
    )


def _channels(settings: Settings, cluster: Cluster) -> Sequence[Channel]:
    webhooks: list[Channel] = [
        Webhook(w.name, w.url.read, None if w.token is None else w.token.read, timeout=w.timeout)
        for w in settings.notify.webhooks
    ]
    return [*webhooks, EventChannel(cluster)] if settings.notify.events else webhooks


def _redact_secrets(settings: Settings) -> None:
    """Teach the log what must never stand in it; a secret that cannot be read yet is told and used later."""
    sections = [settings.sources.prometheus.token, *(s for w in settings.notify.webhooks for s in (w.url, w.token))]
    for secret in sections:
        try:
            if secret is not None and secret.plain is None:
                logs.redact(secret.read())
        except SecretUnreadable as error:
            structlog.get_logger().warning("secret.unreadable", detail=str(error))


async def _journal(path: Path) -> Journal | None:
    try:
        return await SqliteJournal.open(path)
    except JournalUnavailable as error:
        structlog.get_logger().error("journal.unavailable", detail=str(error), effect="the guard only watches")
        return None


async def _tell_missing_permissions(cluster: KubernetesCluster, targets: Sequence[Target]) -> None:
    log = structlog.get_logger()
    try:
        for sentence in await missing_permissions(cluster, targets):
            log.warning("permission.missing", detail=sentence)
    except ClusterError as error:
        log.warning("cluster.unreachable", detail=str(error))


def _calendar(guard: Guard) -> AsyncIOScheduler:
    """Jobs that belong to a time of day: here the nightly removal of releases that no rollback can need any more."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    scheduler.add_job(guard.forget_old_releases, CronTrigger(hour=3, minute=17), id="retention", coalesce=True)
    return scheduler
