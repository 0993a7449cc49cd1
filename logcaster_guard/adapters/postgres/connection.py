"""Sessions at a PostgreSQL server, and in whose words their failures are told; never with the password."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from logcaster_guard.adapters.failures import plain
from logcaster_guard.domain.errors import DatabaseRefused, DatabaseUnavailable, GuardError
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.messages.database_faults import ConnectFault, DatabaseLost, DatabaseSaid, DatabaseUnreached
from logcaster_guard.messages.texts import failure

CONNECT_WITHIN = 10
"""Seconds."""

LOCK_BUSY = frozenset({"55P03", "40P01"})
"""SQLSTATEs of a lock that was not had in time, and of a deadlock: the same may go well a moment later."""

Connection = AsyncConnection[TupleRow]

_FAULTS: tuple[tuple[str, ConnectFault], ...] = (
    (r"password authentication failed|no password supplied", ConnectFault.PASSWORD),
    (r'database "[^"]*" does not exist|no such database', ConnectFault.NO_DATABASE),
    (r'role "[^"]*" does not exist|is not permitted to log in|no such user', ConnectFault.NO_ROLE),
    (r"no pg_hba\.conf entry .*no encryption|pg_hba\.conf rejects .*no encryption", ConnectFault.TLS_NEEDED),
    (r"pg_hba\.conf", ConnectFault.NOT_ADMITTED),
    (r"server does not support SSL", ConnectFault.NO_TLS),
    (r"certificate|SSL error|sslmode value|could not (?:load|read).*root", ConnectFault.CERTIFICATE),
    (r"too many clients|remaining connection slots|too many connections", ConnectFault.FULL),
    (r"database system is|terminating connection", ConnectFault.STARTING),
    (r"failed to resolve host|could not translate host name", ConnectFault.NAME),
    (r"Connection refused|No such file or directory", ConnectFault.NO_SERVER),
    (r"timeout expired|timed out", ConnectFault.TIMED_OUT),
    (r"expected authentication request|received invalid response", ConnectFault.NOT_POSTGRESQL),
    (r"server closed the connection unexpectedly", ConnectFault.NOT_POSTGRESQL),
)
"""libpq tells a failure to connect in words alone; the first that fits."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and who signs in; `schema` is that of the tool's table of versions."""

    host: str
    port: int
    name: str
    role: str
    password: Secret
    schema: str = "public"
    sslmode: str = "prefer"
    sslrootcert: str = ""

    @property
    def place(self) -> str:
        """In one line, as people are told it."""
        return f"{self.role}@{self.host}:{self.port}/{self.name}"


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Connection]:
    """A session for as long as the block lasts; what psycopg raises in it becomes a named failure."""
    connection = await connect(address)
    try:
        yield connection
    except psycopg.Error as error:
        raise named(error, connection, address) from None
    finally:
        await connection.close()


async def connect(address: Address) -> Connection:
    """A session that commits each statement; raises `DatabaseUnavailable` and `SecretUnreadable`."""
    password = address.password.read()
    try:
        return await AsyncConnection.connect(
            host=address.host,
            port=address.port,
            dbname=address.name,
            user=address.role,
            password=password,
            sslmode=address.sslmode,
            sslrootcert=address.sslrootcert,
            connect_timeout=CONNECT_WITHIN,
            application_name="logcaster-guard",
            gssencmode="disable",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=25_000,
            autocommit=True,
            prepare_threshold=None,
        )
    except (psycopg.Error, OSError) as error:
        raise failure(DatabaseUnavailable, _unreached(str(error), address.place, password)) from None


def named(error: psycopg.Error, connection: Connection, address: Address) -> GuardError:
    """What a failed statement is called: an end of the session, or a refusal."""
    if connection.closed:
        return failure(DatabaseUnavailable, DatabaseLost(address.place, words_of(error)))
    refused = failure(DatabaseRefused, DatabaseSaid(error.sqlstate or "", words_of(error)))
    refused.sqlstate = error.sqlstate or ""
    return refused


def words_of(error: psycopg.Error) -> str:
    """The server's own sentence, or else the client's; in one line."""
    return plain(error.diag.message_primary or str(error).partition("\n")[0])


def in_transaction(connection: Connection) -> bool:
    """Whether a transaction is open in which statements can be run."""
    return connection.info.transaction_status is TransactionStatus.INTRANS


async def roll_back(connection: Connection) -> None:
    """End what is open, by closing the session where it does not end otherwise."""
    try:
        if connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            await connection.execute("ROLLBACK")
    except psycopg.Error:
        await connection.close()
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        await connection.close()


def _unreached(text: str, place: str, password: str) -> DatabaseUnreached:
    fault = next((fault for words, fault in _FAULTS if re.search(words, text, re.DOTALL)), ConnectFault.OTHER)
    if fault not in {ConnectFault.OTHER, ConnectFault.CERTIFICATE}:
        return DatabaseUnreached(place, fault, "")
    told = any(written in text for written in {password, quote(password), quote(password, safe="")})
    return DatabaseUnreached(place, fault, "" if told else plain(text.replace("\n", " ")))
