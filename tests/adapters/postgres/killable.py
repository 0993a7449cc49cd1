"""Migrations in processes that can be killed: each line on stdin is one, and each runs in a fork of this process.

What the guard's journal would hold of it is written to stdout, a line of JSON for each thing. An empty line is
answered: what a process wrote that is dead by then has been read before that.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.connection import Address
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.database.migrating import Invariant, Script
from logcaster_guard.fields.secrets import Secret
from tests.adapters.database_worlds import COUNT, order_of
from tests.real.postgresql import PASSWORD, ROLE


def tell(**what: object) -> None:
    os.write(1, json.dumps({"process": os.getpid(), **what}).encode() + b"\n")


async def migrate(asked: Mapping[str, Any]) -> None:
    address = Address("127.0.0.1", asked["port"], asked["name"], ROLE, Secret(plain=PASSWORD), sslmode="disable")
    session = await PostgresDatabase(address, SystemClock()).begin()
    tell(backend=session.backend.pid, started=session.backend.started.isoformat())

    async def begun(transaction: int) -> None:
        tell(transaction=transaction)

    order = order_of([Script(*script) for script in asked["scripts"]], invariants=[Invariant(COUNT)])
    ended = await session.run(order, begun)
    tell(ended=type(ended).__name__)
    await session.aclose()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    for line in iter(sys.stdin.readline, ""):
        if line == "\n":
            tell(answered=True)
        elif os.fork() == 0:
            tell(forked=True)
            asyncio.run(migrate(json.loads(line)))
            os._exit(0)


if __name__ == "__main__":
    main()
