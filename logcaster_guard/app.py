"""The composition root: builds a guard over the adapters that a configuration names, and closes them."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain

import structlog

from logcaster_guard import stores
from logcaster_guard.adapters import logs
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.access import (
    missing_delegations,
    missing_for_configuration,
    missing_for_journal,
    missing_for_lease,
    missing_for_owners,
    missing_permissions,
)
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import own_namespace
from logcaster_guard.adapters.kubernetes.lease import KubernetesLease
from logcaster_guard.adapters.kubernetes.reviews import KubernetesGate
from logcaster_guard.adapters.kubernetes.rosters import Pods, Rosters
from logcaster_guard.adapters.kubernetes.section import KubernetesSection
from logcaster_guard.adapters.kubernetes.shared_view import SharedView
from logcaster_guard.adapters.kubernetes.watches import KubernetesWatches
from logcaster_guard.adapters.plugin_types import ChannelServices, SourceServices, Subject
from logcaster_guard.adapters.token_gate import TokenGate
from logcaster_guard.adapters.translated_channel import Translated
from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.config import named_files
from logcaster_guard.config.loading import Loaded
from logcaster_guard.config.sections import JournalSection
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, objects_of, references_of
from logcaster_guard.domain.errors import (
    ClusterError,
    ConfigurationError,
    JournalUnavailable,
    NotFound,
    Rejected,
    SecretUnreadable,
)
from logcaster_guard.domain.leadership import Terms
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.signals import SourceName
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.gitops_owners import to_suspend
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.engine.self_workload import OwnPod, own_workload
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.messages.texts import Texts, phrase
from logcaster_guard.plugins import CHANNELS, SOURCES
from logcaster_guard.ports import Channel, Clock, Cluster, Gate, Journal, Kind, Source

_SHARED_FOR = 1.0
"""Seconds for which one look at the cluster serves all who only watch it, at most: polls lie closer together."""


@contextlib.asynccontextmanager
async def built(loaded: Loaded, *, clock: Clock | None = None, by_hand: bool = False) -> AsyncIterator[Guard]:
    """A guard over the real adapters that the configuration names, closed at the end.

    Raises `Unavailable` or `Rejected` if the cluster cannot be reached at all. An unusable journal does not end it: the
    guard then only watches, and says so. `by_hand`: for one run of a person's, wherever that is started.
    """
    clock = clock or SystemClock()
    settings = loaded.settings
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stores.connected(settings)
        stack.push_async_callback(cluster.aclose)
        view = _view(settings, cluster, clock)
        sources = _sources(settings, cluster, view, clock)
        channels = _channels(settings, cluster)
        own_pod = None if by_hand else await _own_pod(settings, cluster)
        await _tell_missing_permissions(cluster, loaded)
        for source in sources.values():
            stack.push_async_callback(source.aclose)
        for channel in channels:
            stack.push_async_callback(channel.aclose)
        journal, fault = await _journal(settings.journal, cluster, shared=settings.authority.lease is not None)
        if journal is not None:
            stack.push_async_callback(journal.aclose)
        _redact_secrets(settings)
        yield Guard(
            Configuration(settings.targets, settings.signals, loaded.rules, settings.policy),
            GuardPorts(
                cluster=cluster,
                view=view,
                sources=sources,
                journal=journal,
                blobs=stores.blobs_of(settings.journal, cluster),
                channels=channels,
                clock=clock,
                rights=cluster,
                watches=KubernetesWatches(cluster, clock),
                listings=cluster,
                saved_secrets=stores.saved_secrets_of(settings, cluster),
            ),
            authority=_authority(settings, cluster, clock),
            own_pod=None if settings.sidecar else own_pod,
            # A person who rolls back by hand is told on the spot; a guard that has the journal may be at work.
            journal_fault="" if by_hand else fault,
        )


@contextlib.asynccontextmanager
async def gate_of(settings: Settings) -> AsyncIterator[Gate | None]:
    """Who may change something over HTTP, by the settings; None: nobody."""
    auth = settings.web.auth
    if auth is None or settings.web.listen is None:
        yield None
        return
    gate: Gate
    if auth.token is None:
        gate = KubernetesGate(await stores.connected(settings), auth.audience)
    else:
        gate = TokenGate(auth.token.read)
    try:
        yield gate
    finally:
        await gate.aclose()


def texts_of(settings: Settings) -> Texts:
    """What people are told, in the language and with the words that the settings give."""
    notify = settings.notify
    return Texts(notify.language, notify.texts.get(notify.language))


async def check_taken_up(settings: Settings, before: Settings) -> None:
    """Try what would keep a guard with these settings from beginning, while another with those `before` is at work.

    Raises `ConfigurationError`, a `ClusterError` or, for a journal that is another one, `JournalUnavailable`.
    """
    cluster = await stores.connected(settings)
    try:
        _channels(settings, cluster)
        await _own_pod(settings, cluster)
        if settings.journal != before.journal:
            await (await stores.journal_of(settings.journal, cluster)).aclose()
    finally:
        await cluster.aclose()


def _sources(settings: Settings, cluster: Cluster, view: ClusterView, clock: Clock) -> Mapping[SourceName, Source]:
    """Every source that is configured: rules that come later may read from another than those of now."""
    services = SourceServices(
        clock=clock,
        cluster=cluster,
        view=view,
        rosters=Rosters(cluster, view, clock),
        endpoints=Pods(cluster, view, clock),
        metrics=settings.metrics,
        staleness=settings.policy.polling.staleness,
        gauges=frozenset(s.gauge.metric for s in settings.signals.values() if s.gauge is not None),
        keep=max(3_600.0, 2 * max((s.lookback for s in settings.signals.values()), default=0.0)),
    )
    made = {plugin.name: plugin.make(settings.sources.of(plugin.section), services) for plugin in SOURCES}
    return {name: source for name, source in made.items() if source is not None}


def _view(settings: Settings, cluster: Cluster, clock: Clock) -> ClusterView:
    """What all who only watch the cluster are shown."""
    polling, targets = settings.policy.polling, Counter(target.namespace for target in settings.targets)
    return SharedView(
        cluster,
        clock,
        crowded=frozenset(namespace for namespace, several in targets.items() if several > 1),
        shared_for=min(_SHARED_FOR, polling.interval / 2),
        staleness=polling.staleness,
    )


def _channels(settings: Settings, cluster: Cluster) -> Sequence[Channel]:
    notify, kinds = settings.notify, {(t.namespace, t.deployment): Kind(t.kind) for t in settings.targets}
    texts = texts_of(settings)
    services = ChannelServices(cluster, kinds, _guard_itself(settings), texts)
    made = [plugin.make(section, services) for plugin in CHANNELS for section in notify.of(plugin)]
    return [Translated(channel, texts) for channel in made]


def _guard_itself(settings: Settings) -> Sequence[Subject]:
    """Where Events of the guard itself stand: at its pod, or at the first target where that pod is not known."""
    pod, first = _pod(), settings.targets[0]
    target = Subject(Kind(first.kind), first.namespace, first.deployment)
    return [*([Subject(Kind.POD, pod.namespace, pod.name)] if pod else []), target]


def _redact_secrets(settings: Settings) -> None:
    """Teach the log what must never stand in it; a secret that cannot be read yet is told and used later."""
    for secret in named_files.secrets(settings):
        try:
            if secret.plain is None:
                logs.redact(secret.read())
        except SecretUnreadable as error:
            structlog.get_logger().warning("secret.unreadable", detail=str(error))


def _pod() -> OwnPod | None:
    """The pod that this process runs in, as the downward API tells it; None where it does not."""
    pod = OwnPod(os.environ.get("POD_NAMESPACE", ""), os.environ.get("POD_NAME", ""))
    return pod if pod.namespace and pod.name else None


async def _own_pod(settings: Settings, cluster: Cluster) -> OwnPod | None:
    """The pod that this process runs in, None where nobody tells or it cannot be a target's.

    Raises `ConfigurationError` where the guard is in the pods of a target and not meant to, or the other way round.
    While the cluster does not answer, that is left to the guardrail.
    """
    pod = _pod()
    if pod is None:
        if settings.sidecar:
            raise ConfigurationError(phrase("fault.sidecar_pod"))
        return None
    if pod.namespace not in {t.namespace for t in settings.targets}:
        if settings.sidecar:
            raise ConfigurationError(phrase("fault.sidecar_namespace", namespace=pod.namespace))
        return None
    try:
        own = await own_workload(cluster, pod)
    except ClusterError as error:
        structlog.get_logger().warning("cluster.unreachable", detail=str(error))
        return pod
    names = {(t.kind, t.namespace, name) for t in settings.targets for name in (t.deployment, *t.environments.values())}
    inside = own is not None and (own.kind, own.namespace, own.name) in names
    if inside and not settings.sidecar:
        raise ConfigurationError(phrase("fault.own_workload", workload=str(own)))
    if settings.sidecar and not inside:
        called, workload = f"{pod.namespace}/{pod.name}", "" if own is None else str(own)
        raise ConfigurationError(phrase("fault.sidecar_no_target", pod=called, workload=workload))
    return pod


def _authority(settings: Settings, cluster: Cluster, clock: Clock) -> LeaderElector | None:
    """What keeps the Lease, as a holder of a name that no other process ever has; None for a guard that is alone."""
    section = settings.authority
    if section.lease is None:
        return None
    identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    terms = Terms(section.duration, section.renew_every, settings.sources.of(KubernetesSection).timeout)
    return LeaderElector(KubernetesLease(cluster, _lease_namespace(settings), section.lease), clock, terms, identity)


def _lease_namespace(settings: Settings) -> str:
    return settings.authority.namespace or own_namespace() or settings.targets[0].namespace


async def _journal(
    section: JournalSection, cluster: Cluster, *, shared: bool = False
) -> tuple[Journal | None, Reason]:  # fmt: skip
    """The journal, or why there is none."""
    try:
        return await stores.journal_of(section, cluster, shared=shared), ""
    except JournalUnavailable as error:
        structlog.get_logger().error("journal.unavailable", detail=str(error), effect="the guard only watches")
        return None, error.reason


async def _tell_missing_permissions(cluster: KubernetesCluster, loaded: Loaded) -> None:
    log, settings = structlog.get_logger(), loaded.settings
    lease, gradual = settings.authority.lease, any(rule.action is Action.GRADUAL for rule in loaded.rules)
    try:
        missing = list(await missing_permissions(cluster, settings.targets, gradual=gradual))
        found = [await to_suspend(cluster, target, settings.policy) for target in settings.targets]
        missing += await missing_for_owners(cluster, chain.from_iterable(found))
        referred = await _referred(cluster, settings)
        missing += await missing_for_configuration(cluster, referred, stores.secrets_kept_in(settings))
        if stores.in_cluster(settings.journal):
            missing += await missing_for_journal(cluster, settings.journal.namespace)
        if lease is not None:
            missing += await missing_for_lease(cluster, _lease_namespace(settings), lease)
        if settings.web.auth is not None and settings.web.auth.kubernetes:
            missing += await missing_delegations(cluster)
        for sentence in missing:
            log.warning("permission.missing", detail=sentence)
    except ClusterError as error:
        log.warning("cluster.unreachable", detail=str(error))


async def _referred(cluster: Cluster, settings: Settings) -> Sequence[ConfigObject]:
    """What the targets' pods refer to now, and what settings name besides; a workload that is not there has nothing."""
    found: list[ConfigObject] = []
    for target in settings.targets:
        named = settings.policy.config.objects.get(target.name, ())
        found += [ConfigObject(ConfigKind.CONFIG_MAP, target.namespace, name) for name in named]
        for name in target.environments.values() or [target.deployment]:
            with contextlib.suppress(NotFound, Rejected):
                workload = Workload(await cluster.get(Kind(target.kind), target.namespace, name))
                found += objects_of(references_of(workload.template, target.namespace))
    return found
