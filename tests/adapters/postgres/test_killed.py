"""Whatever dies, and whenever: the database is at the old version or at the new one, and the outcome tells which."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import psycopg
import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database.migrating import (
    Attempt,
    Committed,
    CommitUnknown,
    Invariant,
    Migrated,
    NotCommitted,
    RolledBack,
    Script,
)
from logcaster_guard.domain.database.server_reasons import OfOldLeader
from tests.adapters.database_worlds import COUNT, address_of, order_of, unnoted
from tests.adapters.postgres.killing import Killable, killable
from tests.adapters.postgres.twelve import BACK_TO_9, at_twelve, shape
from tests.adapters.postgres.wire import Fate, Wire
from tests.real.postgresql import PostgreSQL, RealDatabase
from tests.real.waiting import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ends(postgresql_server: PostgreSQL) -> Sequence[tuple[object, object]]:
    """What the database is like before and after, as three files by hand make it."""
    raw = at_twelve(postgresql_server)
    old = shape(raw)
    raw.run("".join((*(script.text for script in BACK_TO_9), "UPDATE schema_migrations SET version = 9")))
    new = shape(raw)
    postgresql_server.drop(raw)
    assert old[1] == new[1]
    return old, new


async def settled(raw: RealDatabase, attempt: Attempt, ends: Sequence[object]) -> str:
    """What the outcome is, held against what the tables show; and a second attempt does nothing twice."""
    database = PostgresDatabase(address_of(raw), SystemClock())
    outcome = await database.outcome(attempt, 2)
    old, new = ends
    assert outcome == (NotCommitted() if shape(raw) == old else Committed((1000,), (1000,), repeated=True))
    assert shape(raw) in (old, new)
    for epoch, ended in ((1, RolledBack(OfOldLeader(1, 2))), (2, None), (3, None)):
        session = await database.begin()
        again = await session.run(order_of(BACK_TO_9, epoch=epoch, invariants=[Invariant(COUNT)]), unnoted)
        await session.aclose()
        assert again == ended or (ended is None and isinstance(again, Committed))
        if epoch == 3:
            assert isinstance(again, Committed)
            assert again.repeated
    assert shape(raw) == new
    return type(outcome).__name__


Choice = Callable[[int, str], bool]
"""Whether this is the message, by its number and its SQL."""


async def killed_at(client: Killable, server: PostgreSQL, ends: Sequence[object], at: Choice, fate: Fate) -> str:
    """Kill the client when it sends its message `at`: how that ended."""
    raw = at_twelve(server)
    numbers, sent = count(1), asyncio.Event()

    async def judge(text: str) -> Fate:
        if sent.is_set() or not at(next(numbers), text):
            return Fate.PASS
        sent.set()
        return fate

    async with Wire(server.port, judge) as wire:
        await client.migrate(raw, wire.port)
        waiting = [asyncio.create_task(client.hear("ended")), asyncio.create_task(sent.wait())]
        await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if not sent.is_set():
            ended = "finished"
        else:
            await client.kill()
            ended = await after_kill(raw, client.attempt, ends)
    server.drop(raw)
    return ended


async def after_kill(raw: RealDatabase, attempt: Attempt | None, ends: Sequence[object]) -> str:
    if attempt is not None:
        return await settled(raw, attempt, ends)
    assert shape(raw) == ends[0]
    return "before the backend was known"


def first(words: str) -> Choice:
    return lambda _, text: words in text


def numbered(at: int) -> Choice:
    return lambda number, _: number == at


def is_commit(_: int, text: str) -> bool:
    return text == "COMMIT"


POINTS: Mapping[str, tuple[Choice, Fate, str]] = {
    "before BEGIN": (first("BEGIN ISOLATION LEVEL READ COMMITTED"), Fate.CUT_BEFORE, "NotCommitted"),
    "with all locks": (first("pg_current_xact_id()::text"), Fate.CUT_AFTER, "NotCommitted"),
    "between two files": (first("SET version ="), Fate.CUT_AFTER, "NotCommitted"),
    "in a statement": (first("DROP TABLE t11"), Fate.CUT_AFTER, "NotCommitted"),
    "in a statement, of which the server hears nothing": (first("DROP TABLE t11"), Fate.LOSE_IT, "NotCommitted"),
    "before COMMIT": (is_commit, Fate.CUT_BEFORE, "NotCommitted"),
    "after COMMIT": (is_commit, Fate.LOSE_REPLY, "Committed"),
}


async def test_a_guard_that_is_killed_leaves_the_old_version_or_the_new_one(
    postgresql_server: PostgreSQL, ends: Sequence[object]
) -> None:
    async with killable() as client:
        seen = {
            point: await killed_at(client, postgresql_server, ends, choice, fate)
            for point, (choice, fate, _) in POINTS.items()
        }
    assert seen == {point: expected for point, (_, _, expected) in POINTS.items()}


AT_WORK = "SELECT pid, query LIKE '%pg_sleep(30)%' FROM pg_stat_activity"


async def test_a_backend_whose_guard_is_gone_does_not_go_on_with_a_long_statement(
    postgresql_server: PostgreSQL,
) -> None:
    raw = at_twelve(postgresql_server)
    async with killable() as client:
        await client.migrate(raw, postgresql_server.port, [Script("12", "SELECT pg_sleep(30)", 11)])
        await client.hear("transaction")

        async def asleep() -> bool:
            return (client.journal["backend"], True) in raw.run(AT_WORK)

        async def gone() -> bool:
            return all(pid != client.journal["backend"] for pid, _ in raw.run(AT_WORK))

        await until(asleep, 10)
        await client.kill()
        await until(gone, 10)
    postgresql_server.drop(raw)


@pytest.mark.slow
@pytest.mark.parametrize(("fate", "every"), [(Fate.CUT_AFTER, 1), (Fate.LOSE_IT, 4)], ids=str)
async def test_a_guard_that_is_killed_at_any_message(
    postgresql_server: PostgreSQL, ends: Sequence[object], fate: Fate, every: int
) -> None:
    seen: Counter[str] = Counter()
    async with killable() as client:
        for number in count(1, every):
            ended = await killed_at(client, postgresql_server, ends, numbered(number), fate)
            seen[ended] += 1
            if ended == "finished":
                break
    assert seen["NotCommitted"] > 30 / every
    assert seen["Committed"] <= (fate is Fate.CUT_AFTER)


@pytest.mark.parametrize("fate", [Fate.LOSE_IT, Fate.LOSE_REPLY, Fate.CUT_BEFORE], ids=str)
async def test_a_commit_without_an_answer_is_unknown_until_it_is_asked_for(
    postgresql_server: PostgreSQL, ends: Sequence[object], fate: Fate
) -> None:
    raw = at_twelve(postgresql_server)

    async def judge(text: str) -> Fate:
        return fate if text == "COMMIT" else Fate.PASS

    async with Wire(postgresql_server.port, judge) as wire:
        ended, attempt = await migrated(raw, port=wire.port)
        assert isinstance(ended, CommitUnknown)
        told = await settled(raw, attempt, ends)
    assert told == ("Committed" if fate is Fate.LOSE_REPLY else "NotCommitted")
    postgresql_server.drop(raw)


@pytest.mark.parametrize("point", ["in a statement", "before COMMIT", "at COMMIT", "after COMMIT"])
async def test_a_backend_that_is_killed_leaves_the_old_version_or_the_new_one(
    postgresql_server: PostgreSQL, ends: Sequence[object], point: str
) -> None:
    raw = at_twelve(postgresql_server)
    backends: list[int] = []

    async def judge(text: str) -> Fate:
        if point == "in a statement" and "DROP TABLE t11" in text:
            asyncio.get_running_loop().call_later(0.1, os.kill, backends[0], signal.SIGKILL)
        if text == "COMMIT" and point == "before COMMIT":
            os.kill(backends[0], signal.SIGKILL)
        if text == "COMMIT" and point == "at COMMIT":
            asyncio.get_running_loop().call_soon(os.kill, backends[0], signal.SIGKILL)
        return Fate.LOSE_REPLY if text == "COMMIT" and point == "after COMMIT" else Fate.PASS

    scripts = (*BACK_TO_9[:1], replace(BACK_TO_9[1], text=BACK_TO_9[1].text + "SELECT pg_sleep(0.5)"), BACK_TO_9[2])
    with raw.connect() as another:
        async with Wire(postgresql_server.port, judge) as wire:
            ended, attempt = await migrated(raw, port=wire.port, scripts=scripts, known=backends)
            if point == "after COMMIT":
                os.kill(backends[0], signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):  # whoever else is connected is sent away
            another.execute("SELECT pg_sleep(20)")
    postgresql_server.wait()
    assert isinstance(ended, RolledBack if point == "in a statement" else CommitUnknown | Committed)
    told = await settled(raw, attempt, ends)
    assert told == {"after COMMIT": "Committed"}.get(point, told if point == "at COMMIT" else "NotCommitted")
    postgresql_server.drop(raw)


async def migrated(
    raw: RealDatabase, *, port: int, scripts: Sequence[Script] = BACK_TO_9, known: list[int] | None = None
) -> tuple[Migrated, Attempt]:
    """A migration in this process; `known` gets the backend's number."""
    session = await PostgresDatabase(address_of(raw, port=port), SystemClock()).begin()
    transactions: list[int] = []
    if known is not None:
        known.append(session.backend.pid)

    async def begun(transaction: int) -> None:
        transactions.append(transaction)

    ended = await session.run(order_of(scripts, invariants=[Invariant(COUNT)]), begun)
    await session.aclose()
    return ended, Attempt("op-1", "plan", 12, 9, session.backend, transactions[-1])
