"""The plan of a migration down, made of its files and of what the database says. Nothing is changed by it.

Importing this loads PostgreSQL's parser, which a guard without a database does without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from logcaster_guard.domain.database.migration_faults import UnusableFile
from logcaster_guard.domain.database.migrations import (
    MigrationFile,
    MigrationSet,
    WayDown,
    destination_of,
    migration_set,
    read_file,
    way_down,
)
from logcaster_guard.domain.database.plan import Draft, Planned
from logcaster_guard.domain.database.questions import is_there
from logcaster_guard.domain.database.server import DatabaseState, MigrationTool, TableName, hindrances
from logcaster_guard.domain.database.statement_findings import Findings
from logcaster_guard.domain.database.statements.reading import findings_of
from logcaster_guard.domain.errors import DatabaseRefused
from logcaster_guard.ports import Database

_HOME = "public"
"""Where tables are made by a role that has no schema to look for them in."""


async def planned(
    database: Database, names: Sequence[str], read: Callable[[str], bytes], destination: int | None
) -> Planned:
    """The plan from where the database is down to `destination`; 0 and None are before the first migration.

    `names` are those of the migration files, and `read` gives what one holds. Raises what they and the database raise.
    """
    state = await database.look()
    migrations = migration_set(names)
    way = _way(state, migrations, destination)
    found = [read_file(undo.file, read(undo.file.name)) for undo in way.undone]
    unusable = [file for file in found if isinstance(file, UnusableFile)]
    files = tuple(file for file in found if isinstance(file, MigrationFile))
    findings = await _findings(database, state, files)
    faults = (*hindrances(state), *way.faults, *unusable, *findings.refused)
    if faults:
        return Planned(state, None, faults, migrations.others)
    draft = Draft(state, _versions(state), way, files, findings)
    plan = draft.planned(await _answers(database, draft.questions))
    return Planned(state, plan, (), migrations.others, files)


def _way(state: DatabaseState, migrations: MigrationSet, destination: int | None) -> WayDown:
    wanted = None if destination is None else destination_of(destination, migrations)
    seen = state.schema_version
    if seen is None or seen.tool is not MigrationTool.GOLANG_MIGRATE or seen.rows > 1:
        # Where the database is cannot be told, so nothing can be said of the way from there.
        return WayDown(None, wanted, faults=tuple(migrations.faults))
    return way_down(migrations, seen.version, wanted)


def _versions(state: DatabaseState) -> TableName:
    return TableName("", "") if state.schema_version is None else state.schema_version.table


async def _findings(database: Database, state: DatabaseState, files: Sequence[MigrationFile]) -> Findings:
    """What the files do; where names are looked for in several schemas, the database tells in which each is."""
    path = state.search_path or (_HOME,)
    findings = await asyncio.to_thread(findings_of, files, _versions(state), path)
    if len(path) == 1:
        return findings
    names = sorted(findings.unqualified)
    places = [TableName(schema, name) for name in names for schema in path]
    answers = await _answers(database, list(map(is_there, places)))
    homes = {name: [p.schema for p in places if p.name == name and answers.get(is_there(p))] for name in names}
    return await asyncio.to_thread(findings_of, files, _versions(state), path, homes)


async def _answers(database: Database, questions: Sequence[str]) -> Mapping[str, int]:
    """The answers of one moment; where one question cannot be answered, those of the others, each by itself."""
    if not questions:
        return {}
    try:
        return dict(zip(questions, await database.count(questions), strict=True))
    except DatabaseRefused:
        return {question: answer for question in questions for answer in await _answer(database, question)}


async def _answer(database: Database, question: str) -> Sequence[int]:
    try:
        return await database.count([question])
    except DatabaseRefused:
        return []
