"""What people do with snapshots by hand: take one, read them, look through all of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from logcaster_guard import journal_tools, saved_snapshots, stores
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.errors import BlobMissing, ConfigurationError, NotFound
from logcaster_guard.domain.guard_reasons import SecretsNotKept
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import Omission, Snapshot, SnapshotUnreadable
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine import snapshotting
from logcaster_guard.engine.blob_check import blob_flaws
from logcaster_guard.engine.live_workload import live_target
from logcaster_guard.engine.saved_secrets_check import Needed, checked_secrets
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Checked, Cluster, Json, Kind


@dataclass(frozen=True, slots=True)
class Made:
    """A snapshot that was taken by hand, read back under its name."""

    name: str
    snapshot: Snapshot


async def saved(settings: Settings) -> Mapping[str, Snapshot]:
    """Every snapshot that can be read, by name; raises what `connect` and the cluster raise."""
    found: dict[str, Snapshot] = {}
    async with stores.blobs_alone(settings) as blobs:
        for digest in await blobs.digests():
            # Releases and parts are kept in the same place; what is damaged is no snapshot to show either.
            with contextlib.suppress(SnapshotUnreadable, BlobMissing):
                found[digest] = await saved_snapshots.load(blobs, digest)
    return found


async def create(settings: Settings, name: str = "") -> Sequence[Made]:
    """Take a snapshot of each target, or of the one with this name, with the caller's own rights.

    Raises `ConfigurationError` where the guard that has these settings would not find it, `JournalUnavailable` where
    it cannot be kept, and what `connect` and the cluster raise.
    """
    targets = [t for t in settings.targets if name in {"", t.name, t.key}]
    if not targets:
        known = [t.name for t in settings.targets]
        raise ConfigurationError(phrase("fault.no_target", name=name, known=known))
    _refuse_another_folder(settings)
    made = []
    async with stores.blobs_alone(settings) as blobs, _cluster(settings) as cluster:
        for target in targets:
            workload = await _workload(cluster, target)
            kept = KeptManifests(blobs, stores.saved_secrets_of(settings, cluster))
            snapshot = await snapshotting.taken(target, workload, cluster, kept, datetime.now(UTC))
            digest = await saved_snapshots.save(blobs, snapshot)
            made.append(Made(digest, await saved_snapshots.load(blobs, digest)))
    return made


def _refuse_another_folder(settings: Settings) -> None:
    """What is written to another folder than the guard's is lost; what another user writes the guard cannot read."""
    if stores.in_cluster(settings.journal):
        return
    folder = Path(settings.journal.blobs)
    if not folder.is_dir():
        raise ConfigurationError(phrase("fault.folder_not_here", folder=str(folder)))
    if folder.stat().st_uid != os.geteuid():
        owner, user = folder.stat().st_uid, os.geteuid()
        raise ConfigurationError(phrase("fault.folder_of_another", folder=str(folder), owner=owner, user=user))


async def _workload(cluster: Cluster, target: Target) -> Workload:
    live = await live_target(cluster, target)
    if live is None:
        service = f"{target.namespace}/{target.service}"
        raise NotFound(phrase("fault.no_environment", service=service, target=target.name))
    return Workload(await cluster.get(Kind(live.kind), live.namespace, live.deployment))


async def present(settings: Settings, before: Snapshot) -> Snapshot:
    """What `before` shows as it is now, with the ConfigMaps that the pods refer to now."""
    async with _cluster(settings) as cluster:
        manifests: list[Json] = []
        for manifest in before.manifests:
            if manifest.get("kind") != ConfigKind.CONFIG_MAP:
                manifests += await _found(cluster, manifest)
        objects = {*snapshotting.referred(manifests), *_config_maps(before)}
        config_maps = [o for o in sorted(objects) if o.kind is ConfigKind.CONFIG_MAP]
        found = [await snapshotting.read_now(cluster, o) for o in config_maps]
    manifests += [f for f in found if not isinstance(f, Omission)]
    left_out = tuple(f for f in found if isinstance(f, Omission))
    return Snapshot(datetime.now(UTC), before.target, tuple(manifests), left_out)


async def _found(cluster: Cluster, manifest: Json) -> Sequence[Json]:
    metadata, kind = manifest["metadata"], Kind(str(manifest.get("kind")))
    if kind is Kind.DISRUPTION_BUDGET:
        # The guard may list these, and get none of them.
        listed = await cluster.list(kind, metadata["namespace"])
        return [{**b, "kind": str(kind)} for b in listed if b["metadata"]["name"] == metadata["name"]]
    try:
        return [await cluster.get(kind, metadata["namespace"], metadata["name"])]
    except NotFound:
        return []


def _config_maps(snapshot: Snapshot) -> Sequence[ConfigObject]:
    """Those that it shows, or names as left out."""
    kind = ConfigKind.CONFIG_MAP
    shown = [m["metadata"] for m in snapshot.manifests if m.get("kind") == kind]
    return [
        *(ConfigObject(kind, m["namespace"], m["name"]) for m in shown),
        *(ConfigObject(kind, o.namespace, o.name) for o in snapshot.omissions if o.kind == kind),
    ]


def unknown(snapshot: Snapshot) -> frozenset[str]:
    """The ConfigMaps that its pods refer to and of which it tells nothing, not even that they are absent."""
    unread = {ConfigObject(ConfigKind.CONFIG_MAP, o.namespace, o.name) for o in snapshot.unread}
    told = set(_config_maps(snapshot)) - unread
    referred = {o for o in snapshotting.referred(snapshot.manifests) if o.kind is ConfigKind.CONFIG_MAP}
    return frozenset(f"{o.kind}/{o.name}" for o in (referred | unread) - told)


async def checked(settings: Settings) -> Checked:
    """Everything that is wrong with what is kept, and what the journal needs and does not find there.

    Raises `JournalUnavailable` where there is no journal to read, and what `connect` and the cluster raise.
    """
    _, needed = await journal_tools.verified(settings)
    named = [Needed(s.place, str(s)) for snapshot in (await saved(settings)).values() for s in snapshot.secrets]
    async with stores.blobs_alone(settings) as blobs, stores.saved_secrets_alone(settings) as secrets:
        of_blobs = await blob_flaws(blobs)
        of_secrets = await checked_secrets(named, secrets or SecretsNotKept())
    told = {flaw.found for flaw in needed.flaws}
    more = [flaw for flaw in (*of_blobs, *of_secrets.flaws) if flaw.found not in told]
    unseen = dict.fromkeys((*needed.not_looked_at, *of_secrets.not_looked_at))
    return Checked((*needed.flaws, *more), tuple(unseen))


@contextlib.asynccontextmanager
async def _cluster(settings: Settings) -> AsyncIterator[KubernetesCluster]:
    cluster = await stores.connected(settings)
    async with contextlib.aclosing(cluster):
        yield cluster
