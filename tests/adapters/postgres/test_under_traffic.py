"""A million rows, written and read all the time: three migrations are undone, and the rows survive."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database.migrating import Committed, Invariant, NotCommitted, Script
from tests.adapters.database_worlds import COUNT, address_of, order_of, unnoted
from tests.adapters.postgres.killing import killable
from tests.adapters.postgres.twelve import BACK_TO_9, at_twelve, shape
from tests.real.postgresql import PostgreSQL, RealDatabase
from tests.real.waiting import until

ROWS = 1_000_000
HASH = "SELECT format('%s %s', count(*), sum(hashtext(id || line)::bigint)) FROM logs WHERE id > 0"
REWRITE = "ALTER TABLE logs ALTER COLUMN c9 TYPE bigint;"  # every row is written anew
SCRIPTS = (BACK_TO_9[0], Script(BACK_TO_9[1].name, REWRITE + BACK_TO_9[1].text, 10), BACK_TO_9[2])


class Traffic:
    """What users do, and how long they waited for it at most, in seconds."""

    def __init__(self, raw: RealDatabase) -> None:
        self._raw = raw
        self._over = threading.Event()
        self.longest = {"read": 0.0, "write": 0.0}
        self.done = {"read": 0, "write": 0}

    @contextmanager
    def going_on(self) -> Iterator[Traffic]:
        threads = [threading.Thread(target=self._go_on, args=work, daemon=True) for work in self._works()]
        with ExitStack() as stack:
            for thread in threads:
                thread.start()
                stack.callback(thread.join, 30)
            stack.callback(self._over.set)
            yield self

    def _works(self) -> Iterator[tuple[str, Callable[[psycopg.Connection[tuple[object, ...]], int], object]]]:
        yield "read", lambda session, n: session.execute("SELECT line FROM logs WHERE id = %s", (n % ROWS + 1,))
        yield "write", lambda session, n: session.execute("INSERT INTO logs (id, line) VALUES (%s, 'new')", (-n,))

    def _go_on(self, kind: str, work: Callable[[psycopg.Connection[tuple[object, ...]], int], object]) -> None:
        with self._raw.connect() as session:
            while not self._over.is_set():
                begun = time.monotonic()
                self.done[kind] += 1
                work(session, self.done[kind])
                self.longest[kind] = max(self.longest[kind], time.monotonic() - begun)
                time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_million_rows_under_traffic_survive_three_kills_and_the_way_back(
    postgresql_server: PostgreSQL, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = at_twelve(postgresql_server, ROWS)
    rows, database = raw.value(HASH), PostgresDatabase(address_of(raw), SystemClock())
    with Traffic(raw).going_on() as traffic:
        async with killable() as client:
            for after in (0.05, 0.3, 0.8):
                await client.migrate(raw, postgresql_server.port, SCRIPTS)
                await client.hear("transaction")
                await asyncio.sleep(after)
                await client.kill()
                assert client.attempt is not None
                assert await database.outcome(client.attempt, 1) == NotCommitted()
                assert raw.value("SELECT version FROM schema_migrations") == 12
        written = traffic.done["write"]
        await until(lambda: _more(traffic, written))
        session = await database.begin()
        begun = time.monotonic()
        ended = await session.run(order_of(SCRIPTS, invariants=[Invariant(COUNT)]), unnoted)
        lasted = time.monotonic() - begun
        await session.aclose()
    assert isinstance(ended, Committed)
    assert ended.before == ended.after
    assert raw.value(HASH) == rows
    assert str(shape(raw)[0]).endswith(" 9 f")
    assert raw.value("SELECT count(*) FROM logs WHERE id < 0") == traffic.done["write"]
    with capsys.disabled():
        print(  # noqa: T201 - how long others wait is what people ask
            f"\n{ROWS} rows, one of three files writes all of them anew: {lasted:.2f} s; the longest wait of"
            f" {traffic.done['read']} reads {traffic.longest['read']:.2f} s, of {traffic.done['write']} writes"
            f" {traffic.longest['write']:.2f} s"
        )
    postgresql_server.drop(raw)


async def _more(traffic: Traffic, written: int) -> bool:
    return traffic.done["write"] > written + 10
