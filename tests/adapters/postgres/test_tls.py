"""A real PostgreSQL over TLS: whom the guard believes, and what it says of others."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.postgres.database import PostgresDatabase
from logcaster_guard.domain.errors import DatabaseUnavailable
from tests.adapters.database_worlds import address_of
from tests.real.postgresql import RealDatabase, owner

HBA = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture
def encrypted(real_database: RealDatabase, certificate: tuple[Path, ssl.SSLContext]) -> Iterator[Path]:
    """The certificate of a server that lets nobody in without TLS."""
    data = real_database.server.folder / "data"
    before = (data / "pg_hba.conf").read_text("utf-8")
    for name, file in (("server.crt", certificate[0]), ("server.key", certificate[0].with_name("key.pem"))):
        shutil.copyfile(file, data / name)
        (data / name).chmod(0o600)
        if (user := owner()) is not None:
            shutil.chown(data / name, user, user)
    configure(real_database, HBA, "ALTER SYSTEM SET ssl = on")
    yield certificate[0]
    configure(real_database, before, "ALTER SYSTEM RESET ssl")


def configure(real: RealDatabase, hba: str, statement: str) -> None:
    (real.server.folder / "data" / "pg_hba.conf").write_text(hba, "utf-8")
    with real.connect() as session:
        session.execute(statement.encode())
        session.execute("SELECT pg_reload_conf()")
    while real.value("SHOW ssl") != ("on" if hba == HBA else "off"):
        pass


@pytest.mark.parametrize(
    ("sslmode", "trusting", "told"),
    [
        ("verify-full", True, ""),
        ("require", False, ""),
        ("disable", False, "the server demands TLS: set database.sslmode to require or stricter."),
        ("verify-full", False, "the server's certificate is not trusted: check database.sslrootcert"),
    ],
)
async def test_who_is_believed(
    real_database: RealDatabase, encrypted: Path, sslmode: str, trusting: bool, told: str
) -> None:
    root = str(encrypted if trusting else encrypted.with_name("nothing.pem")) if sslmode.startswith("verify") else ""
    database = PostgresDatabase(address_of(real_database, sslmode=sslmode, sslrootcert=root), SystemClock())
    if not told:
        assert (await database.look()).database == real_database.name
        return
    with pytest.raises(DatabaseUnavailable) as unavailable:
        await database.look()
    assert told in str(unavailable.value)
