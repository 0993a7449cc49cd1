"""Journal and blobs as the settings name them, for everything that opens them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.journal_codec import EventCodec
from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.adapters.kubernetes.section import KubernetesSection
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.config.sections import JournalSection
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.rules import SecretsMode
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.messages.texts import Phrase, phrase
from logcaster_guard.ports import Blobs, Cluster, Journal, SavedSecrets
from logcaster_guard.steps.step_kinds import KINDS

CODEC = EventCodec((kind.step for kind in KINDS), MESSAGES)
"""Reads and writes events with every step and message that there is."""


async def connected(settings: Settings) -> KubernetesCluster:
    """The API server of the settings; nothing was asked of it yet. Raises what `connect` raises."""
    section = settings.sources.of(KubernetesSection)
    path = None if section.kubeconfig is None else Path(section.kubeconfig)
    return await connect(kubeconfig=path, context=section.context, timeout=section.timeout)


def in_cluster(section: JournalSection) -> bool:
    """Whether they are kept in the cluster."""
    return section.backend == "kubernetes"


def described(section: JournalSection) -> Phrase:
    """Where the journal is, for people."""
    if in_cluster(section):
        return phrase("journal.secrets_of", place=str(place_of(section)))
    return phrase("found.as_is", text=section.path)


async def journal_of(section: JournalSection, cluster: Cluster, *, shared: bool = False) -> Journal:
    """The journal; raises `JournalUnavailable` if a file cannot be used. What is in the cluster is looked at later.

    `shared`: a lease tells which of the guards that have the file open appends.
    """
    if in_cluster(section):
        return KubernetesJournal(CODEC, cluster, place_of(section))
    return await SqliteJournal.open(CODEC, Path(section.path), shared=shared)


def blobs_of(section: JournalSection, cluster: Cluster) -> Blobs:
    """The blobs."""
    return KubernetesBlobs(cluster, place_of(section)) if in_cluster(section) else FolderBlobs(Path(section.blobs))


def saved_secrets_of(settings: Settings, cluster: Cluster) -> SavedSecrets | None:
    """What keeps what the targets' Secrets have held; None where none is read."""
    policy = settings.policy.config.secrets
    if policy.mode is SecretsMode.NAMES:
        return None
    return KubernetesSavedSecrets(cluster, Where(policy.name, frozenset(secrets_kept_in(settings)), policy.namespace))


@contextlib.asynccontextmanager
async def saved_secrets_alone(settings: Settings) -> AsyncIterator[SavedSecrets | None]:
    """What keeps them, for who needs nothing else; raises what `connect` raises where there is any."""
    if settings.policy.config.secrets.mode is SecretsMode.NAMES:
        yield None
        return
    cluster = await connected(settings)
    async with contextlib.aclosing(cluster):
        yield saved_secrets_of(settings, cluster)


def secrets_kept_in(settings: Settings) -> frozenset[str]:
    """The namespaces in which that is; none where no Secret is read."""
    policy = settings.policy.config.secrets
    if policy.mode is SecretsMode.NAMES:
        return frozenset()
    return frozenset(policy.namespace or target.namespace for target in settings.targets)


@contextlib.asynccontextmanager
async def blobs_alone(settings: Settings) -> AsyncIterator[Blobs]:
    """The blobs, for who needs nothing else; raises what `connect` raises where they are in the cluster."""
    if not in_cluster(settings.journal):
        yield FolderBlobs(Path(settings.journal.blobs))
        return
    cluster = await connected(settings)
    try:
        yield blobs_of(settings.journal, cluster)
    finally:
        await cluster.aclose()


def place_of(section: JournalSection) -> Place:
    """Where in the cluster they are kept."""
    return Place(section.namespace, section.name)
