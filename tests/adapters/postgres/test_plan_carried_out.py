"""What was planned is what is done."""

from __future__ import annotations

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database.migrating import Attempt, Committed, RolledBack
from logcaster_guard.domain.database.plan import order_of
from logcaster_guard.domain.database.server_reasons import ScriptFailed
from logcaster_guard.engine.migration_planning import planned
from tests.adapters.database_worlds import address_of, unnoted
from tests.adapters.postgres.twelve import at_twelve, shape
from tests.real.postgresql import PostgreSQL

DOWN = "ALTER TABLE logs DROP COLUMN c{0};\nDROP TABLE t{0};\n"
FILES = {f"{n:04}_step.{way}.sql": DOWN.format(n).encode() for n in range(1, 13) for way in ("up", "down")}


async def test_a_plan_is_carried_out_and_known_by_its_digest(postgresql_server: PostgreSQL) -> None:
    raw = at_twelve(postgresql_server)
    database = PostgresDatabase(address_of(raw), SystemClock())
    found = await planned(database, list(FILES), FILES.__getitem__, 9)
    assert found.plan is not None
    order = order_of(found.plan, found.files, operation="op-1", epoch=1)
    session = await database.begin()
    ended = await session.run(order, unnoted)
    await session.aclose()
    assert ended == Committed((), ())
    columns, version = str(shape(raw)[0]).split(" schema_migrations.version schema_migrations.dirty ")
    assert columns.endswith(" logs.c8 logs.c9")
    assert version == f"{' '.join(f't{n}.id' for n in range(1, 10))} 9 f"
    attempt = Attempt("op-1", found.plan.digest, 12, 9, session.backend)
    assert await database.outcome(attempt, 1) == Committed((), (), repeated=True)
    postgresql_server.drop(raw)


async def test_what_the_plan_could_not_know_undoes_all_of_it(postgresql_server: PostgreSQL) -> None:
    raw = at_twelve(postgresql_server)
    database = PostgresDatabase(address_of(raw), SystemClock())
    found = await planned(database, list(FILES), FILES.__getitem__, 9)
    assert found.plan is not None
    raw.run("CREATE VIEW of_ten AS SELECT c10 FROM logs")
    before = shape(raw)
    session = await database.begin()
    ended = await session.run(order_of(found.plan, found.files, operation="op-1", epoch=1), unnoted)
    await session.aclose()
    assert isinstance(ended, RolledBack)
    assert isinstance(ended.reason, ScriptFailed)
    assert (ended.reason.file, ended.reason.sqlstate) == ("0010_step.down.sql", "2BP01")
    assert shape(raw) == before
    postgresql_server.drop(raw)
