"""What people ask of the database by hand. Importing this loads PostgreSQL's client and its parser."""

from __future__ import annotations

import contextlib
from pathlib import Path

from logcaster_guard import stores
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.migration_folder import MigrationFolder
from logcaster_guard.adapters.postgres.connection import Address
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.adapters.postgres.section import DatabaseSection
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.database.destinations import ReleaseName, version_of_release
from logcaster_guard.domain.database.plan import Planned
from logcaster_guard.domain.errors import ConfigurationError
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload, revisions_of
from logcaster_guard.engine.live_workload import live_target
from logcaster_guard.engine.migration_planning import planned
from logcaster_guard.messages.texts import failure, phrase
from logcaster_guard.ports import Cluster, Kind


def database_of(section: DatabaseSection) -> PostgresDatabase:
    """The database of the settings; nothing was asked of it yet."""
    address = Address(
        host=section.host,
        port=section.port,
        name=section.name,
        role=section.user,
        password=section.password,
        schema=section.version_schema,
        sslmode=section.sslmode,
        sslrootcert=section.sslrootcert or "",
    )
    return PostgresDatabase(address, SystemClock())


async def plan(settings: Settings, version: int | None) -> Planned:
    """The plan down to a version; None is before the first migration.

    Raises `ConfigurationError` where the settings name no database or its files cannot be read, and what the database
    raises.
    """
    section = settings.database
    if section is None:
        raise ConfigurationError(phrase("fault.no_database"))
    folder = MigrationFolder(Path(section.migrations))
    async with contextlib.aclosing(database_of(section)) as database:
        return await planned(database, folder.names(), folder.read, version)


async def version_of(settings: Settings, name: ReleaseName, target: Target) -> int | None:
    """The version that belongs to a release of the target.

    Raises `ConfigurationError` where that is not known, and what the cluster raises.
    """
    cluster = await stores.connected(settings)
    async with contextlib.aclosing(cluster):
        version = await release_version(cluster, name, target)
    if isinstance(version, Message):
        raise failure(ConfigurationError, version)
    return version


async def release_version(cluster: Cluster, name: ReleaseName, target: Target) -> int | Message | None:
    """The version that belongs to a release that the cluster still has, or why that is not known."""
    live = await live_target(cluster, target) or target
    workload = Workload(await cluster.get(Kind(live.kind), live.namespace, live.deployment))
    kept_in = Kind.REPLICA_SET if workload.kind == Kind.DEPLOYMENT else Kind.CONTROLLER_REVISION
    return version_of_release(name, revisions_of(workload, await cluster.list(kept_in, live.namespace)))
