"""A real PostgreSQL 15 on loopback, one for a session: a database of its own for each test that asks for one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from tests.real.processes import NotStarted, Program, free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
"""Where Debian puts the server's programs, which are not on the PATH."""

ROLE, PASSWORD = "logcaster", "correct horse"
START_WITHIN = 30.0
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "deadlock_timeout": "200ms",
    "log_min_messages": "panic",
}


@dataclass(frozen=True)
class RealDatabase:
    """A database that `ROLE` owns."""

    server: PostgreSQL
    name: str

    def connect(self, role: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A session that commits each statement, over the server's socket, where nobody is asked for a password."""
        return psycopg.connect(
            host=str(self.server.folder), port=self.server.port, dbname=self.name, user=role, autocommit=True
        )

    def run(self, statements: str, role: str = ROLE) -> list[tuple[object, ...]]:
        """The rows of the last of these statements."""
        with self.connect(role) as connection:
            cursor = connection.execute(statements.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str) -> object:
        """The only value that the query answers with."""
        ((value,),) = self.run(query, "postgres")
        return value


class PostgreSQL:
    """The server; what it says is in `server.log` of its folder."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._user = owner()
        self._settings = {**_SETTINGS, "unix_socket_directories": str(folder), **(settings or {})}
        self._numbers = count(1)
        self._program: Program | None = None

    @classmethod
    def start(cls, settings: Mapping[str, str] | None = None) -> PostgreSQL:
        """A new server in a folder of its own, which `stop` removes."""
        # Not below pytest's folder, which another user than root cannot enter.
        folder = Path(tempfile.mkdtemp(prefix="guard-postgresql-"))
        server = cls(folder, settings)
        try:
            server._initialise()
            server.begin()
        except BaseException:
            server.stop()
            raise
        return server

    def begin(self) -> None:
        """Start the process, and wait until it lets people in."""
        options = [text for name, value in self._settings.items() for text in ("-c", f"{name}={value}")]
        arguments = [str(BINARIES / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        self._program = Program("server", arguments, self.folder, user=self._user)
        self.wait()

    def wait(self) -> None:
        """Wait until it lets people in; raises `NotStarted`."""
        latest = time.monotonic() + START_WITHIN
        while True:
            assert self._program is not None
            self._program.check()
            try:
                self.database("postgres").connect().close()
            except psycopg.OperationalError as error:
                if time.monotonic() > latest:
                    raise NotStarted(f"PostgreSQL lets nobody in: {error}") from error
                time.sleep(0.02)
            else:
                return

    def database(self, name: str) -> RealDatabase:
        return RealDatabase(self, name)

    def new_database(self, template: str = "template1") -> RealDatabase:
        """A copy of `template`, as `ROLE`'s own."""
        name = f"lc{next(self._numbers)}"
        with self.database("postgres").connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(ROLE)
                )
            )
        return self.database(name)

    def drop(self, database: RealDatabase) -> None:
        """Remove it, with every session in it."""
        with self.database("postgres").connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def end(self) -> None:
        """Stop the process, whoever is connected; `begin` starts it again."""
        if self._program is not None:
            self._program.stop(asking=signal.SIGINT)
            self._program = None

    def stop(self) -> None:
        """Stop the process and remove everything."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
        arguments = [str(BINARIES / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "--no-sync"]
        arguments += ["--no-instructions", "--encoding=UTF8", "--locale=C", "--auth-local=trust"]
        done = subprocess.run(
            [*arguments, "--auth-host=scram-sha-256"],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise NotStarted(f"initdb ended with code {done.returncode}: {done.stderr[-2000:]}")


def prepare(server: PostgreSQL) -> None:
    """Make the role that the guard signs in as: it owns databases and is nothing more."""
    with server.database("postgres").connect() as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'".encode())


def owner() -> str | None:
    """The user of the server's process: PostgreSQL does not run as root."""
    return pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
